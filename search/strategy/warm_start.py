"""Trials of earlier searches as first guesses of a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from search.records.plan import Plan
from search.records.state import SearchState
from search.records.trials import TrialRecord
from search.strategy.distributions import distribution_of
from spaces.fields import Field, Value


@dataclass(frozen=True)
class EarlierTrial:
    """What is taken over of a trial.

    Args:    config: every field of this search's space.
             scores: of this search's objectives, at its best epoch.
    """

    config: Mapping[str, Value]
    scores: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The trial as JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "EarlierTrial":
        """A trial from what `to_json` gave."""
        return EarlierTrial(document["config"], tuple(document["scores"]))


def fitting_trials(state: SearchState, searched_there: Sequence[str], plan: Plan) -> list[EarlierTrial]:
    """The trials of an earlier search that say something about this one, best first.

    A trial fits if its configuration lies in this search's space, agrees with every field that is fixed now and varied
    then, and if it reported this search's metrics. Fields fixed in both searches may differ, and so may the data: values
    of earlier trials guide the sampler only until this search has enough of its own.

    Args:    state: of the earlier search.
             searched_there: fields that it varied.
             plan: of this search.
    """
    records = [record for record in state.ranked() if record.state in ("finished", "stopped")]
    taken = [trial for record in records if (trial := _fit(record, searched_there, plan)) is not None]
    return sorted(taken, key=lambda trial: -plan.objective.sign * trial.scores[0])


def _fit(record: TrialRecord, searched_there: Sequence[str], plan: Plan) -> EarlierTrial | None:
    values: dict[str, Value] = {}
    for name, field in plan.fields.items():
        given = record.config.get(name)
        if not field.is_active(values):
            values[name] = None
        elif name in plan.fixed:
            if name in searched_there and given is not None and given != plan.fixed[name]:
                return None
            values[name] = plan.fixed[name]
        elif given is None or not _within(field, given):
            return None
        else:
            values[name] = given
    scores = [record.mean_at_best(objective.metric) for objective in plan.objectives]
    if any(score is None for score in scores):
        return None
    return EarlierTrial(values, tuple(score for score in scores if score is not None))


def _within(field: Field, value: Value) -> bool:
    try:
        field.check(value)
    except ValueError:
        return False
    return True


def earlier_trials(trials: Sequence[EarlierTrial], fields: Mapping[str, Field], plan: Plan) -> list[FrozenTrial]:
    """As Optuna trials, numbered backwards from -1 so that they are nobody's own."""
    found = []
    for index, trial in enumerate(trials):
        names = [field.name for field in plan.searched if trial.config[field.name] is not None]
        frozen = create_trial(
            state=TrialState.COMPLETE,
            values=list(trial.scores),
            params={name: trial.config[name] for name in names},
            distributions={name: distribution_of(fields[name]) for name in names},
        )
        frozen.number = -1 - index
        found.append(frozen)
    return found
