"""A batch through a network in parts, so that only one part's activations are in memory at a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_parts(function: Callable[[Tensor], Any], batch: Tensor, num_parts: int, generator: torch.Generator | None = None) -> Any:
    """What a function makes of a batch, computed part by part, and again part by part for the gradient, which accumulates.

    The result is that of the whole batch in one go, to rounding, if each case's depends on that case only. While no gradient is
    asked for the parts only follow each other.

    Source: Chen et al. 2016, "Training deep nets with sublinear memory cost"
    Deviations: by parts of the batch, not by layers.

    Args:    function: of a batch; gives a tensor or a named tuple of tensors and None, all batch first. Takes no statistics of
                 the batch.
             batch: batch × anything.
             num_parts: 1 for the function itself.
             generator: that the function draws from; a part draws the same again for its gradient.
    """
    if num_parts <= 1 or len(batch) <= 1:
        return function(batch)
    if not torch.is_grad_enabled():
        found = [function(part) for part in batch.chunk(num_parts)]
    else:
        found = [
            checkpoint(_Again(function, generator), part, use_reentrant=False, preserve_rng_state=False)
            for part in batch.chunk(num_parts)
        ]
    if isinstance(found[0], Tensor):
        return torch.cat(found)
    return type(found[0])(*(None if values[0] is None else torch.cat(values) for values in zip(*found, strict=True)))


class _Again:
    """A function that draws the same random numbers whenever it is called."""

    def __init__(self, function: Callable[[Tensor], Any], generator: torch.Generator | None) -> None:
        self._function, self._generator = function, generator
        self._state: Tensor | None = None

    def __call__(self, part: Tensor) -> Any:
        if self._generator is None:
            return self._function(part)
        if self._state is None:
            self._state = self._generator.get_state()
            return self._function(part)
        now = self._generator.get_state()
        self._generator.set_state(self._state)
        try:
            return self._function(part)
        finally:
            self._generator.set_state(now)
