"""Which trials train in which worker, one or several in each, and what becomes of them. No Ray objects, no clock."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from search.records.events import EpochResult, Fused
from search.records.tune_record import ERROR, RUNNING, TERMINATED
from search.strategy.fault_isolation import IsolationGroup, halved
from search.strategy.fusion_size import FusionSize, Shape
from search.strategy.packing import Memory, Packing, retried, with_advice
from search.strategy.retries import Failure, may_retry
from search.strategy.search_controller import SearchController
from search.strategy.suggestion import Suggestion
from search.strategy.worker_report import Change, TrialReport
from trainables.tasks import TASKS


@dataclass
class _Worker:
    """Trials in the order of their places, and what they have in common.

    Args:    share: of a GPU that it was given.
             measured: whether that share was known to suffice.
    """

    shape: Shape | IsolationGroup
    trials: list[str]
    share: float
    measured: bool


class WorkerPool:
    """Gathers a controller's suggestions by shape, gives them to workers, and passes on what each trial reports.

    With fused trials a worker trains several of one shape, and a trial that leaves is replaced. Without (a size of 1) it
    trains one, and has that trial's id. A suggestion that fits no worker with a free place waits for one; at most as many wait
    as a worker holds, so that a sampler is never asked far ahead of what it has heard.

    Args:    controller: chooses and judges; to it every trial is one by itself.
             shapes: fields that the trials of a worker have in common.
             size: trials of a worker.
             packing: knows a trial's memory.
             end_now: why every trial must end, None while none must.
             may_refill: whether this search may keep the slots that it has; others on the cluster may wait for one.
             on_failure: called with every failure, before anything follows from it.
             record: called with a trial's status as Tune has it.
    """

    def __init__(
        self,
        controller: SearchController,
        shapes: Sequence[str],
        size: FusionSize,
        *,
        packing: Packing,
        end_now: Callable[[], str | None] = lambda: None,
        may_refill: Callable[[], bool] = lambda: True,
        on_failure: Callable[[str, Failure], None] = lambda trial, failure: None,
        record: Callable[[str, str], None] = lambda trial, status: None,
    ) -> None:
        self._controller, self._shapes, self.size = controller, shapes, size
        self._packing = packing
        self._end_now, self._may_refill = end_now, may_refill
        self._on_failure, self._record = on_failure, record
        self._workers: dict[str, _Worker] = {}
        self._waiting: dict[Shape | IsolationGroup, list[Suggestion]] = {}
        self._suggestions: dict[str, Suggestion] = {}
        self._started: set[str] = set()
        self._num_begun: Counter[str] = Counter()

    @property
    def num_running(self) -> int:
        """Workers that take up a slot."""
        return len(self._workers)

    @property
    def num_waiting(self) -> int:
        """Trials that wait for a place."""
        return sum(map(len, self._waiting.values()))

    def begin(self) -> tuple[str, list[Suggestion]] | None:
        """A new worker, its id and its trials: as many of one shape as there are. None when there is none."""
        while not self._is_one_full() and self.num_waiting < self.size.most and self._draw():
            pass
        if not self._waiting:
            return None
        shape = max(self._waiting, key=lambda shape: len(self._waiting[shape]))
        suggestions = self._taken(shape, self._limit(shape))
        worker, first = self._new_id(suggestions[0].trial), suggestions[0].trial
        trials = [suggestion.trial for suggestion in suggestions]
        self._workers[worker] = _Worker(shape, trials, self._packing.of(first).share, self._packing.measured)
        return worker, suggestions

    def _new_id(self, first: str) -> str:
        """The trial's own where a worker has but one: `t0003`, and `t0003.2` when it goes on in another worker."""
        name = first if self.size.is_single else "w"
        self._num_begun[name] += 1
        number = self._num_begun[name]
        if not self.size.is_single:
            return f"w{number - 1:04d}"
        return name if number == 1 else f"{name}.{number}"

    def on_result(
        self, worker_id: str, reports: Sequence[TrialReport], peak_mib: float | None = None, gpu_mib: float | None = None
    ) -> Change:
        """Takes a report of each trial; says who leaves and who joins.

        Args:    worker_id: as `begin` gave it.
                 reports: in the order of the trials' places.
                 peak_mib: most of the GPU's memory that the worker had reserved, None where that is not known.
                 gpu_mib: memory of its GPU.
        """
        worker = self._workers[worker_id]
        before = list(worker.trials)
        for report in reports:
            self._take(worker, report, len(before))
        epochs = [epoch for report in reports for epoch in report.epochs]
        self._measure(worker.shape, len(before), epochs, peak_mib / gpu_mib if peak_mib and gpu_mib else None)
        share = self._packing.observe(peak_mib, gpu_mib) if epochs else None
        if share is not None:
            self._controller.pack(share)
        reason = self._end_now()
        for trial in list(worker.trials) if reason is not None else ():
            self._controller.stop(trial, str(reason))
            self._left(worker, trial)
        self._move_to_smaller_share(worker)
        self._drop_waiting()
        leaving = [trial for trial in before if trial not in worker.trials]
        joining = [] if reason is not None else self._joining(worker)
        worker.trials += [suggestion.trial for suggestion in joining]
        if not worker.trials:
            del self._workers[worker_id]
        return Change(leaving, joining, not worker.trials)

    def on_error(self, worker_id: str, failure: Failure) -> None:
        """A worker has ended at once; each of its trials goes on from its own state, in another one.

        Where one of several may be the cause they go on in halves, and so on, until it fails alone.
        """
        worker = self._workers.pop(worker_id)
        shared = len(worker.trials) > 1
        fewer = failure.kind == "memory" and self._shrink(worker.shape, len(worker.trials))
        suspected = shared and not fewer and failure.kind in ("raised", "died", "hung", "memory")
        groups = halved(worker.trials) if suspected else {}
        for trial in worker.trials:
            if fewer or suspected:
                self._again(trial, failure, self._packing.of(trial), groups.get(trial))
            else:
                self._failed(trial, failure, worker.share)
        self._drop_waiting()

    def _shrink(self, shape: Shape | IsolationGroup, num_trials: int) -> bool:
        """Makes later workers of a shape smaller than one that did not fit; says whether they can be."""
        if isinstance(shape, IsolationGroup) or not self.size.ran_out(shape, num_trials):
            return False
        self._controller.fuse(Fused(shape=shape, num_trials=self.size.limit(shape), settled=True))
        return True

    def _take(self, worker: _Worker, report: TrialReport, num_trials: int) -> None:
        trial = report.trial
        over = False
        if report.epochs:
            if trial not in self._started:
                self._started.add(trial)
                self._controller.start(trial, report.where, report.notes)
            over = self._controller.report(trial, report.epochs, report.ended, report.checkpoint, report.saved_epoch)
        if over:
            self._left(worker, trial)
        elif report.failure is not None:
            worker.trials.remove(trial)
            if report.failure.kind == "memory" and self._shrink(worker.shape, num_trials):
                self._again(trial, report.failure, self._packing.of(trial))
            else:
                self._failed(trial, report.failure, worker.share)

    def _left(self, worker: _Worker, trial: str) -> None:
        worker.trials.remove(trial)
        self._started.discard(trial)
        self._record(trial, TERMINATED)

    def _move_to_smaller_share(self, worker: _Worker) -> None:
        """Trials had a whole GPU while nothing was known; their states are saved, and they go on with their share."""
        if worker.measured or not self._packing.measured:
            return
        worker.measured = True
        for trial in [trial for trial in worker.trials if self._packing.of(trial).share < worker.share]:
            worker.trials.remove(trial)
            self._started.discard(trial)
            self._wait(replace(self._suggestions[trial], known_epoch=self._controller.records[trial].last_epoch))

    def _failed(self, trial: str, failure: Failure, share: float) -> None:
        """A trial has failed by itself with this share of a GPU, or lost its machine."""
        record, memory = self._controller.records[trial], self._packing.of(trial)
        again = self._end_now() is None and may_retry(record, failure)
        if again and failure.kind == "memory":
            had = replace(memory, share=share)
            more = had.more(splits=TASKS[self._controller.plan.task].splits_batches(record.config))
            again = more is not None
            failure = failure if again else with_advice(failure, record.config, had.share)
            memory = more or memory
        if again:
            self._again(trial, failure, memory)
            return
        self._started.discard(trial)
        self._on_failure(trial, failure)
        self._controller.fail(trial, failure.reason)
        self._record(trial, ERROR)

    def _again(self, trial: str, failure: Failure, memory: Memory, group: IsolationGroup | None = None) -> None:
        """Lets a trial wait for another worker."""
        self._started.discard(trial)
        self._on_failure(trial, failure)
        suspects = None if group is None else (group.first, group.count)
        known_epoch = self._controller.retry(retried(trial, failure, memory, suspects))
        self._wait(replace(self._suggestions[trial], known_epoch=known_epoch))

    def _measure(
        self, shape: Shape | IsolationGroup, num_trials: int, epochs: Sequence[EpochResult], peak_share: float | None
    ) -> None:
        """An epoch's seconds are a trial's part of the worker's, so together they are the worker's."""
        if isinstance(shape, IsolationGroup):
            return
        if self.size.observe(shape, num_trials, len(epochs), sum(epoch.seconds for epoch in epochs), peak_share):
            limit, settled = self.size.limit(shape), self.size.is_settled(shape)
            self._controller.fuse(Fused(shape=shape, num_trials=limit, settled=settled))

    def _limit(self, shape: Shape | IsolationGroup) -> int:
        return shape.count if isinstance(shape, IsolationGroup) else self.size.limit(shape)

    def _is_one_full(self) -> bool:
        """Whether as many wait for each other as a worker holds."""
        return any(len(group) >= self._limit(shape) for shape, group in self._waiting.items())

    def _joining(self, worker: _Worker) -> list[Suggestion]:
        closed = self.size.is_single or isinstance(worker.shape, IsolationGroup) or not self._may_refill()
        free = 0 if closed else max(0, self._limit(worker.shape) - len(worker.trials))
        while len(self._waiting.get(worker.shape, ())) < free and self.num_waiting < self.size.most and self._draw():
            pass
        return self._taken(worker.shape, free)

    def _draw(self) -> bool:
        """Lets one more suggestion wait; says whether there was one."""
        suggestion = self._controller.next()
        if suggestion is not None:
            self._record(suggestion.trial, RUNNING)
            self._wait(suggestion)
        return suggestion is not None

    def _wait(self, suggestion: Suggestion) -> None:
        self._waiting.setdefault(self._shape(suggestion), []).append(suggestion)

    def _taken(self, shape: Shape | IsolationGroup, count: int) -> list[Suggestion]:
        waiting = self._waiting.get(shape, [])
        taken, left = waiting[:count], waiting[count:]
        self._waiting[shape] = left
        if not left:
            del self._waiting[shape]
        for suggestion in taken:
            self._suggestions[suggestion.trial] = suggestion
        return taken

    def _drop_waiting(self) -> None:
        """A search that has used up a budget begins nobody more."""
        spent = self._controller.spent
        if spent is None:
            return
        for suggestion in [each for group in self._waiting.values() for each in group]:
            self._controller.stop(suggestion.trial, spent)
            self._record(suggestion.trial, TERMINATED)
        self._waiting.clear()

    def _shape(self, suggestion: Suggestion) -> Shape | IsolationGroup:
        suspects = self._controller.records[suggestion.trial].suspects
        if suspects is not None:
            return IsolationGroup(*suspects)
        memory = self._packing.of(suggestion.trial)
        return (suggestion.fold, memory.share, memory.batch_parts, *(suggestion.config[name] for name in self._shapes))
