"""The trials of a search, as its ledger tells them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from search.records.ledger import Event
from spaces.fields import Value
from trainables.contract import Objective
from trainables.selection import rank_key

State = Literal["suggested", "running", "finished", "stopped", "failed", "interrupted"]
ENDED: tuple[State, ...] = ("finished", "stopped", "failed")


@dataclass
class TrialRecord:
    """One trial.

    Args:    trial: its id.
             config: its hyperparameters.
             seed: of its training.
             state: where it is; "stopped" is by the scheduler or a budget, "finished" by itself.
             reason: why it ended, None while it goes on.
             epochs: one object per validated epoch: epoch, metrics, score, seconds, is_best.
             best_epoch, value, score: of its best epoch; 0 and None before the first.
             checkpoint: its best checkpoint's folder, relative to the search's, None when there is none (any more).
             sha256: of that checkpoint.
             where: host, device and process it ran in.
    """

    trial: str
    config: Mapping[str, Value]
    seed: int
    state: State = "suggested"
    reason: str | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    value: float | None = None
    score: float | None = None
    checkpoint: str | None = None
    sha256: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    @property
    def train_s(self) -> float:
        """Seconds of its epochs."""
        return sum(float(epoch["seconds"]) for epoch in self.epochs)


class TrialTable:
    """Folds a ledger's events into trials.

    Args:    objective: decides which trial is better.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.trials: dict[str, TrialRecord] = {}
        self.ended: str | None = None
        self.wall_s = 0.0

    @staticmethod
    def of(events: Iterable[Event], objective: Objective) -> "TrialTable":
        """The table after all these events."""
        table = TrialTable(objective)
        for event in events:
            table.apply(event)
        return table

    def apply(self, event: Event) -> None:
        """Takes one event."""
        self.wall_s = max(self.wall_s, float(event["elapsed_s"]))
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def ranked(self) -> list[TrialRecord]:
        """Trials with a score, best first; a failed trial is never among them."""
        scored = [t for t in list(self.trials.values()) if t.score is not None and t.state != "failed"]
        return sorted(scored, key=self._key, reverse=True)

    def _key(self, trial: TrialRecord) -> tuple[int, float]:
        return rank_key(trial.best_epoch, float(trial.score or 0.0), self.objective.sign)

    def count(self, *states: State) -> int:
        """Trials in any of these states."""
        return sum(trial.state in states for trial in list(self.trials.values()))

    def _on_suggested(self, event: Event) -> None:
        self.trials[event["trial"]] = TrialRecord(event["trial"], event["config"], event["seed"])

    def _on_started(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.state, trial.where = "running", event["where"]

    def _on_reported(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        for epoch in event["epochs"]:
            trial.epochs.append(epoch)
            if epoch["is_best"]:
                trial.best_epoch, trial.score = epoch["epoch"], epoch["score"]
                trial.value = epoch["metrics"][self.objective.metric]

    def _on_checkpointed(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.checkpoint, trial.sha256 = event["path"], event["sha256"]

    def _on_checkpoint_deleted(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        if trial.checkpoint == event["path"]:
            trial.checkpoint = trial.sha256 = None

    def _on_finished(self, event: Event) -> None:
        self._end(event, "finished")

    def _on_stopped(self, event: Event) -> None:
        self._end(event, "stopped")

    def _on_failed(self, event: Event) -> None:
        self._end(event, "failed")

    def _on_interrupted(self, event: Event) -> None:
        self._end(event, "interrupted")

    def _end(self, event: Event, state: State) -> None:
        trial = self.trials[event["trial"]]
        trial.state, trial.reason = state, event["reason"]

    def _on_search_ended(self, event: Event) -> None:
        self.ended = event["reason"]
