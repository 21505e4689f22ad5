"""MLflow's model registry: what becomes a version of a registered model, and what of a search is one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import mlflow
from mlflow.entities import ViewType
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

_MADE_BY = "Made by dermtune. Research software, not a medical device."
_PAGE = 1000
_VARIABLE = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model that was made from a search.

    Args:    model: name of the registered model.
             version: of it.
             aliases: that point to it.
    """

    model: str
    version: str
    aliases: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.model} version {self.version}" + (f" ({', '.join(self.aliases)})" if self.aliases else "")

    def to_json(self) -> dict[str, Any]:
        """The version as JSON values."""
        return asdict(self)


def registered_versions(client: mlflow.MlflowClient, experiment_id: str) -> list[RegisteredVersion]:
    """Versions whose run or logged model is in an experiment, by name and number.

    Args:    client: of the store.
             experiment_id: of the search.
    """
    runs = run_ids_of(client, experiment_id)
    models = {f"models:/{model_id}" for model_id in logged_models_of(client, experiment_id)}
    found = [v for v in _versions(client) if v.run_id in runs or str(v.source).rstrip("/") in models]
    aliases = {name: dict(client.get_registered_model(name).aliases) for name in {version.name for version in found}}
    versions = [
        RegisteredVersion(
            v.name, str(v.version), tuple(sorted(a for a, to in aliases[v.name].items() if str(to) == str(v.version)))
        )
        for v in found
    ]
    return sorted(versions, key=lambda version: (version.model, int(version.version)))


def unregister(client: mlflow.MlflowClient, version: RegisteredVersion) -> None:
    """Removes a version with its aliases, and its model when that was made here and has no other."""
    client.delete_model_version(version.model, version.version)
    if not _versions_of(client, version.model) and client.get_registered_model(version.model).description == _MADE_BY:
        client.delete_registered_model(version.model)


def logged_models_of(client: mlflow.MlflowClient, experiment_id: str) -> list[str]:
    """Ids of every logged model of an experiment."""
    found, token = list[str](), None
    while True:
        page = client.search_logged_models([experiment_id], max_results=50, page_token=token)
        found += [str(model.model_id) for model in page]
        token = page.token
        if not token:
            return found


def run_ids_of(client: mlflow.MlflowClient, experiment_id: str) -> set[str]:
    """Ids of every run of an experiment, deleted ones too."""
    found, token = set[str](), None
    while True:
        page = client.search_runs([experiment_id], run_view_type=ViewType.ALL, max_results=_PAGE, page_token=token)
        found |= {run.info.run_id for run in page}
        token = page.token
        if not token:
            return found


def _versions_of(client: mlflow.MlflowClient, model: str) -> list[ModelVersion]:
    """Versions of a registered model. MLflow's filters cannot say a name that holds both kinds of quotes."""
    quote = '"' if "'" in model else "'"
    where = None if quote in model else f"name = {quote}{model}{quote}"
    return [version for version in _versions(client, where) if version.name == model]


def _versions(client: mlflow.MlflowClient, where: str | None = None) -> Iterator[ModelVersion]:
    token = None
    while True:
        page = client.search_model_versions(where, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def register(client: mlflow.MlflowClient, name: str, model_id: str, run_id: str, alias: str | None, description: str) -> str:
    """Makes a logged model a version of a registered one; gives the version.

    Args:    client: of the store.
             name: of the registered model; made if missing.
             model_id, run_id: see `log_model`.
             alias: that points to this version from now on, None for none.
             description: of the version, Markdown.
    """
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name, description=_MADE_BY)
    source = f"models:/{model_id}"
    versions = [version for version in _versions_of(client, name) if version.source == source]
    if versions:
        version = str(versions[0].version)
    else:
        with _everywhere(client.tracking_uri):
            made = client.create_model_version(name, source, run_id=run_id, model_id=model_id, description=description)
        version = str(made.version)
    if alias is not None:
        client.set_registered_model_alias(name, alias, version)
    return version


@contextmanager
def _everywhere(uri: str) -> Iterator[None]:
    """Makes a store MLflow's global one for a while: its registry looks a logged model up there, not in the client's own.

    By the variable where nothing else is set: what `set_tracking_uri` is told once, it holds against the variable for good.
    """
    before = os.environ.pop(_VARIABLE, None)
    pinned = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    try:
        if pinned is None:
            os.environ[_VARIABLE] = uri
        else:
            mlflow.set_tracking_uri(uri)
        yield
    finally:
        if pinned is not None:
            mlflow.set_tracking_uri(pinned)
        os.environ.pop(_VARIABLE, None)
        if before is not None:
            os.environ[_VARIABLE] = before
