"""VGG-16's blocks, the batch norm that is not trained, and the one that never moves."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.vgg import FrozenAffineBatchNorm, FrozenStatisticsBatchNorm, VggBlocks, normalisation, scaled


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_norm_with_frozen_scale_and_shift_follows_the_batch() -> None:
    norm = FrozenAffineBatchNorm(2).train()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 3.0]))
        norm.bias.copy_(torch.tensor([1.0, -1.0]))
    maps = torch.randn(5, 2, 3, 4, generator=seeded(0)) * 7 + 4
    mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), unbiased=False)
    scale, shift = torch.tensor([2.0, 3.0]).view(2, 1, 1), torch.tensor([1.0, -1.0]).view(2, 1, 1)
    expected = (maps - mean.view(2, 1, 1)) / (variance.view(2, 1, 1) + 1e-5).sqrt() * scale + shift
    torch.testing.assert_close(norm(maps), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * maps.var((0, 2, 3)))
    assert not any(parameter.requires_grad for parameter in norm.parameters())
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    running = (maps - norm.running_mean.view(2, 1, 1)) / (norm.running_var.view(2, 1, 1) + 1e-5).sqrt() * scale + shift
    torch.testing.assert_close(norm.eval()(maps), running, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_a_norm_with_frozen_statistics_stays_put_in_training() -> None:
    norm = FrozenStatisticsBatchNorm(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 3.0]))
        norm.bias.copy_(torch.tensor([1.0, -1.0]))
        norm.running_mean.copy_(torch.tensor([0.5, 0.0]))
        norm.running_var.copy_(torch.tensor([4.0, 0.25]))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    assert norm.train() is norm
    assert not norm.training
    nn.Sequential(norm).train()
    assert not norm.training
    maps = torch.full((3, 2, 2, 2), 2.5)
    found = norm(maps)
    assert found[0, :, 0, 0].tolist() == pytest.approx([2 * 2 / 2 + 1, 3 * 2.5 / 0.5 - 1], rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert not any(parameter.requires_grad for parameter in norm.parameters())


def test_a_fresh_norm_with_frozen_statistics_is_the_identity() -> None:
    maps = torch.randn(2, 3, 4, 4, generator=seeded(0))
    torch.testing.assert_close(FrozenStatisticsBatchNorm(3).train()(maps), maps, rtol=1e-4, atol=1e-5)


def test_modes() -> None:
    assert type(normalisation(3, "trained")) is nn.BatchNorm2d
    assert type(normalisation(3, "frozen")) is FrozenAffineBatchNorm
    assert type(normalisation(3, "frozen_statistics")) is FrozenStatisticsBatchNorm
    assert type(normalisation(3, "none")) is nn.Identity


@pytest.mark.parametrize(
    ("blocks", "channels_in", "shapes"),
    [
        ((0, 1, 2), 3, [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256)]),
        ((3, 4), 256, [(512, 256), (512, 512), (512, 512), (512, 512), (512, 512), (512, 512)]),
    ],
)
def test_blocks_are_configuration_d(blocks: tuple[int, ...], channels_in: int, shapes: list[tuple[int, int]]) -> None:
    made = VggBlocks(blocks, channels_in=channels_in, generator=seeded(0))
    assert [tuple(convolution.weight.shape[:2]) for convolution, _ in made.layers()] == shapes
    assert all(not convolution.bias.any() for convolution, _ in made.layers())
    first = next(made.layers())[0].weight
    assert float(first.detach().std()) == pytest.approx(math.sqrt(2 / (9 * shapes[0][0])), rel=0.1)


@pytest.mark.parametrize("mode", ["trained", "frozen", "frozen_statistics", "none"])
def test_blocks_convolve_normalise_rectify_and_pool(mode: str) -> None:
    made = VggBlocks((0, 1), channels_in=3, width=0.0625, batch_norm=mode, generator=seeded(0)).eval()
    assert made.channels == [4, 8]
    maps = torch.randn(2, 3, 13, 8, generator=seeded(1))
    expected = []
    layers = list(made.layers())
    for block in (layers[:2], layers[2:]):
        for convolution, norm in block:
            maps = F.conv2d(maps, convolution.weight, convolution.bias, padding=1)
            maps = (maps if mode == "none" else maps / math.sqrt(1 + norm.eps)).clamp(min=0)
        maps = F.max_pool2d(maps, 2)
        expected.append(maps)
    found = made(torch.randn(2, 3, 13, 8, generator=seeded(1)))
    assert [tuple(pooled.shape) for pooled in found] == [(2, 4, 6, 4), (2, 8, 3, 2)]
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_the_input_is_left_as_it_was() -> None:
    made = VggBlocks((0,), channels_in=3, width=0.0625, generator=seeded(0))
    maps = torch.randn(1, 3, 8, 8, generator=seeded(1))
    before = maps.clone()
    made(maps)
    assert torch.equal(maps, before)


@pytest.mark.parametrize(("channels", "width", "found"), [(64, 1.0, 64), (64, 0.125, 8), (224, 0.125, 28), (256, 0.3, 77)])
def test_scaled(channels: int, width: float, found: int) -> None:
    assert scaled(channels, width) == found


def test_scaled_refuses_nothing() -> None:
    with pytest.raises(ValueError, match=r"width must leave every layer a channel; got 0\.001 of 64 \(--set width=\)"):
        scaled(64, 0.001)
