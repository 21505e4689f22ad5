"""The trials of a search, as its ledger tells them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from search.records.ledger import Event
from spaces.fields import Value
from trainables.contract import SCORE_WINDOW, Objective
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
             notes: what it does otherwise than its paper, a line each.
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
    notes: Sequence[str] = ()

    def add_epoch(self, epoch: Mapping[str, Any]) -> None:
        """Takes a validated epoch."""
        self.epochs.append(dict(epoch))
        if epoch["is_best"]:
            self.best_epoch, self.score = epoch["epoch"], epoch["score"]

    def scores(self, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
        """Every objective at its best epoch, as a trailing mean like `score`; None where one was not reported.

        Args:    objectives: the one that ranks first.
        """
        if self.score is None:
            return None
        window = [e["metrics"] for e in self.epochs if self.best_epoch - SCORE_WINDOW < e["epoch"] <= self.best_epoch]
        found = [self.score]
        for objective in objectives[1:]:
            values = [metrics[objective.metric] for metrics in window if objective.metric in metrics]
            if not values:
                return None
            found.append(math.fsum(values) / len(values))
        return tuple(found)

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

    def pareto(self, objectives: Sequence[Objective]) -> list[TrialRecord]:
        """Trials that no other one equals in every objective and beats in one, best first by the one that ranks.

        As in ranking, a mean over fewer than three validations never beats one over three.
        """
        ranked = self.ranked()
        validated = [t for t in ranked if min(t.best_epoch, SCORE_WINDOW) == min(ranked[0].best_epoch, SCORE_WINDOW)]
        scored = [(trial, scores) for trial in validated if (scores := trial.scores(objectives)) is not None]
        gains = {t.trial: [o.sign * s for o, s in zip(objectives, scores, strict=True)] for t, scores in scored}
        return [t for t, _ in scored if not any(_dominates(other, gains[t.trial]) for other in gains.values())]

    def count(self, *states: State) -> int:
        """Trials in any of these states."""
        return sum(trial.state in states for trial in list(self.trials.values()))

    def _on_suggested(self, event: Event) -> None:
        self.trials[event["trial"]] = TrialRecord(event["trial"], event["config"], event["seed"])

    def _on_started(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.state, trial.where, trial.notes = "running", event["where"], event["notes"]

    def _on_reported(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        for epoch in event["epochs"]:
            trial.add_epoch(epoch)
            if epoch["is_best"]:
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


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one is nowhere worse and somewhere better; more is better."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))
