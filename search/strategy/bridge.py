"""The bridge between sampler, scheduler, study and ledger: one object that asks, hears and decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from search.records.ledger import Ledger
from search.records.plan import Plan
from search.records.study import TRIAL_ATTRIBUTE
from search.records.trials import TrialRecord
from search.strategy.distributions import paper_config, searched_fields, suggest
from search.strategy.schedulers import Scheduler
from spaces.fields import Field, Value


@dataclass(frozen=True)
class Suggestion:
    """What to try next.

    Args:    trial: its id, the same in the ledger, in Tune, in Optuna and in MLflow.
             config: every field of the space.
             seed: of its training.
    """

    trial: str
    config: Mapping[str, Value]
    seed: int


class Bridge:
    """Drives a search without knowing what runs it. Whatever happens is in the ledger first.

    Args:    plan: of the search.
             fields: of the task's space.
             study: in memory, empty.
             scheduler: decides who goes on.
             ledger: of the search.
    """

    def __init__(
        self,
        plan: Plan,
        fields: Mapping[str, Field],
        study: optuna.Study,
        scheduler: Scheduler,
        ledger: Ledger,
    ) -> None:
        self.plan, self.study, self.scheduler = plan, study, scheduler
        self._fields, self._ledger = fields, ledger
        self._running: dict[str, optuna.Trial] = {}
        self._records: dict[str, TrialRecord] = {}
        self._num_suggested = self._num_epochs = 0
        self._enqueue_paper()

    def _enqueue_paper(self) -> None:
        """Makes the paper's configuration the first trial, as far as the fixed fields leave it."""
        paper = paper_config(self._fields, self.plan.fixed)
        searched = [field.name for field in searched_fields(self._fields, self.plan.fixed)]
        self.study.enqueue_trial({name: paper[name] for name in searched if paper[name] is not None})

    @property
    def exhausted(self) -> bool:
        """Whether no further trial will be suggested."""
        budget = self.plan.epoch_budget
        return self._num_suggested >= self.plan.num_trials or (budget is not None and self._num_epochs >= budget)

    @property
    def num_running(self) -> int:
        """Trials suggested and not ended."""
        return len(self._running)

    def ask(self) -> Suggestion:
        """The next trial."""
        trial = self.study.ask()
        name = f"t{trial.number:04d}"
        trial.set_user_attr(TRIAL_ATTRIBUTE, name)
        config = suggest(trial, self._fields, self.plan.fixed)
        suggestion = Suggestion(name, config, self.plan.seed + trial.number)
        self._ledger.append("suggested", trial=name, config=config, seed=suggestion.seed)
        self._num_suggested += 1
        self._running[name], self._records[name] = trial, TrialRecord(name, config, suggestion.seed)
        return suggestion

    def start(self, trial: str, where: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
        """A trial has begun to train, here, and this is what it does otherwise than its paper."""
        self._ledger.append("started", trial=trial, where=dict(where), notes=list(notes))

    def report(
        self,
        trial: str,
        epochs: Sequence[Mapping[str, Any]],
        ended: str | None,
        checkpoint: Mapping[str, Any] | None = None,
        saved_epoch: int | None = None,
    ) -> bool:
        """Takes all epochs since the last report.

        Args:    trial: its id.
                 epochs: one object per epoch: epoch, metrics, score, seconds, is_best.
                 ended: why the trial is over by itself, None when it goes on.
                 checkpoint: epoch, path and sha256 of the model of its best epoch, if that is among these epochs.
                 saved_epoch: the epoch from which the trial can go on, if a state was saved.
        Returns: whether the trial must end now.
        """
        self._ledger.append("reported", trial=trial, epochs=[dict(epoch) for epoch in epochs])
        if checkpoint is not None:
            self._ledger.append("checkpointed", trial=trial, **checkpoint)
        if saved_epoch is not None:
            self._ledger.append("saved", trial=trial, epoch=saved_epoch)
        self._num_epochs += len(epochs)
        sign, record = self.plan.objective.sign, self._records[trial]
        stopped_at = None
        for epoch in epochs:
            if not self.plan.further_objectives:  # Optuna takes no intermediate values beside several objectives
                self._running[trial].report(epoch["score"], epoch["epoch"])
            record.add_epoch(epoch)
            if stopped_at is None and self.scheduler.should_stop(epoch["epoch"], sign * epoch["score"]):
                stopped_at = epoch["epoch"]
        if ended is not None:
            self._finish(trial, ended)
        elif stopped_at is not None:
            self.stop(trial, f"rung {stopped_at}")
        elif self.plan.epoch_budget is not None and self._num_epochs >= self.plan.epoch_budget:
            self.stop(trial, "epoch budget")
        if trial not in self._running:
            del self._records[trial]
        return trial not in self._running

    def _finish(self, trial: str, reason: str) -> None:
        scores = self._records[trial].scores(self.plan.objectives)
        if scores is None:
            names = ", ".join(objective.metric for objective in self.plan.further_objectives)
            self.fail(trial, f"{names} must be reported to be an objective; got none at the best epoch (--metric)")
            return
        self._ledger.append("finished", trial=trial, reason=reason)
        self.study.tell(self._running.pop(trial), list(scores))

    def stop(self, trial: str, reason: str) -> None:
        """Ends a trial early; Optuna hears of it as pruned at its last epoch."""
        self._ledger.append("stopped", trial=trial, reason=reason)
        self.study.tell(self._running.pop(trial), state=TrialState.PRUNED)

    def fail(self, trial: str, reason: str) -> None:
        """A trial broke or diverged."""
        self._ledger.append("failed", trial=trial, reason=reason)
        failed = self._running.pop(trial)
        failed.set_user_attr("reason", reason)
        self.study.tell(failed, state=TrialState.FAIL)

    def interrupt(self, reason: str) -> None:
        """Ends all trials that still run because the search ends before them."""
        for trial, running in list(self._running.items()):
            self._ledger.append("interrupted", trial=trial, reason=reason)
            del self._running[trial]
            running.set_user_attr("reason", reason)
            self.study.tell(running, state=TrialState.FAIL)
