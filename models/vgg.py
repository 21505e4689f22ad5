"""VGG-16's convolutional blocks, with batch normalisation trained, half or wholly frozen, or left out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import fresh_convolution

BatchNormMode = Literal["trained", "frozen", "frozen_statistics", "none"]
#: Modes in which a training batch is normalised by its own statistics.
BATCH_STATISTICS: tuple[BatchNormMode, ...] = ("trained", "frozen")
#: (convolutions, channels) of the five blocks.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


class FrozenAffineBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose scale and shift are not trained.

    In training it normalises by the statistics of the batch and goes on updating the running ones, which it uses in evaluation.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 4.1, "frozen batch normalization layers", and the authors' code,
        whose `model.train()` leaves the statistics of these layers to the batch
    Deviations: none.

    Args:    channels: of its input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-5)
        self.requires_grad_(False)


class FrozenStatisticsBatchNorm(nn.BatchNorm2d):
    """Batch normalisation that keeps scale, shift and statistics as they were set, in training mode too.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 4.1, "frozen batch normalization layers", read literally
    Deviations: the authors' code freezes scale and shift only, see `FrozenAffineBatchNorm`. Frozen statistics do not undo that an
        attention map which sums to 1 shrinks the input of blocks 4 and 5, so the diagnosis hardly depends on the case.

    Args:    channels: of its input. Fresh, it is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-5)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "FrozenStatisticsBatchNorm":
        """Stays in evaluation mode."""
        super().train(False)
        return self


def normalisation(channels: int, mode: BatchNormMode) -> nn.Module:
    """The layer that follows a convolution: batch normalisation of that mode, or nothing."""
    return _NORMS[mode](channels)


_NORMS: Mapping[BatchNormMode, Callable[[int], nn.Module]] = {
    "trained": nn.BatchNorm2d,
    "frozen": FrozenAffineBatchNorm,
    "frozen_statistics": FrozenStatisticsBatchNorm,
    "none": lambda channels: nn.Identity(),
}


class VggBlocks(nn.Module):
    """Consecutive blocks of VGG-16: 3×3 convolutions with (batch norm and) ReLU, then 2×2 max-pooling.

    Source: Simonyan & Zisserman 2015, configuration D; zero padding as in torchvision's `vgg16` and `vgg16_bn`
    Deviations: none at width 1.

    Args:    blocks: positions in `BLOCKS`, (0, 1, 2) for the encoder and (3, 4) for the diagnosis branch.
             channels_in: of the input.
             width: factor on all channels.
             batch_norm: see `normalisation`.
             generator: on the CPU; draws the initial weights.
    Raises:  ValueError: when the width leaves no channel.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        channels_in: int,
        width: float = 1.0,
        batch_norm: BatchNormMode = "none",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        self.counts = [BLOCKS[block][0] for block in blocks]
        self.channels = [scaled(BLOCKS[block][1], width) for block in blocks]
        for count, channels in zip(self.counts, self.channels, strict=True):
            for _ in range(count):
                self.convolutions.append(fresh_convolution(channels_in, channels, size=3, padding=1, generator=generator))
                self.norms.append(normalisation(channels, batch_norm))
                channels_in = channels

    def layers(self) -> Iterator[tuple[nn.Conv2d, nn.Module]]:
        """Every convolution with the norm after it, first to last."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            yield cast(nn.Conv2d, convolution), norm

    def forward(self, features: Tensor) -> list[Tensor]:
        """The pooled output of every block, first to last, each half as high and wide as the one before."""
        layers = self.layers()
        pooled = []
        for count in self.counts:
            for _ in range(count):
                convolution, norm = next(layers)
                features = F.relu(norm(convolution(features)), inplace=True)
            features = F.max_pool2d(features, 2)
            pooled.append(features)
        return pooled


def scaled(channels: int, width: float) -> int:
    """Channels at a width factor, rounded.

    Raises:  ValueError: when none is left.
    """
    found = round(channels * width)
    if found < 1:
        raise ValueError(f"width must leave every layer a channel; got {width} of {channels} (--set width=)")
    return found
