"""A search from its plan to its result."""

import logging
import platform
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from search.errors import PlanError
from search.execution.nodes import check_nodes
from search.execution.preparation import with_resources
from search.execution.processes import imports, wait_for_imports
from search.execution.ray_session import ray_session
from search.execution.resources import NodeGroup
from search.execution.result import SearchResult
from search.execution.stopping import INTERRUPTED, EarlyEnd, wait_for_workers, watch_for_end
from search.execution.tuning import tune_trials
from search.records.checkpoint_store import CheckpointStore
from search.records.curves import write_curves
from search.records.database import masked
from search.records.folder import SearchFolder
from search.records.ledger import Event, Ledger, Listener, read_events
from search.records.mirror import Mirror
from search.records.plan import Plan
from search.records.room import wait_for_room
from search.records.study import export_to_file
from search.records.tracking.mlflow_tracker import MlflowTracker
from search.records.tracking.store import has_experiment
from search.records.trials import TrialTable
from search.records.tune_record import RUNNING, mark_lost, statuses
from search.strategy.bridge import Bridge
from search.strategy.conductor import Conductor
from search.strategy.grid import Grid
from search.strategy.projection import study_of
from search.strategy.race import Race
from search.strategy.samplers import drawn_at_random
from search.strategy.warm_start import fitting_trials

_log = logging.getLogger("dermtune")

Listeners = Callable[[Plan, TrialTable], Sequence[Listener]]


def run_search(
    plan: Plan,
    storage: Path,
    *,
    tracking_uri: str,
    address: str | None = None,
    listeners: Listeners = lambda plan, table: (),
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
            raise PlanError(
                f"--name must be new in MLflow ({masked(tracking_uri)}); got {plan.name!r}, which is an experiment there"
            )
        fitted = with_resources(plan, nodes)
        folder = SearchFolder(storage, plan.name)
        check_nodes(fitted, folder.storage, address)
        wait_for_imports(fitted.max_concurrent or 1)
        with folder.create(fitted):
            return _Session(fitted, folder, tracking_uri, nodes, address is not None, listeners).run()


def resume_search(
    plan: Plan,
    storage: Path,
    *,
    tracking_uri: str,
    address: str | None = None,
    listeners: Listeners = lambda plan, table: (),
) -> SearchResult:
    """Goes on with a search that ended early, was killed, or is to have more trials; ended trials stay as they are.

    Args:    plan: as `prepare_resume` gives it; the rest: see `run_search`.
    Raises:  PlanError: when the search is running, or no trial fits the cluster.
             ClusterUnavailable: when Ray cannot be started.
    """
    folder = SearchFolder(storage, plan.name)
    folder.bring_up_to_date()
    with folder.lock():
        wait_for_workers(folder)
        with ray_session(address, imports(plan.task)) as nodes:
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
        self._table = TrialTable(plan.objective, plan.constraints)
        self._tracker = MlflowTracker(tracking_uri, plan, folder.storage, environment())
        self._ledger = Ledger(folder.ledger_file)
        remote = folder.remote
        self._mirror = None if remote is None else Mirror(remote, folder.path, folder.stop_file, _log.warning)

    def run(self) -> SearchResult:
        """From the first trial to the last."""
        plan, folder, table, tracker, mirror = self._plan, self._folder, self._table, self._tracker, self._mirror
        past = self._ledger.past
        folder.stop_file.unlink(missing_ok=True)
        try:
            with self._ledger as ledger:
                store = CheckpointStore(folder, ledger, table, plan.keep_checkpoints, plan.objectives, mirror)
                for event in past:
                    table.apply(event)
                    tracker.on_event(event)
                for listener in (table.apply, store.on_event, tracker.on_event, *self._listeners(plan, table)):
                    ledger.subscribe(listener)
                if mirror is not None:
                    ledger.subscribe(mirror.on_event)
                    mirror.start()
                tracker.start()
                ledger.append(
                    "search_resumed" if past else "search_started",
                    name=plan.name,
                    num_trials=plan.num_trials,
                    code_version=plan.code_version,
                )
                mark_lost(folder.tune_file, _still_running(folder, table))
                conductor = self._conductor(past)
                left_s = None if plan.time_budget_s is None else plan.time_budget_s - table.wall_s
                with watch_for_end(folder.stop_file, left_s) as early:
                    ended = self._train(conductor, early)
                wait_for_room(folder.path, give_up=lambda: early.reason() is not None)
                self._write_projections()
        finally:
            failure = tracker.close()
            untold = None if mirror is None else mirror.close()
        if untold is not None:
            _log.warning("%s; the storage does not have everything (again with: dermtune resume %s)", untold, plan.name)
        error = str(failure) if failure else None
        return SearchResult(plan, folder, table, statuses(folder.tune_file), ended, tracker.experiment_id, error)

    def _write_projections(self) -> None:
        """What the ledger tells, as others read it; whatever keeps it from being written, the search has ended well."""
        try:
            export_to_file(study_of(self._plan, self._table), self._folder.study_file)
            write_curves(self._table, self._folder.curves_file)
        except Exception as error:  # noqa: BLE001 - of Optuna's, SQLAlchemy's, Arrow's or the system's kind
            reason = " ".join(str(error).split())[:200]
            _log.warning("study and curves are not written: %s (again with: dermtune export %s)", reason, self._plan.name)

    def _conductor(self, past: Sequence[Event]) -> Conductor:
        plan, ledger = self._plan, self._ledger
        if plan.confirmation is not None:
            return Race(plan, ledger, past)
        if not past:
            for note in plan.notes:
                ledger.append("noted", text=note)
        if plan.reproduction is not None:
            return Grid(plan, ledger, past)
        bridge = Bridge(plan, ledger, past)
        if past:
            return bridge
        random = drawn_at_random(plan.sampler, plan.searched, plan.fixed)
        if random and plan.sampler != "random":
            ledger.append("noted", text=f"sampler {plan.sampler} draws at random: {', '.join(random)}")
        for name in plan.warm_start:
            warm_start(bridge, self._folder.storage, name)
        return bridge

    def _train(self, conductor: Conductor, early: EarlyEnd) -> str:
        """Runs the trials and writes how the search ended, whatever ends it."""
        ended = INTERRUPTED
        try:
            if not conductor.exhausted:
                tune_trials(
                    self._plan, self._folder, conductor, self._nodes, self._ledger.past, early.reason, shared=self._shared
                )
            conductor.settle()
            ended = self._why_ended(conductor, early)
        except KeyboardInterrupt:
            ended = early.reason() or INTERRUPTED
        finally:
            conductor.interrupt(ended)
            self._ledger.append("search_ended", reason=ended)
        return ended

    def _why_ended(self, conductor: Conductor, early: EarlyEnd) -> str:
        if conductor.exhausted:
            terminated = isinstance(conductor, Bridge) and conductor.terminated
            return conductor.spent or ("terminated" if terminated else "all trials")
        return early.reason() or INTERRUPTED


def warm_start(bridge: Bridge, storage: Path, name: str) -> None:
    """Lets a search that has just begun learn from an earlier one.

    Args:    bridge: of the new search.
             storage: folder of all searches.
             name: of the earlier one.
    """
    folder = SearchFolder(storage, name)
    plan = folder.plan()
    table = TrialTable.of(read_events(folder.ledger_file), plan.objective, plan.constraints)
    trials = fitting_trials(table, [field.name for field in plan.searched], bridge.plan)
    bridge.learn_from(name, trials, len(table.trials) - len(trials))


def _still_running(folder: SearchFolder, table: TrialTable) -> list[str]:
    """Trials that Tune was running when its driver died."""
    return [trial for trial, status in statuses(folder.tune_file).items() if status == RUNNING and trial in table.trials]


def environment() -> dict[str, str]:
    """Machine and versions, for the record."""
    found = {name: metadata.version(name) for name in ("ray", "optuna", "mlflow", "torch")}
    return {
        "host": platform.node(),
        "python": platform.python_version(),
        "started": time.strftime("%FT%TZ", time.gmtime()),
        **found,
    }
