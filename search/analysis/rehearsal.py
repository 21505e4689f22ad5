"""A few batches of a search's configurations, trained here to see how long they take and how large a checkpoint is."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from optuna.samplers import RandomSampler

from search.records.plan import Plan
from search.records.study import new_study
from search.strategy.distributions import drawn_from, suggest
from spaces.fields import Value, fields_of
from spaces.papers import paper_config
from trainables.contract import Rehearsal, Trial, TrialRequest
from trainables.errors import DermtuneError
from trainables.tasks import TASKS

#: Configurations that are tried beside the paper's, as long as all that has not taken longer.
_OTHERS, _WITHIN_S = 6, 20.0
#: Models of this size are written in a moment, so that those of other configurations are measured, too.
_QUICK_MIB = 16.0
#: On a CPU so many at once at most: trials beside each other are slower than one alone.
_AT_ONCE = 4


@dataclass(frozen=True)
class Measured:
    """What trials of a search take of this machine.

    Args:    paper: the paper's configuration, one trial at a time.
             epoch_s: an epoch of some of the search's configurations, as many at once as it trains here.
             begin_s: to build a trial whose data have been read.
             best_mib, state_mib: of the largest best checkpoint, and of the largest state to go on from.
    """

    paper: Rehearsal
    epoch_s: tuple[float, ...]
    begin_s: float
    best_mib: float
    state_mib: float


def measure(plan: Plan, slots: int) -> Measured:
    """Trains a few batches of the paper's configuration, saves it, and tries others; nothing is written to the storage.

    Args:    plan: of the search.
             slots: trials that it trains at once here.
    """
    task, begun = TASKS[plan.task], time.perf_counter()
    trial = task.load().build(_request(plan, paper_config(fields_of(task.space), plan.fixed)))
    paper = trial.rehearse()
    best_mib, state_mib = _sizes(trial)
    del trial
    lanes = max(1, min(slots, len(os.sched_getaffinity(0)), _AT_ONCE)) if plan.gpus_per_trial == 0 else 1

    def rehearse(config: Mapping[str, Value]) -> tuple[float, float, tuple[float, float]] | None:
        start = time.perf_counter()
        if start - begun > _WITHIN_S:
            return None
        try:
            other = task.load().build(_request(plan, config))
        except (DermtuneError, ValueError):  # a search says so when it comes to it
            return None
        build_s, epoch_s = time.perf_counter() - start, other.rehearse().epoch_s
        return build_s, epoch_s, _sizes(other) if best_mib < _QUICK_MIB else (best_mib, state_mib)

    with ThreadPoolExecutor(lanes) as pool:
        found = [one for one in pool.map(rehearse, islice(_configs(plan), _OTHERS)) if one is not None]
    epoch_s = tuple(seconds for _, seconds, _ in found) or (paper.epoch_s,)
    largest = (max(mib) for mib in zip((best_mib, state_mib), *(sizes for _, _, sizes in found), strict=True))
    return Measured(paper, epoch_s, min((build_s for build_s, _, _ in found), default=0.0), *largest)


def _configs(plan: Plan) -> Iterator[Mapping[str, Value]]:
    """What the search will train: a reproduction's experiments, or draws from the space."""
    if plan.reproduction is not None:
        yield from (experiment.config for experiment in plan.reproduction.experiments)
        return
    study = new_study(plan.name, plan.objectives, RandomSampler(plan.seed % 2**32))
    while True:
        yield suggest(drawn_from(study.ask()), plan.fields, plan.fixed)


def _request(plan: Plan, config: Mapping[str, Value]) -> TrialRequest:
    threads, device = max(1, int(plan.cpus_per_trial)), "cpu" if plan.gpus_per_trial == 0 else "auto"
    return TrialRequest(plan.task, config, plan.source, plan.seed, plan.objective, plan.max_epochs, device, threads)


def _sizes(trial: Trial) -> tuple[float, float]:
    """MiB of a best checkpoint, which is the model without the state, and of a state at most.

    A state holds a second model where an epoch before its own may yet be kept (`BestEpoch.candidates`), as every other one does.
    """
    scratch = Path(tempfile.mkdtemp(prefix="dermtune-dry-run-"))
    try:
        trial.save(scratch / "state", with_best=False)
        sizes = {file.name: file.stat().st_size / 2**20 for file in (scratch / "state").iterdir()}
    finally:
        shutil.rmtree(scratch)
    best_mib = sum(size for name, size in sizes.items() if not name.startswith("state"))
    return best_mib, sum(sizes.values()) + best_mib
