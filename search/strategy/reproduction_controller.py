"""A paper's experiments on a few seeds each: every run there is, in order, to its own end."""

from collections.abc import Sequence

from search.records.events import Event
from search.records.ledger import Journal
from search.records.plan import Plan, trial_number
from search.records.state import SearchState
from search.strategy.search_controller import Outcome, SearchController
from search.strategy.suggestion import Suggestion


class ReproductionController(SearchController):
    """Trains every experiment of a reproduction on every seed; a run that fails takes no other with it.

    Args:    plan: of the reproduction.
             journal: of the reproduction.
             past: events that the journal held already.
             state: see `SearchController`.
    Raises:  ValueError: when the plan reproduces nothing.
    """

    def __init__(self, plan: Plan, journal: Journal, past: Sequence[Event] = (), state: SearchState | None = None) -> None:
        super().__init__(plan, journal, state)
        if plan.reproduction is None:
            raise ValueError(f"a reproduction must be planned as one; got the {plan.kind} {plan.name}")
        self._reproduction, self._next = plan.reproduction, 0
        self._take_up(past)

    @property
    def num_to_come(self) -> int:
        """Runs that have not begun."""
        return len(self._reproduction.experiments) * self._reproduction.num_seeds - self._next

    def _choose(self) -> Suggestion:
        trial = f"t{self._next:04d}"
        experiment, seed = self._reproduction.experiment_of(trial), self.plan.seed + self._reproduction.seed_index(trial)
        return Suggestion(trial, experiment.config, seed)

    def _enter(self, suggestion: Suggestion) -> None:
        self._next = trial_number(suggestion.trial) + 1

    def _end(self, trial: str, outcome: Outcome, reason: str) -> None:
        """Nothing follows from it."""

    def _apply(self, event: Event) -> None:
        """There are no events of its own."""
