"""A search in MLflow: one experiment, a summary run and a flat run per trial, written behind the search's back."""

import json
import logging
import math
import os
import queue
import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from search.errors import PlanError
from search.records.ledger import Event
from search.records.notices import notice
from search.records.plan import Plan
from search.records.trials import ENDED, TrialRecord, TrialTable

SUMMARY, TRIAL = "search", "trial"
KIND_TAG, TRIAL_TAG = "kind", "dermtune.trial"
STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)
_EXTENDED = ("num_trials", "time_budget_s", "epoch_budget", "gpu_hours", "max_concurrent", "gpus_per_trial", "code_version")
_NOT_PARAMETERS = ("fixed", "objective", "further_objectives", "notes", "space", "constraints", "confirmation")
_BATCH = 1000
_RETRIES = 5
_log = logging.getLogger("dermtune.tracking")


def default_tracking_uri(storage: Path) -> str:
    """`runs/mlflow.db` of a storage folder, unless MLFLOW_TRACKING_URI says otherwise."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage / 'mlflow.db'}"


def open_client(uri: str) -> mlflow.MlflowClient:
    """A client of a tracking store; a new sqlite store is made.

    Raises:  PlanError: when the store cannot be opened.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except (*_STORE_ERRORS, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise PlanError(f"--tracking-uri must be a store that MLflow can open; got {uri}: {reason}") from error
    return client


class MlflowTracker:
    """Writes a ledger's events to MLflow from a thread of its own, in order, in batches, with retries.

    Args:    uri: of the tracking store.
             plan: of the search.
             storage: folder of all searches; artifacts go below it when the store is on this machine.
             environment: versions and machine, for the summary run.

    Events that the store has already may be given again, after a crash for instance: runs are found by their trial's tag,
    and metrics bear the event's time, so that the store takes none twice. A trial that has ended in the store and in the
    events given before `start` is left alone, unless `anew` names it.

    Args:    anew: trials to write again whatever the store says of them.
    """

    def __init__(
        self,
        uri: str,
        plan: Plan,
        storage: Path,
        environment: Mapping[str, str],
        anew: Collection[str] = (),
    ) -> None:
        self.uri, self.experiment_id = uri, ""
        self._plan, self._storage, self._environment, self._anew = plan, storage, environment, anew
        self._table = TrialTable(plan.objective, plan.constraints)
        self._past: list[Event] = []
        self._notices: list[str] = []
        self._done: set[str] = set()
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._runs: dict[str, str] = {}
        self._summary_run = ""
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begins to write. Opening the store happens in the background, too."""
        self._thread.start()

    def on_event(self, event: Event) -> None:
        """Takes one event; never waits for the store."""
        if self._thread.ident is None:
            self._past.append(event)
        else:
            self._events.put(event)

    def close(self) -> Exception | None:
        """Waits until everything is written; gives the error that kept it from being so, if any."""
        if self._thread.ident is not None:
            self._events.put(None)
            self._thread.join()
        return self._failure

    def _work(self) -> None:
        try:
            self._client = open_client(self.uri)
            self._retry(self._open_experiment)
            if self._past:
                self._retry(self._find_runs)
                self._handle(self._past)
            while (event := self._events.get()) is not None:
                self._handle([event, *self._drain()])
        except Exception as error:  # noqa: BLE001 - artifact stores raise errors of their own, and none may pass unsaid
            self._failure = error
            _log.warning("MLflow did not take the search's metrics: %s", error)

    def _drain(self) -> list[Event]:
        """Everything that has piled up meanwhile, so that one call carries many epochs."""
        events: list[Event] = []
        while not self._events.empty():
            event = self._events.get()
            if event is None:
                self._events.put(None)
                break
            events.append(event)
        return events

    def _handle(self, events: list[Event]) -> None:
        metrics: dict[str, list[Metric]] = {}
        for event in events:
            self._table.apply(event)
            kind, trial = event["event"], event.get("trial", "")
            if trial in self._done:
                continue
            if kind == "suggested":
                self._retry(lambda trial=trial: self._open_trial(self._table.trials[trial]))
            elif kind == "reported":
                metrics.setdefault(trial, []).extend(metrics_of(event))
            elif kind in STATUS:
                self._write(trial, metrics.pop(trial, []))
                self._retry(lambda trial=trial, event=event: self._close_trial(self._table.trials[trial], event))
            elif kind == "continued":
                self._retry(lambda trial=trial: self._client.update_run(self._runs[trial], status="RUNNING"))
            elif kind == "search_resumed":
                self._retry(lambda: self._client.update_run(self._summary_run, status="RUNNING"))
            elif kind == "checkpoint_deleted":
                self._retry(
                    lambda trial=trial: self._client.set_tag(self._runs[trial], "checkpoint", "deleted: not among the best")
                )
            elif (line := notice(event)) is not None:
                self._notices.append(line)
                self._retry(lambda: self._client.set_tag(self._summary_run, "notices", "\n".join(self._notices)[:5000]))
            elif kind == "search_ended":
                self._retry(lambda event=event: self._close_summary(event))
        for trial, values in metrics.items():
            self._write(trial, values)

    def _write(self, trial: str, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), _BATCH):
            part = metrics[start : start + _BATCH]
            self._retry(lambda part=part: self._client.log_batch(self._runs[trial], metrics=part))

    def _retry(self, call: Any) -> Any:
        for attempt in range(_RETRIES):
            try:
                return call()
            except _STORE_ERRORS:
                if attempt == _RETRIES - 1:
                    raise
                time.sleep(0.2 * 2**attempt)
        return None

    def _find_runs(self) -> None:
        """The runs of trials begun by earlier processes."""
        ended = {record.trial for record in TrialTable.of(self._past, self._plan.objective).trials.values() if _is_over(record)}
        for trial, (run, status) in _trial_runs(self._client, self.experiment_id).items():
            self._runs[trial] = run
            if trial in ended and trial not in self._anew and status in ("FINISHED", "FAILED"):
                self._done.add(trial)

    def _open_experiment(self) -> None:
        plan = self._plan
        found = self._client.get_experiment_by_name(plan.name)
        if found is not None:
            self.experiment_id = found.experiment_id
        else:
            local = self.uri.startswith("sqlite:")
            place = (self._storage / "mlartifacts" / plan.name).as_uri() if local else None
            self.experiment_id = self._client.create_experiment(plan.name, artifact_location=place)
        if not self._summary_run and found is not None:
            self._summary_run = summary_run(self._client, self.experiment_id) or ""
        if not self._summary_run:
            run = self._client.create_run(self.experiment_id, run_name=f"search {plan.name}", tags={KIND_TAG: SUMMARY})
            self._summary_run = run.info.run_id
        settings = {key: value for key, value in plan.to_json().items() if key not in _NOT_PARAMETERS}
        params = {**settings, **{name: ",".join(getattr(o, name) for o in plan.objectives) for name in ("metric", "mode")}}
        # What a resumption may change cannot be a parameter: MLflow takes none twice.
        limits = {name: str(settings.pop(name)) for name in _EXTENDED}
        self._client.log_batch(
            self._summary_run,
            params=[Param(key, str(value)) for key, value in params.items() if key not in _EXTENDED],
            tags=[RunTag(key, value) for key, value in limits.items()]
            + [RunTag(f"env.{key}", value) for key, value in self._environment.items()],
        )
        self._client.log_dict(self._summary_run, plan.to_json(), "plan.json")

    def _open_trial(self, trial: TrialRecord) -> None:
        # Called again after a hiccup: the run may be there already.
        if trial.trial not in self._runs:
            tags = {KIND_TAG: TRIAL, TRIAL_TAG: trial.trial}
            run = self._client.create_run(self.experiment_id, run_name=trial.trial, tags=tags)
            self._runs[trial.trial] = run.info.run_id
        params = [Param(name, str(value)) for name, value in trial.config.items() if value is not None]
        self._client.log_batch(self._runs[trial.trial], params=[*params, Param("seed", str(trial.seed))])

    def _close_trial(self, trial: TrialRecord, event: Event) -> None:
        stamp = _ms(event)
        run, tags = self._runs[trial.trial], {"state": trial.state, "reason": trial.reason or ""}
        metrics = [Metric("train_s", trial.train_s, stamp, 0)]
        best = next((epoch for epoch in trial.epochs if epoch["epoch"] == trial.best_epoch), None)
        if best is not None:
            found = {**best["metrics"], "score": best["score"], "epoch": best["epoch"]}
            metrics += [Metric(f"best/{name}", float(value), stamp, 0) for name, value in found.items()]
        if trial.checkpoint is not None:
            tags |= {"checkpoint": str(self._storage / self._plan.name / trial.checkpoint), "sha256": trial.sha256 or ""}
        tags |= {key: str(value) for key, value in trial.where.items()}
        tags |= {"notes": "; ".join(trial.notes)} if trial.notes else {}
        self._client.log_batch(run, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
        self._client.set_terminated(run, status=STATUS[trial.state])

    def _close_summary(self, event: Event) -> None:
        table, best, stamp = self._table, self._table.best, _ms(event)
        numbers = {f"num_{state}": table.count(state) for state in ("finished", "stopped", "failed", "interrupted")}
        values: dict[str, float] = {**numbers, "num_trials": len(table.trials), "wall_s": event["elapsed_s"]}
        tags = {"ended": event["reason"]}
        if best is not None:
            values |= {"best/value": best.value or 0.0, "best/score": best.score or 0.0, "best/epoch": best.best_epoch}
            tags |= {"best_trial": best.trial, "best_config": json.dumps(dict(best.config))[:5000]}
        metrics = [Metric(name, float(value), stamp, 0) for name, value in values.items() if math.isfinite(value)]
        self._client.log_batch(self._summary_run, metrics=metrics, tags=[RunTag(k, v) for k, v in tags.items()])
        self._client.set_terminated(self._summary_run, status="KILLED" if event["reason"] == "interrupted" else "FINISHED")


def _ms(event: Event) -> int:
    """The event's time in milliseconds since 1970: the same when it is written again."""
    return round(datetime.fromisoformat(event["time"]).timestamp() * 1000)


def metrics_of(event: Event) -> list[Metric]:
    """What a report's epochs become in MLflow."""
    stamp = _ms(event)
    return [
        Metric(name, float(value), stamp, epoch["epoch"])
        for epoch in event["epochs"]
        for name, value in reported_values(epoch).items()
    ]


def reported_values(epoch: Mapping[str, Any]) -> dict[str, float]:
    """An epoch's metrics by their names in MLflow."""
    return {**epoch["metrics"], "score": epoch["score"], "epoch_s": epoch["seconds"]}


def _is_over(record: TrialRecord) -> bool:
    return record.state in ENDED


def summary_run(client: mlflow.MlflowClient, experiment_id: str) -> str | None:
    found = client.search_runs([experiment_id], f"tags.{KIND_TAG} = '{SUMMARY}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def trial_runs(uri: str, name: str) -> dict[str, tuple[str, str]]:
    """Trial → (run id, status) of a search's experiment; empty when MLflow knows no such experiment."""
    client = open_client(uri)
    experiment = client.get_experiment_by_name(name)
    return {} if experiment is None else _trial_runs(client, experiment.experiment_id)


def _trial_runs(client: mlflow.MlflowClient, experiment_id: str) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for run in runs_of(client, experiment_id):
        found[run.data.tags[TRIAL_TAG]] = (run.info.run_id, run.info.status)
    return found


def runs_of(client: mlflow.MlflowClient, experiment_id: str) -> Iterator[Run]:
    """Every trial's run in an experiment, oldest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            f"tags.{KIND_TAG} = '{TRIAL}'",
            max_results=1000,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def delete_experiment(uri: str, name: str, storage: Path) -> None:
    """Removes a search's experiment and its artifacts on this machine, and frees its name."""
    client = open_client(uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        # MLflow keeps a deleted experiment's name; renamed first, the name can be used again.
        client.rename_experiment(experiment.experiment_id, f"{name} (deleted {experiment.experiment_id})")
        client.delete_experiment(experiment.experiment_id)
    shutil.rmtree(storage / "mlartifacts" / name, ignore_errors=True)


def has_experiment(uri: str, name: str) -> bool:
    """Whether MLflow already has an experiment of that name, deleted or not.

    Raises:  PlanError: when the store cannot be opened.
    """
    # A sqlite store that is not there yet is made by the tracker, in the background: it takes seconds.
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return False
    return open_client(uri).get_experiment_by_name(name) is not None
