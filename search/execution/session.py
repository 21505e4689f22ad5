"""A search from its plan to its result."""

import logging
import os
import platform
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from ray import tune

from search.execution.actor import TrialActor
from search.execution.preparation import with_resources
from search.execution.ray_session import ray_session
from search.execution.tune_adapter import Assignments, BridgeScheduler, Deadline, TrialSource
from search.records.checkpoint_store import CheckpointStore
from search.records.curves import curves_frame, trials_frame, write_curves
from search.records.folder import SearchFolder
from search.records.ledger import Ledger, Listener
from search.records.plan import Plan
from search.records.study import export_study, new_study
from search.records.tracking.mlflow_tracker import MlflowTracker
from search.records.trials import TrialRecord, TrialTable
from search.strategy.bridge import Bridge, Suggestion
from search.strategy.samplers import drawn_at_random, make_sampler
from search.strategy.schedulers import SCHEDULERS
from spaces.fields import fields_of
from trainables.contract import TrialRequest
from trainables.tasks import TASKS

_POLL_S = 0.5


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Args:    plan: of the search.
             folder: where it lies.
             table: its trials.
             study: the Optuna study, complete.
             ray_trials: trial → Ray's final status, for comparison.
             ended: "all trials", "time budget", "epoch budget", "stop requested" or "interrupted".
             experiment_id: MLflow's.
             tracking_error: why MLflow does not have everything, None when it has.
    """

    plan: Plan
    folder: SearchFolder
    table: TrialTable
    study: optuna.Study
    ray_trials: Mapping[str, str]
    ended: str
    experiment_id: str
    tracking_error: str | None = None

    @property
    def best(self) -> TrialRecord | None:
        """The best trial over all trials and all epochs, None when none reported anything."""
        ranked = self.table.ranked()
        return ranked[0] if ranked else None

    @property
    def trials(self) -> pd.DataFrame:
        """The leaderboard: one row per trial, best first."""
        return trials_frame(self.table)

    @property
    def curves(self) -> pd.DataFrame:
        """One row per trial and epoch with every metric."""
        return curves_frame(self.table)

    def checkpoint(self, trial: TrialRecord) -> Path | None:
        """The folder of a trial's best checkpoint, None when it was not kept."""
        return None if trial.checkpoint is None else self.folder.path / trial.checkpoint

    def summary(self) -> dict[str, Any]:
        """The JSON document that `dermtune search --json` prints."""
        best, objective = self.best, self.plan.objective
        checkpoint = self.checkpoint(best) if best else None
        return {
            "name": self.plan.name,
            "task": self.plan.task,
            "metrics": [objective.metric],
            "modes": [objective.mode],
            "num_trials": len(self.table.trials),
            "num_failed": self.table.count("failed"),
            "num_stopped_early": self.table.count("stopped"),
            "best_trial": best.trial if best else None,
            "best_value": best.value if best else None,
            "best_score": best.score if best else None,
            "best_epoch": best.best_epoch if best else None,
            "best_config": dict(best.config) if best else None,
            "checkpoint": str(checkpoint) if checkpoint else None,
            "pareto": [best.trial] if best else [],
            "mlflow_experiment_id": self.experiment_id,
            "wall_s": self.table.wall_s,
            "train_s": round(sum(trial.train_s for trial in self.table.trials.values()), 3),
            "ended": self.ended,
        }


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
    folder = SearchFolder(storage, plan.name)
    lock = folder.create(plan)
    tracker = MlflowTracker(tracking_uri, plan, storage, environment())
    try:
        with Ledger(folder.ledger_file) as ledger:
            table = TrialTable(plan.objective)
            ledger.subscribe(table.apply)
            ledger.subscribe(CheckpointStore(folder, ledger, table, plan.keep_checkpoints).on_event)
            ledger.subscribe(tracker.on_event)
            for listener in listeners(plan, table):
                ledger.subscribe(listener)
            tracker.start()
            ledger.append("search_started", name=plan.name, code_version=plan.code_version)
            try:
                with ray_session(address, folder.path) as resources:
                    fitted = with_resources(plan, resources)
                    bridge = _bridge(fitted, ledger)
                    ray_trials, ended = _run_tune(fitted, bridge, folder)
            except BaseException:
                ledger.append("search_ended", reason="interrupted")
                tracker.close()
                raise
            bridge.interrupt(ended)
            ledger.append("search_ended", reason=ended)
            export_study(bridge.study, folder.study_file)
            write_curves(table, folder.curves_file)
            failure = tracker.close()
            return SearchResult(
                plan, folder, table, bridge.study, ray_trials, ended, tracker.experiment_id, str(failure) if failure else None
            )
    finally:
        lock.release()


def _bridge(plan: Plan, ledger: Ledger) -> Bridge:
    fields = fields_of(TASKS[plan.task].space)
    searched = [field for name, field in fields.items() if name not in plan.fixed]
    random = drawn_at_random(plan.sampler, searched)
    if random and plan.sampler != "random":
        ledger.append("noted", text=f"sampler {plan.sampler} draws at random: {', '.join(random)}")
    sampler = make_sampler(plan.sampler, plan.seed, plan.max_concurrent or 1)
    scheduler = SCHEDULERS[plan.scheduler](plan.grace_period, plan.max_epochs, plan.reduction)
    return Bridge(plan, fields, new_study(plan.name, plan.objective, sampler), scheduler, ledger)


def _run_tune(plan: Plan, bridge: Bridge, folder: SearchFolder) -> tuple[dict[str, str], str]:
    """Runs the trials; gives Ray's final statuses and why the search ended."""
    deadline = Deadline(plan.time_budget_s)
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
    with tempfile.TemporaryDirectory(prefix="dermtune-tune-") as scratch, _stop_watch(folder.stop_file) as requested:
        tuner = tune.Tuner(
            tune.with_resources(TrialActor, resources),
            tune_config=tune.TuneConfig(
                search_alg=TrialSource(bridge, assignments, deadline),
                scheduler=BridgeScheduler(bridge, folder.trial, deadline),
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
        statuses = {trial.trial_id: str(trial.status) for trial in results._experiment_analysis.trials}
    return statuses, _why_ended(bridge, deadline, requested)


def _why_ended(bridge: Bridge, deadline: Deadline, requested: threading.Event) -> str:
    if requested.is_set():
        return "stop requested"
    if bridge.num_running or not (bridge.exhausted or deadline()):
        return "interrupted"
    if deadline() and not bridge.exhausted:
        return "time budget"
    return "all trials" if len(bridge.study.trials) >= bridge.plan.num_trials else "epoch budget"


def _request(plan: Plan, suggestion: Suggestion) -> TrialRequest:
    return TrialRequest(
        task=plan.task,
        config=suggestion.config,
        source=plan.source,
        seed=suggestion.seed,
        objective=plan.objective,
        max_epochs=plan.max_epochs,
        num_threads=max(1, int(plan.cpus_per_trial)),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune's progress and its warnings about what we do on purpose stay out of the user's sight."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        yield


@contextmanager
def _stop_watch(file: Path) -> Iterator[threading.Event]:
    """Turns a stop request into what Ctrl-C does: Tune ends after the step at hand.

    SIGTERM does the same. Outside the main thread nothing can be signalled; a stop then waits for the running trials.
    """
    requested, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            if file.exists():
                requested.set()
                signal.raise_signal(signal.SIGINT)
                return

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)) if main else None
    if main:
        threading.Thread(target=watch, name="stop-watch", daemon=True).start()
    try:
        yield requested
    finally:
        over.set()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def environment() -> dict[str, str]:
    """Machine and versions, for the record."""
    found = {name: metadata.version(name) for name in ("ray", "optuna", "mlflow", "torch")}
    return {
        "host": platform.node(),
        "python": platform.python_version(),
        "started": time.strftime("%FT%TZ", time.gmtime()),
        **found,
    }
