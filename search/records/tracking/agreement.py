"""Whether MLflow has what the ledger tells, and how to make it so."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import mlflow
from mlflow.entities import Run

from search.errors import PlanError
from search.records.events import Event
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.tracking.entities import STATUS, reported_values, trial_params
from search.records.tracking.mark import mark_of
from search.records.tracking.mlflow_tracker import MlflowTracker
from search.records.tracking.store import TRIAL_TAG, open_client, runs_of, summary_run
from search.records.trials import TrialRecord

_OPEN = "RUNNING"


def mlflow_differences(uri: str, plan: Plan, storage: Path, state: SearchState) -> list[tuple[str, str]]:
    """Trial (or "") and what differs in MLflow, a line each.

    Args:    uri: of the tracking store.
             plan: of the search.
             storage: folder of all searches.
             state: its trials.
    Raises:  PlanError: when the store cannot be opened.
    """
    client = open_client(uri)
    experiment = client.get_experiment_by_name(plan.name)
    if experiment is None:
        return [("", f"no experiment {plan.name} in this store")]
    try:
        mark_of(storage, plan.created).check(plan.name, uri, experiment.tags)
    except PlanError as error:
        return [("", str(error))]
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in runs_of(client, experiment.experiment_id):
        runs[run.data.tags[TRIAL_TAG]].append(run)
    found = [] if summary_run(client, experiment.experiment_id) else [("", "no summary run")]
    for trial in runs.keys() - state.trials.keys():
        found.append((trial, "a run of a trial that the ledger does not know"))
    for trial, record in state.trials.items():
        found += [(trial, text) for text in _run_differences(client, record, runs.get(trial, []))]
    return sorted(found)


def _run_differences(client: mlflow.MlflowClient, record: TrialRecord, runs: Sequence[Run]) -> list[str]:
    if len(runs) != 1:
        return [f"{len(runs)} runs, must be one"]
    run, found = runs[0], []
    expected = STATUS.get(record.state, _OPEN)
    if run.info.status != expected:
        found.append(f"status {run.info.status}, the ledger says {record.state} ({expected})")
    params = trial_params(record)
    if dict(run.data.params) != params:
        wrong = sorted(name for name in params.keys() | run.data.params.keys() if params.get(name) != run.data.params.get(name))
        found.append(f"parameters differ: {', '.join(wrong)}")
    for key, values in _history(record).items():
        logged = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, key)}
        if logged != values:
            found.append(f"metric {key}: {len(logged)} epochs logged, {len(values)} in the ledger, or other values")
    best = run.data.metrics.get("best/score")
    if record.state in STATUS and best != record.score:
        found.append(f"best/score {best}, the ledger says {record.score}")
    return found


def _history(record: TrialRecord) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for epoch in record.epochs:
        for key, value in reported_values(epoch).items():
            found[key][epoch.epoch] = value
    return found


def mend_mlflow(uri: str, plan: Plan, storage: Path, events: Sequence[Event], trials: Sequence[str]) -> Exception | None:
    """Writes these trials again; where that is not enough, their runs are deleted first.

    Args:    uri: of the tracking store.
             plan, events: of the search.
             storage: folder of all searches.
             trials: whose runs differ.
    Returns: what kept the store from taking them, None when it has.
    Raises:  PlanError: when the store cannot be opened, or its experiment of this name is another's.
    """
    client = open_client(uri)
    experiment = client.get_experiment_by_name(plan.name)
    if experiment is not None:
        mark_of(storage, plan.created).check(plan.name, uri, experiment.tags)
    state = SearchState.of(events, plan.objective, plan.constraints)
    failure = _write_again(uri, plan, storage, events, trials)
    still = {trial for trial, _ in mlflow_differences(uri, plan, storage, state) if trial} if failure is None else set()
    if not still:
        return failure
    experiment = client.get_experiment_by_name(plan.name)
    for run in runs_of(client, experiment.experiment_id):
        if run.data.tags[TRIAL_TAG] in still:
            client.delete_run(run.info.run_id)
    return _write_again(uri, plan, storage, events, sorted(still))


def _write_again(uri: str, plan: Plan, storage: Path, events: Sequence[Event], trials: Sequence[str]) -> Exception | None:
    environment: Mapping[str, str] = {}
    tracker = MlflowTracker(uri, plan, storage, environment, anew=frozenset(trials))
    for event in events:
        tracker.on_event(event)
    tracker.start()
    return tracker.close()
