"""What MLflow has of a search, and its removal."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Experiment, LifecycleStage

from search.errors import PlanError
from search.records.tracking.mark import Mark
from search.records.tracking.registry import RegisteredVersion, logged_models_of, registered_versions, run_ids_of, unregister
from search.records.tracking.store import STORE_ERRORS, ask, is_made, open_client, reason


@dataclass(frozen=True)
class Tracked:
    """What a store has under a search's name.

    Args:    is_ours: whether the experiment bears the search's mark, and not just its name.
             num_runs: of it, 0 of one that is not ours.
             registered: versions of registered models that were made from them.
    """

    is_ours: bool
    num_runs: int = 0
    registered: tuple[RegisteredVersion, ...] = ()


def artifacts_folder(storage: Path, name: str) -> Path:
    """Where a search's artifacts lie when no server takes them."""
    return storage / "mlartifacts" / name


def tracked(uri: str, name: str, mark: Mark) -> Tracked | None:
    """What a store has under a search's name, None where it has no experiment of that name.

    Args:    uri: of the store.
             name, mark: of the search.
    Raises:  PlanError: when the store cannot be opened.
    """

    def look(client: mlflow.MlflowClient) -> Tracked | None:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return None
        if not mark.fits(experiment.tags):
            return Tracked(is_ours=False)
        found = str(experiment.experiment_id)
        return Tracked(True, len(run_ids_of(client, found)), tuple(registered_versions(client, found)))

    return ask(uri, look) if is_made(uri) else None


def delete_experiment(uri: str, name: str, mark: Mark, storage: Path, registered: Sequence[RegisteredVersion] = ()) -> None:
    """Removes a search's experiment, its logged models and its artifacts on this machine, and frees its name.

    Args:    uri: of the store.
             name, mark: of the search; an experiment without the mark stays, and all that belongs to it.
             storage: folder of all searches.
             registered: versions made from it, which are removed first: what is registered always has its files.
    Raises:  PlanError: when the store does not let it go.
    """
    if not is_made(uri):
        return
    client = open_client(uri)
    try:
        experiment = client.get_experiment_by_name(name)
        # The artifacts are another store's then, which may have registered some.
        if experiment is None or not mark.fits(experiment.tags):
            return
        for version in registered:
            unregister(client, version)
        _delete(client, experiment, name)
    except STORE_ERRORS as error:
        raise PlanError(f"NAME must be a search whose experiment MLflow deletes; got {name!r}: {reason(error)}") from error
    shutil.rmtree(artifacts_folder(storage, name), ignore_errors=True)


def _delete(client: mlflow.MlflowClient, experiment: Experiment, name: str) -> None:
    # MLflow keeps a deleted experiment's name; renamed first, the name can be used again.
    if experiment.lifecycle_stage == LifecycleStage.DELETED:
        client.restore_experiment(experiment.experiment_id)
    for model_id in logged_models_of(client, experiment.experiment_id):
        client.delete_logged_model(model_id)
    client.rename_experiment(experiment.experiment_id, f"{name} (deleted {experiment.experiment_id})")
    client.delete_experiment(experiment.experiment_id)
