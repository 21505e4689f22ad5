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


def he_normal_(weight: Tensor, *, fan: int, generator: torch.Generator | None = None) -> Tensor:
    """Fills a weight in place from N(0, 2 / fan), for layers that a ReLU follows.

    Source: He et al. 2015, Eq. 10; torchvision's VGG takes the outgoing fan
    Deviations: none.

    Args:    weight: any shape.
             fan: inputs (or outputs) of one unit, 1 or more.
             generator: on the CPU; None draws from torch's global one.
    Returns: the weight.
    """
    with torch.no_grad():
        return weight.normal_(0.0, math.sqrt(2 / fan), generator=generator)


def orthogonal_(weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Fills a weight in place so that its rows, flattened, are orthonormal (its columns where there are more rows).

    Source: Saxe et al. 2014; the recurrent kernels of Cornia et al.'s attentive ConvLSTM start so
    Deviations: none.

    Args:    weight: outputs first, two dimensions or more.
             generator: on the CPU; None draws from torch's global one.
    Returns: the weight.
    """
    return torch.nn.init.orthogonal_(weight, generator=generator)
