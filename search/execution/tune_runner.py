"""Ray Tune's searcher and scheduler, answered by the worker pool: what Tune calls a trial is a worker that trains ours."""

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.experiment import Experiment, Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import SearchAlgorithm

from search.errors import TrialBroke
from search.execution.assignments import Assignments
from search.execution.failures import failure_of
from search.execution.heartbeat import Heartbeat
from search.execution.slots import Slots
from search.execution.trial_worker import FUSED, TASK, TRIALS, WORKER
from search.records.events import Checkpointed, EpochResult
from search.strategy.retries import Failure
from search.strategy.search_controller import SearchController
from search.strategy.worker_pool import WorkerPool
from search.strategy.worker_report import TrialReport


class WorkerRun(Trial):  # type: ignore[misc]
    """A worker as Tune runs it. Tune does not begin it again when it fails: its trials go on in others.

    Args:    failures: worker → why it ended at once; filled here.
             options: see `ray.tune.experiment.Trial`.
    """

    def __init__(self, failures: dict[str, Failure], **options: Any) -> None:
        super().__init__(**options)
        self._failures = failures

    def handle_error(self, exc: Any = None) -> None:
        """Takes what befell the worker."""
        self._failures[self.trial_id] = failure_of(exc)
        super().handle_error(exc)

    def should_recover(self) -> bool:
        """Never."""
        return False

    def __getstate__(self) -> dict[str, Any]:
        """Without failures: Tune pickles trials for a restore of its own, and ours reads the ledger."""
        return {name: value for name, value in super().__getstate__().items() if name != "_failures"}


class TuneSearcher(SearchAlgorithm):  # type: ignore[misc]
    """Hands workers to Tune as long as there is something to begin and room for it.

    Args:    controller: knows the plan, and whether it is exhausted.
             pool: says what a worker trains.
             assignments: what workers get.
             slots: know whether there is room.
             end_now: why no further trial may start ("time budget", "stop requested"), None while one may.
    """

    def __init__(
        self,
        controller: SearchController,
        pool: WorkerPool,
        assignments: Assignments,
        slots: Slots,
        end_now: Callable[[], str | None],
    ) -> None:
        self._controller, self._pool, self._assignments = controller, pool, assignments
        self._slots, self._end_now = slots, end_now
        self._experiment: Experiment | None = None
        #: Worker → why it ended at once.
        self.failures: dict[str, Failure] = {}

    @property
    def total_samples(self) -> int:
        """Trials at most."""
        return self._controller.plan.num_trials

    def add_configurations(self, experiments: Any) -> None:
        """Takes the one experiment that Tune runs."""
        (self._experiment,) = experiments if isinstance(experiments, list) else [experiments]

    def next_trial(self) -> Trial | None:
        """The next worker while there is room for it."""
        if self._experiment is None or self.is_finished() or not self._slots.free(self._pool.num_running):
            return None
        begun = self._pool.begin()
        if begun is None:
            return None
        worker, suggestions = begun
        plan, spec = self._controller.plan, self._experiment.spec
        assigned = [self._assignments.of(suggestion) for suggestion in suggestions]
        return WorkerRun(
            self.failures,
            trainable_name=spec["run"],
            config={WORKER: worker, TASK: plan.task, FUSED: plan.fuse_trials != 1, TRIALS: assigned},
            trial_id=worker,
            experiment_tag=worker,
            placement_group_factory=self._assignments.resources(suggestions[0].trial),  # all have one share
            checkpoint_config=spec["checkpoint_config"],
            storage=spec["storage"],
        )

    def is_finished(self) -> bool:
        """Whether the last trial has been handed out."""
        return bool(self._finished) or self._controller.exhausted or self._end_now() is not None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


class TuneScheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes on what a worker reports of its trials, and tells it who leaves and who joins before its next epoch.

    A worker never reports `done`: Tune would not show the scheduler such a report.

    Args:    pool: decides.
             searcher: knows why workers have failed.
             assignments: what trials that join get.
             heartbeat: ends workers that nothing is heard of.
    """

    def __init__(self, pool: WorkerPool, searcher: TuneSearcher, assignments: Assignments, heartbeat: Heartbeat) -> None:
        super().__init__()
        self._pool, self._searcher, self._assignments, self._heartbeat = pool, searcher, assignments, heartbeat

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A worker that will be given a process."""
        self._heartbeat.follow(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """What becomes of a worker after a report."""
        self._heartbeat.broken_by(trial.trial_id)
        reports = result[TRIALS]
        change = self._pool.on_result(trial.trial_id, [_report(each) for each in reports], *_gpu_memory(reports))
        if change.over:
            return str(TrialScheduler.STOP)
        if change.joining:
            self._heartbeat.be_patient(trial.trial_id)  # they are to be built, and an epoch of more trials takes longer
        if change.leaving or change.joining:
            joining = [self._assignments.of(suggestion) for suggestion in change.joining]
            # Calls of one caller run in order: this one before the step that Tune asks for next.
            trial.temporary_state.ray_actor.update.remote(list(change.leaving), joining)
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A worker that broke."""
        worker = trial.trial_id
        self._pool.on_error(worker, self._heartbeat.cause(worker, self._searcher.failures.pop(worker)))

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """None: Tune starts new workers by itself, and none is ever paused."""
        self._heartbeat.end_silent()
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


def _report(told: Mapping[str, Any]) -> TrialReport:
    failure = None if told["failure"] is None else failure_of(TrialBroke(told["failure"]))
    if not told["epochs"]:
        return TrialReport(told["trial"], failure=failure)
    checkpoint = told["checkpoint"]
    return TrialReport(
        told["trial"],
        [EpochResult(**epoch) for epoch in told["epochs"]],
        told["ended"],
        None if checkpoint is None else Checkpointed(trial=told["trial"], **checkpoint),
        told["state"],
        told["where"],
        told["notes"],
        failure,
    )


def _gpu_memory(reports: list[dict[str, Any]]) -> tuple[float | None, float | None]:
    """MiB of the GPU that the worker's process had reserved at most, and that there are; None where that is not known."""
    for report in reports:
        if report["epochs"]:
            return report["epochs"][-1]["system"].get("process_gpu_memory_mib"), report["where"].get("gpu_mib")
    return None, None
