"""Dropout from an explicit generator, so that a trial's own stream decides and can be saved."""

import torch
from torch import Tensor


def drop(values: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    """Sets a share of the values to zero and scales the rest.

    Args:    values: any shape.
             rate: share set to 0, in [0, 1); the rest is scaled by 1 / (1 - rate).
             generator: on the values' device; None draws from torch's global one.
    """
    if rate == 0:
        return values
    keep = torch.rand(values.shape, generator=generator, device=values.device) >= rate
    return values * keep / (1 - rate)
