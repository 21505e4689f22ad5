"""Where Ray Tune gets its trials from: one experiment, no more trials than the plan has, and only while there is room."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.experiment import Experiment, Trial
from ray.tune.search import SearchAlgorithm

from search.execution.assignments import Assignments
from search.execution.failures import failure_of
from search.execution.slots import Slots
from search.strategy.retries import Failure
from search.strategy.search_controller import SearchController

Judge = Callable[["SearchTrial", Failure], bool]


class SearchTrial(Trial):  # type: ignore[misc]
    """A trial as Tune runs it, whose failures we judge: Tune itself counts all alike.

    Args:    judge: whether to try again after a failure.
             the rest: see `ray.tune.experiment.Trial`.
    """

    def __init__(self, judge: Judge, **given: Any) -> None:
        super().__init__(**given)
        self._judge, self._again = judge, False

    def handle_error(self, exc: Any = None) -> None:
        """Takes what befell the trial."""
        self._again = self._judge(self, failure_of(exc))
        super().handle_error(exc)

    def should_recover(self) -> bool:
        """Whether it is tried again."""
        return self._again

    def __getstate__(self) -> dict[str, Any]:
        """Without the judge: Tune pickles trials for a restore of its own, and ours reads the ledger."""
        return {name: value for name, value in super().__getstate__().items() if name != "_judge"}


class TuneSearcher(SearchAlgorithm, ABC):  # type: ignore[misc]
    """Hands out what takes up a slot, as long as there is something to begin and room for it.

    Args:    controller: knows the plan, and whether it is exhausted.
             assignments: what actors get.
             slots: know whether there is room.
             end_now: why no further trial may start ("time budget", "stop requested"), None while one may.
    """

    def __init__(
        self, controller: SearchController, assignments: Assignments, slots: Slots, end_now: Callable[[], str | None]
    ) -> None:
        self._controller, self._assignments, self._slots, self._end_now = controller, assignments, slots, end_now
        self._experiment: Experiment | None = None

    @property
    @abstractmethod
    def num_running(self) -> int:
        """How many take up a slot."""

    @abstractmethod
    def _begin(self) -> SearchTrial | None:
        """The next one; None when none may begin now."""

    @property
    def total_samples(self) -> int:
        """Trials at most."""
        return self._controller.plan.num_trials

    def add_configurations(self, experiments: Any) -> None:
        """Takes the one experiment that Tune runs."""
        (self._experiment,) = experiments if isinstance(experiments, list) else [experiments]

    def next_trial(self) -> Trial | None:
        """The next one while there is room for it."""
        if self._experiment is None or self.is_finished() or not self._slots.free(self.num_running):
            return None
        return self._begin()

    def _tune_trial(self, judge: Judge, name: str, config: Mapping[str, Any], share_of: str) -> SearchTrial:
        """A trial for Tune.

        Args:    judge: of its failures.
                 name: of the trial, or of an array of trials.
                 config: of its actor.
                 share_of: the trial whose share of a GPU it gets.
        """
        if self._experiment is None:
            raise RuntimeError("add_configurations must be called before a trial is made; got no experiment")
        spec = self._experiment.spec
        return SearchTrial(
            judge,
            trainable_name=spec["run"],
            config=config,
            trial_id=name,
            experiment_tag=name,
            placement_group_factory=self._assignments.resources(share_of),
            checkpoint_config=spec["checkpoint_config"],
            storage=spec["storage"],
        )

    def is_finished(self) -> bool:
        """Whether the last trial has been handed out."""
        return bool(self._finished) or self._controller.exhausted or self._end_now() is not None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}
