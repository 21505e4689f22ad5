"""A search from its plan to its result."""

import logging
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from ray import tune

from search.errors import PlanError
from search.execution.actor import TrialActor
from search.execution.preparation import with_resources
from search.execution.ray_session import ray_session
from search.execution.result import SearchResult
from search.execution.stopping import INTERRUPTED, EarlyEnd, watch_for_end
from search.execution.tune_adapter import Assignments, BridgeScheduler, TrialSource
from search.records.checkpoint_store import CheckpointStore
from search.records.curves import write_curves
from search.records.folder import SearchFolder
from search.records.ledger import Ledger, Listener
from search.records.plan import Plan
from search.records.study import export_study, new_study
from search.records.tracking.mlflow_tracker import MlflowTracker, has_experiment
from search.records.trials import TrialTable
from search.strategy.bridge import Bridge, Suggestion
from search.strategy.samplers import drawn_at_random, make_sampler
from search.strategy.schedulers import SCHEDULERS
from spaces.fields import fields_of
from trainables.contract import TrialRequest
from trainables.tasks import TASKS


def run_search(
    plan: Plan,
    storage: Path,
    *,
    tracking_uri: str,
    address: str | None = None,
    listeners: Callable[[Plan, TrialTable], Sequence[Listener]] = lambda plan, table: (),
) -> SearchResult:
    """Runs a prepared search to its end.

    Args:    plan: see `prepare_search`.
             storage: folder of all searches.
             tracking_uri: MLflow's store.
             address: of a Ray cluster, None for this machine.
             listeners: makes the listeners that follow the ledger, a live display for instance.
    Raises:  PlanError: when the name is taken or no trial fits the cluster.
             ClusterUnavailable: when Ray cannot be started.
    """
    if has_experiment(tracking_uri, plan.name):
        raise PlanError(f"--name must be new in MLflow ({tracking_uri}); got {plan.name!r}, which is an experiment there")
    with ray_session(address) as resources:
        fitted = with_resources(plan, resources)
        folder = SearchFolder(storage, plan.name)
        lock = folder.create(fitted)
        tracker = MlflowTracker(tracking_uri, fitted, storage, environment())
        try:
            with Ledger(folder.ledger_file) as ledger:
                table = TrialTable(fitted.objective)
                store = CheckpointStore(folder, ledger, table, fitted.keep_checkpoints)
                for listener in (table.apply, store.on_event, tracker.on_event, *listeners(fitted, table)):
                    ledger.subscribe(listener)
                tracker.start()
                ledger.append("search_started", name=fitted.name, code_version=fitted.code_version)
                for note in fitted.notes:
                    ledger.append("noted", text=note)
                bridge = _bridge(fitted, ledger)
                with watch_for_end(folder.stop_file, fitted.time_budget_s) as early:
                    ray_trials, ended = _run(fitted, bridge, folder, ledger, early)
                export_study(bridge.study, folder.study_file)
                write_curves(table, folder.curves_file)
        finally:
            failure = tracker.close()
            lock.release()
    return SearchResult(
        fitted, folder, table, bridge.study, ray_trials, ended, tracker.experiment_id, str(failure) if failure else None
    )


def _run(plan: Plan, bridge: Bridge, folder: SearchFolder, ledger: Ledger, early: EarlyEnd) -> tuple[dict[str, str], str]:
    """Runs the trials and writes how the search ended, whatever ends it."""
    statuses: dict[str, str] = {}
    ended = INTERRUPTED
    try:
        statuses = _run_tune(plan, bridge, folder, early)
        ended = _why_ended(bridge, early)
    except KeyboardInterrupt:
        ended = early.reason() or INTERRUPTED
    finally:
        bridge.interrupt(ended)
        ledger.append("search_ended", reason=ended)
    return statuses, ended


def _bridge(plan: Plan, ledger: Ledger) -> Bridge:
    fields = fields_of(TASKS[plan.task].space)
    searched = [field for name, field in fields.items() if name not in plan.fixed]
    random = drawn_at_random(plan.sampler, searched, plan.fixed)
    if random and plan.sampler != "random":
        ledger.append("noted", text=f"sampler {plan.sampler} draws at random: {', '.join(random)}")
    sampler = make_sampler(plan.sampler, plan.seed, plan.max_concurrent or 1)
    scheduler = SCHEDULERS[plan.scheduler](plan.grace_period, plan.max_epochs, plan.reduction)
    return Bridge(plan, fields, new_study(plan.name, plan.objectives, sampler), scheduler, ledger)


def _run_tune(plan: Plan, bridge: Bridge, folder: SearchFolder, early: EarlyEnd) -> dict[str, str]:
    """Runs the trials; gives Ray's final statuses."""
    assignments = Assignments(
        folder_of=folder.trial,
        make=lambda suggestion: _request(plan, suggestion).to_json(),
        common={
            "rungs": list(bridge.scheduler.rungs),
            "code_version": plan.code_version,
        },
    )
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(plan.max_concurrent or 1)
    resources = {"cpu": plan.cpus_per_trial, "gpu": plan.gpus_per_trial}
    # Tune's own files are of no use to us: what must last is in the ledger and in the trials' folders.
    with tempfile.TemporaryDirectory(prefix="dermtune-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(TrialActor, resources),
            tune_config=tune.TuneConfig(
                search_alg=TrialSource(bridge, assignments, early.reason),
                scheduler=BridgeScheduler(bridge, folder.trial, early.reason),
                reuse_actors=True,
                num_samples=plan.num_trials,
            ),
            run_config=tune.RunConfig(
                name=plan.name,
                storage_path=scratch,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        with _quiet():
            results = tuner.fit()
    return {trial.trial_id: str(trial.status) for trial in results._experiment_analysis.trials}


def _why_ended(bridge: Bridge, early: EarlyEnd) -> str:
    if bridge.exhausted and not bridge.num_running:
        return "all trials" if len(bridge.study.trials) >= bridge.plan.num_trials else "epoch budget"
    return early.reason() or INTERRUPTED


def _request(plan: Plan, suggestion: Suggestion) -> TrialRequest:
    return TrialRequest(
        task=plan.task,
        config=suggestion.config,
        source=plan.source,
        seed=suggestion.seed,
        objective=plan.objective,
        max_epochs=plan.max_epochs,
        device="auto" if plan.gpus_per_trial else "cpu",
        num_threads=max(1, int(plan.cpus_per_trial)),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune's progress and its warnings about what we do on purpose stay out of the user's sight."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        yield


def environment() -> dict[str, str]:
    """Machine and versions, for the record."""
    found = {name: metadata.version(name) for name in ("ray", "optuna", "mlflow", "torch")}
    return {
        "host": platform.node(),
        "python": platform.python_version(),
        "started": time.strftime("%FT%TZ", time.gmtime()),
        **found,
    }
