"""What torch does not promise to keep does what `torch.optim.Adam` does."""

import pytest
import torch

from trainables.torch_internals import fused_adam


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_fused_kernel_is_adam(weight_decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((3, 4), (5,))]
    plain = [tensor.clone().requires_grad_() for tensor in start]
    ours, first, second = ([tensor.clone() for tensor in start], *([torch.zeros_like(t) for t in start] for _ in range(2)))
    steps = [torch.zeros(()) for _ in start]
    adam = torch.optim.Adam(plain, lr=0.03, betas=(0.8, 0.95), eps=1e-6, weight_decay=weight_decay)
    for _ in range(5):
        gradients = [torch.randn(tensor.shape, generator=generator) for tensor in start]
        for tensor, gradient in zip(plain, gradients, strict=True):
            tensor.grad = gradient.clone()
        adam.step()
        for step in steps:
            step += 1
        given = {"rate": 0.03, "betas": (0.8, 0.95), "weight_decay": weight_decay, "epsilon": 1e-6}
        fused_adam(ours, gradients, first, second, steps, **given)
    for tensor, expected in zip(ours, plain, strict=True):
        torch.testing.assert_close(tensor, expected.detach())
