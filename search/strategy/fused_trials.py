"""Which trials train together as one program, and what becomes of each. No Ray objects, no clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search.records.events import Checkpointed, EpochResult, Fused
from search.records.tune_record import ERROR, RUNNING, TERMINATED
from search.strategy.fault_isolation import IsolationGroup, halved
from search.strategy.fusion_size import FusionSize, Shape
from search.strategy.packing import Memory, Packing, retried, with_advice
from search.strategy.retries import Failure, may_retry
from search.strategy.search_controller import SearchController
from search.strategy.suggestion import Suggestion
from trainables.tasks import TASKS


@dataclass(frozen=True)
class MemberReport:
    """What an array says of one of its trials.

    Args:    trial: its id.
             failure: why it cannot go on, None while it can.
             the rest: see `SearchController.report` and `SearchController.start`.
    """

    trial: str
    epochs: Sequence[EpochResult] = ()
    ended: str | None = None
    checkpoint: Checkpointed | None = None
    saved_epoch: int | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class Change:
    """What an array does before its next epoch.

    Args:    leaving: trials that are no members any more.
             joining: trials that take their places, in order.
             over: whether nobody is left.
    """

    leaving: Sequence[str]
    joining: Sequence[Suggestion]
    over: bool


@dataclass
class _Array:
    """Members in the order of their places, and what they have in common."""

    shape: Shape | IsolationGroup
    members: list[str]


class FusedTrials:
    """Gathers a controller's suggestions by shape, fills arrays with them, and passes on what is heard of each member.

    A suggestion that fits no array with a free place waits for one; at most as many wait as an array holds, so that a sampler is
    never asked far ahead of what it has heard.

    Args:    controller: chooses and judges; every member is a trial of its own to it.
             shapes: fields that members have in common.
             size: of an array.
             packing: knows a trial's memory.
             end_now: why every trial must end, None while none must.
             may_refill: whether this search may keep the slots that it has; others on the cluster may wait for one.
             on_failure: called with every failure, before anything follows from it.
             tell: called with a trial's status as Tune has it.
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
        tell: Callable[[str, str], None] = lambda trial, status: None,
    ) -> None:
        self._controller, self._shapes, self.size = controller, shapes, size
        self._packing = packing
        self._end_now, self._may_refill = end_now, may_refill
        self._on_failure, self._tell = on_failure, tell
        self._arrays: dict[str, _Array] = {}
        self._waiting: dict[Shape | IsolationGroup, list[Suggestion]] = {}
        self._suggestions: dict[str, Suggestion] = {}
        self._started: set[str] = set()
        self._num_begun = 0

    @property
    def num_running(self) -> int:
        """Programs that take up a slot."""
        return len(self._arrays)

    @property
    def num_waiting(self) -> int:
        """Trials that wait for a place."""
        return sum(map(len, self._waiting.values()))

    def begin(self) -> tuple[str, list[Suggestion]] | None:
        """A new array, its id and its members: as many trials of one shape as there are. None when there is none."""
        while not self._is_one_full() and self.num_waiting < self.size.most and self._draw():
            pass
        if not self._waiting:
            return None
        shape = max(self._waiting, key=lambda shape: len(self._waiting[shape]))
        members = self._taken(shape, self._limit(shape))
        name = f"a{self._num_begun:04d}"
        self._num_begun += 1
        self._arrays[name] = _Array(shape, [found.trial for found in members])
        return name, members

    def hear(self, name: str, reports: Sequence[MemberReport], peak_share: float | None = None) -> Change:
        """Takes a report of each member; says who leaves and who joins.

        Args:    name: of the array.
                 reports: in the order of the members' places.
                 peak_share: see `FusionSize.observe`.
        """
        array = self._arrays[name]
        before = list(array.members)
        for report in reports:
            self._hear(array, report, len(before))
        self._measure(array.shape, len(before), [epoch for report in reports for epoch in report.epochs], peak_share)
        reason = self._end_now()
        for trial in list(array.members) if reason is not None else ():
            self._controller.stop(trial, str(reason))
            self._left(array, trial)
        self._drop_waiting()
        leaving = [trial for trial in before if trial not in array.members]
        joining = [] if reason is not None else self._joining(array)
        array.members += [found.trial for found in joining]
        if not array.members:
            del self._arrays[name]
        return Change(leaving, joining, not array.members)

    def broke(self, name: str, failure: Failure) -> None:
        """An array has ended at once; each member goes on from its own state, in another one.

        Where one of them may be the cause they go on in halves, and so on, until it fails alone.
        """
        array = self._arrays.pop(name)
        shared = len(array.members) > 1
        fewer = failure.kind == "memory" and self._shrink(array.shape, len(array.members))
        suspected = shared and not fewer and failure.kind in ("raised", "died", "hung", "memory")
        groups = halved(array.members) if suspected else {}
        for trial in array.members:
            if fewer or suspected:
                self._again(trial, failure, self._packing.of(trial), groups.get(trial))
            else:
                self._failed(trial, failure)
        self._drop_waiting()

    def _shrink(self, shape: Shape | IsolationGroup, num_members: int) -> bool:
        """Makes later arrays of a shape smaller than one that did not fit; says whether they can be."""
        if isinstance(shape, IsolationGroup) or not self.size.ran_out(shape, num_members):
            return False
        self._controller.fuse(Fused(shape=shape, num_trials=self.size.limit(shape), settled=True))
        return True

    def _hear(self, array: _Array, report: MemberReport, num_members: int) -> None:
        trial = report.trial
        over = False
        if report.epochs:
            if trial not in self._started:
                self._started.add(trial)
                self._controller.start(trial, report.where, report.notes)
            over = self._controller.report(trial, report.epochs, report.ended, report.checkpoint, report.saved_epoch)
        if over:
            self._left(array, trial)
        elif report.failure is not None:
            array.members.remove(trial)
            if report.failure.kind == "memory" and self._shrink(array.shape, num_members):
                self._again(trial, report.failure, self._packing.of(trial))
            else:
                self._failed(trial, report.failure)

    def _left(self, array: _Array, trial: str) -> None:
        array.members.remove(trial)
        self._started.discard(trial)
        self._tell(trial, TERMINATED)

    def _failed(self, trial: str, failure: Failure) -> None:
        """A trial has failed by itself, or lost its machine."""
        record, memory = self._controller.records[trial], self._packing.of(trial)
        again = self._end_now() is None and may_retry(record, failure)
        if again and failure.kind == "memory":
            more = memory.more(splits=TASKS[self._controller.plan.task].splits_batches(record.config))
            again = more is not None
            failure = failure if again else with_advice(failure, record.config, memory.share)
            memory = more or memory
        if again:
            self._again(trial, failure, memory)
            return
        self._started.discard(trial)
        self._on_failure(trial, failure)
        self._controller.fail(trial, failure.reason)
        self._tell(trial, ERROR)

    def _again(self, trial: str, failure: Failure, memory: Memory, group: IsolationGroup | None = None) -> None:
        """Lets a trial wait for another array."""
        self._started.discard(trial)
        self._on_failure(trial, failure)
        suspects = None if group is None else (group.first, group.count)
        known_epoch = self._controller.retry(retried(trial, failure, memory, suspects))
        self._wait(replace(self._suggestions[trial], known_epoch=known_epoch))

    def _measure(
        self, shape: Shape | IsolationGroup, num_members: int, epochs: Sequence[EpochResult], peak_share: float | None
    ) -> None:
        """An epoch's seconds are a member's part of the array's, so together they are the array's."""
        if isinstance(shape, IsolationGroup):
            return
        if self.size.observe(shape, num_members, len(epochs), sum(epoch.seconds for epoch in epochs), peak_share):
            limit, settled = self.size.limit(shape), self.size.is_settled(shape)
            self._controller.fuse(Fused(shape=shape, num_trials=limit, settled=settled))

    def _limit(self, shape: Shape | IsolationGroup) -> int:
        return shape.count if isinstance(shape, IsolationGroup) else self.size.limit(shape)

    def _is_one_full(self) -> bool:
        """Whether as many wait for each other as an array holds."""
        return any(len(group) >= self._limit(shape) for shape, group in self._waiting.items())

    def _joining(self, array: _Array) -> list[Suggestion]:
        closed = isinstance(array.shape, IsolationGroup) or not self._may_refill()
        room = 0 if closed else max(0, self._limit(array.shape) - len(array.members))
        while len(self._waiting.get(array.shape, ())) < room and self.num_waiting < self.size.most and self._draw():
            pass
        return self._taken(array.shape, room)

    def _draw(self) -> bool:
        """Lets one more suggestion wait; says whether there was one."""
        suggestion = self._controller.next()
        if suggestion is not None:
            self._tell(suggestion.trial, RUNNING)
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
        for suggestion in [found for group in self._waiting.values() for found in group]:
            self._controller.stop(suggestion.trial, spent)
            self._tell(suggestion.trial, TERMINATED)
        self._waiting.clear()

    def _shape(self, suggestion: Suggestion) -> Shape | IsolationGroup:
        suspects = self._controller.records[suggestion.trial].suspects
        if suspects is not None:
            return IsolationGroup(*suspects)
        memory = self._packing.of(suggestion.trial)
        return (suggestion.fold, memory.share, memory.batch_parts, *(suggestion.config[name] for name in self._shapes))
