"""A search from its plan to its result."""

import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from search.errors import PlanError
from search.execution.nodes import check_nodes
from search.execution.planning import with_resources
from search.execution.processes import imports, wait_for_imports
from search.execution.ray_session import ray_session
from search.execution.resources import NodeGroup
from search.execution.result import SearchResult
from search.execution.stopping import INTERRUPTED, EarlyEnd, wait_for_workers, watch_for_end
from search.execution.tuning import tune_trials
from search.records.checkpoint_store import CheckpointStore
from search.records.curves import write_curves
from search.records.database import masked
from search.records.disk_space import wait_for_disk_space
from search.records.events import Event, Noted, SearchEnded, SearchResumed, SearchStarted
from search.records.folder import SearchFolder
from search.records.ledger import Ledger, Listener, read_events
from search.records.mirror import Mirror
from search.records.plan import Plan
from search.records.search_log import SearchLog, logged_to
from search.records.settlement import settle
from search.records.state import SearchState
from search.records.study import export_to_file
from search.records.tracking.mark import mark_of
from search.records.tracking.mlflow_tracker import MlflowTracker
from search.records.tracking.removal import tracked
from search.records.tracking.store import check_experiment, has_experiment
from search.records.tune_record import RUNNING, mark_lost, statuses
from search.strategy.confirmation_controller import ConfirmationController
from search.strategy.optuna_controller import OptunaController
from search.strategy.reproduction_controller import ReproductionController
from search.strategy.samplers import drawn_at_random
from search.strategy.search_controller import SearchController
from search.strategy.study_from_state import study_of
from search.strategy.warm_start import fitting_trials
from trainables.errors import LocationError
from trainables.versions import versions

_log = logging.getLogger("dermtune")

Listeners = Callable[[Plan, SearchState], Sequence[Listener]]


def run_search(
    plan: Plan,
    storage: Path,
    *,
    tracking_uri: str,
    address: str | None = None,
    listeners: Listeners = lambda plan, state: (),
) -> SearchResult:
    """Runs a prepared search, confirmation or reproduction to its end.

    Args:    plan: see `prepare_search`.
             storage: folder of all searches.
             tracking_uri: MLflow's store.
             address: of a Ray cluster, None for this machine.
             listeners: makes the listeners that follow the ledger, a live display for instance.
    Raises:  PlanError: when the name is taken or no trial fits the cluster.
             ClusterUnavailable: when Ray cannot be started.
    """
    with ray_session(address, imports(plan.task)) as nodes:
        # MLflow takes seconds to import and to open, as do the imports of the processes that Ray has just started.
        if has_experiment(tracking_uri, plan.name):
            raise _taken(plan.name, storage, tracking_uri)
        fitted = with_resources(plan, nodes)
        folder = SearchFolder(storage, plan.name)
        check_nodes(fitted, folder.storage, address)
        wait_for_imports(fitted.max_concurrent or 1)
        with folder.create(fitted):
            return _Session(fitted, folder, tracking_uri, nodes, address is not None, listeners).run()


def _taken(name: str, storage: Path, tracking_uri: str) -> PlanError:
    """Sends nobody to delete what is not of this storage."""
    left = tracked(tracking_uri, name, mark_of(storage, None))
    hint = (
        f" (dermtune delete {name} removes what a search left whose folder is gone)"
        if left is not None and left.is_ours
        else ", not of this storage"
    )
    return PlanError(f"--name must be new in MLflow ({masked(tracking_uri)}); got {name!r}, which is an experiment there{hint}")


def resume_search(
    plan: Plan,
    storage: Path,
    *,
    tracking_uri: str,
    address: str | None = None,
    listeners: Listeners = lambda plan, state: (),
) -> SearchResult:
    """Goes on with a search that ended early, was killed, or is to have more trials; ended trials stay as they are.

    Args:    plan: as `prepare_resume` gives it; the rest: see `run_search`.
    Raises:  PlanError: when the search is running, no trial fits the cluster, or MLflow's experiment of its name is another's.
             ClusterUnavailable: when Ray cannot be started.
    """
    folder = SearchFolder(storage, plan.name)
    folder.bring_up_to_date()
    with folder.lock():
        wait_for_workers(folder)
        with ray_session(address, imports(plan.task)) as nodes:
            check_experiment(tracking_uri, plan, folder.storage)
            fitted = with_resources(plan, nodes)
            check_nodes(fitted, folder.storage, address)
            wait_for_imports(fitted.max_concurrent or 1)
            folder.write_plan(fitted)
            return _Session(fitted, folder, tracking_uri, nodes, address is not None, listeners).run()


class _Session:
    """One process's part of a search; the caller holds the folder's lock and has Ray running."""

    def __init__(
        self,
        plan: Plan,
        folder: SearchFolder,
        tracking_uri: str,
        nodes: Sequence[NodeGroup],
        shared: bool,
        listeners: Listeners,
    ) -> None:
        self._plan, self._folder, self._nodes, self._shared, self._listeners = plan, folder, nodes, shared, listeners
        self._state = SearchState(plan.objective, plan.constraints)
        self._tracker = MlflowTracker(tracking_uri, plan, folder.storage, environment())
        self._ledger = Ledger(folder.ledger_file)
        remote = folder.remote
        self._mirror = None if remote is None else Mirror(remote, folder.path, folder.stop_file, _log.warning)

    def run(self) -> SearchResult:
        """From the first trial to the last, logged."""
        try:
            with logged_to(self._folder.log_file) as log:
                return self._run(log)
        finally:
            with suppress(LocationError, OSError):  # the mirror has brought all but its last lines
                self._folder.publish(self._folder.log_file)

    def _run(self, log: SearchLog) -> SearchResult:
        plan, folder, state, tracker, mirror = self._plan, self._folder, self._state, self._tracker, self._mirror
        past, projected = self._ledger.past, False
        folder.stop_file.unlink(missing_ok=True)
        try:
            with self._ledger as ledger:
                store = CheckpointStore(folder, ledger, state, plan.keep_checkpoints, plan.objectives, mirror)
                for event in past:
                    state.apply(event)
                    tracker.on_event(event)
                for listener in (state.apply, store.on_event, tracker.on_event, log.on_event, *self._listeners(plan, state)):
                    ledger.subscribe(listener)
                store.tell_untold()
                if mirror is not None:
                    ledger.subscribe(mirror.on_event)
                    mirror.start()
                tracker.start()
                begun = SearchResumed if past else SearchStarted
                ledger.append(
                    begun(
                        name=plan.name,
                        num_trials=plan.num_trials,
                        code_version=plan.code_version,
                        environment=environment(),
                    )
                )
                mark_lost(folder.tune_file, _still_running(folder, state))
                left_s = None if plan.time_budget_s is None else plan.time_budget_s - state.wall_s
                with watch_for_end(folder.stop_file, left_s) as early:
                    ended = self._train(past, early)
                wait_for_disk_space(folder.path, give_up=lambda: early.reason() is not None)
                projected = self._write_projections()
        finally:
            failure = tracker.close()
            untold = None if mirror is None else mirror.close()
        if untold is not None:
            _log.warning("%s; the storage does not have everything (again with: dermtune resume %s)", untold, plan.name)
        error = str(failure) if failure else None
        if projected and failure is None and untold is None:
            settle(folder, tracker.uri, tracker.experiment_id)
        return SearchResult(plan, folder, state, statuses(folder.tune_file), ended, tracker.experiment_id, error)

    def _write_projections(self) -> bool:
        """What the ledger tells, as others read it; whatever keeps it from being written, the search has ended well.

        Returns: whether it is written.
        """
        try:
            export_to_file(study_of(self._plan, self._state), self._folder.study_file)
            write_curves(self._state, self._folder.curves_file)
        except Exception as error:  # noqa: BLE001 - of Optuna's, SQLAlchemy's, Arrow's or the system's kind
            reason = " ".join(str(error).split())[:200]
            _log.warning("study and curves are not written: %s (again with: dermtune export %s)", reason, self._plan.name)
            return False
        return True

    def _controller(self, past: Sequence[Event]) -> SearchController:
        plan, ledger = self._plan, self._ledger
        if plan.confirmation is not None:
            return ConfirmationController(plan, ledger, past, self._state)
        if not past:
            for note in plan.all_notes:
                ledger.append(Noted(text=note))
        if plan.reproduction is not None:
            return ReproductionController(plan, ledger, past, self._state)
        controller = OptunaController(plan, ledger, past, self._state)
        if past:
            return controller
        random = drawn_at_random(plan.sampler, plan.searched, plan.fixed)
        if random and plan.sampler != "random":
            ledger.append(Noted(text=f"sampler {plan.sampler} draws at random: {', '.join(random)}"))
        for name in plan.warm_start:
            warm_start(controller, self._folder.storage, name)
        return controller

    def _train(self, past: Sequence[Event], early: EarlyEnd) -> str:
        """Runs the trials and writes how the search ended, whatever ends it."""
        ended, controller = INTERRUPTED, None
        try:
            controller = self._controller(past)
            if not controller.exhausted:
                tune_trials(self._plan, self._folder, controller, self._nodes, early.reason, shared=self._shared)
            controller.settle()
            ended = self._why_ended(controller, early)
        except KeyboardInterrupt:
            ended = early.reason() or INTERRUPTED
        finally:
            if controller is not None:
                controller.interrupt(ended)
            self._ledger.append(SearchEnded(reason=ended))
        return ended

    def _why_ended(self, controller: SearchController, early: EarlyEnd) -> str:
        if controller.exhausted:
            terminated = isinstance(controller, OptunaController) and controller.terminated
            return controller.spent or ("terminated" if terminated else "all trials")
        return early.reason() or INTERRUPTED


def warm_start(controller: OptunaController, storage: Path, name: str) -> None:
    """Lets a search that has just begun learn from an earlier one.

    Args:    controller: of the new search.
             storage: folder of all searches.
             name: of the earlier one.
    """
    folder = SearchFolder(storage, name)
    plan = folder.plan()
    state = SearchState.of(read_events(folder.ledger_file), plan.objective, plan.constraints)
    trials = fitting_trials(state, [field.name for field in plan.searched], controller.plan)
    controller.learn_from(name, trials, len(state.trials) - len(trials))


def _still_running(folder: SearchFolder, state: SearchState) -> list[str]:
    """Trials that Tune was running when its driver died."""
    return [trial for trial, status in statuses(folder.tune_file).items() if status == RUNNING and trial in state.trials]


def environment() -> dict[str, str]:
    """Machine and versions, for the record."""
    return {
        "host": platform.node(),
        "cpus": str(os.cpu_count()),
        "started": time.strftime("%FT%TZ", time.gmtime()),
        **versions("ray", "optuna", "mlflow"),
    }
