"""A batch in parts: the whole batch's result, gradients and statistics, from less memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.attentive_network import AttentiveNetwork, Reading
from models.gated_network import GatedNetwork
from models.parts import in_parts

CLASSES = (5, 3, 2)


def gated(batch_norm: bool) -> GatedNetwork:
    generator = torch.Generator().manual_seed(0)
    return GatedNetwork(num_classes=CLASSES, batch_norm=batch_norm, dropout=0.3, generator=generator).double()


def attentive(**settings: Any) -> AttentiveNetwork:
    generator = torch.Generator().manual_seed(0)
    return AttentiveNetwork(timesteps=2, width=0.125, generator=generator, **settings).double()


def images(size: int, count: int = 5) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)).double()


def learnt(network: nn.Module, batch: Tensor, num_parts: int) -> tuple[dict[str, Tensor], int]:
    """Outputs, gradients and buffers of one training step, and the bytes that were kept for it."""
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    network.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = network(batch, torch.Generator().manual_seed(2), num_parts)
        bytes_kept = kept
    outputs = {str(i): value for i, value in enumerate(found if isinstance(found, Reading) else [found]) if value is not None}
    sum(value[value.isfinite()].square().sum() for value in outputs.values()).backward()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    assert gradients
    return {**outputs, **gradients, **dict(network.named_buffers())}, bytes_kept


@pytest.mark.parametrize("num_parts", [2, 8])
@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: gated(batch_norm=True), 96),
        (lambda: gated(batch_norm=False), 96),
        (lambda: attentive(batch_norm="frozen_statistics"), 32),
        (attentive, 32),
        (lambda: attentive(batch_norm="trained"), 32),
        (lambda: attentive(batch_norm="none", decoder=False), 32),
    ],
    ids=[
        "gated",
        "gated without norm",
        "attentive",
        "batch statistics",
        "batch statistics, trained",
        "attentive without decoder",
    ],
)
def test_parts_learn_what_the_whole_learns(make: Callable[[], nn.Module], size: int, num_parts: int) -> None:
    batch = images(size)
    (whole, _), (parts, _) = (learnt(make(), batch, number) for number in (1, num_parts))
    assert parts.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize(
    ("make", "size"),
    [(lambda: gated(batch_norm=True), 96), (lambda: attentive(batch_norm="frozen_statistics"), 32)],
    ids=["gated", "attentive"],
)
def test_parts_keep_less_for_the_gradient(make: Callable[[], nn.Module], size: int) -> None:
    batch = images(size, 8)
    whole, parts = (learnt(make(), batch, number)[1] for number in (1, 4))
    assert parts < whole / 2.5


@pytest.mark.parametrize("batch_norm", ["frozen", "trained"])
def test_a_batch_that_is_normalised_by_its_own_statistics_stays_whole(batch_norm: str) -> None:
    """In evaluation it passes in parts all the same."""
    network, sizes = attentive(batch_norm=batch_norm), list[int]()
    network.encoder.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    network.train()(images(32, 4), None, 2)
    network.eval()(images(32, 4), None, 2)
    assert sizes == [4, 2, 2]


def test_no_more_than_a_part_passes_at_once() -> None:
    seen = []

    def look(part: Tensor) -> Tensor:
        seen.append(len(part))
        return part.square()

    batch = torch.ones(7, 1, requires_grad=True)
    in_parts(look, batch, 3).sum().backward()
    assert seen[:3] == [3, 3, 1]
    assert sorted(seen[3:]) == [1, 3, 3]
    assert batch.grad is not None
    assert batch.grad.flatten().tolist() == [2.0] * 7
    with torch.no_grad():
        assert torch.equal(in_parts(look, batch, 3), in_parts(look, batch, 1))


def test_a_part_draws_the_same_again_for_its_gradient() -> None:
    generator, factors = torch.Generator().manual_seed(3), []

    def noisy(part: Tensor) -> Tensor:
        factors.append(torch.rand(part.shape, generator=generator))
        return part * factors[-1]

    batch = torch.ones(4, 2, requires_grad=True)
    found = in_parts(noisy, batch, 2, generator)
    after = generator.get_state()
    found.sum().backward()
    assert batch.grad is not None
    torch.testing.assert_close(batch.grad, found.detach())
    assert torch.equal(generator.get_state(), after)
    assert not torch.equal(factors[0], factors[1])
