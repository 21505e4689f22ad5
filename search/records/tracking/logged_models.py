"""Checkpoints as MLflow models: images in, probabilities and explanations out, without a pickle."""

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types.schema import ColSpec, Schema

import models
import spaces
import trainables
from search.records.tracking.mlflow_internals import save_example
from trainables import served

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # of its own agents' type hints
    import mlflow.pyfunc

#: What a served model needs beside dermtune's own sources, which travel with it.
_REQUIREMENTS = (
    "filelock", "jaxtyping", "mlflow", "numpy", "pandas", "pillow", "psutil", "pyarrow", "safetensors", "scikit-image",
    "scikit-learn", "scipy", "torch", "torchvision",
)  # fmt: skip
_TRIAL, _SHA256, _EPOCH = "trial", "sha256", "epoch"


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that is to become an MLflow model.

    Args:    search, task, trial: where it comes from.
             folder: the checkpoint.
             sha256: of the checkpoint.
             epoch: it was taken at.
             metrics: of that epoch.
             params: hyperparameters.
    """

    search: str
    task: str
    trial: str
    folder: Path
    sha256: str
    epoch: int
    metrics: Mapping[str, float]
    params: Mapping[str, str]


def log_model(client: mlflow.MlflowClient, experiment_id: str, run_id: str, found: Candidate, example: bytes) -> str:
    """Makes a checkpoint a logged model of its run, unless it is one already; gives the model's id.

    Args:    client: of the store.
             experiment_id, run_id: of the trial.
             found: the checkpoint.
             example: an image file's bytes, for the signature and as the input example.
    Raises:  any of `STORE_ERRORS`: when the store does not take it.
             CheckpointError: when the checkpoint is damaged.
    """
    earlier = model_of(client, experiment_id, found.trial, found.sha256)
    if earlier is not None:
        return earlier
    model = client.create_logged_model(
        experiment_id,
        name=f"{found.search}-{found.trial}",
        source_run_id=run_id,
        params=dict(found.params),
        tags={_TRIAL: found.trial, _SHA256: found.sha256, _EPOCH: str(found.epoch), "task": found.task},
        model_type=found.task,
    )
    with tempfile.TemporaryDirectory(prefix="dermtune-model-") as scratch:
        folder = Path(scratch) / "model"
        description = Model(
            artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run_id, model_id=model.model_id
        )
        save_model(found.folder, folder, example, description)
        client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=found.epoch)])
    return str(model.model_id)


def save_model(checkpoint: Path, folder: Path, example: bytes, description: Model | None = None) -> None:
    """Writes a checkpoint as an MLflow model folder, with dermtune's sources so that it loads where dermtune is not installed.

    Args:    checkpoint: as `dermtune best` names it.
             folder: must not exist.
             example: an image file's bytes.
             description: of the model in a store, None for one of its own.
    """
    table = pd.DataFrame({served.IMAGE: [example]})
    said = served.ServedModel(checkpoint).predict(table)
    with warnings.catch_warnings():
        # Of integers that might be missing, and of the example that we save ourselves.
        warnings.simplefilter("ignore", UserWarning)
        mlflow.pyfunc.save_model(
            folder,
            loader_module=served.__name__,
            data_path=str(checkpoint),
            code_paths=[str(Path(str(package.__file__)).parent) for package in (models, spaces, trainables)],
            mlflow_model=description,
            signature=_signature(said),
            pip_requirements=_requirements(),
        )
    # By hand: MLflow would check the example by predicting in another process, and warns of its size.
    model = Model.load(str(folder))
    save_example(model, table, folder)
    model.save(str(folder / "MLmodel"))
    for pycache in folder.rglob("__pycache__"):
        for file in pycache.iterdir():
            file.unlink()
        pycache.rmdir()


def _signature(said: list[dict[str, Any]]) -> ModelSignature:
    """A binary column in; out what the model says of an image."""
    outputs = infer_signature(model_output=pd.DataFrame(said)).outputs
    return ModelSignature(inputs=Schema([ColSpec("binary", served.IMAGE)]), outputs=outputs)


def _requirements() -> list[str]:
    """The versions that made the model; a local build's `+cu130` is in no package index."""
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in _REQUIREMENTS]


def model_of(client: mlflow.MlflowClient, experiment_id: str, trial: str, sha256: str) -> str | None:
    """The id of the logged model of a trial's checkpoint, None when there is none."""
    found = client.search_logged_models([experiment_id], filter_string=f"tags.{_TRIAL} = '{trial}'")
    ready = [m for m in found if m.status == LoggedModelStatus.READY and m.tags.get(_SHA256) == sha256]
    return str(ready[0].model_id) if ready else None
