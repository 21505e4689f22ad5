"""Matching by brute force, balancing by a double loop, and what gets a gradient."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.attentive.structure_losses import (
    PairLosses,
    balanced_mean,
    match,
    most_overlapped,
    pair_losses,
    soft_iou,
    structure_weights,
    structures_loss,
)

STRUCTURES = 6


def triples(iou: Tensor, present: Tensor) -> list[tuple[int, int, int]]:
    pairs = match(iou, present)
    return sorted(zip(pairs.case.tolist(), pairs.structure.tolist(), pairs.time.tolist(), strict=True))


def best_total(iou: np.ndarray, structures: list[int]) -> float:
    """The largest sum of IoU over assignments to the first min(structures, T) timesteps, by trying all."""
    usable = range(min(len(structures), iou.shape[1]))
    return max(
        sum(float(iou[s, t]) for s, t in zip(order, usable, strict=True))
        for order in itertools.permutations(structures, len(usable))
    )


@pytest.mark.parametrize("timesteps", [1, 2, 3, 5, 8])
def test_match_is_the_best_of_all_assignments(timesteps: int) -> None:
    generator = np.random.default_rng(timesteps)
    iou = torch.tensor(generator.random((24, STRUCTURES, timesteps)), dtype=torch.float32)
    present = torch.tensor(generator.random((24, STRUCTURES)) < generator.random((24, 1)))
    found = triples(iou, present)
    for case in range(24):
        structures = present[case].nonzero().flatten().tolist()
        own = [(s, t) for c, s, t in found if c == case]
        size = min(len(structures), timesteps)
        assert len(own) == size
        assert {s for s, _ in own} <= set(structures)
        assert len({s for s, _ in own}) == size
        assert {t for _, t in own} == set(range(size))
        if size:
            total = sum(float(iou[case, s, t]) for s, t in own)
            assert total == pytest.approx(best_total(iou[case].numpy(), structures), abs=1e-6)


def test_match_by_hand() -> None:
    """Greedy would take .9 for the first structure and leave 0 for the second: .9 < .8 + .7."""
    iou = torch.tensor([[[0.9, 0.8], [0.7, 0.0]]])
    assert triples(iou, torch.tensor([[True, True]])) == [(0, 0, 1), (0, 1, 0)]


def test_fewer_structures_use_the_first_timesteps() -> None:
    """The fourth timestep fits the only structure best, and is not used."""
    iou = torch.tensor([[[0.1, 0.2, 0.3, 1.0], [0.5, 0.5, 0.5, 0.5]]])
    assert triples(iou, torch.tensor([[True, False]])) == [(0, 0, 0)]


def test_more_structures_than_timesteps_leaves_the_worst_out() -> None:
    iou = torch.tensor([[[0.1], [0.9], [0.5]]])
    assert triples(iou, torch.tensor([[True, True, True]])) == [(0, 1, 0)]


def test_an_absent_structure_is_never_matched_however_well_it_fits() -> None:
    iou = torch.tensor([[[1.0, 1.0], [0.0, 0.0], [0.1, 0.2]]])
    assert triples(iou, torch.tensor([[False, True, True]])) == [(0, 1, 0), (0, 2, 1)]


def test_no_structure_at_all() -> None:
    pairs = match(torch.rand(2, STRUCTURES, 3), torch.zeros(2, STRUCTURES, dtype=torch.bool))
    assert [len(part) for part in pairs] == [0, 0, 0]
    assert all(part.dtype == torch.long for part in pairs)
    assert triples(torch.rand(2, 2, 2), torch.tensor([[False, False], [True, False]])) == [(1, 0, 0)]


@pytest.mark.parametrize("timesteps", [1, 3, 5])
def test_in_evaluation_every_mask_takes_the_present_structure_that_it_overlaps_most(timesteps: int) -> None:
    generator = np.random.default_rng(timesteps)
    iou = torch.tensor(generator.random((24, STRUCTURES, timesteps)), dtype=torch.float32)
    present = torch.tensor(generator.random((24, STRUCTURES)) < generator.random((24, 1)))
    present[0] = False
    pairs = most_overlapped(iou, present)
    found = list(zip(pairs.case.tolist(), pairs.structure.tolist(), pairs.time.tolist(), strict=True))
    expected = [
        (case, max(present[case].nonzero().flatten().tolist(), key=lambda s, c=case, t=time: float(iou[c, s, t])), time)
        for case in range(24)
        if present[case].any()
        for time in range(timesteps)
    ]
    assert found == expected


def test_in_evaluation_a_structure_may_be_taken_twice_and_an_absent_one_never() -> None:
    iou = torch.tensor([[[0.9, 0.8, 0.0], [0.7, 0.0, 0.0], [1.0, 1.0, 1.0]]])
    pairs = most_overlapped(iou, torch.tensor([[True, True, False]]))
    assert pairs.structure.tolist() == [0, 0, 0]
    assert pairs.time.tolist() == [0, 1, 2]
    assert [len(part) for part in most_overlapped(iou, torch.zeros(1, 3, dtype=torch.bool))] == [0, 0, 0]


def plainly(values: list[float], structure: list[int], weights: list[float], balancing: str) -> float:
    if balancing == "none":
        return sum(values) / len(values) if values else 0.0
    total, seen = 0.0, 0
    for index, weight in enumerate(weights):
        own = [value for value, of in zip(values, structure, strict=True) if of == index]
        if own:
            total += weight * sum(own) / len(own)
            seen += 1
    return total / seen if seen else 0.0


@pytest.mark.parametrize("balancing", ["presence", "inverse_presence", "minibatch", "none"])
@pytest.mark.parametrize("pairs", [0, 1, 7, 40])
def test_balanced_mean_equals_a_double_loop(balancing: str, pairs: int) -> None:
    generator = np.random.default_rng(pairs)
    values, structure = generator.random(pairs), generator.integers(0, 5, pairs)
    weights = structure_weights(np.array([2000, 2000, 1131, 126, 573, 116]), balancing)
    found = balanced_mean(torch.tensor(values, dtype=torch.float32), torch.tensor(structure), weights, balancing)
    assert float(found) == pytest.approx(plainly(values.tolist(), structure.tolist(), weights.tolist(), balancing), abs=1e-6)


def test_balanced_mean_by_hand() -> None:
    """Structure 0 has .2 and .4, structure 2 has .9: means .3 and .9."""
    values, structure = torch.tensor([0.2, 0.4, 0.9]), torch.tensor([0, 0, 2])
    weights = structure_weights(np.array([6, 3, 1]), "presence")
    assert weights.tolist() == pytest.approx([4 / 20, 7 / 20, 9 / 20])
    assert float(balanced_mean(values, structure, weights, "presence")) == pytest.approx((0.2 * 0.3 + 0.45 * 0.9) / 2)
    ones = torch.ones(3)
    assert float(balanced_mean(values, structure, ones, "minibatch")) == pytest.approx(0.6)
    assert float(balanced_mean(values, structure, ones, "none")) == pytest.approx(0.5)


def test_soft_iou_equals_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted = torch.rand(2, 3, 4, 5, generator=generator)
    truth = (torch.rand(2, 4, 4, 5, generator=generator) < 0.4).float()
    found = soft_iou(predicted, truth)
    assert found.shape == (2, 4, 3)
    for case, s, t in itertools.product(range(2), range(4), range(3)):
        both = float((predicted[case, t] * truth[case, s]).sum())
        expected = both / (float(predicted[case, t].sum()) + float(truth[case, s].sum()) - both)
        assert float(found[case, s, t]) == pytest.approx(expected, rel=1e-5)


def loss_of(masks: Tensor, classes: Tensor, truth: Tensor, present: Tensor, *, balancing: str, gamma: float) -> Tensor:
    return structures_loss(
        pair_losses(match(iou := soft_iou(masks.sigmoid(), truth), present), iou, classes),
        weights=structure_weights(np.array([9, 9, 5, 1, 3, 1]), balancing),
        balancing=balancing,
        segmentation_share=gamma,
    )


@pytest.mark.parametrize("balancing", ["presence", "inverse_presence", "minibatch", "none"])
def test_loss_equals_a_plain_loop_over_the_best_pairs(balancing: str) -> None:
    generator = torch.Generator().manual_seed(3)
    masks, classes = torch.randn(3, 2, 4, 4, generator=generator), torch.randn(3, 2, STRUCTURES, generator=generator)
    truth = (torch.rand(3, STRUCTURES, 4, 4, generator=generator) < 0.4).float()
    present = torch.tensor([[1, 1, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]).bool()
    iou = soft_iou(masks.sigmoid(), truth)
    segmentation, naming, structure = [], [], []
    for case, s, t in triples(iou, present):
        segmentation.append(1 - float(iou[case, s, t]))
        naming.append(-math.log(float(classes[case, t].softmax(-1)[s])))
        structure.append(s)
    weights = structure_weights(np.array([9, 9, 5, 1, 3, 1]), balancing).tolist()
    expected = 0.7 * plainly(segmentation, structure, weights, balancing) + 0.3 * plainly(naming, structure, weights, balancing)
    found = loss_of(masks, classes, truth, present, balancing=balancing, gamma=0.7)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_pairs_of_several_batches_joined_are_those_of_all_cases_at_once() -> None:
    generator = torch.Generator().manual_seed(4)
    iou, classes = torch.rand(4, STRUCTURES, 3, generator=generator), torch.randn(4, 3, STRUCTURES, generator=generator)
    present = torch.rand(4, STRUCTURES, generator=generator) < 0.5
    present[0] = False
    whole = pair_losses(match(iou, present), iou, classes)
    parts = [pair_losses(match(iou[part], present[part]), iou[part], classes[part]) for part in (slice(0, 1), slice(1, 4))]
    joined = PairLosses(*map(torch.cat, zip(*parts, strict=True)))
    for found, expected in zip(joined, whole, strict=True):
        assert torch.equal(found, expected)
    found = triples(iou, present)
    assert sorted(whole.structure.tolist()) == sorted(structure for _, structure, _ in found)
    assert sorted(whole.masks.tolist()) == pytest.approx(sorted(1 - float(iou[c, s, t]) for c, s, t in found), abs=1e-6)


def halves() -> tuple[Tensor, Tensor]:
    truth = torch.zeros(1, STRUCTURES, 4, 4)
    truth[0, 0, :2], truth[0, 1, 2:], truth[0, 3] = 1, 1, 1
    return truth, torch.tensor([[True, True, False, False, False, False]])


def test_gradients_reach_the_matched_masks_and_classes_only() -> None:
    truth, present = halves()
    masks = torch.zeros(1, 3, 4, 4, requires_grad=True)
    classes = torch.zeros(1, 3, STRUCTURES, requires_grad=True)
    loss_of(masks, classes, truth, present, balancing="minibatch", gamma=0.75).backward()
    assert masks.grad[0, :2].abs().flatten(1).sum(-1).gt(0).all()
    assert not masks.grad[0, 2].any()
    assert not classes.grad[0, 2].any()
    # -log softmax at equal logits: 1/6 everywhere, less 1 at the truth, by .25 / 2 structures.
    rows = sorted(row.index(min(row)) for row in classes.grad[0, :2].tolist())
    assert rows == [0, 1]
    assert float(classes.grad[0, :2].max()) == pytest.approx(0.25 / 2 / 6, rel=1e-5)


def test_a_step_down_the_gradient_lowers_the_loss() -> None:
    truth, present = halves()
    masks = torch.zeros(1, 2, 4, 4, requires_grad=True)
    classes = torch.zeros(1, 2, STRUCTURES, requires_grad=True)
    before = loss_of(masks, classes, truth, present, balancing="minibatch", gamma=0.75)
    before.backward()
    after = loss_of(masks - masks.grad, classes - classes.grad, truth, present, balancing="minibatch", gamma=0.75)
    assert float(after.detach()) < float(before.detach())


def test_unknown_structures_give_no_loss() -> None:
    truth, present = halves()
    masks, classes = torch.randn(1, 3, 4, 4), torch.randn(1, 3, STRUCTURES)
    with_unknown = loss_of(masks, classes, truth, present, balancing="minibatch", gamma=0.75)
    emptied = truth.clone()
    emptied[0, 3] = 0
    without = loss_of(masks, classes, emptied, present, balancing="minibatch", gamma=0.75)
    assert torch.equal(with_unknown, without)


@pytest.mark.parametrize("balancing", ["presence", "inverse_presence", "minibatch", "none"])
def test_nothing_present_is_no_loss_and_no_gradient(balancing: str) -> None:
    masks = torch.randn(2, 3, 4, 4, requires_grad=True)
    classes = torch.randn(2, 3, STRUCTURES, requires_grad=True)
    absent = torch.zeros(2, STRUCTURES, dtype=torch.bool)
    loss = loss_of(masks, classes, torch.zeros(2, STRUCTURES, 4, 4), absent, balancing=balancing, gamma=0.75)
    assert float(loss.detach()) == 0.0
    loss.backward()
    assert masks.grad is None or not masks.grad.any()


def test_an_empty_prediction_has_a_finite_loss_and_gradient() -> None:
    truth, present = halves()
    masks = torch.full((1, 2, 4, 4), -200.0, requires_grad=True)
    loss = loss_of(masks, torch.zeros(1, 2, STRUCTURES), truth, present, balancing="minibatch", gamma=1.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1.0)
    assert torch.isfinite(masks.grad).all()


def test_a_network_that_diverged_gives_a_loss_that_is_not_finite() -> None:
    """The training loop turns such a loss into TrialDiverged; an exception from the matching would be a crash instead."""
    truth, present = halves()
    masks = torch.full((1, 2, 4, 4), math.nan)
    loss = loss_of(masks, torch.zeros(1, 2, STRUCTURES), truth, present, balancing="minibatch", gamma=0.75)
    assert not math.isfinite(float(loss))
