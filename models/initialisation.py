"""Initial weights drawn from an explicit generator, so that a trial's seed fixes them whatever else the process drew."""

import math

import torch
from torch import Tensor


def glorot_uniform_(weight: Tensor, *, fan_in: int, fan_out: int, generator: torch.Generator | None = None) -> Tensor:
    """Fills a weight in place from U(-a, a), a = sqrt(6 / (fan_in + fan_out)).

    Source: Glorot & Bengio 2010, Eq. 16; Keras's default, with which Coppola et al. trained
    Deviations: none.

    Args:    weight: any shape; several tasks' kernels may share one tensor, so the fans are given, not guessed.
             fan_in, fan_out: of one task's kernel, 1 or more.
             generator: on the CPU; None draws from torch's global one.
    Returns: the weight.
    """
    bound = math.sqrt(6 / (fan_in + fan_out))
    with torch.no_grad():
        return weight.uniform_(-bound, bound, generator=generator)
