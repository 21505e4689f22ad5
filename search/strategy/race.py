"""A race of a few configurations over fresh seeds: each runs on the same ones, and who is out of it runs no further."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from search.records.ledger import Event, Journal
from search.records.plan import Candidate, Plan, trial_number
from search.strategy.conductor import Conductor, Outcome
from search.strategy.suggestion import Suggestion

#: Chance of taking a configuration out although it is as good as the leader.
ERROR = 0.05


@dataclass(frozen=True)
class Heat:
    """One run of a race.

    Args:    candidate: position among the plan's candidates.
             block: position among the pairs of seed and fold, on which all candidates run.
             seed: of its training.
             fold: from 1, None for the data's own split.
    """

    candidate: int
    block: int
    seed: int
    fold: int | None


def heats(plan: Plan) -> list[Heat]:
    """Every run of a race, in order: all candidates on the first seed and fold, then all on the next.

    Args:    plan: of a confirmation; its seed is the first of the fresh ones.
    """
    race = plan.confirmation
    if race is None:
        raise ValueError(f"a race must be of a confirmation; got the search {plan.name}")
    folds = list[int | None]([None]) if race.num_folds == 1 else list(range(1, race.num_folds + 1))
    blocks = [(plan.seed + index, fold) for index in range(race.num_seeds) for fold in folds]
    return [
        Heat(candidate, block, seed, fold)
        for block, (seed, fold) in enumerate(blocks)
        for candidate in range(len(race.candidates))
    ]


def out_of_race(gains: Mapping[int, Mapping[int, float]], standing: Iterable[int], num_looks: int) -> set[int]:
    """Candidates that are worse than the leader beyond what seeds explain.

    Differences to the leader over the blocks that all have run are held against a t-interval whose deviation is pooled over
    the candidates (residuals of candidate and block), one-sided, with Bonferroni's correction for the rivals and the looks.

    Args:    gains: candidate → block → metric, more is better.
             standing: candidates still in the race.
             num_looks: times that this will be asked with one more block.
    """
    rivals = sorted(standing)
    shared = sorted(set.intersection(*(set(gains.get(rival, {})) for rival in rivals))) if rivals else []
    if len(rivals) < 2 or len(shared) < 2:
        return set()
    table = np.array([[gains[rival][block] for block in shared] for rival in rivals])
    residuals = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    freedom = (len(rivals) - 1) * (len(shared) - 1)
    deviation = math.sqrt(float((residuals**2).sum()) / freedom)
    reach = float(stats.t.ppf(1 - ERROR / (len(rivals) - 1) / num_looks, freedom)) * deviation * math.sqrt(2 / len(shared))
    means = table.mean(1)
    return {rival for rival, mean in zip(rivals, means, strict=True) if means.max() - mean > reach}


class Race(Conductor):
    """Trains the candidates of a confirmation to their epochs on fresh seeds.

    Args:    plan: of the confirmation.
             journal: of the confirmation.
             past: events that the journal held already.
    """

    def __init__(self, plan: Plan, journal: Journal, past: Sequence[Event] = ()) -> None:
        super().__init__(plan, journal)
        race = plan.confirmation
        self._heats = heats(plan)
        self._candidates: tuple[Candidate, ...] = race.candidates if race else ()
        self._standing = set(range(len(self._candidates)))
        self._gains: dict[int, dict[int, float]] = {candidate: {} for candidate in self._standing}
        self._num_looks = max(1, self._heats[-1].block)
        self._next = 0
        self._heat_of: dict[str, Heat] = {}
        self._unwritten: dict[int, str] = {}
        self.restore(past)
        for candidate, why in self._unwritten.items():
            self._write_out(candidate, why)

    def _skip(self) -> None:
        while self._next < len(self._heats) and self._heats[self._next].candidate not in self._standing:
            self._next += 1

    @property
    def num_to_come(self) -> int:
        """Runs of those still in the race."""
        return sum(heat.candidate in self._standing for heat in self._heats[self._next :])

    def _choose(self) -> Suggestion:
        self._skip()
        heat = self._heats[self._next]
        candidate = self._candidates[heat.candidate]
        return Suggestion(f"t{self._next:04d}", candidate.config, heat.seed, heat.fold, epochs=candidate.epoch)

    def _enter(self, suggestion: Suggestion) -> None:
        index = trial_number(suggestion.trial)
        self._heat_of[suggestion.trial] = self._heats[index]
        self._next = index + 1

    def _end(self, trial: str, outcome: Outcome, reason: str) -> None:
        heat, objective = self._heat_of[trial], self.plan.objective
        if outcome == "finished":
            value = self.records[trial].best_metrics[objective.metric]
            self._gains[heat.candidate][heat.block] = objective.sign * value
            lost = out_of_race(self._gains, self._standing, self._num_looks)
            why = "worse than the leader beyond what seeds explain"
        elif outcome == "failed":
            lost, why = {heat.candidate}, f"failed on seed {heat.seed}: {reason}"
        else:
            return
        for candidate in sorted(lost & self._standing):
            self._standing.discard(candidate)
            if self._restoring:
                self._unwritten[candidate] = why
            else:
                self._write_out(candidate, why)

    def _write_out(self, candidate: int, why: str) -> None:
        self._journal.append("out_of_race", candidate=self._candidates[candidate].trial, reason=why)

    def _apply(self, event: Event) -> None:
        if event["event"] == "out_of_race":
            names = [candidate.trial for candidate in self._candidates]
            candidate = names.index(event["candidate"])
            self._standing.discard(candidate)
            self._unwritten.pop(candidate, None)
