"""Gazes against annotations: by hand, and against a plain loop."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.segmented import NUM_GENERIC, STRUCTURES
from trainables.explanation import Gaze
from trainables.gaze_metrics import GazeReadings, gaze_metrics, read_gazes

LESION, SKIN, NETWORK = (STRUCTURES.index(name) for name in ("lesion", "skin", "pigment_network"))


def looking_at(*cells: int, size: int = 2) -> torch.Tensor:
    """One case's maps, each with all of its attention on one cell, cells counted in rows."""
    maps = torch.zeros(1, len(cells), size * size)
    for step, cell in enumerate(cells):
        maps[0, step, cell] = 1.0
    return maps.reshape(1, len(cells), size, size)


def saying(*structures: int) -> torch.Tensor:
    return 9.0 * torch.nn.functional.one_hot(torch.tensor([list(structures)]), len(STRUCTURES)).float()


@pytest.fixture
def truth() -> torch.Tensor:
    """Four by four pixels: the left half is lesion, of which the upper quarter is pigment network; the right half is skin."""
    masks = torch.zeros(1, len(STRUCTURES), 4, 4)
    masks[0, LESION, 2:, :2], masks[0, NETWORK, :2, :2], masks[0, SKIN, :, 2:] = 1.0, 1.0, 1.0
    return masks


def test_hits_points_and_repetitions_are_counted_by_hand(truth: torch.Tensor) -> None:
    maps = looking_at(0, 0, 2, 3)
    claims = saying(NETWORK, SKIN, LESION, LESION)
    found = read_gazes(maps, claims, truth, torch.tensor([True]))
    assert found.claimed.tolist() == [[2, 4]]  # the first and the third are where they say they are
    assert found.pointed.tolist() == [[3, 4]]  # only the last is on skin
    assert found.repeated.tolist() == [[1, 3]]
    assert found.entropy.tolist() == [0.0]
    assert gaze_metrics(found) == {
        "gazes/structure_agreement": 0.5,
        "gazes/pointing_accuracy": 0.75,
        "gazes/repeated": pytest.approx(1 / 3),
        "gazes/attention_entropy": 0.0,
    }


def test_what_was_not_annotated_is_not_held_against_a_gaze(truth: torch.Tensor) -> None:
    found = read_gazes(looking_at(0, 1), saying(NETWORK, LESION), truth, torch.tensor([False]))
    assert found.claimed.tolist() == [[0, 1]]
    only_attributes = read_gazes(looking_at(0, 1), saying(NETWORK, NETWORK), truth, torch.tensor([False]))
    assert "gazes/structure_agreement" not in gaze_metrics(only_attributes)


def test_gazes_without_names_still_point(truth: torch.Tensor) -> None:
    metrics = gaze_metrics(read_gazes(looking_at(0, 3), None, truth, torch.tensor([True])))
    assert metrics["gazes/pointing_accuracy"] == 0.5
    assert "gazes/structure_agreement" not in metrics


def test_a_map_without_preference_has_entropy_one_whatever_its_scale(truth: torch.Tensor) -> None:
    for scale in (1 / 9, 1.0):
        flat = torch.full((1, 2, 3, 3), scale)
        assert gaze_metrics(read_gazes(flat, None, truth, torch.tensor([True])))["gazes/attention_entropy"] == pytest.approx(1)
    half = looking_at(0) / 2 + looking_at(1) / 2
    found = gaze_metrics(read_gazes(half, None, truth, torch.tensor([True])))
    assert found["gazes/attention_entropy"] == pytest.approx(math.log(2) / math.log(4))


@given(seed=st.integers(0, 10_000))
def test_equals_a_loop_over_the_gazes_that_pictures_are_drawn_from(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cases, steps, size = 5, 3, 8
    maps = torch.rand(cases, steps, 4, 4, generator=generator)
    claims = torch.randn(cases, steps, len(STRUCTURES), generator=generator)
    truth = (torch.rand(cases, len(STRUCTURES), size, size, generator=generator) > 0.6).float()
    known = torch.rand(cases, generator=generator) > 0.5
    found = read_gazes(maps, claims, truth, known)
    for case in range(cases):
        said, hits, lesion, points = claims[case].argmax(-1).tolist(), [], 0, set()
        for step in range(steps):
            row, column = divmod(int(maps[case, step].argmax()), 4)
            y, x = (row + 0.5) / 4, (column + 0.5) / 4
            points.add((row, column))
            masks = truth[case].bool().numpy()
            if known[case] or said[step] < NUM_GENERIC:
                hits.append(Gaze(maps[case, step].double().numpy(), x, y, truth=masks[said[step]]).hits)
            lesion += not Gaze(maps[case, step].double().numpy(), x, y, truth=masks[SKIN]).hits
        assert found.claimed[case].tolist() == [sum(map(bool, hits)), len(hits)]
        assert found.pointed[case].tolist() == [lesion, steps]
        assert found.repeated[case].tolist() == [steps - len(points), steps - 1]


@given(st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any))
def test_weights_are_repetitions(weights: list[int]) -> None:
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(4, 3, 4, 4, generator=generator)
    truth = (torch.rand(4, len(STRUCTURES), 8, 8, generator=generator) > 0.5).float()
    found = read_gazes(maps, torch.randn(4, 3, len(STRUCTURES), generator=generator), truth, torch.ones(4, dtype=torch.bool))
    rows = np.repeat(np.arange(4), weights)
    repeated = GazeReadings(found.claimed[rows], found.pointed[rows], found.entropy[rows], found.repeated[rows])
    assert gaze_metrics(found, np.array(weights, dtype=float)) == pytest.approx(gaze_metrics(repeated))
