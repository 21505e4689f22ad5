"""A controller's trials, run by Ray Tune: one or several in each worker."""

import logging
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import ceil

from ray import tune

from search.execution.assignments import Assignments
from search.execution.heartbeat import Heartbeat
from search.execution.processes import processes_as_started
from search.execution.resources import NodeGroup
from search.execution.slots import Slots
from search.execution.trial_worker import TrialWorker
from search.execution.tune_runner import TuneScheduler, TuneSearcher
from search.records.disk_space import wait_for_disk_space
from search.records.failure import write_failure
from search.records.folder import SearchFolder
from search.records.plan import Plan
from search.records.tune_record import TuneRecord
from search.strategy.fusion_size import FusionSize
from search.strategy.packing import Packing
from search.strategy.retries import Failure
from search.strategy.search_controller import SearchController
from search.strategy.worker_pool import WorkerPool
from trainables.tasks import TASKS


def tune_trials(
    plan: Plan,
    folder: SearchFolder,
    controller: SearchController,
    nodes: Sequence[NodeGroup],
    end_now: Callable[[], str | None],
    *,
    shared: bool,
) -> None:
    """Runs trials until the controller has no more, or they must end.

    Args:    plan, folder: of the search.
             controller: chooses and judges.
             nodes: of the machine or cluster.
             end_now: why every trial must end, None while none must.
             shared: whether others may use the cluster as well.
    """
    packing, record = Packing(plan.gpus_per_trial, controller.state), TuneRecord(folder.tune_file)
    assignments = Assignments(plan, folder, controller.rungs, packing)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(plan.max_concurrent or 1)
    size, heartbeat = FusionSize(plan.fuse_trials, controller.state.fused.values()), Heartbeat()
    slots = Slots(plan, nodes, packing, lambda: ceil(controller.num_wanted / size.most), shared=shared)
    pool = WorkerPool(
        controller,
        TASKS[plan.task].shapes,
        size,
        packing=packing,
        end_now=end_now,
        may_refill=lambda: slots.free(pool.num_running - 1),
        on_failure=_note_failure(folder, heartbeat, end_now),
        record=record.write,
    )
    searcher = TuneSearcher(controller, pool, assignments, slots, end_now)
    try:
        _run(plan, searcher, TuneScheduler(pool, searcher, assignments, heartbeat), shared=shared)
    finally:
        slots.close()
        record.close()


def _run(plan: Plan, searcher: TuneSearcher, scheduler: TuneScheduler, *, shared: bool) -> None:
    # Tune's own files are of no use to us: what must last is in the ledger and in the trials' folders.
    with tempfile.TemporaryDirectory(prefix="dermtune-tune-") as scratch:
        tuner = tune.Tuner(
            TrialWorker,
            tune_config=tune.TuneConfig(search_alg=searcher, scheduler=scheduler, reuse_actors=True, num_samples=plan.num_trials),
            run_config=tune.RunConfig(
                name=plan.name,
                storage_path=scratch,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        with _quiet(), _signals_restored(), nullcontext() if shared else processes_as_started():
            tuner.fit()


def _note_failure(
    folder: SearchFolder, heartbeat: Heartbeat, end_now: Callable[[], str | None]
) -> Callable[[str, Failure], None]:
    """Writes a trial's failure into its folder; where there is no room the whole search waits for some."""

    def note(trial: str, failure: Failure) -> None:
        if failure.kind == "full":
            wait_for_disk_space(folder.path, failure.needed_bytes, give_up=lambda: end_now() is not None)
            heartbeat.excuse()
        write_failure(folder.trial(trial), failure.reason, failure.trace)

    return note


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Ray Tune leaves its own handlers behind, and the next Ctrl-C would be swallowed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune's progress and its warnings about what we do on purpose stay out of the user's sight."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        yield
