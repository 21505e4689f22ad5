"""One 3×3 convolution of many weightings of the same map."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

#: Cells that a 3×3 kernel meets, by row and column.
_TAPS = tuple((row, column) for row in range(3) for column in range(3))


class WeightedConvolution:
    """Convolves a map that is weighted cell by cell, for one set of weights after another, at the price of one convolution.

    A kernel's tap meets each cell with its whole vector of channels, and a weight only scales that vector: the products of
    taps and cells are fixed, and each weighting is a sum of nine of them. With C channels that is 1/C of a convolution's
    work. The gradients of all weightings are gathered and turned into those of the map and the kernel at once.

    Its memory: 9 × outputs × cells. One backward pass through each instance.

    Args:    padded: the map with one more cell on each border.
             weight: the kernel.
    """

    def __init__(
        self, padded: Float[Tensor, "batch channels height_2 width_2"], weight: Float[Tensor, "outputs channels 3 3"]
    ) -> None:
        self._shape = (len(padded), padded.shape[2] - 2, padded.shape[3] - 2, len(weight))
        self._gradients: list[tuple[Tensor, Tensor]] = []
        self._products = _Products.apply(padded, weight, self._gradients)

    def __call__(self, weights: Float[Tensor, "batch 1 height_2 width_2"]) -> Float[Tensor, "batch outputs height width"]:
        """What the convolution makes of the padded map times these weights."""
        windows = weights[:, 0].unfold(1, 3, 1).unfold(2, 3, 1).reshape(-1, 1, len(_TAPS))
        found: Tensor = _Weigh.apply(self._products, windows, self._gradients)
        return found.view(self._shape).permute(0, 3, 1, 2)


class _Products(torch.autograd.Function):
    """(cells, taps, outputs): what each tap makes of the cell that it meets, for every place of the kernel.

    By 1×1 convolutions, which are twice as fast as matrix products on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, padded: Tensor, weight: Tensor, gradients: list[tuple[Tensor, Tensor]]) -> Tensor:
        device = padded.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else padded.dtype
        cells, taps = _cells(padded.to(dtype)), _taps(weight.to(dtype))
        ctx.save_for_backward(cells, taps)
        ctx.gradients, ctx.shape, ctx.dtypes = gradients, padded.shape, (padded.dtype, weight.dtype)
        ctx.set_materialize_grads(False)
        batch, _, height, width = cells[0].shape
        products = cells.new_empty(batch, height, width, len(_TAPS), taps.shape[1])
        with torch.autocast(device, enabled=False):
            for tap in range(len(_TAPS)):
                products[..., tap, :] = F.conv2d(cells[tap], taps[tap]).permute(0, 2, 3, 1)
        return products.flatten(0, 2)

    @staticmethod
    def backward(ctx: Any, *_: None) -> tuple[Tensor | None, Tensor | None, None]:
        cells, taps = ctx.saved_tensors
        if not ctx.gradients:
            return None, None, None
        windows, outputs = zip(*ctx.gradients, strict=True)
        ctx.gradients.clear()
        found = torch.bmm(torch.cat(windows, 1).transpose(1, 2), torch.stack(outputs, 1))
        batch, channels, height, width = ctx.shape
        kernel, map_gradient = torch.empty_like(taps), found.new_zeros(ctx.shape)
        for tap, (row, column) in enumerate(_TAPS):
            part = found[:, tap].reshape(batch, height - 2, width - 2, -1).permute(0, 3, 1, 2)
            if ctx.needs_input_grad[1]:
                kernel[tap] = conv2d_weight(cells[tap], taps[tap].shape, part)  # type: ignore[no-untyped-call]
            if ctx.needs_input_grad[0]:
                place = map_gradient[:, :, row : row + height - 2, column : column + width - 2]
                place += conv2d_input(cells[tap].shape, taps[tap], part)  # type: ignore[no-untyped-call]
        weight = kernel[..., 0, 0].permute(1, 2, 0).reshape(-1, channels, 3, 3)
        return map_gradient.to(ctx.dtypes[0]), weight.to(ctx.dtypes[1]), None


class _Weigh(torch.autograd.Function):
    """(cells, outputs): the sum of a cell's nine products by their weights; leaves the products' gradient to `_Products`."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, windows: Tensor, gradients: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.gradients, ctx.dtype = gradients, windows.dtype
        windows = windows.to(products.dtype)
        ctx.save_for_backward(products, windows)
        with torch.autocast(products.device.type, enabled=False):
            return torch.bmm(windows, products)[:, 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, None]:
        products, windows = ctx.saved_tensors
        (gradient,) = gradients
        ctx.gradients.append((windows, gradient))
        # A row times a matrix: the other way round takes three times as long on a CPU.
        weighted = torch.bmm(gradient.unsqueeze(1), products.transpose(1, 2)).to(ctx.dtype) if ctx.needs_input_grad[1] else None
        return None, weighted, None


def _cells(padded: Tensor) -> Tensor:
    """(taps, batch, channels, height, width): the cell that each tap meets, for every place of the kernel; channels last."""
    windows = padded.permute(0, 2, 3, 1).unfold(1, 3, 1).unfold(2, 3, 1)
    return windows.permute(4, 5, 0, 1, 2, 3).flatten(0, 1).contiguous().permute(0, 1, 4, 2, 3)


def _taps(weight: Tensor) -> Tensor:
    """(taps, outputs, channels, 1, 1)."""
    return weight.permute(2, 3, 0, 1).flatten(0, 1).contiguous()[..., None, None]
