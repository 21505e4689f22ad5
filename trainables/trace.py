"""What a model showed of itself as it was trained: a few epochs, evenly spread, however many there were."""

from collections.abc import Mapping

import torch
from torch import Tensor

#: Epochs that are kept, besides the start and the last one.
CAPACITY = 16
_EPOCH = "epoch"


class Trace:
    """Tensors of one shape after some epochs. What is kept follows from the epochs alone, so a resumed trial keeps the same."""

    def __init__(self) -> None:
        self._shown: dict[int, dict[str, Tensor]] = {}

    def add(self, epoch: int, shown: Mapping[str, Tensor]) -> None:
        """Takes note of an epoch; of those before, only the start and the spread-out ones stay.

        Args:    epoch: 1 for the first, 0 for the start, before anything is trained.
                 shown: small tensors, of the same names and shapes each time; nothing for a model that shows nothing.
        """
        if not shown:
            return
        stride = 1
        while epoch // stride > CAPACITY:
            stride *= 2
        self._shown = {known: tensors for known, tensors in self._shown.items() if known % stride == 0}
        self._shown[epoch] = {name: tensor.detach().cpu().clone() for name, tensor in shown.items()}

    def tensors(self) -> dict[str, Tensor]:
        """`epoch` and every name, stacked by epoch; nothing where there is nothing."""
        if not self._shown:
            return {}
        every = list(self._shown.values())
        return {
            _EPOCH: torch.tensor(list(self._shown)),
            **{name: torch.stack([tensors[name] for tensors in every]) for name in every[0]},
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `tensors` gave."""
        epochs = tensors[_EPOCH].tolist() if tensors else []
        named = {name: stacked for name, stacked in tensors.items() if name != _EPOCH}
        self._shown = {epoch: {name: stacked[row] for name, stacked in named.items()} for row, epoch in enumerate(epochs)}
