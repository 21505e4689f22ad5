"""What a confirmation will do, said before it begins."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.analysis.dry_run import START, UNKNOWN, closing
from search.analysis.leaderboard import open_search
from search.execution.planning import with_resources
from search.execution.resources import local_nodes
from search.records.confirmations import confirmations_of, seeds_of
from search.records.plan import Plan
from search.records.split_readings import num_readings
from search.strategy.confirmation_controller import looks
from search.strategy.forecast import Span, forecast
from search.strategy.standing import Standing, epoch_s_of, standing_of
from trainables.data import read


@dataclass(frozen=True)
class Preview:
    """What a confirmation will do.

    Args:    plan: of the confirmation.
             earlier: names of the confirmations that its search has had, oldest first.
             test_reading: which reading of the test split it will make, from 1; None where it will make none.
    """

    plan: Plan
    earlier: tuple[str, ...]
    test_reading: int | None

    def to_json(self) -> dict[str, Any]:
        """What will run, as JSON values."""
        confirmation = self.plan.confirmation
        candidates = confirmation.candidates if confirmation is not None else ()
        return {
            "name": self.plan.name,
            "search": confirmation.search if confirmation is not None else None,
            "metric": self.plan.objective.metric,
            "mode": self.plan.objective.mode,
            "configurations": [{"trial": one.trial, "epochs": one.epoch, "claimed": one.claimed} for one in candidates],
            "seeds": list(seeds_of(self.plan)),
            "num_folds": confirmation.num_folds if confirmation is not None else None,
            "num_trials": self.plan.num_trials,
            "earlier_confirmations": list(self.earlier),
            "test_reading": self.test_reading,
        }

    @property
    def warnings(self) -> list[str]:
        """What has been spent already, a line each."""
        lines, seeds = [], seeds_of(self.plan)
        search = self.plan.confirmation.search if self.plan.confirmation is not None else ""
        if self.earlier:
            lines.append(
                f"{search} was confirmed before ({', '.join(self.earlier)}): this confirmation takes the seeds {seeds[0]} to"
                f" {seeds[-1]}, which none of them had"
            )
        if self.test_reading is not None and self.test_reading > 1:
            times = "once" if self.test_reading == 2 else f"{self.test_reading - 1} times"
            lines.append(
                f"the test split of {self.plan.source} has been read {times}: this confirmation makes reading"
                f" {self.test_reading}, and every reading spends a little of what it is worth"
            )
        return lines


def preview(plan: Plan, storage: Path) -> Preview:
    """Looks what a confirmation will do; nothing is begun.

    Args:    plan: of the confirmation, not begun yet.
             storage: folder of all searches.
    """
    confirmation = plan.confirmation
    if confirmation is None:
        raise ValueError(f"a preview must be of a confirmation; got the search {plan.name}")
    reading = 1 + num_readings(storage, plan.source) if plan.source and _has_test(plan) else None
    return Preview(plan, tuple(earlier.name for earlier in confirmations_of(storage, confirmation.search)), reading)


def _has_test(plan: Plan) -> bool:
    """Whether the data have a test split; plans of earlier versions do not say so."""
    if plan.num_cases:
        return bool(plan.num_cases.get("test"))
    return plan.source is not None and "test" in read(plan.source).counts()


def expected_time(plan: Plan, storage: Path, *, on_this_machine: bool) -> Span | None:
    """How long a confirmation will take, by the seconds that its configurations' epochs took in the search.

    Args:    plan: of the confirmation, not begun yet.
             storage: folder of all searches.
             on_this_machine: whether this machine will run it, which then says how many trials fit at once.
    Returns: from the command to its last line, the low end with all dropped that may be; None where nothing is known.
    Raises:  PlanError: when not even one trial fits this machine.
    """
    confirmation = plan.confirmation
    if confirmation is None:
        raise ValueError(f"expected_time must be of a confirmation; got the search {plan.name}")
    fitted = with_resources(plan, local_nodes()) if on_this_machine else plan
    found = open_search(storage, confirmation.search)
    known = standing_of(found.plan, found.state, found.state.wall_s)
    records = [found.state.trials[one.trial] for one in confirmation.candidates if one.trial in found.state.trials]
    epoch_s = [epoch_s_of(record) for record in records if record.epochs]
    if known is None or not epoch_s or fitted.max_concurrent is None:
        return None
    spared = [
        (len(confirmation.candidates) - 1) * (confirmation.num_seeds - seeds) * confirmation.num_folds
        for seeds in looks(confirmation.num_seeds)
    ]
    most, fewest = (
        forecast(fitted, Standing(number, fitted.max_concurrent, epoch_s, known.begin_s)).widened(UNKNOWN)
        for number in (plan.num_trials, plan.num_trials - sum(spared))
    )
    return Span(fewest.low_s, most.expected_s, most.high_s) + START + closing(plan)
