"""What is kept of many epochs, by hand; and that a resumed trial keeps the same."""

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainables.trace import CAPACITY, Trace


def traced(num_epochs: int, trace: Trace | None = None, first: int = 1) -> Mapping[str, Tensor]:
    found = trace or Trace()
    for epoch in range(first, num_epochs + 1):
        found.add(epoch, {"square": torch.tensor([epoch**2])})
    return found.tensors()


@pytest.mark.parametrize(
    ("num_epochs", "kept"),
    [(1, [1]), (4, [1, 2, 3, 4]), (17, [2, 4, 6, 8, 10, 12, 14, 16, 17]), (34, [4, 8, 12, 16, 20, 24, 28, 32, 34])],
)
def test_the_epochs_that_are_kept(num_epochs: int, kept: list[int]) -> None:
    found = traced(num_epochs)
    assert found["epoch"].tolist() == kept
    assert found["square"].flatten().tolist() == [epoch**2 for epoch in kept]


def test_the_start_is_always_kept() -> None:
    for num_epochs in (1, 17, 300):
        assert traced(num_epochs, first=0)["epoch"].tolist()[0] == 0


@given(st.integers(1, 500))
def test_never_many_and_always_the_last(num_epochs: int) -> None:
    epochs = traced(num_epochs)["epoch"].tolist()
    assert len(epochs) <= CAPACITY + 1
    assert epochs == sorted(epochs)
    assert epochs[-1] == num_epochs


@given(st.integers(1, 80), st.integers(1, 80))
def test_a_resumed_trace_is_the_same(before: int, after: int) -> None:
    resumed = Trace()
    resumed.restore(traced(before))
    whole = traced(before + after)
    found = traced(before + after, resumed, first=before + 1)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {name: t.tolist() for name, t in whole.items()}


def test_nothing_shown_is_nothing_kept() -> None:
    trace = Trace()
    trace.add(1, {})
    assert trace.tensors() == {}
    trace.restore({})
    assert trace.tensors() == {}


def test_what_is_kept_does_not_follow_the_model() -> None:
    trace, weight = Trace(), torch.zeros(1)
    trace.add(1, {"weight": weight})
    weight += 1
    assert trace.tensors()["weight"].tolist() == [[0.0]]
