"""Arrays where training wants them: rows by index, and statistics of some cases alone."""

import numpy as np
import pytest
import torch

from trainables.residence import channel_statistics, gather, resident

CPU = torch.device("cpu")


def test_on_the_cpu_an_array_stays_where_it_is() -> None:
    array = torch.arange(6, dtype=torch.uint8)
    assert resident(array, CPU) is array


def test_an_array_moves_to_the_gpu_up_to_a_quarter_of_its_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed: an array that moves is sent to a device that does not exist here."""
    asked: list[torch.device] = []

    def free(device: torch.device) -> tuple[int, int]:
        asked.append(device)
        return 400, 1000

    monkeypatch.setattr(torch.cuda, "mem_get_info", free)
    moved: list[torch.device] = []

    class Watched(torch.Tensor):
        def to(self, device: torch.device) -> torch.Tensor:  # type: ignore[override]
            moved.append(device)
            return self

    device = torch.device("cuda", 0)
    large, fits = (torch.zeros(size, dtype=torch.uint8).as_subclass(Watched) for size in (101, 100))
    assert resident(large, device) is large
    assert moved == []
    resident(fits, device)
    assert moved == [device]
    assert asked == [device, device]


def test_rows_come_in_the_order_asked_for_and_again_when_asked_again() -> None:
    array = torch.arange(12).reshape(4, 3)
    assert gather(array, np.array([3, 0, 3]), CPU).tolist() == [[9, 10, 11], [0, 1, 2], [9, 10, 11]]
    assert gather(array, np.zeros(0, dtype=np.int64), CPU).shape == (0, 3)


def test_what_was_gathered_is_a_copy() -> None:
    array = torch.arange(4)
    gather(array, np.array([0, 1, 2, 3]), CPU).fill_(7)
    assert array.tolist() == [0, 1, 2, 3]


def test_statistics_of_a_hand_worked_set() -> None:
    # Red: 0 and 255 in equal parts; green: all 51; blue: two pixels of eight are 255.
    pixels = torch.zeros(3, 3, 2, 2, dtype=torch.uint8)
    pixels[0, 0] = 255
    pixels[:2, 1] = 51
    pixels[1, 2, 0] = 255
    pixels[2] = 99  # a case that does not count
    mean, deviation = channel_statistics(pixels, np.array([0, 1]))
    assert mean == pytest.approx([0.5, 0.2, 0.25])
    assert deviation == pytest.approx([0.5, 1e-6, (3 / 16) ** 0.5], abs=1e-7)


def test_statistics_are_numpys_over_more_cases_than_are_taken_at_once() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 3, 5, 5), dtype=np.uint8)
    members = np.random.default_rng(1).permutation(200)[:130]
    mean, deviation = channel_statistics(torch.from_numpy(pixels), members)
    chosen = pixels[members] / 255
    np.testing.assert_allclose(mean, chosen.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(deviation, chosen.std((0, 2, 3)), rtol=1e-9)
