"""Ray Tune's searcher, scheduler and callback interfaces, all answered by the controller."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.execution.assignments import Assignments
from search.execution.heartbeat import Heartbeat
from search.execution.member import KNOWN_EPOCH, SAVE_FIRST
from search.execution.slots import Slots
from search.execution.tune_searcher import Judge, SearchTrial, TuneSearcher
from search.records.disk_space import wait_for_disk_space
from search.records.events import Checkpointed, EpochResult
from search.records.failure import write_failure
from search.records.tune_record import RUNNING, TuneRecord
from search.strategy.packing import Memory, retried, with_advice
from search.strategy.retries import Failure, may_retry
from search.strategy.search_controller import SearchController
from trainables.tasks import TASKS


class TrialSearcher(TuneSearcher):
    """Hands the controller's suggestions to Tune as trials that bear its ids; promotes those that Tune has paused.

    Args:    as `TuneSearcher`.
    """

    def __init__(
        self, controller: SearchController, assignments: Assignments, slots: Slots, end_now: Callable[[], str | None]
    ) -> None:
        super().__init__(controller, assignments, slots, end_now)
        self._known: set[str] = set()
        #: Paused trials that must go on, in order.
        self.promoted: deque[str] = deque()
        #: Set by the scheduler, which judges.
        self.judge: Judge = lambda trial, failure: False

    @property
    def num_running(self) -> int:
        """Trials."""
        return self._controller.num_running

    def _begin(self) -> SearchTrial | None:
        suggestion = self._controller.next()
        if suggestion is None:
            return None
        if suggestion.trial in self._known:
            self.promoted.append(suggestion.trial)
            return None
        self._known.add(suggestion.trial)
        return self._tune_trial(self.judge, suggestion.trial, self._assignments.of(suggestion), suggestion.trial)


class SearchScheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes every report on and does what the controller decides.

    A trial never reports `done`: Tune would not show the scheduler such a report. It says why it ended, and the answer is
    STOP.

    Args:    controller: hears and decides.
             source: knows which paused trials go on.
             assignments: what actors get.
             end_now: why every trial must end ("time budget", "stop requested"), None while none must.
    """

    def __init__(
        self, controller: SearchController, source: TrialSearcher, assignments: Assignments, end_now: Callable[[], str | None]
    ) -> None:
        super().__init__()
        self._controller, self._source, self._assignments, self._end_now = controller, source, assignments, end_now
        self._packing = assignments.packing
        self._started: set[str] = set()
        self._paused: dict[str, Trial] = {}
        self._failures: dict[str, tuple[Failure, Memory]] = {}
        self._heartbeat = Heartbeat()
        source.judge = self._judge

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A trial that will be given an actor."""
        self._heartbeat.follow(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """What becomes of a trial after a report."""
        name = trial.trial_id
        self._heartbeat.broken_by(name)
        if name not in self._started:
            self._started.add(name)
            self._controller.start(name, _below(result, "where"), result["notes"])
        epochs = [EpochResult(**epoch) for epoch in result["epochs"]]
        checkpoint = _checkpoint(name, _below(result, "checkpoint"))
        over = self._controller.report(name, epochs, result["ended"], checkpoint, result["state"])
        peak = (epochs[-1].system or {}).get("process_gpu_memory_mib")
        share = self._packing.observe(peak, result.get("where/gpu_mib"))
        if share is not None:
            self._controller.pack(share)
        if self._controller.is_paused(name):
            return self._pause(tune_controller, trial)
        reason = None if over else self._end_now()
        if reason is not None:
            self._controller.stop(name, reason)
            over = True
        request = trial.config["request"]
        if not over and trial.config[SAVE_FIRST] and self._packing.of(name).share < request["gpu_share"]:
            # It had a whole GPU while nothing was known; it has saved its state and goes on with its share.
            self._source.promoted.append(name)
            return self._pause(tune_controller, trial)
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)

    def _pause(self, tune_controller: Any, trial: Trial) -> str:
        """Without a checkpoint of Tune's, which would lie on the driver's disk: the trial's own state is in its folder."""
        self._paused[trial.trial_id] = trial
        self._started.discard(trial.trial_id)
        tune_controller.pause_trial(trial, should_checkpoint=False)
        return str(TrialScheduler.NOOP)

    def _prepare(self, trial: Trial) -> None:
        """Lets a trial go on, wherever it was before, from what the ledger has heard of it, with its present share."""
        name, memory = trial.trial_id, self._packing.of(trial.trial_id)
        trial.config[KNOWN_EPOCH] = self._controller.records[name].last_epoch
        trial.config[SAVE_FIRST] = not self._packing.measured
        trial.config["request"] = {**trial.config["request"], "gpu_share": memory.share, "batch_parts": memory.batch_parts}
        trial.update_resources(self._assignments.resources(name))

    def _judge(self, trial: SearchTrial, failure: Failure) -> bool:
        """Whether a trial begins again after a failure."""
        name = trial.trial_id
        failure, memory = self._heartbeat.cause(name, failure), self._packing.of(name)
        if failure.kind == "full":
            self._wait_for_disk_space(failure.needed_bytes)
        write_failure(self._assignments.folder.trial(name), failure.reason, failure.trace)
        record = self._controller.records[name]
        again = self._end_now() is None and may_retry(record, failure)
        if again and failure.kind == "memory":
            had = Memory(float(trial.config["request"]["gpu_share"]), memory.batch_parts)
            more = had.more(splits=TASKS[self._controller.plan.task].splits_batches(record.config))
            again, memory = more is not None, more or memory
            failure = failure if again else with_advice(failure, record.config, had.share)
        self._failures[name] = failure, memory
        return again

    def _wait_for_disk_space(self, needed_bytes: int) -> None:
        """The whole search pauses: others' checkpoints would not fit, either."""
        folder = self._assignments.folder.path
        wait_for_disk_space(folder, needed_bytes, give_up=lambda: self._end_now() is not None)
        self._heartbeat.excuse()

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The next paused trial that must go on. Those that never will are ended, or Tune would wait for them.

        Tune starts new trials by itself.
        """
        self._heartbeat.end_silent()
        if self._paused and (self._controller.exhausted or self._end_now() is not None):
            self._controller.settle()
            for name in [name for name in self._paused if name not in self._source.promoted]:
                if self._paused[name].status == Trial.PAUSED:
                    tune_controller.stop_trial(self._paused.pop(name))
        if self._source.promoted and self._paused[self._source.promoted[0]].status == Trial.PAUSED:
            trial = self._paused.pop(self._source.promoted.popleft())
            self._prepare(trial)
            return trial
        return None

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A trial that broke: for good, or to begin again elsewhere."""
        name = trial.trial_id
        failure, memory = self._failures.pop(name)
        if not trial.should_recover():
            self._controller.fail(name, failure.reason)
            return
        self._started.discard(name)
        self._controller.retry(retried(name, failure, memory))
        self._prepare(trial)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


class TuneWitness(Callback):  # type: ignore[misc]
    """Writes down what becomes of each trial as Tune itself sees it, for `dermtune doctor`.

    Args:    record: where.
    """

    def __init__(self, record: TuneRecord) -> None:
        self._record = record

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its actor has been given the trial."""
        self._record.write(trial.trial_id, str(Trial.RUNNING))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune has ended it."""
        self._record.write(trial.trial_id, str(Trial.TERMINATED))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its actor broke, and it gets another."""
        self._record.write(trial.trial_id, RUNNING)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its actor broke."""
        self._record.write(trial.trial_id, str(Trial.ERROR))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


def _checkpoint(trial: str, told: Mapping[str, Any]) -> Checkpointed | None:
    """What an actor said of the model that it keeps, as Tune has flattened it; None where it keeps the one before."""
    if not told:
        return None
    metrics = _below(told, "metrics") or None
    return Checkpointed(trial=trial, epoch=told["epoch"], path=told["path"], sha256=told["sha256"], metrics=metrics)


def _below(flat: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A nested object that Tune has flattened to `prefix/key`."""
    start = f"{prefix}/"
    return {key.removeprefix(start): value for key, value in flat.items() if key.startswith(start)}
