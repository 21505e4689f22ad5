"""The trials of a search, as its ledger tells them."""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from search.records.constraints import Constraint
from search.records.ledger import Event
from spaces.fields import Value
from trainables.contract import Objective
from trainables.selection import rank_key, window_of

State = Literal["suggested", "running", "paused", "finished", "stopped", "failed", "interrupted"]
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
             best_window: validations that this score is the mean of.
             best_metrics: all metrics of its best epoch.
             checkpoint: its best checkpoint's folder, relative to the search's, None when there is none (any more).
             sha256: of that checkpoint.
             where: host, device and process it ran in.
             notes: what it does otherwise than its paper, a line each.
             fold: of the cases that it trains on, None for the data's own split.
             checkpoint_epoch: of the newest checkpoint written down, 0 before the first.
             retries: why it was started again, a line each time.
    """

    trial: str
    config: Mapping[str, Value]
    seed: int
    state: State = "suggested"
    reason: str | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_window: int = 0
    value: float | None = None
    score: float | None = None
    best_metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str | None = None
    sha256: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    fold: int | None = None
    checkpoint_epoch: int = 0
    retries: list[str] = field(default_factory=list)

    @property
    def last_epoch(self) -> int:
        """Validated last, 0 before the first."""
        return int(self.epochs[-1]["epoch"]) if self.epochs else 0

    def add_epoch(self, epoch: Mapping[str, Any]) -> None:
        """Takes a validated epoch."""
        self.epochs.append(dict(epoch))
        if epoch["is_best"]:
            self.best_epoch, self.score, self.best_metrics = epoch["epoch"], epoch["score"], epoch["metrics"]
            self.best_window = window_of(epoch)

    def excess(self, constraints: Sequence[Constraint]) -> float:
        """How far its best epoch is beyond all limits together; 0 when it keeps them."""
        return math.fsum(max(0.0, constraint.excess(self.best_metrics)) for constraint in constraints)

    def scores(self, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
        """Every objective at its best epoch, as a trailing mean like `score`; None where one was not reported.

        Args:    objectives: the one that ranks first.
        """
        if self.score is None:
            return None
        found = [self.score, *(self.mean_at_best(objective.metric) for objective in objectives[1:])]
        known = tuple(score for score in found if score is not None)
        return known if len(known) == len(found) else None

    def mean_at_best(self, metric: str) -> float | None:
        """A metric's trailing mean at the best epoch, over as many validations as the score; None where it was not reported."""
        first = self.best_epoch - max(self.best_window, 1)
        window = [e["metrics"] for e in self.epochs if first < e["epoch"] <= self.best_epoch]
        values = [metrics[metric] for metrics in window if metric in metrics]
        return math.fsum(values) / len(values) if values else None

    @property
    def train_s(self) -> float:
        """Seconds of its epochs."""
        return sum(float(epoch["seconds"]) for epoch in self.epochs)

    def gpu_s(self, planned: float) -> float:
        """Seconds of whole GPUs that its epochs took.

        Args:    planned: share of a GPU where an epoch does not say its own.
        """
        return sum(float(epoch["seconds"]) * float(epoch.get("gpus", planned)) for epoch in self.epochs)


class TrialTable:
    """Folds a ledger's events into trials.

    Args:    objective: decides which trial is better.
             constraints: a trial that keeps them is better than any that does not.
    """

    def __init__(self, objective: Objective, constraints: Sequence[Constraint] = ()) -> None:
        self.objective, self.constraints = objective, constraints
        self.trials: dict[str, TrialRecord] = {}
        self.ended: str | None = None
        self.wall_s = 0.0
        self._order: dict[str, int] = {}
        self._counts: Counter[State] = Counter()
        self._leader: TrialRecord | None = None
        self._lead: tuple[float, ...] = ()

    @staticmethod
    def of(events: Iterable[Event], objective: Objective, constraints: Sequence[Constraint] = ()) -> "TrialTable":
        """The table after all these events."""
        table = TrialTable(objective, constraints)
        for event in events:
            table.apply(event)
        return table

    def apply(self, event: Event) -> None:
        """Takes one event."""
        self.wall_s = max(self.wall_s, float(event["elapsed_s"]))
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def ranked(self, among: Iterable[TrialRecord] | None = None) -> list[TrialRecord]:
        """Trials with a score, best first, those beyond a limit last; a failed trial is never among them.

        Args:    among: these trials, None for all.
        """
        trials = list(self.trials.values()) if among is None else among
        return sorted((t for t in trials if t.score is not None and t.state != "failed"), key=self._key, reverse=True)

    def first(self, count: int, among: Iterable[TrialRecord]) -> list[TrialRecord]:
        """The first few of `ranked(among)`, without ranking the others."""
        scored = (trial for trial in among if trial.score is not None and trial.state != "failed")
        return heapq.nlargest(count, scored, key=self._key)

    @property
    def best(self) -> TrialRecord | None:
        """The best trial that keeps all limits, over all trials and epochs; None when there is none."""
        leader = self.leader
        return leader if leader is not None and not leader.excess(self.constraints) else None

    @property
    def leader(self) -> TrialRecord | None:
        """The first of `ranked`, without ranking the others."""
        return self._leader

    def _standing(self, trial: TrialRecord) -> tuple[float, ...]:
        """Orders trials that are in the running; of equals the first is ahead."""
        return *self._key(trial), -self._order[trial.trial]

    def _compare(self, trial: TrialRecord) -> None:
        """Keeps the leader up to date with a trial that has changed; only one that falls back costs a look at all."""
        running = trial.score is not None and trial.state != "failed"
        if running and (self._leader is None or self._standing(trial) >= self._lead):
            self._leader = trial
        elif trial is self._leader:
            scored = [t for t in self.trials.values() if t.score is not None and t.state != "failed"]
            self._leader = max(scored, key=self._standing, default=None)
        self._lead = () if self._leader is None else self._standing(self._leader)

    def _key(self, trial: TrialRecord) -> tuple[float, int, float]:
        return -trial.excess(self.constraints), *rank_key(trial.best_window, float(trial.score or 0.0), self.objective.sign)

    def pareto(self, objectives: Sequence[Objective], among: Iterable[TrialRecord] | None = None) -> list[TrialRecord]:
        """Trials that no other one equals in every objective and beats in one, best first by the one that ranks.

        As in ranking, a mean over fewer than three validations never beats one over three.

        Args:    among: these trials, None for all.
        """
        ranked = [trial for trial in self.ranked(among) if not trial.excess(self.constraints)]
        validated = [trial for trial in ranked if trial.best_window == ranked[0].best_window]
        scored = [(trial, scores) for trial in validated if (scores := trial.scores(objectives)) is not None]
        gains = {t.trial: [o.sign * s for o, s in zip(objectives, scores, strict=True)] for t, scores in scored}
        return [t for t, _ in scored if not any(_dominates(other, gains[t.trial]) for other in gains.values())]

    def front_first(self, objectives: Sequence[Objective], among: Iterable[TrialRecord] | None = None) -> list[TrialRecord]:
        """`ranked`, but with several objectives the Pareto front of these trials stands before the others."""
        trials = None if among is None else list(among)
        ranked = self.ranked(trials)
        if len(objectives) < 2:
            return ranked
        front = self.pareto(objectives, trials)
        return [*front, *(trial for trial in ranked if trial not in front)]

    def count(self, *states: State) -> int:
        """Trials in any of these states."""
        return sum(self._counts[state] for state in states)

    def _turn(self, trial: TrialRecord, state: State, reason: str | None) -> None:
        self._counts[trial.state] -= 1
        self._counts[state] += 1
        trial.state, trial.reason = state, reason

    def _on_suggested(self, event: Event) -> None:
        name = event["trial"]
        self.trials[name] = TrialRecord(name, event["config"], event["seed"], fold=event.get("fold"))
        self._order[name] = len(self._order)
        self._counts["suggested"] += 1

    def _on_started(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        self._turn(trial, "running", trial.reason)
        trial.where, trial.notes = event["where"], event["notes"]

    def _on_retried(self, event: Event) -> None:
        self.trials[event["trial"]].retries.append(event["reason"])

    def _on_reported(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        for epoch in event["epochs"]:
            trial.add_epoch({**epoch, "time": event["time"]})
            if epoch["is_best"]:
                trial.value = epoch["metrics"][self.objective.metric]
        self._compare(trial)

    def _on_checkpointed(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        trial.checkpoint, trial.sha256, trial.checkpoint_epoch = event["path"], event["sha256"], event["epoch"]

    def _on_checkpoint_deleted(self, event: Event) -> None:
        trial = self.trials[event["trial"]]
        if trial.checkpoint == event["path"]:
            trial.checkpoint = trial.sha256 = None

    def _on_paused(self, event: Event) -> None:
        self._end(event, "paused")

    def _on_promoted(self, event: Event) -> None:
        self._turn(self.trials[event["trial"]], "running", None)

    def _on_continued(self, event: Event) -> None:
        self._on_promoted(event)

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
        self._turn(trial, state, event["reason"])
        self._compare(trial)

    def _on_search_resumed(self, event: Event) -> None:
        self.ended = None

    def _on_search_ended(self, event: Event) -> None:
        self.ended = event["reason"]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one is nowhere worse and somewhere better; more is better."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))
