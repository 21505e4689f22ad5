"""What the paper's numbers of masks mean: reference [42]'s precision, the authors' area under the curve, the validation loss."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from models.attentive_network import Reading
from spaces.attentive import AttentiveSpace
from spaces.fields import complete
from trainables.attentive.data import AttentiveBatch
from trainables.attentive.learner import AttentiveLearner
from trainables.attentive.structure_losses import structure_weights
from trainables.attentive.structure_metrics import THRESHOLDS, read_structures, structure_metrics
from trainables.counted import of_all
from trainables.data.segmented import STRUCTURES

SKIN = STRUCTURES.index("skin")
NAMES = ("structures/map", "structures/map_matched_once_or_more", "structures/class_accuracy")


def metrics_of(truth: Tensor, drawn: list[int], said: list[int]) -> dict[str, float]:
    """Of one case whose masks are those structures' truths, said to be others perhaps."""
    masks = 20.0 * truth[drawn] - 10.0
    classes = 5.0 * torch.eye(len(STRUCTURES))[said]
    superpixels = torch.arange(truth[0].numel()).view(1, *truth.shape[1:])
    readings = read_structures(masks[None], classes[None], truth[None], torch.tensor([True]), superpixels)
    return of_all(partial(structure_metrics, readings), 1)


def halves() -> Tensor:
    """Lesion on the left, skin on the right."""
    truth = torch.zeros(len(STRUCTURES), 4, 4)
    truth[0, :, :2], truth[1, :, 2:] = 1, 1
    return truth


def test_the_authors_thresholds_are_four() -> None:
    """Their `np.arange(0.5, 0.8, 0.1)` has a fourth member by rounding."""
    assert pytest.approx(np.arange(0.5, 0.8, 0.1)) == THRESHOLDS


def test_an_iou_above_seven_tenths_and_below_eight_counts_at_three_of_four() -> None:
    truth = torch.zeros(len(STRUCTURES), 1, 20)
    truth[1] = 1
    masks = torch.full((1, 1, 1, 20), 10.0)
    masks[..., 15:] = -10  # IoU .75
    readings = read_structures(
        masks, 5.0 * torch.eye(6)[[SKIN]][None], truth[None], torch.tensor([True]), torch.zeros(1, 1, 20, dtype=torch.long)
    )
    assert of_all(partial(structure_metrics, readings), 1)["structures/map"] == pytest.approx(3 / 4)


def test_five_identical_masks_that_are_right_count_for_nothing_by_reference_42() -> None:
    """Skin is hit five times, so it is no TP; lesion is missed. A structure hit once or more would be 1 TP and 1 FN."""
    found = metrics_of(halves(), [SKIN] * 5, [SKIN] * 5)
    assert [found[name] for name in NAMES] == [0.0, 0.5, 1.0]


def test_reference_42s_precision_by_its_own_lines() -> None:
    """`np.sum(matches, 1) == 1`, `np.sum(matches, 0) == 0` and `np.sum(matches, 1) == 0` of its kernel, at every threshold."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        truth = (torch.rand(6, 5, 5, generator=generator) < 0.5).float()
        said = torch.randint(0, 6, (5,), generator=generator)
        masks = torch.where(torch.rand(5, 5, 5, generator=generator) < 0.85, truth[said], 1 - truth[said]) * 20 - 10
        both = torch.einsum("shw,thw->st", truth, (masks > 0).float())
        union = truth.sum((1, 2)).unsqueeze(1) + (masks > 0).sum((1, 2)) - both
        iou = torch.where(said == torch.arange(6).unsqueeze(1), both / union, 0.0).numpy()
        expected = []
        for threshold in THRESHOLDS:
            matches = iou > threshold
            positives = np.sum(np.sum(matches, axis=1) == 1)
            wrong = np.sum(np.sum(matches, axis=0) == 0) + np.sum(np.sum(matches, axis=1) == 0)
            expected.append(positives / max(positives + wrong, 1))
        classes, superpixels = 5.0 * torch.eye(6)[said], torch.zeros(1, 5, 5, dtype=torch.long)
        readings = read_structures(masks[None], classes[None], truth[None], torch.tensor([True]), superpixels)
        assert of_all(partial(structure_metrics, readings), 1)["structures/map"] == pytest.approx(np.mean(expected))


def test_perfect_masks_that_are_all_called_skin_have_an_area_of_56() -> None:
    """Skin beside 64 other cells, of which the attributes' masks cover 25: TPR 1/5, FPR 25 / (5 · 64)."""
    truth = torch.zeros(len(STRUCTURES), 10, 10)
    cells = truth.view(len(STRUCTURES), 100)
    cells[1, 64:] = 1
    for structure, (start, end) in zip(range(2, 6), ((0, 10), (10, 18), (18, 23), (23, 25)), strict=True):
        cells[structure, start:end] = 1
    cells[0, 25:64] = 1
    drawn = [1, 2, 3, 4, 5]
    found = metrics_of(truth, drawn, [SKIN] * 5)["structures/predicted_class_pixel_auroc"]
    assert found == pytest.approx(0.5609375, abs=1e-9)
    expected = roc_auc_score(np.tile(cells[1].numpy(), 5), cells[drawn].flatten().numpy())
    assert found == pytest.approx(expected, abs=1e-9)
    assert metrics_of(truth, drawn, drawn)["structures/predicted_class_pixel_auroc"] == 1.0


@pytest.mark.parametrize(("evaluating", "segmentation"), [(False, (0.5 + 1.0) / 2), (True, (0.5 + 0.5) / 2)])
def test_training_shares_structures_out_and_validation_pairs_with_repetition(evaluating: bool, segmentation: float) -> None:
    """Two masks of half the lesion each: in training one must stand for skin, which it misses; in validation both are lesion."""
    truth = torch.zeros(1, 6, 4, 4)
    truth[0, 0, :2], truth[0, 1, 2:] = 1, 1
    masks = torch.full((1, 2, 4, 4), -100.0)
    masks[0, 0, 0], masks[0, 1, 1] = 100, 100
    batch = AttentiveBatch(torch.zeros(1, 3, 4, 4), truth, truth[:, 0], torch.tensor([1]), torch.tensor([True]))
    reading = Reading(torch.tensor([[0.0, math.log(4)]]), masks, torch.zeros(1, 2, 6), None)
    learner = AttentiveLearner.__new__(AttentiveLearner)
    learner._config, learner._balancing = complete(AttentiveSpace, {}), "minibatch"
    learner._structure_weights = structure_weights(np.ones(6, dtype=int), "minibatch")
    diagnosis, pairs = learner._losses(reading, batch, evaluating=evaluating)
    found = learner._combined(diagnosis, pairs)
    expected = 0.25 * 0.04 * -math.log(0.8) + 0.75 * (0.75 * segmentation + 0.25 * math.log(6))
    assert float(found) == pytest.approx(expected, rel=1e-5)
