"""The decoder that draws one mask per gaze and says which structure it is."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

from models.initialisation import he_normal_
from models.layers import dense, fresh_convolution
from models.reflected import convolve_reflected
from models.vgg import BATCH_STATISTICS, BatchNormMode, normalisation, scaled

Pooling = Literal["average", "maximum"]
#: A process that has not been told to keep its freed memory gives larger blocks back at once, and faults every page in again.
_REUSED_BYTES = 2**25
#: Channels into and out of the convolutions of each stage; the last stage ends in one map.
STAGES = ((256, 256, 256, 128), (128, 128, 64), (64, 64, 1))


class ReflectedConvolution(nn.Module):
    """A 3×3 convolution with reflected borders, on a map that may first be doubled in height and width.

    Doubling repeats each cell four times, so the 3×3 kernel meets only 2×2 different cells: one 2×2 convolution for each
    of the four positions inside a doubled cell, on the small map, is the same in 4/9 of the products. A reflected border
    of the doubled map repeats the small map's edge.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 3.1.2, "upsampling of scale factor equal to 2"
    Deviations: none.

    Args:    channels_in, channels: of the convolution.
             doubling: whether the map is doubled first, by repeating cells.
             generator: on the CPU; draws the initial weights.
    """

    def __init__(self, channels_in: int, channels: int, *, doubling: bool, generator: torch.Generator | None) -> None:
        super().__init__()
        self.doubling = doubling
        self.weight = nn.Parameter(torch.empty(channels, channels_in, 3, 3))
        he_normal_(self.weight, fan=9 * channels_in, generator=generator)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Float[Tensor, "batch channels height width"]) -> Tensor:
        """The convolved map, twice as high and wide when doubling."""
        if not self.doubling:
            return convolve_reflected(maps, self.weight, self.bias)
        padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
        return _ConvolveDoubled.apply(padded, self._small_kernels(), self.bias)  # type: ignore[no-any-return]

    def _small_kernels(self) -> Tensor:
        """Four 2×2 kernels, for the upper left, upper right, lower left and lower right of a doubled cell."""
        rows = [_folded(self.weight, 2, side) for side in (0, 1)]
        return torch.cat([_folded(row, 3, side) for row in rows for side in (0, 1)])


class _ConvolveDoubled(torch.autograd.Function):
    """Four 2×2 convolutions, their results side by side inside the doubled cells.

    Forward they are one convolution, each with a row and a column too many; backward four, whose kernels' gradients are found
    in three quarters of the time on a CPU. One interleaving pass each way; slices would take four.
    """

    @staticmethod
    def forward(ctx: Any, padded: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
        device = padded.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else padded.dtype
        ctx.dtypes = padded.dtype, kernels.dtype, bias.dtype
        padded, kernels = padded.to(dtype), kernels.to(dtype)
        ctx.save_for_backward(padded, kernels)
        with torch.autocast(device, enabled=False):
            small = F.conv2d(padded, kernels, bias.to(dtype).repeat(4))
        batch, channels, height, width = small.shape
        shape = (batch, channels // 4, 2 * height - 2, 2 * width - 2)
        doubled = torch.empty(shape, dtype=dtype, device=padded.device, memory_format=_memory_format(small))
        for part, (y, x) in zip(small.chunk(4, 1), _POSITIONS, strict=True):
            doubled[:, :, y::2, x::2] = part[:, :, y : y + height - 1, x : x + width - 1]
        return doubled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        (gradient,), (padded, kernels) = gradients, ctx.saved_tensors
        layout = _memory_format(padded)
        map_gradient = torch.zeros_like(padded, memory_format=layout)
        parts = []
        for kernel, (y, x) in zip(kernels.chunk(4), _POSITIONS, strict=True):
            part = gradient[:, :, y::2, x::2].contiguous(memory_format=layout)
            place = (slice(None), slice(None), slice(y, y + part.shape[2] + 1), slice(x, x + part.shape[3] + 1))
            seen = padded[place].contiguous(memory_format=layout)
            if ctx.needs_input_grad[1]:
                parts.append(conv2d_weight(seen, kernel.shape, part))  # type: ignore[no-untyped-call]
            if ctx.needs_input_grad[0]:
                map_gradient[place] += conv2d_input(seen.shape, kernel, part)  # type: ignore[no-untyped-call]
        kernel_gradient = torch.cat(parts).to(ctx.dtypes[1]) if parts else None
        return map_gradient.to(ctx.dtypes[0]), kernel_gradient, gradient.sum((0, 2, 3)).to(ctx.dtypes[2])


_POSITIONS = ((0, 0), (0, 1), (1, 0), (1, 1))


def _memory_format(maps: Tensor) -> torch.memory_format:
    last = maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _folded(weight: Tensor, axis: int, side: int) -> Tensor:
    """The three taps along an axis as two: on a doubled map two neighbours fall on the same cell."""
    first, middle, last = torch.split(weight, 1, axis)
    return torch.cat([first, middle + last] if side == 0 else [first + middle, last], axis)


class StructureDecoder(nn.Module):
    """Three stages from the hidden state up to a mask of the input's size, and the classifier of what the mask shows.

    A stage averages with the encoder's map of the same resolution (if skips are on), doubles, and convolves. It feeds
    nothing back, so all timesteps pass as one batch.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 3.1.2, Fig. 3, and the authors' code for the channels
    Deviations: batch statistics are over batch and time at once, the authors' over the batch at each timestep; with frozen
        statistics there are no norms here, since no pretrained ones exist and fresh ones would stay the identity; where a skip
        has other channels than its stage (a pretrained encoder beside a narrower decoder), a 1×1 convolution fits it.

    Args:    hidden: channels of H.
             skip_channels: of the encoder's pooled maps, finest first; None for no skips.
             width: factor on all channels.
             batch_norm: "trained" and "frozen" normalise after each convolution; "frozen_statistics" and "none" do not.
             pooling: how the classifier pools the stages' inputs; the paper's text says average, its code maximum.
             num_structures: classes.
             generator: on the CPU; draws the initial weights.
    """

    def __init__(
        self,
        *,
        hidden: int,
        skip_channels: Sequence[int] | None,
        width: float,
        batch_norm: BatchNormMode,
        pooling: Pooling,
        num_structures: int,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.pooling, self._takes_batch_statistics = pooling, batch_norm in BATCH_STATISTICS
        widths = [[channels if channels == 1 else scaled(channels, width) for channels in stage] for stage in STAGES]
        widths[0][0] = hidden
        self.stages = nn.ModuleList(_stage(channels, batch_norm, generator) for channels in widths[:-1])
        self.stages.append(_stage(widths[-1], batch_norm, generator, ends_in_logits=True))
        inputs = [channels[0] for channels in widths]
        self._finest_channels = inputs[-1]
        self.skips = nn.ModuleList()
        for channels, wanted in zip(reversed(skip_channels or ()), inputs, strict=False):
            fits = channels == wanted
            self.skips.append(
                nn.Identity() if fits else fresh_convolution(channels, wanted, size=1, padding=0, generator=generator)
            )
        self.pooled_channels = sum(inputs)
        units = scaled(224, width)
        self.classifier = nn.Sequential(dense(self.pooled_channels, units, generator), dense(units, num_structures, generator))

    @property
    def projects_skips(self) -> bool:
        """Whether a skip passes a 1×1 convolution to fit."""
        return any(not isinstance(skip, nn.Identity) for skip in self.skips)

    def forward(
        self,
        hidden: Float[Tensor, "batch time channels height width"],
        encoded: Sequence[Tensor],
    ) -> tuple[Float[Tensor, "batch time height_8 width_8"], Float[Tensor, "batch time structures"]]:
        """Logits of the masks and of the structures' classes.

        Args:    hidden: H_t.
                 encoded: the encoder's pooled maps, finest first; unused without skips.
        """
        parts = torch.split(hidden, self._timesteps_at_once(hidden), 1)
        skips = [skip(encoded[-1 - position]) for position, skip in enumerate(self.skips)]
        masks, classes = zip(*(self._decode(part, skips) for part in parts), strict=True)
        return torch.cat(masks, 1), torch.cat(classes, 1)

    def _timesteps_at_once(self, hidden: Tensor) -> int:
        """All on a GPU, and wherever batch statistics are over all of them; on a CPU as many as the allocator can reuse."""
        batch, time, _, height, width = hidden.shape
        if hidden.is_cuda or (self.training and self._takes_batch_statistics):
            return int(time)
        widest = 4 * batch * self._finest_channels * (8 * height) * (8 * width)
        return max(1, min(int(time), _REUSED_BYTES // int(widest)))

    def _decode(self, hidden: Tensor, skips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        batch, time = hidden.shape[:2]
        maps, pooled = hidden.flatten(0, 1), []
        for position, stage in enumerate(self.stages):
            if skips:
                maps = ((maps.reshape(batch, time, *maps.shape[1:]) + skips[position].unsqueeze(1)) / 2).flatten(0, 1)
            pooled.append(maps.mean((2, 3)) if self.pooling == "average" else maps.amax((2, 3)))
            maps = stage(maps)
        classes = self.classifier(torch.cat(pooled, 1))
        return maps[:, 0].reshape(batch, time, *maps.shape[2:]), classes.reshape(batch, time, -1)


def _stage(
    channels: Sequence[int], batch_norm: BatchNormMode, generator: torch.Generator | None, *, ends_in_logits: bool = False
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for position, (before, after) in enumerate(pairwise(channels)):
        layers.append(ReflectedConvolution(before, after, doubling=position == 0, generator=generator))
        # A fresh norm whose statistics are frozen would stay the identity for ever: there is none.
        norm = normalisation(after, batch_norm if batch_norm in BATCH_STATISTICS else "none")
        layers += [norm, nn.ReLU(inplace=True)]
    return nn.Sequential(*(layers[:-2] if ends_in_logits else layers))
