"""Networks as one program against each of them alone: outputs, gradients, statistics, whatever their neighbours are."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from test_gated_network import images_of, make, seeded
from torch import Tensor, nn

from models.fused_gated_network import forward_together, shuffled_together
from models.gated_network import GatedNetwork

CLASSES = (5, 3, 2)
#: What may differ between fused networks.
SETTINGS: list[dict[str, Any]] = [
    {},
    {"gamma_g": 0.4, "batch_norm_momentum": 0.5},
    {"gates": "off"},
    {"gates": "open"},
    {"batch_norm": False, "dropout": 0.4},
    {"dropout": 0.3, "gamma_g": 12.0},
    {"input_mean": (0.7, 0.5, 0.4), "input_deviation": (0.3, 0.2, 0.1)},
]


def members(count: int, classes: Sequence[int] = CLASSES, **common: Any) -> list[GatedNetwork]:
    return [make(classes, dtype=torch.float64, seed=n, **{**SETTINGS[n % len(SETTINGS)], **common}) for n in range(count)]


def statistics(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.named_buffers())


def assert_alike(one: GatedNetwork, other: GatedNetwork) -> None:
    """Gradients and running statistics of two networks that began alike."""
    for (name, found), expected in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (found.grad is None) == (expected.grad is None), name
        if found.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-9, atol=1e-12, msg=name)
    for name, expected in statistics(other).items():
        torch.testing.assert_close(statistics(one)[name], expected, rtol=1e-10, atol=1e-13, msg=name)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("count", [2, 5, 16])
def test_an_array_equals_its_members_alone(count: int, training: bool) -> None:
    together = [network.train(training) for network in members(count)]
    alone = copy.deepcopy(together)
    images = [images_of(3, 91, dtype=torch.float64, seed=50 + n) for n in range(count)]
    own, theirs = ([seeded(n) for n in range(count)] for _ in range(2))

    found = forward_together(together, torch.stack(images, 1), own)
    expected = [network(image, generator) for network, image, generator in zip(alone, images, theirs, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected, 1), rtol=1e-10, atol=1e-12)
    mask = torch.isfinite(found)
    weights = torch.randn(found.shape, generator=seeded(9)).double()
    (found[mask] * weights[mask]).sum().backward()
    for n, logits in enumerate(expected):
        (logits[mask[:, n]] * weights[:, n][mask[:, n]]).sum().backward()
    for one, other in zip(together, alone, strict=True):
        assert_alike(one, other)
    for mine, other_generator in zip(own, theirs, strict=True):
        assert torch.equal(mine.get_state(), other_generator.get_state()), "each draws from its own stream, and as much as alone"


@pytest.mark.parametrize("standardised", [False, True], ids=["one way in", "a way in each"])
def test_members_that_see_the_same_images(standardised: bool) -> None:
    found = [m.eval() for m in (members(6) if standardised else members(6, input_mean=(0.0,) * 3, input_deviation=(1.0,) * 3))]
    images = images_of(4, 91, dtype=torch.float64)
    expected = torch.stack([network(images) for network in found], 1)
    torch.testing.assert_close(forward_together(found, images), expected, rtol=1e-10, atol=1e-12)


def test_an_array_shuffles_each_members_gates_as_it_does_alone() -> None:
    found = [network.eval() for network in members(len(SETTINGS))]
    images = images_of(3, 91, dtype=torch.float64)
    orders = [[torch.randperm(count, generator=seeded(seed)) for count in found[0].num_gates()] for seed in (5, 6)]
    expected = torch.stack([network.with_shuffled_gates(images, orders) for network in found], 2)
    torch.testing.assert_close(shuffled_together(found, images, orders), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("classes", [(4,), (2, 3), (5, 3, 2, 3, 3, 3, 3, 2)], ids=["one task", "two tasks", "Derm7pt"])
def test_any_width_and_tasks(width: float, classes: Sequence[int]) -> None:
    found = [network.train() for network in members(2, classes, width=width)]
    alone = copy.deepcopy(found)
    images = [images_of(2, 91, dtype=torch.float64, seed=n) for n in range(2)]
    expected = torch.stack([network(image) for network, image in zip(alone, images, strict=True)], 1)
    torch.testing.assert_close(forward_together(found, torch.stack(images, 1)), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("where", ["weights", "images"])
def test_a_member_that_is_not_finite_changes_no_other(where: str) -> None:
    found = [network.train() for network in members(4)]
    images = [images_of(3, 91, dtype=torch.float64, seed=n) for n in range(4)]
    alone = copy.deepcopy(found)
    if where == "weights":
        with torch.no_grad():
            found[1].convolutions[2][3, 1, 0, 0] = float("nan")
            found[1].blocks[0].reduction.fill_(float("inf"))
    else:
        images[1][0, 0, 5, 5] = float("nan")
    generators = [seeded(n) for n in range(4)]
    logits = forward_together(found, torch.stack(images, 1), generators)
    logits[torch.isfinite(logits)].square().sum().backward()
    for n in (0, 2, 3):
        expected = alone[n](images[n], seeded(n))
        torch.testing.assert_close(logits[:, n], expected, rtol=1e-10, atol=1e-12)
        expected[torch.isfinite(expected)].square().sum().backward()
        assert_alike(found[n], alone[n])


def test_networks_of_another_shape_or_mode_are_refused() -> None:
    images = images_of(2, 91, dtype=torch.float64).unsqueeze(1).expand(-1, 2, -1, -1, -1)
    half = make(CLASSES, dtype=torch.float64, width=0.5)
    with pytest.raises(ValueError, match=r"^networks must have the same tasks, width and mode to be fused; got several$"):
        forward_together([members(1)[0], half], images)
    with pytest.raises(ValueError, match=r"^networks must have the same tasks, width and mode"):
        forward_together([members(1)[0].train(), members(1)[0].eval()], images)
    with pytest.raises(ValueError, match=r"^size_px must be 91 or more"):
        forward_together(members(2), images[..., :90, :90])
