"""What every search does with its trials, whoever chooses them: hear, write down, drop repeats, end."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from search.records.events import (
    Checkpointed,
    Continued,
    EpochResult,
    Event,
    Failed,
    Finished,
    Fused,
    Interrupted,
    Packed,
    Paused,
    Promoted,
    Reported,
    Retried,
    Saved,
    Started,
    Stopped,
    Suggested,
)
from search.records.ledger import Journal
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.trials import TrialRecord
from search.strategy.schedulers import Verdict
from search.strategy.suggestion import Suggestion
from search.strategy.trial_queue import TrialQueue

Outcome = Literal["finished", "stopped", "failed"]


class SearchController(ABC):
    """Drives a search without knowing what runs it. Whatever happens is in the journal before anyone acts on it.

    A subclass chooses trials (`_choose`) and judges them (`_hear`); everything else is here. What follows from an event is done
    when the journal delivers it (`on_event`), now as after a crash, when `_take_up` has every event of the past delivered again:
    decisions in it are taken over, not taken again.

    Args:    plan: of the search.
             journal: of the search.
             state: that the journal keeps up to date, with all that it held already; None to have one made.
    """

    def __init__(self, plan: Plan, journal: Journal, state: SearchState | None = None) -> None:
        self.plan, self._journal, self._has_state = plan, journal, state is not None
        self.state = SearchState(plan.objective, plan.constraints) if state is None else state
        self._suggestions: dict[str, Suggestion] = {}
        self._queue = TrialQueue()
        self._num_epochs, self._gpu_s = 0, 0.0
        self._verdicts: dict[str, tuple[Verdict, str]] = {}
        self._restoring = False

    # What a subclass decides.

    @abstractmethod
    def _choose(self) -> Suggestion | None:
        """A trial never begun before; None when none may begin now."""

    @property
    @abstractmethod
    def num_to_come(self) -> int:
        """Trials never begun that may still be chosen, budgets aside."""

    @abstractmethod
    def _enter(self, suggestion: Suggestion) -> None:
        """Takes note of a trial, new or restored."""

    def _hear(self, trial: str, epoch: EpochResult) -> tuple[Verdict, str]:
        """Takes note of a validated epoch; says what becomes of the trial, and at which rung."""
        return "go on", ""

    def _promotable(self) -> str | None:
        """A paused trial that should go on before a new one begins."""
        return None

    def _promote(self, trial: str) -> None:  # noqa: B027 - a race promotes nobody
        """Takes note that it goes on."""

    @abstractmethod
    def _end(self, trial: str, outcome: Outcome, reason: str) -> None:
        """Takes note of a trial's end."""

    def _unworthy(self, trial: str) -> str | None:
        """Why a trial that ended by itself counts as failed; None when it does not."""
        return None

    @abstractmethod
    def _apply(self, event: Event) -> None:
        """Takes over an event of the subclass's own."""

    # What a search asks.

    @property
    def records(self) -> Mapping[str, TrialRecord]:
        """Every trial, by its id."""
        return self.state.trials

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which a trial must report at once."""
        return ()

    @property
    def num_running(self) -> int:
        """Trials that take up a slot."""
        return len(self._queue.running)

    @property
    def spent(self) -> str | None:
        """The budget that is used up, None while there is some left of each."""
        plan = self.plan
        if plan.epoch_budget is not None and self._num_epochs >= plan.epoch_budget:
            return "epoch budget"
        if plan.gpu_hours is not None and self._gpu_s >= 3600 * plan.gpu_hours:
            return "GPU hours"
        return None

    @property
    def exhausted(self) -> bool:
        """Whether no trial will be begun or taken up again."""
        if self.spent is not None:
            return True
        return not self.num_to_come and not self._queue.running and not self._queue.waiting and self._promotable() is None

    def next(self) -> Suggestion | None:
        """What to train in a free slot: one that was interrupted, one to be promoted, or a new one."""
        if self.spent is not None:
            return None
        if self._queue.waiting:
            return self._go_on(Continued(trial=self._queue.waiting[0]))
        promoted = self._promotable()
        if promoted is not None:
            return self._go_on(Promoted(trial=promoted))
        suggestion = self._choose() if self.num_to_come else None
        if suggestion is not None:
            self._journal.append(suggestion.event())
        return suggestion

    def _go_on(self, event: Continued | Promoted) -> Suggestion:
        self._journal.append(event)
        return replace(self._suggestions[event.trial], known_epoch=self.records[event.trial].last_epoch)

    def start(self, trial: str, where: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
        """A trial trains, here, and this is what it does otherwise than its paper."""
        self._journal.append(Started(trial=trial, where=dict(where), notes=list(notes)))

    def retry(self, event: Retried) -> int:
        """A trial begins again elsewhere, through no fault of its own, or with more of a GPU.

        Returns: the epoch from which it can go on.
        """
        self._journal.append(event)
        return self.records[event.trial].last_epoch

    def pack(self, gpus_per_trial: float) -> None:
        """Trials that begin from now on get this share of a GPU."""
        self._journal.append(Packed(gpus_per_trial=gpus_per_trial))

    def fuse(self, event: Fused) -> None:
        """So many trials of a shape train as one program from now on."""
        self._journal.append(event)

    @property
    def num_wanted(self) -> int:
        """Trials that could run now if there were room for all."""
        return len(self._queue.running) + len(self._queue.waiting) + self.num_to_come

    def report(
        self,
        trial: str,
        epochs: Sequence[EpochResult],
        ended: str | None,
        checkpoint: Checkpointed | None = None,
        saved_epoch: int | None = None,
    ) -> bool:
        """Takes all epochs since the last report; those heard before a crash and trained again are not news.

        Args:    trial: its id.
                 epochs: in order.
                 ended: why the trial is over by itself, None when it goes on.
                 checkpoint: the model that is kept, if one of these epochs is the best.
                 saved_epoch: the epoch from which the trial can go on, if a state was saved.
        Returns: whether the trial must leave its slot now; `is_paused` tells whether for good.
        """
        record = self.records[trial]
        fresh = [epoch for epoch in epochs if epoch.epoch > record.last_epoch]
        events: list[Event] = [Reported(trial=trial, epochs=fresh)] if fresh else []
        is_best = any(epoch.is_best for epoch in fresh)
        # What is trained again after a crash may be kept for a while: it is news where it is of the best epoch that was reported.
        if checkpoint and checkpoint.epoch != record.checkpoint_epoch and (is_best or checkpoint.epoch == record.best_epoch):
            events.append(record.beside([*record.epochs, *fresh], checkpoint))
        if saved_epoch is not None:
            events.append(Saved(trial=trial, epoch=saved_epoch))
        self._journal.extend(events)
        self._decide(trial, ended)
        return trial not in self._queue.running

    def is_paused(self, trial: str) -> bool:
        """Whether a trial waits to be promoted."""
        return trial in self._queue.paused

    def _take(self, trial: str, epochs: Iterable[EpochResult]) -> None:
        """Hears epochs in order; the first verdict that is not to go on stands, and later epochs are not judged."""
        for epoch in epochs:
            self._num_epochs += 1
            self._gpu_s += epoch.seconds * (epoch.gpus if epoch.gpus is not None else self.plan.gpus_per_trial or 0.0)
            verdict, rung = self._hear(trial, epoch)
            if verdict != "go on" and trial not in self._verdicts:
                self._verdicts[trial] = (verdict, rung)

    def _decide(self, trial: str, ended: str | None) -> None:
        verdict, rung = self._verdicts.pop(trial, ("go on", ""))
        if ended is not None:
            self.finish(trial, ended)
        elif verdict == "stop":
            self.stop(trial, rung)
        elif verdict == "pause":
            self._journal.append(Paused(trial=trial, reason=rung))
        elif self.spent is not None:
            self.stop(trial, self.spent)

    def finish(self, trial: str, reason: str) -> None:
        """A trial has ended by itself."""
        unworthy = self._unworthy(trial)
        if unworthy is not None:
            self.fail(trial, unworthy)
        else:
            self._journal.append(Finished(trial=trial, reason=reason))

    def stop(self, trial: str, reason: str) -> None:
        """Ends a trial early."""
        self._journal.append(Stopped(trial=trial, reason=reason))

    def fail(self, trial: str, reason: str) -> None:
        """A trial broke or diverged."""
        self._journal.append(Failed(trial=trial, reason=reason))

    def settle(self) -> None:
        """Ends the trials that wait and will never go on; called when nothing runs any more."""
        if self.exhausted:
            for trial in list(self._queue.waiting):
                self.stop(trial, self.spent or "search")
            for trial in sorted(self._queue.paused):
                self.stop(trial, f"{self.records[trial].reason or 'rung'}, not promoted")

    def interrupt(self, reason: str) -> None:
        """The search ends before its running trials; they can go on later."""
        # What broke the search may have kept it from hearing of an end that was written down.
        for trial in sorted(t for t in self._queue.running if self.records[t].state in ("suggested", "running")):
            self._journal.append(Interrupted(trial=trial, reason=reason))

    # What follows from what was written down.

    def on_event(self, event: Event) -> None:
        """Takes an event of the journal, which the state holds already."""
        self._queue.apply(event)
        match event:
            case Suggested():
                self._suggestions[event.trial] = suggestion = Suggestion.of(event)
                self._enter(suggestion)
            case Reported():
                self._take(event.trial, event.epochs)
            case Promoted():
                self._promote(event.trial)
            case Paused():
                self._verdicts.pop(event.trial, None)
            case Finished() | Stopped() | Failed():
                self._verdicts.pop(event.trial, None)
                self._end(event.trial, event.event, event.reason)
            case _:
                self._apply(event)

    def _take_up(self, past: Iterable[Event]) -> None:
        """Follows the journal, from all that it held before on; trials that had not ended wait to go on.

        Args:    past: events of earlier processes.
        """
        self._restoring = True
        for event in past:
            if not self._has_state:
                self.state.apply(event)
            self.on_event(event)
        self._restoring = False
        if not self._has_state:
            self._journal.subscribe(self.state.apply)
        self._journal.subscribe(self.on_event)
        self._queue.wait_all()
        for trial in list(self._verdicts):  # judged, and killed before the verdict was written down
            self._queue.go(trial)
            self._decide(trial, None)
