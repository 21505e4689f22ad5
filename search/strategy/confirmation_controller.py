"""A race of a few configurations over fresh seeds: all run on the same ones until one is dropped to save time."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from search.errors import PlanError
from search.records.events import Event, OutOfRace, Suggested
from search.records.ledger import Journal
from search.records.plan import Candidate, Plan
from search.records.state import SearchState
from search.strategy.search_controller import Outcome, SearchController
from search.strategy.suggestion import Suggestion

#: Chance of dropping a configuration that is as good as the leader on these cases. It costs that configuration seeds, and no
#: verdict: that is `search.analysis.confirmation`'s, over cases and seeds.
ERROR = 0.05
#: Seeds before the first look: with fewer the spread over seeds is not known, and a dropped configuration could not be compared.
FIRST_LOOK = 3
#: How the reason begins why a configuration whose training failed is out.
FAILED = "failed on seed"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a race.

    Args:    candidate: position among the plan's candidates.
             block: position among the pairs of seed and fold, on which all candidates run.
             seed: of its training.
             fold: from 1, None for the data's own split.
             trial: id of the run: the candidate's in the search, and what it runs on.
    """

    candidate: int
    block: int
    seed: int
    fold: int | None
    trial: str


def planned_runs(plan: Plan) -> list[PlannedRun]:
    """Every run of a race, in order: all candidates on the first seed and fold, then all on the next.

    Args:    plan: of a confirmation; its seed is the first of the fresh ones.
    """
    confirmation = plan.confirmation
    if confirmation is None:
        raise ValueError(f"a confirmation must be planned as one; got the search {plan.name}")
    folds = list[int | None]([None]) if confirmation.num_folds == 1 else list(range(1, confirmation.num_folds + 1))
    blocks = [(plan.seed + index, fold) for index in range(confirmation.num_seeds) for fold in folds]
    return [
        PlannedRun(index, block, seed, fold, f"{candidate.trial}-seed{seed}" + ("" if fold is None else f"-fold{fold}"))
        for block, (seed, fold) in enumerate(blocks)
        for index, candidate in enumerate(confirmation.candidates)
    ]


def planned_runs_of(plan: Plan, trials: Iterable[str]) -> dict[str, PlannedRun]:
    """Every run of a race by its id.

    Args:    plan: of the confirmation.
             trials: ids of the runs that it has begun.
    Raises:  PlanError: when one is none of these: earlier versions named runs otherwise.
    """
    found = {planned.trial: planned for planned in planned_runs(plan)}
    for trial in trials:
        if trial not in found:
            search = plan.confirmation.search if plan.confirmation else ""
            raise PlanError(
                f"a confirmation must be of this version of dermtune; got {plan.name} with the run {trial!r}, which an earlier"
                f" version has named (dermtune confirm {search} makes another)"
            )
    return found


def looks(num_seeds: int) -> tuple[int, ...]:
    """After how many seeds a race looks whom to drop: half of them, three or more; never where there are three or fewer.

    Once is enough, since each look costs the intervals some of their error.

    Args:    num_seeds: that each configuration is to run on.
    """
    seeds = max(FIRST_LOOK, (num_seeds + 1) // 2)
    return (seeds,) if seeds < num_seeds else ()


def out_of_race(gains: Mapping[int, Mapping[int, float]], standing: Iterable[int], num_looks: int) -> set[int]:
    """Candidates that more seeds on the same cases would hardly bring to the front.

    It is no finding about the configurations: what the choice of the cases does to them is left out. Differences to the leader
    over the blocks that all have run are held against a t-interval whose deviation is pooled over the candidates (residuals of
    candidate and block), one-sided, with Bonferroni's correction for the rivals and the looks.

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


class ConfirmationController(SearchController):
    """Trains the candidates of a confirmation to their epochs on fresh seeds, and drops those that would hardly win.

    Args:    plan: of the confirmation.
             journal: of the confirmation.
             past: events that the journal held already.
             state: see `SearchController`.
    """

    def __init__(self, plan: Plan, journal: Journal, past: Sequence[Event] = (), state: SearchState | None = None) -> None:
        super().__init__(plan, journal, state)
        confirmation = plan.confirmation
        self._planned_runs = planned_runs(plan)
        self._candidates: tuple[Candidate, ...] = confirmation.candidates if confirmation else ()
        self._standing = set(range(len(self._candidates)))
        self._gains: dict[int, dict[int, float]] = {candidate: {} for candidate in self._standing}
        self._looks = looks(confirmation.num_seeds) if confirmation else ()
        self._num_looked = 0
        self._next = 0
        self._planned_of = planned_runs_of(plan, {event.trial for event in past if isinstance(event, Suggested)})
        self._unwritten: dict[int, str] = {}
        self._take_up(past)
        for candidate, why in list(self._unwritten.items()):
            self._write_out(candidate, why)

    def _skip(self) -> None:
        while self._next < len(self._planned_runs) and self._planned_runs[self._next].candidate not in self._standing:
            self._next += 1

    @property
    def num_to_come(self) -> int:
        """Runs of those still in the race."""
        return sum(planned.candidate in self._standing for planned in self._planned_runs[self._next :])

    def _choose(self) -> Suggestion:
        self._skip()
        planned = self._planned_runs[self._next]
        candidate = self._candidates[planned.candidate]
        return Suggestion(planned.trial, candidate.config, planned.seed, planned.fold, epochs=candidate.epoch)

    def _enter(self, suggestion: Suggestion) -> None:
        planned = self._planned_of[suggestion.trial]
        self._next = planned.block * len(self._candidates) + planned.candidate + 1

    def _end(self, trial: str, outcome: Outcome, reason: str) -> None:
        planned, objective = self._planned_of[trial], self.plan.objective
        if outcome == "finished":
            value = self.records[trial].best_metrics[objective.metric]
            self._gains[planned.candidate][planned.block] = objective.sign * value
        elif outcome == "failed":
            self._drop({planned.candidate}, f"{FAILED} {planned.seed}: {reason}")
        else:
            return
        self._look()

    def _look(self) -> None:
        """Whom to drop, once all that stand have run on the seeds of the next look."""
        confirmation = self.plan.confirmation
        while confirmation is not None and self._num_looked < len(self._looks):
            seeds = self._looks[self._num_looked]
            blocks = range(seeds * confirmation.num_folds)
            gains = {c: {b: self._gains[c][b] for b in blocks if b in self._gains[c]} for c in self._standing}
            if any(len(found) < len(blocks) for found in gains.values()):
                return
            self._num_looked += 1
            lost = out_of_race(gains, self._standing, len(self._looks))
            to_come = {planned.candidate for planned in self._planned_runs[self._next :]}  # nobody else can be spared anything
            self._drop(
                lost & to_come, f"dropped after {seeds} of {confirmation.num_seeds} seeds to save time, which is no finding"
            )

    def _drop(self, candidates: set[int], why: str) -> None:
        for candidate in sorted(candidates & self._standing):
            self._standing.discard(candidate)
            if self._restoring:
                self._unwritten[candidate] = why
            else:
                self._write_out(candidate, why)

    def _write_out(self, candidate: int, why: str) -> None:
        self._journal.append(OutOfRace(candidate=self._candidates[candidate].trial, reason=why))

    def _apply(self, event: Event) -> None:
        if isinstance(event, OutOfRace):
            names = [candidate.trial for candidate in self._candidates]
            candidate = names.index(event.candidate)
            self._standing.discard(candidate)
            self._unwritten.pop(candidate, None)
