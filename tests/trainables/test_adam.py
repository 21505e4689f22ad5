"""Adam: bit for bit torch's own fused one, also when it goes on from a checkpoint, and without torch's compiler."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from trainables.adam import Adam, Group

BETAS, EPSILON = (0.92, 0.96), 1e-7


def network(layout: torch.memory_format) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3), nn.Conv2d(2, 1, 1))
    return made.to(memory_format=layout)


def parts(of: nn.Sequential) -> list[tuple[list[nn.Parameter], float, float]]:
    """Two groups with settings of their own; the last layer belongs to none."""
    return [(list(of[0].parameters()), 1e-2, 0.1), (list(of[1].parameters()), 3e-3, 0.0)]


def ours(of: nn.Sequential) -> Adam:
    return Adam([Group(*part) for part in parts(of)], betas=BETAS, epsilon=EPSILON)


def train(of: nn.Sequential, optimizer: Adam | torch.optim.Adam, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        of(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        if step == 2:
            of[1].bias.grad = None  # a parameter that takes no part in a batch is not counted
        optimizer.step()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_moves_as_torchs_own_does(layout: torch.memory_format) -> None:
    mine, theirs = network(layout), network(layout)
    groups = [{"params": members, "lr": rate, "weight_decay": decay} for members, rate, decay in parts(theirs)]
    train(mine, ours(mine), range(5))
    train(theirs, torch.optim.Adam(groups, betas=BETAS, eps=EPSILON, fused=True), range(5))
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(mine[0].weight, network(layout)[0].weight)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_goes_on_from_its_state_as_if_nothing_had_been(layout: torch.memory_format) -> None:
    whole, halves = network(layout), network(layout)
    train(whole, ours(whole), range(6))
    first, second = ours(halves), ours(halves)
    train(halves, first, range(3))
    # As a checkpoint gives it back: contiguous whatever the layout.
    second.restore({name: value.clone(memory_format=torch.contiguous_format) for name, value in first.state().items()})
    train(halves, second, range(3, 6))
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(one, other)


def test_another_optimisers_state_is_refused() -> None:
    of = network(torch.contiguous_format)
    state = ours(of).state()
    with pytest.raises(KeyError, match=r"3\.second"):
        ours(of).restore({name: value for name, value in state.items() if name != "3.second"})
    with pytest.raises(ValueError, match=r"first must be of shape \(4, 3, 3, 3\); got \(5, 5\)"):
        ours(of).restore({**state, "0.first": torch.zeros(5, 5)})


def test_training_does_not_import_torchs_compiler() -> None:
    code = (
        "import sys, torch; from trainables.adam import Adam, Group; of = torch.nn.Linear(2, 1)\n"
        "adam = Adam([Group(list(of.parameters()), 0.1)]); of(torch.ones(1, 2)).sum().backward(); adam.step()\n"
        "import trainables.gated.task, trainables.attentive.task\n"
        "print(*(name for name in ('torch._dynamo', 'sympy', 'sklearn', 'scipy.stats') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert done.stdout.split() == []
