"""What is taken of torch that torch does not promise to keep; nothing else touches its underscores.

`tests/trainables/test_torch_internals.py` says what must hold.
"""

import torch
from torch import Tensor


def fused_adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    steps: list[Tensor],
    *,
    rate: float,
    betas: tuple[float, float],
    weight_decay: float,
    epsilon: float,
) -> None:
    """One step of Adam on many tensors at once, in place: the kernel of `torch.optim.Adam(fused=True)`.

    Args:    parameters, gradients: of the same shapes.
             first, second: moments, of the same shapes.
             steps: scalars, counted up already.
             rate, betas, weight_decay, epsilon: as `torch.optim.Adam` has them.
    """
    torch._fused_adam_(
        parameters,
        gradients,
        first,
        second,
        [],
        steps,
        lr=rate,
        beta1=betas[0],
        beta2=betas[1],
        weight_decay=weight_decay,
        eps=epsilon,
        amsgrad=False,
        maximize=False,
    )
