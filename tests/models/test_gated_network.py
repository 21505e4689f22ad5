"""The fused gated network against a plain loop over tasks, and what it must be independent of."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from reference_gated import ReferenceGatedNetwork
from torch import Tensor, nn

from models.dropout import drop
from models.gated_network import GatedNetwork, check_size

DERM7PT = (5, 3, 2, 3, 3, 3, 3, 2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(num_classes: Sequence[int], *, dtype: torch.dtype = torch.float32, seed: int = 0, **settings: Any) -> GatedNetwork:
    """A network with everything that starts at a constant (gates, biases, running statistics) moved off it."""
    generator = seeded(seed)
    network = GatedNetwork(num_classes=num_classes, generator=generator, **{"dropout": 0.0, **settings}).to(dtype)
    with torch.no_grad():
        for parameter in [*network.gate_parameters(), *network.bias_parameters()]:
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
    return network


def images_of(count: int, size_px: int, *, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, size_px, size_px, generator=seeded(seed)).to(dtype)


def split(logits: Tensor, num_classes: Sequence[int]) -> list[Tensor]:
    return [logits[:, task, :count] for task, count in enumerate(num_classes)]


CASES = {
    "two tasks, standard, 91 px": ((2, 3), 91, {}),
    "one task": ((4,), 91, {}),
    "three unequal tasks, half": ((5, 2, 3), 96, {"width": 0.5}),
    "double": ((3, 2), 91, {"width": 2.0}),
    "no batch norm": ((2, 4, 3), 96, {"batch_norm": False}),
    "gates off": ((5, 3, 2), 91, {"gates": "off"}),
    "gates off, half, no batch norm": ((2, 2), 96, {"gates": "off", "batch_norm": False, "width": 0.5}),
    "gates open": ((5, 3, 2), 91, {"gates": "open"}),
    "small slope, quick statistics": ((2, 3), 96, {"gamma_g": 0.3, "batch_norm_momentum": 0.5}),
    "standardised input": ((2, 3), 91, {"input_mean": (0.7, 0.5, 0.4), "input_deviation": (0.3, 0.2, 0.1)}),
    "derm7pt": (DERM7PT, 91, {"gamma_g": 3.0}),
}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_fused_network_and_loop_over_tasks_agree_in_outputs_gradients_and_statistics(case: str, training: bool) -> None:
    num_classes, size_px, settings = CASES[case]
    # In double precision no pooling window is a near tie, which the order of a sum could decide either way.
    fused = make(num_classes, dtype=torch.float64, **settings).train(training)
    plain = ReferenceGatedNetwork(fused, list(num_classes)).train(training)
    images = images_of(3, size_px, dtype=torch.float64)

    expected = plain(images)
    found = split(fused(images), num_classes)
    weights = [torch.randn(part.shape, generator=seeded(2 + task)).double() for task, part in enumerate(expected)]
    sum((part * weight).sum() for part, weight in zip(expected, weights, strict=True)).backward()
    sum((part * weight).sum() for part, weight in zip(found, weights, strict=True)).backward()

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    gradients = plain.gradients()
    assert {name for name, _ in fused.named_parameters()} == set(gradients)
    for name, parameter in fused.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0, f"{name} gets no gradient, so nothing would be compared"
        torch.testing.assert_close(
            parameter.grad, gradients[name], rtol=1e-5, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    for block, statistics in zip(fused.blocks, plain.statistics, strict=True):
        if statistics is not None:
            torch.testing.assert_close(block.norm.running_mean, statistics[0])
            torch.testing.assert_close(block.norm.running_var, statistics[1])


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("size_px", [91, 96])
def test_fused_network_and_loop_over_tasks_agree_in_single_precision(size_px: int, training: bool) -> None:
    fused = make(DERM7PT).train(training)
    plain = ReferenceGatedNetwork(fused, list(DERM7PT)).train(training)
    images = images_of(4, size_px)
    with torch.no_grad():
        for one, other in zip(split(fused(images), DERM7PT), plain(images), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_logits_beyond_a_tasks_classes_are_minus_infinity() -> None:
    logits = make((5, 2, 3)).eval()(images_of(2, 91))
    assert logits.shape == (2, 3, 5)
    beyond = torch.tensor([[False] * 5, [False] * 2 + [True] * 3, [False] * 3 + [True] * 2]).expand(2, -1, -1)
    assert torch.equal(torch.isneginf(logits), beyond)
    assert torch.isfinite(logits[~beyond]).all()


@pytest.mark.parametrize("gates", ["off", "learned", "open"])
def test_a_tasks_logits_ignore_other_tasks_weights_only_when_gates_are_off(gates: str) -> None:
    network, images = make((3, 2, 4), gates=gates).eval(), images_of(2, 91)
    before = network(images)[:, 1]
    with torch.no_grad():
        for weight, block in zip(network.convolutions, network.blocks, strict=True):
            channels = len(weight) // 3
            weight[:channels] += 0.3
            weight[2 * channels :] -= 0.2
            block.reduction[0] *= 2
            block.reduction[2] *= -1
    unchanged = torch.equal(network(images)[:, 1], before)
    assert unchanged == (gates == "off")


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_gates_off_equals_networks_of_one_task_each(training: bool) -> None:
    num_classes, images = (3, 2, 4), images_of(3, 96)
    together = make(num_classes, gates="off").train(training)
    # Batch statistics are moved by a training pass, so the single networks are made first.
    singles = [single_task(together, num_classes, task).train(training) for task in range(3)]
    logits = together(images)
    for task, (single, count) in enumerate(zip(singles, num_classes, strict=True)):
        torch.testing.assert_close(single(images)[:, 0], logits[:, task, :count], rtol=1e-5, atol=1e-5)


def test_shuffled_gates_are_the_gates_in_another_order_and_nothing_else() -> None:
    network, images = make((3, 2, 4), gamma_g=2.0).eval(), images_of(3, 96)
    orders = [[torch.randperm(count, generator=seeded(seed)) for count in network.num_gates()] for seed in (5, 6)]
    found = network.with_shuffled_gates(images, orders)
    assert torch.equal(found[0], network(images))
    for order, logits in zip(orders, found[1:], strict=True):
        other = make((3, 2, 4), gamma_g=2.0).eval()
        with torch.no_grad():
            for raw, places in zip(other.gate_parameters(), order, strict=True):
                raw.copy_(raw.flatten()[places].view_as(raw))
        torch.testing.assert_close(logits, other(images), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(logits, found[0], atol=1e-3)


@pytest.mark.parametrize("gates", ["off", "open"])
def test_gates_that_are_not_learnt_stay_where_they_are(gates: str) -> None:
    network, images = make((3, 2), gates=gates).eval(), images_of(2, 91)
    order = [torch.randperm(count, generator=seeded(5)) for count in network.num_gates()]
    found = network.with_shuffled_gates(images, [order])
    assert torch.equal(found[0], found[1])


def single_task(network: GatedNetwork, num_classes: Sequence[int], task: int) -> GatedNetwork:
    """A network of one task, with that task's part of a larger one's weights and statistics."""
    single = GatedNetwork(num_classes=[num_classes[task]], dropout=0.0)
    start = sum(num_classes[:task])
    rows = slice(start, start + num_classes[task])
    with torch.no_grad():
        for mine, theirs in zip(single.convolutions, network.convolutions, strict=True):
            mine.copy_(theirs[task * len(mine) : (task + 1) * len(mine)])
        for mine, theirs in zip(single.blocks, network.blocks, strict=True):
            channels = mine.reduction.shape[-1]
            own = slice(task * channels, (task + 1) * channels)
            mine.reduction.copy_(theirs.reduction[task : task + 1, :, task : task + 1])
            mine.norm.running_mean.copy_(theirs.norm.running_mean[own])
            mine.norm.running_var.copy_(theirs.norm.running_var[own])
        single.head.hidden_weight.copy_(network.head.hidden_weight[task : task + 1])
        single.head.hidden_bias.copy_(network.head.hidden_bias[task : task + 1])
        single.head.class_weight.copy_(network.head.class_weight[rows])
        single.head.class_bias.copy_(network.head.class_bias[rows])
    return single


@pytest.mark.parametrize(("width", "parameters"), [(0.5, 44_536), (1.0, 173_144), (2.0, 682_648)])
def test_number_of_parameters_is_the_papers(width: float, parameters: int) -> None:
    network = GatedNetwork(num_classes=DERM7PT, width=width)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    groups = [*network.kernel_parameters(), *network.bias_parameters(), *network.gate_parameters()]
    assert sorted(map(id, groups)) == sorted(map(id, network.parameters()))


def test_gates_off_leaves_the_gates_parameters_out() -> None:
    learned, off = (GatedNetwork(num_classes=DERM7PT, gates=mode) for mode in ("learned", "off"))
    gates = sum(8 * 7 * filters for filters in (2, 4, 8, 16))
    count = [sum(parameter.numel() for parameter in network.parameters()) for network in (learned, off)]
    assert off.gate_parameters() == []
    assert count[0] - count[1] == gates


@pytest.mark.parametrize("shape", [(90, 90), (90, 200), (200, 90)])
def test_90_px_a_side_is_refused_in_one_line(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"\Asize_px must be 91 or more for the gated network; got 90 [^\n]*\Z"):
        GatedNetwork(num_classes=(2, 3))(torch.rand(1, 3, *shape))
    with pytest.raises(ValueError, match=r"\Asize_px must be 91 or more for the gated network; got 90 [^\n]*\Z"):
        check_size(90)


def test_91_px_a_side_is_accepted() -> None:
    check_size(91)
    assert torch.isfinite(make((2, 2)).eval()(images_of(1, 91))).all()


@pytest.mark.parametrize(("num_classes", "width"), [((), 1.0), ((2, 3), 0.2)])
def test_a_network_of_nothing_is_refused(num_classes: tuple[int, ...], width: float) -> None:
    with pytest.raises(ValueError, match=r"width must be 0\.5 or more and there must be a task"):
        GatedNetwork(num_classes=num_classes, width=width)


def test_dropout_follows_its_generator_and_nothing_else() -> None:
    network, images = make((3, 2), dropout=0.5), images_of(2, 91)
    torch.manual_seed(1)
    first = network(images, seeded(5))
    torch.manual_seed(2)
    assert torch.equal(network(images, seeded(5)), first)
    assert not torch.equal(network(images, seeded(6)), first)
    network.eval()
    assert torch.equal(network(images, seeded(5)), network(images, seeded(6)))


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.6])
def test_drop_zeroes_its_share_and_scales_the_rest(rate: float) -> None:
    values = torch.full((200, 200), 3.0)
    dropped = drop(values, rate, seeded(0))
    assert set(dropped.unique().tolist()) <= {0.0, torch.tensor(3.0).div(1 - rate).item()}
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.01)
    assert dropped.mean().item() == pytest.approx(3.0, abs=0.05)


def test_initial_weights_depend_on_the_generator_only() -> None:
    def weights(seed: int, **settings: Any) -> dict[str, Tensor]:
        network = GatedNetwork(num_classes=(3, 2), generator=seeded(seed), **settings)
        return {name: value for name, value in network.named_parameters() if "gates" not in name}

    torch.manual_seed(1)
    first = weights(7)
    torch.manual_seed(2)
    for same in (
        weights(7),
        weights(7, dropout=0.1, gamma_g=9.0),
        weights(7, gates="off", batch_norm=False, input_mean=(0.5, 0.5, 0.5)),
    ):
        assert all(torch.equal(same[name], value) for name, value in first.items())
    other = weights(8)
    assert not any(torch.equal(other[name], value) for name, value in first.items() if "bias" not in name)


def test_initial_weights_fill_glorots_interval_of_one_tasks_own_kernel() -> None:
    network = GatedNetwork(num_classes=DERM7PT, generator=seeded(0))
    bounds = {
        "convolutions.0": (6 / (3 * 25 + 2 * 25)) ** 0.5,
        "convolutions.3": (6 / (32 * 9 + 16 * 9)) ** 0.5,
        "blocks.1.reduction": (6 / (8 * 4 + 16)) ** 0.5,
        "head.hidden_weight": (6 / (64 + 64)) ** 0.5,
    }
    for name, bound in bounds.items():
        largest = network.get_parameter(name).abs().max().item()
        assert 0.99 * bound < largest <= bound, name
    for rows, count in zip(network.head.class_weight.split(DERM7PT), DERM7PT, strict=True):
        bound = (6 / (64 + count)) ** 0.5
        assert 0.96 * bound < rows.abs().max().item() <= bound
    assert all(not bias.any() for bias in network.bias_parameters())
    assert all(not gate.any() for gate in network.gate_parameters())


def test_sharing_holds_one_matrix_a_block_and_starts_at_one_half() -> None:
    sharing = GatedNetwork(num_classes=(2, 2, 2)).sharing()
    expected = torch.full((4, 3, 3), 0.5)
    expected[:, range(3), range(3)] = 1
    assert torch.equal(sharing, expected)
