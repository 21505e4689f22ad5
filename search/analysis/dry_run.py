"""What a search will cost, from a few measured batches."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from search.analysis.rehearsal import Measured, measure
from search.errors import PlanError
from search.execution.resources import local_nodes, max_concurrent
from search.records.plan import Plan
from search.strategy.forecast import Span, forecast
from search.strategy.packing import packed_share
from search.strategy.standing import Standing
from trainables.tasks import TASKS

#: Until the first trial trains: Ray, its processes and their imports.
START = Span(5.0, 12.0, 25.0)
#: A search's pictures and page, and what each kept checkpoint adds: its pictures, and its model in MLflow.
PICTURES, PICTURES_EACH = Span(2.0, 5.0, 10.0), Span(1.0, 2.5, 5.0)
#: MiB of a search's pictures, and of each kept trial's, of a task with images and of one without.
PICTURES_MIB, PICTURES_MIB_EACH, CURVES_MIB_EACH = 1.0, 3.0, 0.2
#: MiB that an MLflow model has besides the checkpoint, and of a search's ledger, study and curves and MLflow's database.
SOURCES_MIB, _RECORDS_MIB = 0.7, 3.0
#: Schedulers whose trials wait with a state to be promoted.
_PAUSING = ("asha-promote", "one-epoch")
#: Times as slow as usual that a machine is taken to be at most, by how long its start took.
_MOST_SLOW = 6.0
#: For what a few batches do not tell: other configurations than those that were tried, and what else the machine does.
UNKNOWN = 0.4


@dataclass(frozen=True)
class Estimate:
    """Expected cost of a search.

    Args:    epoch_s: seconds of an epoch of the paper's configuration, one trial at a time, on a machine as busy as it is now.
             hours: from the command to its last line: start, training with the scheduler's early stops, pictures and models.
             hours_low, hours_high: between which that will most likely be.
             hours_at_most: the upper end if no trial is stopped.
             disk_mib: most that there is at a time: models and states while trials run; afterwards the models that are kept, as
                 MLflow models, too, pictures, and the report twice; a search's own records.
             trials_at_once: of this machine.
    """

    epoch_s: float
    hours: float
    hours_low: float
    hours_high: float
    hours_at_most: float
    disk_mib: float
    trials_at_once: int

    def to_json(self) -> dict[str, Any]:
        """The estimate as JSON values."""
        return {name: round(value, 6) for name, value in vars(self).items()}


def estimate(plan: Plan, *, pictures: bool = True) -> Estimate:
    """Trains a few batches of the paper's configuration and of others here, and plays the search through with that.

    Args:    plan: of the search; nothing is written to its storage.
             pictures: whether pictures and models are made at its end.
    Raises:  PlanError: when the plan is for a cluster that has not been looked at.
    """
    if plan.max_concurrent is None:
        raise PlanError("--dry-run must be of a search on this machine; got --address (measure on one of its nodes)")
    measured = measure(plan, plan.max_concurrent)
    at_once = _at_once(plan, plan.max_concurrent)
    standing = Standing(plan.num_trials, at_once, measured.epoch_s, measured.begin_s)
    around = START + closing(plan, pictures=pictures)
    pruned, whole = (
        _in_time(plan, forecast(plan, standing, pruned=early).widened(UNKNOWN), measured) + around for early in (True, False)
    )
    return Estimate(
        epoch_s=measured.paper.epoch_s,
        hours=pruned.expected_s / 3600,
        hours_low=pruned.low_s / 3600,
        hours_high=pruned.high_s / 3600,
        hours_at_most=max(whole.high_s, pruned.high_s) / 3600,
        disk_mib=_disk_mib(plan, measured, at_once, pictures=pictures),
        trials_at_once=at_once,
    )


def closing(plan: Plan, *, pictures: bool = True) -> Span:
    """What follows on the last trial: pictures, page and models of a search, measurements of a confirmation or reproduction."""
    kept = min(plan.keep_checkpoints, plan.num_trials)
    if not pictures and plan.kind == "search":
        return Span(0.5, 1.0, 3.0)
    each = PICTURES_EACH if TASKS[plan.task].formats else Span(0.1, 0.2, 0.5)
    return PICTURES + Span(*(kept * seconds for seconds in vars(each).values()))


def closing_here(plan: Plan, *, pictures: bool, start_s: float) -> Span:
    """`closing` on a machine, or a busy one, on which the start has taken so long."""
    return closing(plan, pictures=pictures).times(min(_MOST_SLOW, start_s / START.expected_s))


def _in_time(plan: Plan, training: Span, measured: Measured) -> Span:
    """Its first epochs are slow; a time budget ends it."""
    found = replace(
        training, expected_s=training.expected_s + measured.paper.cold_s, high_s=training.high_s + measured.paper.cold_s
    )
    return found if plan.time_budget_s is None else found.at_most(plan.time_budget_s)


def _disk_mib(plan: Plan, measured: Measured, at_once: int, *, pictures: bool) -> float:
    """At most: while a trial writes a state or a model, the one before it is still there, and one that is paused keeps both."""
    kept, best, state = min(plan.keep_checkpoints, plan.num_trials), measured.best_mib, measured.state_mib
    paused = plan.num_trials if plan.scheduler in _PAUSING else 0
    training = best * kept + (best + state) * (2 * at_once + paused)
    if not pictures or plan.kind != "search":
        return _RECORDS_MIB + max(training, best * kept)
    seen = TASKS[plan.task].formats
    each = PICTURES_MIB_EACH if seen else CURVES_MIB_EACH
    # In the report pictures are base64, 4 bytes for 3; MLflow has the report once more.
    drawn = PICTURES_MIB + kept * each + 2 * 4 / 3 * (PICTURES_MIB + kept * each)
    logged = kept * (best + SOURCES_MIB) if seen else 0.0
    return _RECORDS_MIB + max(training, best * kept + drawn + logged)


def _at_once(plan: Plan, limit: int) -> int:
    """Trials at once: as planned, or where their share of a GPU is yet to be measured, what this process has just needed."""
    if plan.gpus_per_trial is not None or not torch.cuda.is_available():
        return limit
    gpu_mib = torch.cuda.get_device_properties(0).total_memory / 2**20
    share = packed_share(torch.cuda.max_memory_reserved() / 2**20, gpu_mib)
    return max_concurrent(local_nodes(), plan.cpus_per_trial, share, limit)
