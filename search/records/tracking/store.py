"""The tracking store: opening it, what its errors mean, the runs of a search in it."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from search.errors import PlanError
from search.records.database import alone, masked, sqlite_file
from search.records.plan import Plan
from search.records.tracking.address import check_store, is_on_server
from search.records.tracking.mark import mark_of
from trainables.errors import DermtuneError
from trainables.folders import sync

SUMMARY, TRIAL = "search", "trial"
KIND_TAG, TRIAL_TAG = "kind", "dermtune.trial"
STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)
#: The store has understood and says no: trying again is of no use.
_REFUSALS = frozenset(
    {
        "BAD_REQUEST",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
        "UNAUTHENTICATED",
    }
)
_PAGE = 1000
#: sqlite itself waits five seconds for a lock.
_LOCKED_WITHIN_S, _AGAIN_S = 30.0, 0.2
Answer = TypeVar("Answer")


def connect(uri: str) -> mlflow.MlflowClient:
    """A client of a tracking store, which has answered once; a new store's tables are made by one process at a time.

    Raises:  any of `STORE_ERRORS`, ImportError: when a database's driver is not installed.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with alone(uri):
        _make_file(uri)
        client = mlflow.MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _make_file(uri: str) -> None:
    """Makes a sqlite store that is not there yet, whole or not at all.

    MLflow itself makes it in many steps, and one whose process dies between two of them can never be opened again.
    """
    file = sqlite_file(uri)
    if file is None or file.exists():
        return
    unfinished = file.with_name(f".{file.name}.unfinished")
    for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
        left.unlink(missing_ok=True)
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments(max_results=1)
    unfinished.rename(file)
    sync(file.parent)


def open_client(uri: str) -> mlflow.MlflowClient:
    """As `connect`, for those who cannot wait for a store that is away.

    Raises:  PlanError: when the store cannot be opened.
    """
    return ask(uri, lambda client: client)


def ask(uri: str, question: Callable[[mlflow.MlflowClient], Answer]) -> Answer:
    """What a store answers, for those who cannot wait for one that is away; one that another has locked gets half a minute.

    Raises:  PlanError: when the store cannot be opened, or asked.
    """
    end = time.monotonic() + _LOCKED_WITHIN_S
    while True:
        try:
            return question(connect(uri))
        except (*STORE_ERRORS, ImportError) as error:
            if "database is locked" in str(error) and time.monotonic() < end:
                time.sleep(_AGAIN_S)
                continue
            hint = ""
            if is_on_server(uri) and re.search(r"\b(401|403)\b|UNAUTHENTICATED|PERMISSION_DENIED", str(error)):
                hint = " (set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD)"
            said = f"{masked(uri)}: {reason(error)}{hint}"
            raise PlanError(f"--tracking-uri must be a store that MLflow can open; got {said}") from error


def is_refusal(error: Exception) -> bool:
    """Whether the store has said no, and is not just away, locked or slow."""
    return isinstance(error, MlflowException) and error.error_code in _REFUSALS


def is_full(error: Exception) -> bool:
    """Whether the store's disk has no room, which passes."""
    return any(text in str(error) for text in ("disk is full", "No space left on device", "Disk quota exceeded"))


def reason(error: Exception) -> str:
    """An error in one line, without a password; of ours the whole line."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return masked(text)[: None if isinstance(error, DermtuneError) else 300]


def summary_run(client: mlflow.MlflowClient, experiment_id: str) -> str | None:
    """The run of the search itself, None when there is none."""
    found = client.search_runs([experiment_id], f"tags.{KIND_TAG} = '{SUMMARY}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def trial_run(client: mlflow.MlflowClient, experiment_id: str, trial: str) -> str | None:
    """The run of one trial, None when there is none."""
    found = client.search_runs([experiment_id], f"tags.`{TRIAL_TAG}` = '{trial}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def runs_of(client: mlflow.MlflowClient, experiment_id: str) -> Iterator[Run]:
    """Every trial's run in an experiment, oldest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            f"tags.{KIND_TAG} = '{TRIAL}'",
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def statuses_of(client: mlflow.MlflowClient, experiment_id: str) -> dict[str, tuple[str, str]]:
    """Trial → (run id, status)."""
    return {run.data.tags[TRIAL_TAG]: (run.info.run_id, run.info.status) for run in runs_of(client, experiment_id)}


def trial_runs(uri: str, name: str) -> dict[str, tuple[str, str]]:
    """Trial → (run id, status) of a search's experiment; empty when MLflow knows no such experiment."""

    def runs(client: mlflow.MlflowClient) -> dict[str, tuple[str, str]]:
        experiment = client.get_experiment_by_name(name)
        return {} if experiment is None else statuses_of(client, experiment.experiment_id)

    return ask(uri, runs)


def run_ids(uri: str, plan: Plan, storage: Path, trials: list[str]) -> dict[str, str]:
    """Trial → run id for some trials of a search; those that MLflow does not know are left out.

    Raises:  PlanError: when the store cannot be asked, or its experiment of this name is another's.
    """

    def runs(client: mlflow.MlflowClient) -> dict[str, str]:
        experiment = client.get_experiment_by_name(plan.name)
        if experiment is None:
            return {}
        mark_of(storage, plan.created).check(plan.name, uri, experiment.tags)
        found = {trial: trial_run(client, experiment.experiment_id, trial) for trial in trials}
        return {trial: run for trial, run in found.items() if run is not None}

    return ask(uri, runs)


def is_made(uri: str) -> bool:
    """Whether a store is there to be asked; a sqlite store that is not takes seconds to make, which the tracker does."""
    file = sqlite_file(uri)
    return file is None or file.exists()


def has_experiment(uri: str, name: str) -> bool:
    """Whether MLflow already has an experiment of that name, deleted or not.

    Raises:  PlanError: when the store cannot be opened.
    """
    return is_made(uri) and ask(uri, lambda client: client.get_experiment_by_name(name) is not None)


def check_experiment(uri: str, plan: Plan, storage: Path) -> None:
    """Makes sure that an experiment of the search's name, if there is one, is the search's.

    A store that is away cannot be asked: who writes to it when it is back looks again.

    Raises:  PlanError: when it is another's.
    """
    try:
        check_store(uri)
        found = ask(uri, lambda client: client.get_experiment_by_name(plan.name)) if is_made(uri) else None
    except PlanError:
        return
    if found is not None:
        mark_of(storage, plan.created).check(plan.name, uri, found.tags)


def newest_experiments(uri: str, count: int) -> list[tuple[str, str]]:
    """Name and id of the newest searches in a store, newest first.

    Raises:  PlanError: when the store cannot be opened.
    """
    order = {"filter_string": "name != 'Default'", "order_by": ["creation_time DESC"], "max_results": count}
    found = ask(uri, lambda client: client.search_experiments(**order))
    return [(experiment.name, experiment.experiment_id) for experiment in found]
