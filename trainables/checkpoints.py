"""Checkpoints of torch trials: tensors as safetensors, the rest as JSON (see `trainables.folders`)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from trainables.errors import CheckpointError
from trainables.folders import encode_json, read_verified, write_folder

Tensors = Mapping[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)


def write(folder: Path, *, tensors: Mapping[str, Tensors], documents: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes a checkpoint folder; it appears under its name complete or not at all.

    Args:    folder: must not exist; its parents are made.
             tensors: file stem → name → tensor, written as `<stem>.safetensors`.
             documents: file stem → JSON object, written as `<stem>.json`.
    """
    contents = {f"{stem}.safetensors": save_tensors(_plain(named)) for stem, named in tensors.items()}
    contents |= {f"{stem}.json": encode_json(value) for stem, value in documents.items()}
    write_folder(folder, contents)


def _plain(named: Tensors) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def read(folder: Path, stem: str) -> dict[str, Tensor]:
    """Tensors of `<stem>.safetensors`, on the CPU, after their hash was checked.

    Raises:  CheckpointError: when the file is missing, does not match its hash or holds no tensors.
    """
    data = read_verified(folder, f"{stem}.safetensors")
    try:
        return dict(load_tensors(data))
    except (SafetensorError, KeyError, ValueError, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder / stem}.safetensors must hold tensors; got {reason}") from error


def restore_model(folder: Path, build: Callable[[], Model]) -> Model:
    """A fresh model with a checkpoint's weights.

    Args:    folder: the checkpoint.
             build: makes the model that its config.json names.
    Raises:  CheckpointError: when the weights are damaged or do not fit.
    """
    try:
        model = build()
        model.load_state_dict(read(folder, "model"))
    except (KeyError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"a checkpoint's weights must fit its config.json; got {reason} in {folder}") from error
    return model
