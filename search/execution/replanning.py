"""Plans made from earlier ones: repeated (`--plan`), gone on with (`resume`), confirmed (`confirm`)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.errors import PlanError
from search.execution.code_version import code_version
from search.records.confirmations import confirmations_of, seeds_of
from search.records.folder import SearchFolder, list_searches
from search.records.ledger import read_events
from search.records.plan import PLANNED, Candidate, Confirmation, Plan
from search.records.spec import FIELDS, SearchSpec
from search.records.spec_file import read_spec
from search.records.state import SearchState
from search.strategy.confirmation_controller import planned_runs_of
from spaces.fields import fields_of, format_value
from trainables.data import fold_notes
from trainables.data.images import Progress
from trainables.data.source import is_synthetic
from trainables.tasks import TASKS

#: Configurations of a confirmation that nobody has given a number.
_TOP = 5

#: Fresh seeds begin here: no search's own reach so far.
FRESH_SEED = 1_000_000


def specified(asked: Mapping[str, Any], spec_file: Path | None = None, plan_file: Path | None = None) -> SearchSpec:
    """What is asked for, with a YAML file or an earlier plan to begin from.

    Args:    asked: fields of `SearchSpec` that are asked for beside the file.
             spec_file: of `--spec`.
             plan_file: of `--plan`.
    Raises:  PlanError: when a file cannot be read or is of another task, or both are given.
    """
    if spec_file is not None and plan_file is not None:
        raise PlanError(f"--spec and --plan must not be given together; got {spec_file} and {plan_file}")
    if plan_file is not None:
        return repeated(plan_file, asked)
    return SearchSpec.of(asked) if spec_file is None else read_spec(spec_file).changed(asked)


def repeated(file: Path, asked: Mapping[str, Any]) -> SearchSpec:
    """The request that made a plan, with some of it asked otherwise.

    Args:    file: an earlier search's plan.json.
             asked: fields of `SearchSpec` that are asked for now.
    Raises:  PlanError: when the file is no plan, or one of another task.
    """
    plan = read_plan(file)
    if plan.kind != "search":
        raise PlanError(f"--plan must be a search's; got {file}, which is a {plan.kind}'s")
    if (asked.get("task") or plan.task) != plan.task:
        raise PlanError(f"--plan must be of the task {asked['task']}; got {file}, which is of {plan.task}")
    return spec_of(plan).changed(asked)


def spec_of(plan: Plan) -> SearchSpec:
    """What was asked for when a plan was made, but for its name and what depends on the machine.

    Args:    plan: of a search.
    """
    fields = fields_of(TASKS[plan.task].space)
    # One that follows another is told even where it is the default, or it would follow.
    defaults = {name: field.default for name, field in fields.items() if not field.searched and not field.follows}
    settings = {
        name: format_value(value)
        for name, value in plan.fixed.items()
        if value is not None and not (name in defaults and defaults[name] == value)
    }
    same = {name: getattr(plan, name) for name, how in FIELDS.items() if how.repeated and name in PLANNED}
    return SearchSpec(
        **{
            **same,
            "settings": settings,
            "fuse_trials": {None: "auto", 1: "off"}.get(plan.fuse_trials, str(plan.fuse_trials)),
            "data": None if is_synthetic(plan.source) else plan.source,
            "metric": tuple(f"{objective.metric}:{objective.mode}" for objective in plan.objectives),
            "constraints": tuple(map(str, plan.constraints)),
        }
    )


def read_plan(file: Path) -> Plan:
    """A plan from its file.

    Raises:  PlanError: when it holds none.
    """
    try:
        return Plan.from_json(json.loads(file.read_text()))
    except (OSError, UnicodeDecodeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PlanError(f"--plan must be a plan.json of an earlier search; got {file}") from error


@dataclass(frozen=True)
class Extension:
    """What a resumed search is given beyond its plan; None where nothing changes.

    Args:    num_trials, epoch_budget, time_budget_s, gpu_hours: amount and whether it comes on top of the plan's.
             max_concurrent: trials at once.
    """

    num_trials: tuple[float, bool] | None = None
    epoch_budget: tuple[float, bool] | None = None
    time_budget_s: tuple[float, bool] | None = None
    gpu_hours: tuple[float, bool] | None = None
    max_concurrent: int | None = None

    def check(self) -> None:
        """Refuses amounts that are none.

        Raises:  PlanError: when there is one.
        """
        for field in ("num_trials", "epoch_budget", "time_budget_s", "gpu_hours"):
            asked = getattr(self, field)
            if asked is not None and not 0 <= asked[0] < math.inf:
                raise PlanError(f"{field} must be 0 or more; got {asked[0]}")
        if self.max_concurrent is not None and self.max_concurrent < 1:
            raise PlanError(f"max_concurrent must be 1 or more; got {self.max_concurrent}")

    def changes(self, plan: Plan) -> dict[str, Any]:
        """What of a plan is asked for, in all: field → amount."""
        found: dict[str, Any] = {}
        for field in ("num_trials", "epoch_budget", "time_budget_s", "gpu_hours"):
            asked = getattr(self, field)
            if asked is None:
                continue
            amount, on_top = asked
            total = amount + (getattr(plan, field) or 0) if on_top else amount
            found[field] = int(total) if field in ("num_trials", "epoch_budget") else total
        return found


def prepare_resume(storage: Path, name: str, extension: Extension, progress: Progress | None = None) -> Plan:
    """A search's plan to go on with: extended, for this code, its data the same.

    Args:    storage: folder of all searches.
             name: of the search.
             extension: what it is given beyond its plan.
             progress: called with (done, all) while images are decoded.
    Raises:  SearchNotFound, PlanError: when there is no such search, its data have changed, or less is asked for than done.
    """
    extension.check()
    folder = SearchFolder(storage, name)
    plan = folder.plan()
    state = SearchState.of(read_events(folder.ledger_file), plan.objective)
    if plan.confirmation is not None:
        planned_runs_of(plan, state.trials)
    if plan.source is not None:
        some = next(iter(state.trials.values()), None)
        config = dict(some.config) if some is not None else dict(plan.fixed)
        found = TASKS[plan.task].load().prepare(config, plan.source, progress) if some is not None else None
        if found is not None and found.fingerprint != plan.data_fingerprint:
            raise PlanError(f"{plan.source} must be as it was when {name} began; got other labels, splits, groups or images")
    changes = extension.changes(plan)
    if changes.get("num_trials", len(state.trials)) < len(state.trials):
        raise PlanError(f"--trials must be {len(state.trials)} or more, which {name} has begun; got {changes['num_trials']}")
    if plan.kind != "search" and changes:
        raise PlanError(f"a {plan.kind} must go on as it was planned; got {', '.join(changes)} (begin another)")
    if extension.max_concurrent is not None:
        changes["max_concurrent"] = extension.max_concurrent
    return replace(plan, code_version=code_version(), **changes)


def prepare_confirmation(
    storage: Path, name: str, top: int | None, num_seeds: int, num_folds: int, max_concurrent: int | None = None
) -> Plan:
    """The plan of a confirmation: the best configurations of a search, on fresh seeds, to their epochs.

    Its seeds are those of no trial of the search and of none of its confirmations that the storage holds.

    Args:    storage: folder of all searches.
             name: of the search.
             top: configurations, 2 or more; None for five, or all where there are fewer.
             num_seeds: of each, 2 or more.
             num_folds: stratified splits; 1 for the data's own.
             max_concurrent: trials at once, None for as many as in the search.
    Raises:  SearchNotFound, PlanError: when there is no such search, or it has fewer trials.
             DataError: when the data have not so many folds.
    """
    folder = SearchFolder(storage, name)
    plan = folder.plan()
    if plan.kind != "search":
        raise PlanError(f"NAME must be a search; got {name!r}, which is a {plan.kind}")
    if num_folds < 1 or (max_concurrent is not None and max_concurrent < 1):
        raise PlanError(f"--folds and --max-concurrent must be 1 or more; got {num_folds} and {max_concurrent}")
    if num_seeds < 2:
        raise PlanError(f"--seeds must be 2 or more: one says nothing of its spread; got {num_seeds}")
    if num_folds > 1 and plan.source is None:
        raise PlanError(f"--folds must be of a task with data; got {plan.task}")
    state = SearchState.of(read_events(folder.ledger_file), plan.objective, plan.constraints)
    ranked = [trial for trial in state.ranked() if not trial.excess(plan.constraints)]
    top = min(_TOP, len(ranked)) if top is None else top
    if not 2 <= top <= len(ranked):
        raise PlanError(f"--top must be 2 to {len(ranked)}, the trials of {name} that have a score; got {top}")
    candidates = tuple(
        Candidate(trial.trial, dict(trial.config), trial.best_epoch, float(trial.value or 0.0)) for trial in ranked[:top]
    )
    confirmation = Confirmation(name, candidates, num_seeds, num_folds)
    number = top * num_seeds * num_folds
    taken = {found.name for found in list_searches(storage)}
    names = [f"{name[:68]}-confirm", *(f"{name[:68]}-confirm-{index}" for index in range(2, len(taken) + 3))]
    return replace(
        plan,
        name=next(candidate for candidate in names if candidate not in taken),
        confirmation=confirmation,
        further_objectives=(),
        num_trials=number,
        max_epochs=max(candidate.epoch for candidate in candidates),
        notes=(*plan.notes, *(fold_notes(plan.source, num_folds) if plan.source is not None and num_folds > 1 else ())),
        search_notes=(),
        scheduler="none",
        keep_checkpoints=number,
        max_concurrent=max_concurrent or plan.max_concurrent,
        seed=_fresh_seed(plan, confirmations_of(storage, name)),
        time_budget_s=None,
        epoch_budget=None,
        gpu_hours=None,
        terminate=False,
        warm_start=(),
        code_version=code_version(),
    )


def _fresh_seed(plan: Plan, earlier: Sequence[Plan]) -> int:
    """The first seed beyond those of a search and of its earlier confirmations."""
    return max([FRESH_SEED + plan.seed, *(seeds_of(confirmation).stop for confirmation in earlier)])
