"""What every search does with its trials, whoever chooses them: hear, write down, drop repeats, end."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from search.records.ledger import Event, Journal
from search.records.plan import Plan
from search.records.trials import TrialRecord
from search.strategy.schedulers import Verdict
from search.strategy.suggestion import Suggestion
from spaces.fields import Value

Outcome = Literal["finished", "stopped", "failed"]


class Conductor(ABC):
    """Drives a search without knowing what runs it. Whatever happens is in the journal before anyone acts on it.

    A subclass chooses trials (`_choose`) and judges them (`_hear`); everything else is here. After a crash `restore` brings
    back what the journal holds: decisions in it are taken over, not taken again.

    Args:    plan: of the search.
             journal: of the search.
    """

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.plan, self._journal = plan, journal
        self.records: dict[str, TrialRecord] = {}
        self._suggestions: dict[str, Suggestion] = {}
        self._running: set[str] = set()
        self._paused: set[str] = set()
        self._waiting: list[str] = []
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

    def _hear(self, trial: str, epoch: Mapping[str, Any]) -> tuple[Verdict, str]:
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
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which a trial must report at once."""
        return ()

    @property
    def num_running(self) -> int:
        """Trials that take up a slot."""
        return len(self._running)

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
        return not self.num_to_come and not self._running and not self._waiting and self._promotable() is None

    def next(self) -> Suggestion | None:
        """What to train in a free slot: one that was interrupted, one to be promoted, or a new one."""
        if self.spent is not None:
            return None
        if self._waiting:
            return self._go_on(self._waiting.pop(0), "continued")
        promoted = self._promotable()
        if promoted is not None:
            self._promote(promoted)
            self._paused.discard(promoted)
            return self._go_on(promoted, "promoted")
        suggestion = self._choose() if self.num_to_come else None
        if suggestion is not None:
            self._journal.append("suggested", **suggestion.to_json())
            self._note(suggestion)
        return suggestion

    def _go_on(self, trial: str, event: str) -> Suggestion:
        self._journal.append(event, trial=trial)
        self._running.add(trial)
        return replace(self._suggestions[trial], known_epoch=self.records[trial].last_epoch)

    def _note(self, suggestion: Suggestion) -> None:
        trial = suggestion.trial
        self.records[trial] = TrialRecord(trial, suggestion.config, suggestion.seed, fold=suggestion.fold)
        self._suggestions[trial] = suggestion
        self._running.add(trial)
        self._enter(suggestion)

    def start(self, trial: str, where: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
        """A trial trains, here, and this is what it does otherwise than its paper."""
        self._journal.append("started", trial=trial, where=dict(where), notes=list(notes))

    def retry(
        self,
        trial: str,
        kind: str,
        reason: str,
        gpus_per_trial: float,
        batch_parts: int = 1,
        suspects: Sequence[Any] | None = None,
    ) -> int:
        """A trial begins again elsewhere, through no fault of its own, or with more of a GPU.

        Args:    trial: its id.
                 kind: of failure, see `search.strategy.retries`.
                 reason: one line.
                 gpus_per_trial: its share from now on.
                 batch_parts: in which its batches pass from now on.
                 suspects: with whom it trains from now on, since one of them may be the cause; None where it was its own failure.
        Returns: the epoch from which it can go on.
        """
        change = {"gpus_per_trial": gpus_per_trial, "batch_parts": batch_parts}
        company = {} if suspects is None else {"suspects": list(suspects)}
        self._journal.append("retried", trial=trial, kind=kind, reason=reason, **change, **company)
        return self.records[trial].last_epoch

    def pack(self, gpus_per_trial: float) -> None:
        """Trials that begin from now on get this share of a GPU."""
        self._journal.append("packed", gpus_per_trial=gpus_per_trial)

    def fuse(self, shape: Sequence[Value], num_trials: int, *, settled: bool) -> None:
        """So many trials of a shape train as one program from now on.

        Args:    shape: what they have in common.
                 num_trials: at most.
                 settled: whether that has been measured to be enough.
        """
        self._journal.append("fused", shape=list(shape), num_trials=num_trials, settled=settled)

    @property
    def num_wanted(self) -> int:
        """Trials that could run now if there were room for all."""
        return len(self._running) + len(self._waiting) + self.num_to_come

    def report(
        self,
        trial: str,
        epochs: Sequence[Mapping[str, Any]],
        ended: str | None,
        checkpoint: Mapping[str, Any] | None = None,
        saved_epoch: int | None = None,
    ) -> bool:
        """Takes all epochs since the last report; those heard before a crash and trained again are not news.

        Args:    trial: its id.
                 epochs: one object per epoch: epoch, metrics, score, seconds, is_best.
                 ended: why the trial is over by itself, None when it goes on.
                 checkpoint: epoch, path and sha256 of the model of its best epoch, if that is among these epochs.
                 saved_epoch: the epoch from which the trial can go on, if a state was saved.
        Returns: whether the trial must leave its slot now; `is_paused` tells whether for good.
        """
        record = self.records[trial]
        fresh = [dict(epoch) for epoch in epochs if epoch["epoch"] > record.last_epoch]
        events: list[tuple[str, dict[str, Any]]] = []
        if fresh:
            events.append(("reported", {"trial": trial, "epochs": fresh}))
        if checkpoint is not None and checkpoint["epoch"] > record.checkpoint_epoch:
            record.checkpoint_epoch = checkpoint["epoch"]
            events.append(("checkpointed", {"trial": trial, **checkpoint}))
        if saved_epoch is not None:
            events.append(("saved", {"trial": trial, "epoch": saved_epoch}))
        self._journal.extend(events)
        self._take(trial, fresh)
        self._decide(trial, ended)
        return trial not in self._running

    def is_paused(self, trial: str) -> bool:
        """Whether a trial waits to be promoted."""
        return trial in self._paused

    def _take(self, trial: str, epochs: Iterable[Mapping[str, Any]]) -> None:
        """Hears epochs in order; the first verdict that is not to go on stands, and later epochs are not judged."""
        record = self.records[trial]
        for epoch in epochs:
            record.add_epoch(epoch)
            self._num_epochs += 1
            self._gpu_s += float(epoch["seconds"]) * epoch.get("gpus", self.plan.gpus_per_trial or 0.0)
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
            self.records[trial].reason = rung
            self._journal.append("paused", trial=trial, reason=rung)
            self._pause(trial)
        elif self.spent is not None:
            self.stop(trial, self.spent)

    def _pause(self, trial: str) -> None:
        self._running.discard(trial)
        self._paused.add(trial)

    def finish(self, trial: str, reason: str) -> None:
        """A trial has ended by itself."""
        unworthy = self._unworthy(trial)
        if unworthy is not None:
            self.fail(trial, unworthy)
        else:
            self._close(trial, "finished", reason)

    def stop(self, trial: str, reason: str) -> None:
        """Ends a trial early."""
        self._close(trial, "stopped", reason)

    def fail(self, trial: str, reason: str) -> None:
        """A trial broke or diverged."""
        self._close(trial, "failed", reason)

    def _close(self, trial: str, outcome: Outcome, reason: str) -> None:
        self._journal.append(outcome, trial=trial, reason=reason)
        self._note_end(trial, outcome, reason)

    def _note_end(self, trial: str, outcome: Outcome, reason: str) -> None:
        record = self.records[trial]
        record.state, record.reason = outcome, reason
        self._end(trial, outcome, reason)
        self._running.discard(trial)
        self._paused.discard(trial)
        self._verdicts.pop(trial, None)
        if trial in self._waiting:
            self._waiting.remove(trial)
        record.epochs.clear()  # they are in the journal, and a thousand trials' would fill the driver's memory

    def settle(self) -> None:
        """Ends the trials that wait and will never go on; called when nothing runs any more."""
        if self.exhausted:
            for trial in list(self._waiting):
                self.stop(trial, self.spent or "search")
            for trial in sorted(self._paused):
                self.stop(trial, f"{self.records[trial].reason or 'rung'}, not promoted")

    def interrupt(self, reason: str) -> None:
        """The search ends before its running trials; they can go on later."""
        for trial in sorted(self._running):
            self._journal.append("interrupted", trial=trial, reason=reason)
        self._waiting = [*sorted(self._running), *self._waiting]
        self._running.clear()

    def restore(self, events: Iterable[Event]) -> None:
        """Takes over a journal's events; trials that had not ended wait to go on."""
        self._restoring = True
        for event in events:
            kind, trial = event["event"], event.get("trial", "")
            if kind == "suggested":
                self._note(Suggestion.from_json(event))
            elif kind == "reported":
                self._take(trial, event["epochs"])
            elif kind == "checkpointed":
                self.records[trial].checkpoint_epoch = event["epoch"]
            elif kind == "paused":
                self._verdicts.pop(trial, None)
                self.records[trial].reason = event["reason"]
                self._pause(trial)
            elif kind in ("promoted", "continued"):
                if kind == "promoted":
                    self._promote(trial)
                    self._paused.discard(trial)
                self._running.add(trial)
            elif kind in ("finished", "stopped", "failed"):
                self._note_end(trial, kind, event["reason"])
            else:
                self._apply(event)
        self._restoring = False
        self._waiting = sorted(self._running)
        self._running.clear()
        for trial in list(self._verdicts):  # judged, and killed before the verdict was written down
            self._running.add(trial)
            self._waiting.remove(trial)
            self._decide(trial, None)
