"""A trial's model after the epochs that are kept or may yet be."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainables.selection import BestEpoch
from trainables.trace import Trace


@dataclass(frozen=True)
class Snapshot:
    """What is kept of an epoch.

    Args:    metrics: of its validation.
             weights: of its model, in the CPU's memory: that of a GPU may be shared with other trials.
             trace: what the model had shown of itself up to then.
    """

    metrics: Mapping[str, float]
    weights: Mapping[str, Tensor]
    trace: Mapping[str, Tensor]

    @staticmethod
    def of(model: nn.Module, trace: Trace, metrics: Mapping[str, float]) -> "Snapshot":
        """The model as it is now."""
        weights = {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
        return Snapshot(metrics, weights, trace.tensors())


class Snapshots:
    """The epoch that is kept, and at most two others: see `BestEpoch.candidates`."""

    def __init__(self) -> None:
        self._taken: dict[int, Snapshot] = {}

    def __getitem__(self, epoch: int) -> Snapshot:
        """That of an epoch.

        Raises:  KeyError: when it was not kept.
        """
        return self._taken[epoch]

    def take(self, epoch: int, best: BestEpoch, model: nn.Module, trace: Trace, metrics: Mapping[str, float]) -> None:
        """Keeps the model as it is after an epoch if it may be the trial's in the end; lets go those that cannot be any more.

        Args:    epoch: the one that `best` observed last.
        """
        needed = {best.kept, *best.candidates(epoch)}
        if epoch in needed:
            self._taken[epoch] = Snapshot.of(model, trace, metrics)
        self._taken = {known: snapshot for known, snapshot in self._taken.items() if known in needed}

    def __contains__(self, epoch: int) -> bool:
        """Whether an epoch's was kept."""
        return epoch in self._taken

    def tensors(self, epochs: Set[int]) -> dict[str, Tensor]:
        """Weights and traces of some epochs; the newest need not be among them, being the model itself (see `restore`)."""
        chosen = {epoch: snapshot for epoch, snapshot in self._taken.items() if epoch in epochs}
        return {
            **{f"{epoch}.weights.{name}": value for epoch, found in chosen.items() for name, value in found.weights.items()},
            **{f"{epoch}.trace.{name}": value for epoch, found in chosen.items() for name, value in found.trace.items()},
        }

    def metrics(self, epochs: Set[int]) -> dict[str, Any]:
        """Metrics of some epochs as JSON values."""
        return {str(epoch): dict(snapshot.metrics) for epoch, snapshot in self._taken.items() if epoch in epochs}

    def restore(
        self, metrics: Mapping[str, Any], tensors: Mapping[str, Tensor], newest: int, model: nn.Module, trace: Trace
    ) -> None:
        """Takes over what `metrics` and `tensors` gave.

        Args:    newest: the epoch after which they did.
                 model, trace: restored already.
        """
        self._taken = {
            int(epoch): Snapshot.of(model, trace, own)
            if int(epoch) == newest
            else Snapshot(own, below(tensors, f"{epoch}.weights."), below(tensors, f"{epoch}.trace."))
            for epoch, own in metrics.items()
        }


def below(named: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
