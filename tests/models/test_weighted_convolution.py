"""A convolution of many weightings against convolving each weighted map, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.weighted_convolution import WeightedConvolution


def drawn(*shape: int, seed: int) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.requires_grad_()


def made(padded: Tensor, weight: Tensor, weights: list[Tensor], chained: bool) -> Tensor:
    """The sum of what all weightings give, each squared; chained, a weighting also hangs on the one before."""
    convolve = WeightedConvolution(padded, weight)
    return total(convolve, weights, chained)


def plain(padded: Tensor, weight: Tensor, weights: list[Tensor], chained: bool) -> Tensor:
    return total(lambda scale: F.conv2d(padded * scale, weight), weights, chained)


def total(convolve, weights: list[Tensor], chained: bool) -> Tensor:  # type: ignore[no-untyped-def]
    found, before = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    for scale in weights:
        outputs = convolve(scale * before)
        found = found + outputs.square().sum()
        before = outputs.mean().tanh() if chained else before
    return found


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("shape", [(1, 2, 5, 4), (3, 4, 4, 7)])
def test_values_and_gradients_are_those_of_convolving_every_weighted_map(shape: tuple[int, ...], chained: bool) -> None:
    batch, channels, height, width = shape
    found = []
    for rule in (made, plain):
        padded, weight = drawn(*shape, seed=0), drawn(5, channels, 3, 3, seed=1)
        weights = [drawn(batch, 1, height, width, seed=2 + step) for step in range(3)]
        value = rule(padded, weight, weights, chained)
        value.backward()
        found.append([value.detach(), *(tensor.grad for tensor in (padded, weight, *weights))])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-10)


def test_without_a_gradient_for_the_map_only_the_kernel_and_the_weights_get_theirs() -> None:
    padded, weight, scale = drawn(2, 3, 6, 5, seed=0).detach(), drawn(4, 3, 3, 3, seed=1), drawn(2, 1, 6, 5, seed=2)
    WeightedConvolution(padded, weight)(scale).square().sum().backward()
    ours = weight.grad.clone(), scale.grad.clone()
    weight.grad = scale.grad = None
    F.conv2d(padded * scale, weight).square().sum().backward()
    torch.testing.assert_close(ours, (weight.grad, scale.grad), rtol=1e-10, atol=1e-10)


def test_a_weighting_that_nothing_hangs_on_changes_no_gradient() -> None:
    padded, weight, scale = drawn(1, 3, 5, 5, seed=0), drawn(2, 3, 3, 3, seed=1), drawn(1, 1, 5, 5, seed=2)
    convolve = WeightedConvolution(padded, weight)
    convolve(2 * scale)
    convolve(scale).sum().backward()
    ours = padded.grad.clone()
    padded.grad = None
    F.conv2d(padded * scale, weight).sum().backward()
    torch.testing.assert_close(ours, padded.grad, rtol=1e-10, atol=1e-10)


def test_under_autocast_it_computes_in_the_same_type_as_a_convolution() -> None:
    padded, weight, scale = (
        value.float().detach() for value in (drawn(1, 3, 5, 5, seed=0), drawn(2, 3, 3, 3, seed=1), drawn(1, 1, 5, 5, seed=2))
    )
    weight.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        ours, reference = WeightedConvolution(padded, weight)(scale), F.conv2d(padded * scale, weight)
    assert ours.dtype == reference.dtype == torch.bfloat16
    torch.testing.assert_close(ours, reference, rtol=0.05, atol=0.05)
    ours.float().sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
