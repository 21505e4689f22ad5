"""Gates and sharing fractions against plain loops over tasks and channels."""

import math

import pytest
import torch
from torch import Tensor

from models.gates import GatedBlock, Gates, sharing_fractions


def filled(num_tasks: int, channels: int, gamma_g: float, *, seed: int = 0) -> Gates:
    gates = Gates(num_tasks=num_tasks, channels=channels, gamma_g=gamma_g, mode="learned")
    assert gates.raw is not None
    with torch.no_grad():
        gates.raw.copy_(torch.randn(gates.raw.shape, generator=torch.Generator().manual_seed(seed)))
    return gates


def plain_gates(gates: Gates) -> list[list[list[float]]]:
    """Eq. 7, one number at a time: alpha[taker][giver][channel]."""
    assert gates.raw is not None
    found = []
    for taker in range(gates.num_tasks):
        raws = iter(gates.raw[taker].tolist())
        row = []
        for giver in range(gates.num_tasks):
            if giver == taker:
                row.append([1.0] * gates.channels)
            else:
                row.append([1 / (1 + math.exp(-gates.gamma_g * raw)) for raw in next(raws)])
        found.append(row)
    return found


@pytest.mark.parametrize("gamma_g", [0.3, 3.0, 30.0])
@pytest.mark.parametrize(("num_tasks", "channels"), [(2, 1), (3, 4), (8, 2)])
def test_gates_are_equation_7(num_tasks: int, channels: int, gamma_g: float) -> None:
    gates = filled(num_tasks, channels, gamma_g)
    torch.testing.assert_close(gates(), torch.tensor(plain_gates(gates)), rtol=1e-5, atol=1e-6)


def test_sharing_is_equation_11() -> None:
    gates = filled(4, 5, 3.0)
    alpha, sharing = plain_gates(gates), sharing_fractions(gates())
    for taker in range(4):
        for giver in range(4):
            expected = sum(alpha[taker][giver][channel] for channel in range(5)) / 5
            assert sharing[taker, giver].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("mode", ["learned", "off", "open"])
def test_sharing_with_oneself_is_one(mode: str) -> None:
    gates = Gates(num_tasks=5, channels=3, gamma_g=0.3, mode=mode)
    assert sharing_fractions(gates()).diagonal().tolist() == [1.0] * 5


def test_gates_start_half_open() -> None:
    alpha = Gates(num_tasks=3, channels=2, gamma_g=7.0, mode="learned")()
    assert torch.equal(alpha[~torch.eye(3, dtype=torch.bool)], torch.full((6, 2), 0.5))


@pytest.mark.parametrize("gamma_g", [0.01, 0.3, 3.0])
def test_own_gate_is_exactly_one_at_any_slope(gamma_g: float) -> None:
    alpha = filled(4, 3, gamma_g)()
    own = torch.eye(4, dtype=torch.bool)
    assert (alpha[own] == 1).all()
    assert (alpha[~own] != 1).all()


@pytest.mark.parametrize("gamma_g", [0.01, 0.3, 3.0])
def test_closed_gates_are_exactly_zero_at_any_slope(gamma_g: float) -> None:
    gates = Gates(num_tasks=4, channels=3, gamma_g=gamma_g, mode="off")
    assert torch.equal(gates(), torch.eye(4)[:, :, None].expand(4, 4, 3))
    assert list(gates.parameters()) == []


@pytest.mark.parametrize("gamma_g", [0.01, 3.0])
def test_open_gates_are_exactly_one_at_any_slope(gamma_g: float) -> None:
    gates = Gates(num_tasks=4, channels=3, gamma_g=gamma_g, mode="open")
    assert torch.equal(gates(), torch.ones(4, 4, 3))
    assert list(gates.parameters()) == []


def test_own_gate_gets_no_gradient_and_every_other_gate_its_own() -> None:
    gates = filled(3, 2, 3.0)
    assert gates.raw is not None
    weights = torch.randn(3, 3, 2, generator=torch.Generator().manual_seed(1))
    (gates() * weights).sum().backward()
    alpha = plain_gates(gates)
    for taker in range(3):
        others = [giver for giver in range(3) if giver != taker]
        for place, giver in enumerate(others):
            for channel in range(2):
                value = alpha[taker][giver][channel]
                expected = 3.0 * value * (1 - value) * weights[taker, giver, channel].item()
                assert gates.raw.grad[taker, place, channel].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("gamma_g", [0.0, -1.0, math.nan])
def test_a_slope_that_is_not_above_zero_is_refused(gamma_g: float) -> None:
    with pytest.raises(ValueError, match=r"gamma_g must be above 0; got"):
        Gates(num_tasks=2, channels=1, gamma_g=gamma_g, mode="learned")


def test_a_task_alone_takes_all_of_itself() -> None:
    gates = Gates(num_tasks=1, channels=3, gamma_g=3.0, mode="learned")
    assert torch.equal(gates(), torch.ones(1, 1, 3))
    assert list(gates.parameters()) == []


def test_block_is_the_gated_sum_over_givers_and_channels() -> None:
    block = GatedBlock(
        num_tasks=2,
        channels=2,
        reduced_channels=3,
        gamma_g=3.0,
        mode="learned",
        batch_norm=False,
        batch_norm_momentum=0.1,
        generator=torch.Generator().manual_seed(0),
    )
    block.gates = filled(2, 2, 3.0)
    alpha = plain_gates(block.gates)
    maps = torch.rand(1, 4, 1, 1, generator=torch.Generator().manual_seed(2))
    found = block(maps)
    for taker in range(2):
        for out in range(3):
            expected = 0.0
            for giver in range(2):
                for channel in range(2):
                    value = maps[0, giver * 2 + channel, 0, 0].item()  # task-major
                    expected += block.reduction[taker, out, giver, channel].item() * alpha[taker][giver][channel] * value
            assert found[0, taker * 3 + out, 0, 0].item() == pytest.approx(expected, abs=1e-6)


def trained(gamma_g: float, rate_factor: float, steps: int = 30) -> tuple[Tensor, Tensor]:
    """Gates after some steps of Adam towards the targets of a toy problem, and after none."""
    gates = Gates(num_tasks=3, channels=4, gamma_g=gamma_g, mode="learned")
    before = gates().detach()
    generator = torch.Generator().manual_seed(3)
    inputs, target = torch.randn(20, 3, 4, generator=generator), torch.randn(20, 3, generator=generator)
    optimizer = torch.optim.Adam(gates.parameters(), lr=1e-4 * rate_factor, eps=1e-7)
    for _ in range(steps):
        optimizer.zero_grad()
        taken = torch.einsum("nic,tic->nt", inputs, gates())
        (taken - target).square().mean().backward()
        optimizer.step()
    return gates().detach(), before


@pytest.mark.parametrize(("gamma_g", "rate_factor"), [(6.0, 50.0), (1.5, 200.0)])
def test_only_the_product_of_slope_and_gate_rate_matters_under_adam(gamma_g: float, rate_factor: float) -> None:
    papers, before = trained(3.0, 100.0)
    others = ~torch.eye(3, dtype=torch.bool)
    assert (papers - before)[others].abs().min() > 1e-3, "the gates must have moved for this to mean anything"
    torch.testing.assert_close(trained(gamma_g, rate_factor)[0], papers, rtol=1e-6, atol=1e-6)
    assert (trained(gamma_g, 100.0)[0] - papers).abs().max() > 1e-2
