"""What a search will cost, from a few measured batches."""

import math
import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from search.errors import PlanError
from search.execution.resources import local_nodes, max_concurrent
from search.records.plan import Plan
from search.strategy.distributions import paper_config
from search.strategy.packing import packed_share
from search.strategy.rungs import rungs
from search.strategy.schedulers import FINALISTS
from spaces.fields import fields_of
from trainables.contract import TrialRequest
from trainables.tasks import TASKS


@dataclass(frozen=True)
class Estimate:
    """Expected cost of a search.

    Args:    epoch_s: seconds of an epoch of the paper's configuration.
             hours: wall time with the scheduler's early stops.
             hours_at_most: wall time if no trial is stopped.
             disk_mib: checkpoints that are kept and those of running trials.
             trials_at_once: of this machine.
    """

    epoch_s: float
    hours: float
    hours_at_most: float
    disk_mib: float
    trials_at_once: int

    def to_json(self) -> dict[str, Any]:
        """The estimate as JSON values."""
        return {name: round(value, 6) for name, value in vars(self).items()}


def estimate(plan: Plan) -> Estimate:
    """Trains a few batches of the paper's configuration here, saves it, and multiplies.

    Args:    plan: of the search; nothing is written to its storage.
    Raises:  PlanError: when the plan is for a cluster that has not been looked at.
    """
    if plan.max_concurrent is None:
        raise PlanError("--dry-run must be of a search on this machine; got --address (measure on one of its nodes)")
    task = TASKS[plan.task]
    config = paper_config(fields_of(task.space), plan.fixed)
    threads = max(1, int(plan.cpus_per_trial))
    device = "cpu" if plan.gpus_per_trial == 0 else "auto"
    request = TrialRequest(plan.task, config, plan.source, plan.seed, plan.objective, plan.max_epochs, device, threads)
    trial = task.load().build(request)
    seconds = trial.rehearse()
    scratch = Path(tempfile.mkdtemp(prefix="dermtune-dry-run-"))
    try:
        trial.save(scratch / "state")
        # A best checkpoint is the model without the state; a state of a trial that has validated holds its best model, too.
        best = sum(file.stat().st_size for file in (scratch / "state").iterdir() if not file.name.startswith("state"))
        state = best + sum(file.stat().st_size for file in (scratch / "state").iterdir())
    finally:
        shutil.rmtree(scratch)
    at_once = _at_once(plan, plan.max_concurrent)
    budget_h = math.inf if plan.time_budget_s is None else plan.time_budget_s / 3600

    def hours(epochs: float) -> float:
        return min(min(epochs, plan.epoch_budget or math.inf) * seconds / (3600 * at_once), budget_h)

    return Estimate(
        epoch_s=seconds,
        hours=hours(plan.num_trials * expected_epochs(plan)),
        hours_at_most=hours(plan.num_trials * plan.max_epochs),
        disk_mib=(best * (plan.keep_checkpoints + at_once) + 2 * state * at_once) / 2**20,
        trials_at_once=at_once,
    )


def _at_once(plan: Plan, limit: int) -> int:
    """Trials at once: as planned, or where their share of a GPU is yet to be measured, what this process has just needed."""
    if plan.gpus_per_trial is not None or not torch.cuda.is_available():
        return limit
    gpu_mib = torch.cuda.get_device_properties(0).total_memory / 2**20
    share = packed_share(torch.cuda.max_memory_reserved() / 2**20, gpu_mib)
    return max_concurrent(local_nodes(), plan.cpus_per_trial, share, limit)


def _mean_delay(plan: Plan) -> float:
    """Epochs before the objective is trained, over the choices of the fields that delay it."""
    choices = [field for field in plan.searched if field.delays and field.kind == "choice"]
    drawn = [dict(zip([f.name for f in choices], values, strict=True)) for values in product(*(f.choices for f in choices))]
    return float(np.mean([plan.delay_of({**plan.fixed, **values}) for values in drawn]))


def expected_epochs(plan: Plan) -> float:
    """Epochs of an average trial when one in `reduction` passes each rung; all of them where nobody can tell."""
    if plan.scheduler == "one-epoch":
        few = min(FINALISTS, plan.num_trials)
        return plan.grace_period + (plan.max_epochs - plan.grace_period) * few / plan.num_trials
    if not plan.scheduler.startswith("asha"):
        return float(plan.max_epochs)
    delay = _mean_delay(plan)
    later = [rung + delay for rung in rungs(plan.grace_period, plan.max_epochs, plan.reduction) if rung + delay < plan.max_epochs]
    bounds = [0.0, *later, float(plan.max_epochs)]
    spans = [(after - before) for before, after in pairwise(bounds)]
    return float(sum(span / plan.reduction**passed for passed, span in enumerate(spans)))
