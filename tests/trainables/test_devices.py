"""Which device is taken, and how much of its memory; what CUDA would be told where there is none."""

from types import SimpleNamespace

import pytest
import torch

from trainables.devices import choose_device


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Two GPUs of 16 GiB, the second of them current, that remember (fraction, index) of each limit.

    Torch's own checks of its arguments stay: they refuse a "cuda" without a number here as they do on a GPU.
    """
    limits: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=16 * 2**30))
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(
        torch._C, "_cuda_setMemoryFraction", lambda fraction, index: limits.append((round(fraction, 3), index)), raising=False
    )
    return limits


def test_auto_takes_the_gpu_with_all_its_memory(told: list[tuple[float, int]]) -> None:
    assert choose_device("auto") == torch.device("cuda")
    assert told == [(1.0, 1)]


def test_a_share_is_a_limit_that_leaves_room_for_what_cuda_itself_takes(told: list[tuple[float, int]]) -> None:
    assert choose_device("cuda:0", 0.5) == torch.device("cuda:0")
    ((fraction, index),) = told
    assert index == 0
    assert 0.4 < fraction < 0.5


def test_without_a_gpu_auto_is_the_cpu() -> None:
    assert choose_device("auto", 0.5) == torch.device("cuda" if torch.cuda.is_available() else "cpu")


def test_the_smallest_share_is_one_that_torch_takes(told: list[tuple[float, int]]) -> None:
    choose_device("cuda", 0.001)
    assert told == [(0.01, 1)]
