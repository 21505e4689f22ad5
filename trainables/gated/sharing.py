"""What a gated network's tasks share, and how that came about."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from models.gated_network import GatedNetwork
from trainables import checkpoints
from trainables.data.cases import LabelTask
from trainables.errors import CheckpointError
from trainables.loop import TRACE
from trainables.sharing import Sharing


def sharing_of(model: GatedNetwork, tasks: Sequence[LabelTask]) -> Sharing | None:
    """Sharing fractions of a model with learnt gates, else None."""
    if not model.gate_parameters():
        return None
    with torch.no_grad():
        blocks = model.sharing().double().numpy()
    return Sharing(tuple(task.name for task in tasks), blocks)


def with_history(sharing: Sharing, folder: Path) -> Sharing:
    """The sharing with what it was at the start and after earlier epochs, where its checkpoint has that.

    Raises:  CheckpointError: when the folder is damaged.
    """
    if not (folder / f"{TRACE}.safetensors").is_file():
        return sharing
    traced = checkpoints.read(folder, TRACE)
    epochs, history = traced.get("epoch"), traced.get("sharing")
    if epochs is None or history is None or history.shape != (*epochs.shape, *sharing.blocks.shape):
        raise CheckpointError(f"a checkpoint's trace must fit its network; got another shape in {folder}")
    return replace(sharing, epochs=tuple(int(epoch) for epoch in epochs), history=history.double().numpy())
