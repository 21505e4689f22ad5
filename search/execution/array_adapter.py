"""Ray Tune's searcher and scheduler for trials that train together: to Tune an array is one trial, to us each member is."""

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.errors import TrialBroke
from search.execution.array_actor import ARRAY, MEMBERS, TASK
from search.execution.assignments import Assignments
from search.execution.failures import failure_of
from search.execution.heartbeat import Heartbeat
from search.execution.slots import Slots
from search.execution.tune_searcher import SearchTrial, TuneSearcher
from search.records.events import Checkpointed, EpochResult
from search.strategy.fused_trials import FusedTrials, MemberReport
from search.strategy.retries import Failure
from search.strategy.search_controller import SearchController


class FusedSearcher(TuneSearcher):
    """Hands arrays to Tune.

    Args:    arrays: gather the controller's suggestions.
             the rest: as `TuneSearcher`.
    """

    def __init__(
        self,
        controller: SearchController,
        arrays: FusedTrials,
        assignments: Assignments,
        slots: Slots,
        end_now: Callable[[], str | None],
    ) -> None:
        super().__init__(controller, assignments, slots, end_now)
        self._arrays = arrays
        #: Why an array ended at once.
        self.failures: dict[str, Failure] = {}

    @property
    def num_running(self) -> int:
        """Programs of fused trials."""
        return self._arrays.num_running

    def _begin(self) -> SearchTrial | None:
        begun = self._arrays.begin()
        if begun is None:
            return None
        name, members = begun
        assigned = [self._assignments.of(found) for found in members]
        config = {ARRAY: name, TASK: self._controller.plan.task, MEMBERS: assigned}
        return self._tune_trial(self._never, name, config, members[0].trial)  # all have one share

    def _never(self, trial: SearchTrial, failure: Failure) -> bool:
        """An array is not begun again: its members go on in others."""
        self.failures[trial.trial_id] = failure
        return False


class FusedScheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes on what an array says of its members, and tells it who leaves and who joins before its next epoch.

    Args:    arrays: decide.
             source: knows why arrays have failed.
             assignments: what members get.
             heartbeat: ends arrays that nothing is heard of.
    """

    def __init__(self, arrays: FusedTrials, source: FusedSearcher, assignments: Assignments, heartbeat: Heartbeat) -> None:
        super().__init__()
        self._arrays, self._source, self._assignments, self._heartbeat = arrays, source, assignments, heartbeat

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """An array that will be given an actor."""
        self._heartbeat.follow(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """What becomes of an array after a report."""
        self._heartbeat.broken_by(trial.trial_id)
        reports = result[MEMBERS]
        change = self._arrays.hear(trial.trial_id, [_report(told) for told in reports], _peak_share(reports))
        if change.over:
            return str(TrialScheduler.STOP)
        if change.joining:
            self._heartbeat.be_patient(trial.trial_id)  # they are to be built, and an epoch of more trials takes longer
        if change.leaving or change.joining:
            joining = [self._assignments.of(found) for found in change.joining]
            # Calls of one caller run in order: this one before the step that Tune asks for next.
            trial.temporary_state.ray_actor.update.remote(list(change.leaving), joining)
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """An array that broke."""
        name = trial.trial_id
        self._arrays.broke(name, self._heartbeat.cause(name, self._source.failures.pop(name)))

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """None: Tune starts new trials by itself, and no array is ever paused."""
        self._heartbeat.end_silent()
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


def _report(told: Mapping[str, Any]) -> MemberReport:
    failure = None if told["failure"] is None else failure_of(TrialBroke(told["failure"]))
    if not told["epochs"]:
        return MemberReport(told["trial"], failure=failure)
    checkpoint = told["checkpoint"]
    return MemberReport(
        told["trial"],
        [EpochResult(**epoch) for epoch in told["epochs"]],
        told["ended"],
        None if checkpoint is None else Checkpointed(trial=told["trial"], **checkpoint),
        told["state"],
        told["where"],
        told["notes"],
        failure,
    )


def _peak_share(reports: list[dict[str, Any]]) -> float | None:
    """Most of the GPU's memory that the array's process had reserved, as a share of all; None where that is not known."""
    for told in reports:
        if told["epochs"]:
            peak = told["epochs"][-1]["system"].get("process_gpu_memory_mib")
            whole = told["where"].get("gpu_mib")
            return peak / whole if peak and whole else None
    return None
