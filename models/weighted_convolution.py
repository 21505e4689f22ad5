"""One 3×3 convolution of many weightings of the same map."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

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
    """(cells, taps, outputs): what each tap makes of the cell that it meets, for every place of the kernel."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, weight: Tensor, gradients: list[tuple[Tensor, Tensor]]) -> Tensor:
        device = padded.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else padded.dtype
        cells, taps = _cells(padded.to(dtype)), _taps(weight.to(dtype))
        ctx.save_for_backward(cells, taps)
        ctx.gradients, ctx.shape, ctx.dtypes = gradients, padded.shape, (padded.dtype, weight.dtype)
        ctx.set_materialize_grads(False)
        with torch.autocast(device, enabled=False):
            products = cells.new_empty(cells.shape[1], len(_TAPS), taps.shape[2])
            for tap in range(len(_TAPS)):
                torch.mm(cells[tap], taps[tap], out=products[:, tap])
        return products

    @staticmethod
    def backward(ctx: Any, *_: None) -> tuple[Tensor | None, Tensor | None, None]:
        cells, taps = ctx.saved_tensors
        if not ctx.gradients:
            return None, None, None
        windows, outputs = zip(*ctx.gradients, strict=True)
        ctx.gradients.clear()
        found = torch.bmm(torch.cat(windows, 1).transpose(1, 2), torch.stack(outputs, 1))
        kernel = map_gradient = None
        if ctx.needs_input_grad[1]:
            by_tap = torch.stack([cells[tap].t() @ found[:, tap] for tap in range(len(_TAPS))])
            kernel = by_tap.permute(2, 1, 0).reshape(-1, cells.shape[2], 3, 3).to(ctx.dtypes[1])
        if ctx.needs_input_grad[0]:
            batch, channels, height, width = ctx.shape
            map_gradient = found.new_zeros(batch, height, width, channels)
            for tap, (row, column) in enumerate(_TAPS):
                part = (found[:, tap] @ taps[tap].t()).view(batch, height - 2, width - 2, channels)
                map_gradient[:, row : row + height - 2, column : column + width - 2] += part
            map_gradient = map_gradient.permute(0, 3, 1, 2).to(ctx.dtypes[0])
        return map_gradient, kernel, None


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
        weighted = torch.bmm(products, gradient.unsqueeze(2)).transpose(1, 2).to(ctx.dtype) if ctx.needs_input_grad[1] else None
        return None, weighted, None


def _cells(padded: Tensor) -> Tensor:
    """(taps, cells, channels): the cell that each tap meets, for every place of the kernel."""
    windows = padded.permute(0, 2, 3, 1).unfold(1, 3, 1).unfold(2, 3, 1)
    return windows.permute(4, 5, 0, 1, 2, 3).reshape(len(_TAPS), -1, padded.shape[1])


def _taps(weight: Tensor) -> Tensor:
    """(taps, channels, outputs)."""
    return weight.permute(2, 3, 1, 0).flatten(0, 1).contiguous()
