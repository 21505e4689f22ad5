"""Convolutions on doubled maps, the single-output convolution, and the decoder in chunks."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import structure_decoder
from models.reflected import convolve_reflected
from models.structure_decoder import ReflectedConvolution, StructureDecoder

SIZES = [(2, 2), (3, 5), (4, 4), (7, 6), (1, 1), (1, 4)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plainly(maps: Tensor, weight: Tensor, bias: Tensor | None, *, doubling: bool) -> Tensor:
    if doubling:
        maps = F.interpolate(maps, scale_factor=2, mode="nearest")
    return F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="reflect"), weight, bias)


def gradients(output: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    weight = torch.randn(output.shape, generator=seeded(8), dtype=output.dtype)
    return list(torch.autograd.grad((output * weight).sum(), tensors))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("outputs", [1, 3])
def test_doubling_is_upsampling_then_convolving(size: tuple[int, int], outputs: int, channels_last: bool) -> None:
    layer = ReflectedConvolution(4, outputs, doubling=True, generator=seeded(0)).double()
    with torch.no_grad():
        layer.bias.copy_(torch.arange(outputs))
    maps = torch.randn(2, 4, *size, generator=seeded(1)).double()
    if channels_last:
        maps, layer = maps.to(memory_format=torch.channels_last), layer.to(memory_format=torch.channels_last)
    maps.requires_grad_()
    leaves = [maps, layer.weight, layer.bias]
    expected = plainly(maps, layer.weight, layer.bias, doubling=True)
    found = layer(maps)
    assert found.shape == (2, outputs, 2 * size[0], 2 * size[1])
    torch.testing.assert_close(found, expected)
    for left, right in zip(gradients(found, leaves), gradients(expected, leaves), strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("size", [(3, 4), (5, 5)], ids=str)
def test_doubling_keeps_the_memory_format(size: tuple[int, int]) -> None:
    layer = ReflectedConvolution(4, 3, doubling=True, generator=seeded(0)).to(memory_format=torch.channels_last)
    maps = torch.randn(2, 4, *size, generator=seeded(1)).to(memory_format=torch.channels_last)
    assert layer(maps).is_contiguous(memory_format=torch.channels_last)
    plain = ReflectedConvolution(4, 3, doubling=True, generator=seeded(0))
    assert plain(maps.contiguous()).is_contiguous()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(2, 2), (3, 5), (4, 4), (7, 2)], ids=str)
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True])
def test_convolve_reflected(size: tuple[int, int], outputs: int, bias: bool, channels_last: bool) -> None:
    maps = torch.randn(2, 3, *size, generator=seeded(0)).double()
    if channels_last:
        maps = maps.to(memory_format=torch.channels_last)
    maps.requires_grad_()
    weight = torch.randn(outputs, 3, 3, 3, generator=seeded(1)).double().requires_grad_()
    shift = torch.randn(outputs, generator=seeded(2)).double().requires_grad_() if bias else None
    leaves = [maps, weight, *([] if shift is None else [shift])]
    expected = plainly(maps, weight, shift, doubling=False)
    found = convolve_reflected(maps, weight, shift)
    torch.testing.assert_close(found, expected)
    for left, right in zip(gradients(found, leaves), gradients(expected, leaves), strict=True):
        torch.testing.assert_close(left, right)


def test_a_single_output_by_hand() -> None:
    """The middle column of the kernel's first row looks at the cell above; above the first row lies the second."""
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 0, 1] = 2.0
    maps = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).view(1, 1, 3, 2)
    expected = torch.tensor([[7.0, 9.0], [3.0, 5.0], [7.0, 9.0]]).view(1, 1, 3, 2)
    assert torch.equal(convolve_reflected(maps, weight, torch.tensor([1.0])), expected)


def test_without_doubling_the_size_stays() -> None:
    layer = ReflectedConvolution(3, 2, doubling=False, generator=seeded(0))
    maps = torch.randn(1, 3, 5, 4, generator=seeded(1))
    torch.testing.assert_close(layer(maps), plainly(maps, layer.weight, layer.bias, doubling=False))


def decoder(**settings: Any) -> StructureDecoder:
    chosen = {"skip_channels": [8, 16, 32], "batch_norm": "none", "pooling": "average", **settings}
    made = StructureDecoder(hidden=32, width=0.125, num_structures=6, generator=seeded(0), **chosen)
    generator = seeded(3)
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    return made.eval()


def inputs(time: int = 4) -> tuple[Tensor, list[Tensor]]:
    encoded = [torch.rand(2, 8 * 2**k, 16 // 2**k, 24 // 2**k, generator=seeded(k)) for k in range(3)]
    return torch.randn(2, time, 32, 4, 6, generator=seeded(5)), encoded


@pytest.mark.parametrize("batch_norm", ["none", "frozen_statistics", "frozen", "trained"])
@pytest.mark.parametrize("skip_channels", [[8, 16, 32], None], ids=["skips", "no skips"])
@pytest.mark.parametrize("pooling", ["average", "maximum"])
def test_in_chunks_equals_all_at_once(
    batch_norm: str, skip_channels: list[int] | None, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = decoder(batch_norm=batch_norm, skip_channels=skip_channels, pooling=pooling)
    hidden, encoded = inputs()
    masks, classes = made(hidden, encoded)
    assert masks.shape == (2, 4, 32, 48)
    assert classes.shape == (2, 4, 6)
    for size in (1, 3, 4):
        monkeypatch.setattr(made, "_timesteps_at_once", lambda _, size=size: size)
        chunked = made(hidden, encoded)
        torch.testing.assert_close(chunked[0], masks, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(chunked[1], classes, rtol=1e-5, atol=1e-5)


def test_timesteps_pass_unmixed() -> None:
    made = decoder()
    hidden, encoded = inputs()
    masks, classes = made(hidden, encoded)
    order = [2, 0, 3, 1]
    swapped_masks, swapped_classes = made(hidden[:, order], encoded)
    torch.testing.assert_close(swapped_masks, masks[:, order], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(swapped_classes, classes[:, order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_norm", ["frozen", "trained"])
def test_training_statistics_do_not_depend_on_chunks(batch_norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The norms of a step see batch and time at once: one update of the running mean, of momentum 0.1."""
    monkeypatch.setattr(structure_decoder, "_REUSED_BYTES", 1)
    made = decoder(batch_norm=batch_norm, skip_channels=None).train()
    hidden, encoded = inputs()
    norm = made.stages[0][1]
    with torch.no_grad():
        maps = made.stages[0][0](hidden.flatten(0, 1))
        expected = 0.9 * norm.running_mean + 0.1 * maps.mean((0, 2, 3))
        made(hidden, encoded)
    assert int(norm.num_batches_tracked) == 1
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-5, atol=1e-5)


def test_norms_with_frozen_statistics_do_not_exist() -> None:
    counts = {
        mode: sum(isinstance(m, nn.BatchNorm2d) for m in decoder(batch_norm=mode).modules())
        for mode in ("trained", "frozen", "frozen_statistics", "none")
    }
    assert counts == {"trained": 6, "frozen": 6, "frozen_statistics": 0, "none": 0}
    frozen = [m for m in decoder(batch_norm="frozen").modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(parameter.requires_grad for norm in frozen for parameter in norm.parameters())
    assert isinstance(decoder(batch_norm="trained").stages[-1][-1], ReflectedConvolution), "no norm or ReLU after the last"


def test_masks_can_be_negative() -> None:
    masks, _ = decoder()(*inputs())
    assert masks.min() < 0, "a ReLU or a sigmoid"


def test_pooled_maps_are_the_stages_inputs_after_the_skip() -> None:
    """A classifier that only passes on its first unit's sum shows what was pooled."""
    hidden, encoded = inputs(1)
    mixed = (hidden[:, 0] + encoded[-1]) / 2
    for pooling, expected in (("average", mixed.mean((2, 3))), ("maximum", mixed.amax((2, 3)))):
        made = decoder(pooling=pooling)
        seen: list[Tensor] = []
        made.classifier.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        made(hidden, encoded)
        assert seen[0].shape == (2, 56)
        torch.testing.assert_close(seen[0][:, :32], expected)


def test_the_classifier_is_two_dense_layers_with_nothing_between() -> None:
    """Section 3.1.2: "this vector passes through two dense layers"; together they are linear."""
    made = decoder()
    assert [type(layer) for layer in made.classifier] == [nn.Linear, nn.Linear]
    vector = torch.randn(3, made.pooled_channels, generator=seeded(4))
    zero = made.classifier(torch.zeros_like(vector))
    torch.testing.assert_close(made.classifier(-vector) - zero, zero - made.classifier(vector), rtol=1e-4, atol=1e-5)


def test_skips_that_do_not_fit_pass_a_1x1_convolution() -> None:
    made = decoder(skip_channels=[8, 20, 32])
    assert [type(skip).__name__ for skip in made.skips] == ["Identity", "Conv2d", "Identity"]
    assert made.skips[1].weight.shape == (16, 20, 1, 1)
    assert made.projects_skips
    assert not decoder().projects_skips
    assert not decoder(skip_channels=None).projects_skips
