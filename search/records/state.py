"""Where a search stands, as its ledger tells it."""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from search.records.constraints import Constraint
from search.records.events import (
    CheckpointDeleted,
    Checkpointed,
    Continued,
    Event,
    Failed,
    Finished,
    Fused,
    Interrupted,
    Noted,
    OutOfRace,
    Packed,
    Paused,
    Promoted,
    Reported,
    Retried,
    RungDropped,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    Started,
    Stopped,
    Suggested,
    Terminated,
    TrialEvent,
    WarmStarted,
)
from search.records.trials import ENDED, State, TrialRecord
from spaces.fields import Value
from trainables.contract import Objective
from trainables.selection import rank_key


class SearchState:
    """Where a search stands: the one fold of its ledger, which all others read.

    Args:    objective: decides which trial is better.
             constraints: a trial that keeps them is better than any that does not.
    """

    def __init__(self, objective: Objective, constraints: Sequence[Constraint] = ()) -> None:
        self.objective, self.constraints = objective, constraints
        self.trials: dict[str, TrialRecord] = {}
        #: Why its last process ended, None while it runs.
        self.ended: str | None = None
        #: By the search's own clock.
        self.wall_s = 0.0
        #: Share of a GPU for trials that begin, None where the plan's is not changed.
        self.packed: float | None = None
        #: Shape of fused trials → the last that was decided of it.
        self.fused: dict[tuple[Value, ...], Fused] = {}
        #: First rungs at which nobody is judged any more.
        self.num_dropped_rungs = 0
        #: Configuration of a confirmation → why no further run of it begins.
        self.out_of_race: dict[str, str] = {}
        self._order: dict[str, int] = {}
        self._counts: Counter[State] = Counter()
        self._leader: TrialRecord | None = None
        self._lead: tuple[float, ...] = ()

    @staticmethod
    def of(events: Iterable[Event], objective: Objective, constraints: Sequence[Constraint] = ()) -> "SearchState":
        """The state after all these events."""
        state = SearchState(objective, constraints)
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        """Takes one event."""
        self.wall_s = max(self.wall_s, event.elapsed_s)
        match event:
            case SearchResumed():
                self.ended = None
            case SearchEnded():
                self.ended = event.reason
            case Packed():
                self.packed = event.gpus_per_trial
            case Fused():
                self.fused[tuple(event.shape)] = event
            case RungDropped():
                self.num_dropped_rungs += 1
            case OutOfRace():
                self.out_of_race[event.candidate] = event.reason
            case Suggested():
                self._suggested(event)
            case SearchStarted() | Noted() | Terminated() | WarmStarted():
                pass
            case _:
                self._apply_to(self.trials[event.trial], event)

    def _suggested(self, event: Suggested) -> None:
        trial = TrialRecord(event.trial, event.config, event.seed, fold=event.fold, max_epochs=event.epochs)
        trial.suggested, trial.suggested_s, trial.heard_s = event.time, event.elapsed_s, event.elapsed_s
        self.trials[trial.trial] = trial
        self._order[trial.trial] = len(self._order)
        self._counts["suggested"] += 1

    def _apply_to(self, trial: TrialRecord, event: TrialEvent) -> None:
        match event:
            case Started():
                self._turn(trial, "running", trial.reason)
                trial.where, trial.notes = event.where, event.notes
            case Retried():
                trial.retry(event)
            case Reported():
                self._reported(trial, event)
            case Checkpointed():
                trial.keep(event)
                if event.metrics:
                    trial.value = trial.best_metrics[self.objective.metric]
                    self._compare(trial)
            case CheckpointDeleted():
                if trial.checkpoint == event.path:
                    trial.checkpoint = trial.sha256 = None
            case Promoted() | Continued():
                self._turn(trial, "running", None)
            case Interrupted() if trial.state not in ("suggested", "running"):
                pass  # it had ended: the process that wrote this died before it heard of that
            case Paused() | Finished() | Stopped() | Failed() | Interrupted():
                self._turn(trial, event.event, event.reason)
                trial.ended = event.time if event.event in ENDED else None
                self._compare(trial)

    def _reported(self, trial: TrialRecord, event: Reported) -> None:
        trial.heard_s = event.elapsed_s
        for epoch in event.epochs:
            trial.add_epoch(replace(epoch, time=event.time))
            if epoch.is_best:
                trial.value = trial.best_metrics[self.objective.metric]
        self._compare(trial)

    def _turn(self, trial: TrialRecord, state: State, reason: str | None) -> None:
        self._counts[trial.state] -= 1
        self._counts[state] += 1
        trial.state, trial.reason = state, reason

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


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one is nowhere worse and somewhere better; more is better."""
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))
