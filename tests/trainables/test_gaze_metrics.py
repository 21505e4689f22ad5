"""Gazes against annotations: by hand, and against a plain loop."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.attentive.gaze_metrics import GazeReadings, gaze_metrics, read_gazes
from trainables.counted import of_all
from trainables.data.segmented import NUM_GENERIC, STRUCTURES
from trainables.explanation import Gaze

LESION, SKIN, NETWORK = (STRUCTURES.index(name) for name in ("lesion", "skin", "pigment_network"))


def metrics_of(readings: GazeReadings) -> dict[str, float]:
    return of_all(partial(gaze_metrics, readings), len(readings.entropy))


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
    return case_of(left=True)


def case_of(*, left: bool) -> torch.Tensor:
    """One case, with its lesion on the left or on the right; its upper half is pigment network."""
    inside, outside = (slice(None, 2), slice(2, None)) if left else (slice(2, None), slice(None, 2))
    masks = torch.zeros(1, len(STRUCTURES), 4, 4)
    masks[0, LESION, 2:, inside], masks[0, NETWORK, :2, inside], masks[0, SKIN, :, outside] = 1.0, 1.0, 1.0
    return masks


def test_agreement_and_pointing_of_two_cases_by_hand() -> None:
    """Lesions are on the left and on the right: what hits one case misses the other, so every chance is 1 - hit."""
    maps = torch.cat([looking_at(0, 2, 3), looking_at(1, 2, 3)])
    claims = torch.cat([saying(NETWORK, LESION, LESION), saying(NETWORK, NETWORK, SKIN)])
    found = read_gazes(maps, claims, torch.cat([case_of(left=True), case_of(left=False)]), torch.tensor([True, True]))
    assert found.claims.tolist() == [[NETWORK, LESION, LESION], [NETWORK, NETWORK, -1]]
    # Cell:                   0                  2                 3         |        1           2
    # Hit: network on the left, lesion on the left, not on the right         | on the right, not on the left
    hits, chances = [1, 1, 0, 1, 0], [0, 0, 1, 0, 0]  # the last: network is in neither case's lower half
    agreement = (sum(hits) - sum(chances)) / (5 - sum(chances))
    pointed, by_chance = [1, 1, 0, 1, 0, 1], [0, 0, 1, 0, 1, 0]
    assert metrics_of(found) == {
        "gazes/structure_agreement": pytest.approx(agreement),
        "gazes/pointing_accuracy": pytest.approx((sum(pointed) - sum(by_chance)) / (6 - sum(by_chance))),
        "gazes/repeated": 0.0,
        "gazes/attention_entropy": 0.0,
    }


def test_repetitions_are_counted_by_hand(truth: torch.Tensor) -> None:
    found = read_gazes(looking_at(0, 0, 2, 3), saying(NETWORK, SKIN, LESION, LESION), truth, torch.tensor([True]))
    assert found.repeated.tolist() == [[1, 3]]
    assert found.entropy.tolist() == [0.0]
    assert metrics_of(found)["gazes/repeated"] == pytest.approx(1 / 3)


def test_what_was_not_annotated_is_not_held_against_a_gaze(truth: torch.Tensor) -> None:
    found = read_gazes(looking_at(0, 2), saying(NETWORK, LESION), truth, torch.tensor([False]))
    assert found.claims.tolist() == [[-1, LESION]]
    # Nor does a case without annotations speak for where attributes are not: it is no other's chance.
    three = torch.cat([case_of(left=True), case_of(left=False), case_of(left=False)])
    found = read_gazes(
        looking_at(0).expand(3, 1, 2, 2), saying(NETWORK).expand(3, 1, -1), three, torch.tensor([True, True, False])
    )
    hit, chance = [1, 0], [0, 1]
    assert metrics_of(found)["gazes/structure_agreement"] == (sum(hit) - sum(chance)) / (2 - sum(chance))


def test_gazes_without_names_still_point() -> None:
    both = torch.cat([case_of(left=True), case_of(left=False)])
    metrics = metrics_of(read_gazes(torch.cat([looking_at(0), looking_at(1)]), None, both, torch.tensor([True, True])))
    assert metrics["gazes/pointing_accuracy"] == 1.0
    assert "gazes/structure_agreement" not in metrics


def test_one_case_alone_has_no_chance_and_scores_0(truth: torch.Tensor) -> None:
    metrics = metrics_of(read_gazes(looking_at(0), saying(NETWORK), truth, torch.tensor([True])))
    assert (metrics["gazes/structure_agreement"], metrics["gazes/pointing_accuracy"]) == (0.0, 0.0)


def test_a_map_without_preference_has_entropy_one_whatever_its_scale(truth: torch.Tensor) -> None:
    for scale in (1 / 9, 1.0):
        flat = torch.full((1, 2, 3, 3), scale)
        assert metrics_of(read_gazes(flat, None, truth, torch.tensor([True])))["gazes/attention_entropy"] == pytest.approx(1)
    half = looking_at(0) / 2 + looking_at(1) / 2
    found = metrics_of(read_gazes(half, None, truth, torch.tensor([True])))
    assert found["gazes/attention_entropy"] == pytest.approx(math.log(2) / math.log(4))


CASES, STEPS, CELLS, SIDE = 200, 5, 7, 56
ALL_KNOWN = torch.ones(CASES, dtype=torch.bool)


@pytest.fixture(scope="module")
def lesions() -> torch.Tensor:
    """Discs near the centre, as dermoscopic images have them, half of them with an attribute each in one of their quarters."""
    generator = torch.Generator().manual_seed(0)
    axis = torch.arange(SIDE) / SIDE
    masks = torch.zeros(CASES, len(STRUCTURES), SIDE, SIDE)
    for case in range(CASES):
        x, y = 0.5 + 0.24 * (torch.rand(2, generator=generator) - 0.5)
        inside = (axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2 < 0.3**2
        shown = torch.zeros_like(inside)
        for attribute in range(NUM_GENERIC, len(STRUCTURES)):
            if torch.rand((), generator=generator) < 0.5:
                right, below = torch.rand(2, generator=generator) < 0.5
                quarter = ((axis[None, :] > x) == right) & ((axis[:, None] > y) == below)
                masks[case, attribute] = inside & quarter & ~shown
                shown |= inside & quarter
        masks[case, LESION], masks[case, SKIN] = inside & ~shown, ~inside
    return masks


def peaked(cells: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(cells, CELLS * CELLS).float().reshape(CASES, STEPS, CELLS, CELLS)


def claiming(structures: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(structures, len(STRUCTURES)).float()


def spots(name: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if name == "anywhere":
        return torch.randint(CELLS * CELLS, (CASES, STEPS), generator=generator)
    path = {"corner": [0] * 5, "centre": [24] * 5, "a fixed path": [24, 17, 31, 23, 25]}[name]
    return torch.tensor(path).expand(CASES, STEPS)


def words(name: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    if name == "anything":
        return torch.randint(len(STRUCTURES), (CASES, STEPS), generator=generator)
    return torch.full((CASES, STEPS), {"skin": SKIN, "lesion": LESION, "network": NETWORK}[name])


@pytest.mark.parametrize("where", ["corner", "centre", "a fixed path", "anywhere"])
@pytest.mark.parametrize("what", ["skin", "lesion", "network", "anything"])
def test_gazes_that_do_not_look_at_the_case_score_at_chance(where: str, what: str, lesions: torch.Tensor) -> None:
    """Uncorrected, the corner that is called skin agrees fully, and the centre nearly always hits the lesion."""
    metrics = metrics_of(read_gazes(peaked(spots(where)), claiming(words(what)), lesions, ALL_KNOWN))
    # What is always the same is exactly at chance; what is drawn is so up to the luck of a thousand gazes.
    pointing = 0.06 if where == "anywhere" else 1e-9
    agreement = pointing if what != "anything" else 0.06
    assert abs(metrics["gazes/pointing_accuracy"]) < pointing
    assert abs(metrics["gazes/structure_agreement"]) < agreement
    if what == "skin":
        assert metrics["gazes/structure_agreement"] == 0.0, "nothing claimed is nothing explained, and not absent"


def test_gazes_on_noise_instead_of_the_image_score_at_chance(lesions: torch.Tensor) -> None:
    """Those of a perfect explainer, of the wrong case."""
    cells, said = perfect(lesions)
    generator, found = torch.Generator().manual_seed(3), []
    for _ in range(20):
        order = torch.randperm(CASES, generator=generator)
        metrics = metrics_of(read_gazes(peaked(cells[order]), claiming(said[order]), lesions, ALL_KNOWN))
        found.append([metrics["gazes/pointing_accuracy"], metrics["gazes/structure_agreement"]])
    assert np.abs(np.mean(found, 0)).max() < 0.03
    assert np.abs(found).max() < 0.2, "each up to the luck of two hundred cases"


def perfect(lesions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells inside the lesion, and a structure other than skin that is there."""
    generator = torch.Generator().manual_seed(4)
    middles = ((torch.arange(CELLS) + 0.5) / CELLS * SIDE).long()
    there = lesions[:, :, middles][..., middles].flatten(2) > 0.5
    cells = torch.multinomial((~there[:, SKIN]).float(), STEPS, replacement=True, generator=generator)
    claims = there.transpose(1, 2).gather(1, cells[..., None].expand(-1, -1, len(STRUCTURES))).float()
    return cells, claims.argmax(-1)


def test_a_perfect_explainer_scores_1(lesions: torch.Tensor) -> None:
    cells, said = perfect(lesions)
    metrics = metrics_of(read_gazes(peaked(cells), claiming(said), lesions, ALL_KNOWN))
    assert metrics["gazes/pointing_accuracy"] == pytest.approx(1)
    assert metrics["gazes/structure_agreement"] == pytest.approx(1)
    half = torch.where(torch.arange(CASES).unsqueeze(1) % 2 == 0, cells, spots("anywhere"))
    spoilt = metrics_of(read_gazes(peaked(half), claiming(said), lesions, ALL_KNOWN))
    # Where lesions lie in the middle, chance is high inside them: a gaze at the border's side of it, or beside it, weighs more.
    assert 0.1 < spoilt["gazes/pointing_accuracy"] < 0.6
    assert 0.1 < spoilt["gazes/structure_agreement"] < 0.6


@given(seed=st.integers(0, 10_000))
def test_equals_a_loop_over_the_gazes_that_pictures_are_drawn_from(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cases, steps, size = 5, 3, 8
    maps = torch.rand(cases, steps, 4, 4, generator=generator)
    claims = torch.randn(cases, steps, len(STRUCTURES), generator=generator)
    truth = (torch.rand(cases, len(STRUCTURES), size, size, generator=generator) > 0.6).float()
    known = torch.rand(cases, generator=generator) > 0.5
    found = read_gazes(maps, claims, truth, known)
    agreed, pointed = [], []
    for case in range(cases):
        points = set()
        for step in range(steps):
            row, column = divmod(int(maps[case, step].argmax()), 4)
            points.add((row, column))
            gaze = Gaze(maps[case, step].double().numpy(), (column + 0.5) / 4, (row + 0.5) / 4)
            said = int(claims[case, step].argmax())
            lesion = [not replace(gaze, truth=truth[other, SKIN].bool().numpy()).hits for other in range(cases)]
            pointed.append((lesion.pop(case), np.mean(lesion)))
            if said == SKIN or (said >= NUM_GENERIC and not known[case]):
                continue
            others = [n for n in range(cases) if n != case and (said < NUM_GENERIC or known[n])]
            hits = {n: replace(gaze, truth=truth[n, said].bool().numpy()).hits for n in (case, *others)}
            if others:
                agreed.append((hits[case], np.mean([hits[n] for n in others])))
        assert found.repeated[case].tolist() == [steps - len(points), steps - 1]
    metrics = metrics_of(found)
    for name, pairs in (("structure_agreement", agreed), ("pointing_accuracy", pointed)):
        gainable = sum(1 - chance for _, chance in pairs)
        expected = sum(hit - chance for hit, chance in pairs) / gainable if gainable > 1e-9 else 0.0
        assert metrics[f"gazes/{name}"] == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any))
def test_weights_are_repetitions_of_which_none_is_anothers_chance(weights: list[int]) -> None:
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(4, 3, 4, 4, generator=generator)
    truth = (torch.rand(4, len(STRUCTURES), 8, 8, generator=generator) > 0.5).float()
    claims = torch.randn(4, 3, len(STRUCTURES), generator=generator)
    found = read_gazes(maps, claims, truth, torch.ones(4, dtype=torch.bool))
    metrics = {name: values[0] for name, values in gaze_metrics(found, np.array([weights])).items()}
    hits, total = 0.0, 0.0
    for case, weight in enumerate(weights):
        others = sum(weights) - weight
        for step in range(3):
            cell = found.points[case, step]
            by_chance = sum(weights[n] * (not found.occupied[n, SKIN, cell]) for n in range(4) if n != case)
            if weight and others:
                hits += weight * (float(not found.occupied[case, SKIN, cell]) - by_chance / others)
                total += weight * (1 - by_chance / others)
    assert metrics["gazes/pointing_accuracy"] == pytest.approx(hits / total if total > 1e-9 else 0.0, abs=1e-9)
    again = np.array(weights) @ found.repeated
    assert metrics["gazes/repeated"] == pytest.approx(again[0] / again[1])
