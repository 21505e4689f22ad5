"""Structure metrics by hand on tiny masks, and areas under curves against scikit-learn."""

import math
from collections.abc import Sequence
from dataclasses import fields
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from trainables.attentive.structure_metrics import StructureReadings, auroc_of_histograms, read_structures, structure_metrics
from trainables.case_readings import concatenated
from trainables.counted import of_all
from trainables.data.segmented import ATTRIBUTES, STRUCTURES

LESION, SKIN, PIGMENT, NEGATIVE = 0, 1, 2, 3


def mask(*rows: str) -> Tensor:
    """Logits ±10 from a drawing."""
    return torch.tensor([[10.0 if cell == "#" else -10.0 for cell in row] for row in rows])


LEFT = mask("##..", "##..", "##..", "##..")
RIGHT = mask("..##", "..##", "..##", "..##")
NOTHING = mask("....", "....", "....", "....")
EVERYTHING = mask("####", "####", "####", "####")
#: 5 of the right half's 8 cells: IoU .625.
MOST_OF_RIGHT = mask("..##", "..##", "...#", "....")


def said(structures: Sequence[int], sureness: float = 5.0) -> Tensor:
    logits = torch.zeros(1, len(structures), len(STRUCTURES))
    for time, structure in enumerate(structures):
        logits[0, time, structure] = sureness
    return logits


def truth_of(**drawn: Tensor) -> Tensor:
    found = torch.zeros(1, len(STRUCTURES), 4, 4)
    for name, drawing in drawn.items():
        found[0, STRUCTURES.index(name)] = (drawing > 0).float()
    return found


HALVES = truth_of(lesion=LEFT, skin=RIGHT)


def read(masks: Sequence[Tensor], classes: Tensor, truth: Tensor, *, known: bool = True) -> StructureReadings:
    superpixels = torch.arange(16).view(1, 4, 4)
    return read_structures(torch.stack(list(masks)).unsqueeze(0), classes, truth, torch.tensor([known]), superpixels)


def measured(readings: StructureReadings) -> dict[str, float]:
    return of_all(partial(structure_metrics, readings), len(readings.iou))


def metrics_of(masks: Sequence[Tensor], classes: Tensor, truth: Tensor, *, known: bool = True) -> dict[str, float]:
    return measured(read(masks, classes, truth, known=known))


def test_perfect_masks() -> None:
    found = metrics_of([LEFT, RIGHT], said([LESION, SKIN]), HALVES)
    names = ("structures/map", "structures/any_class_map", "structures/class_accuracy", "structures/iou_mean")
    assert [found[name] for name in names] == [1.0, 1.0, 1.0, 1.0]
    assert found["lesion/iou"] == found["skin/iou"] == 1.0
    assert "pigment_network/iou" not in found
    areas = {name: value for name, value in found.items() if "auroc" in name}
    assert areas == {"structures/predicted_class_pixel_auroc": 1.0}, "no attribute: no area of one"


def test_map_by_hand() -> None:
    """Lesion hit; skin hit by .625 at .5 and .6 only; an exact skin mask said to be a pigment network hits nothing."""
    masks, classes = [LEFT, MOST_OF_RIGHT, RIGHT], said([LESION, SKIN, PIGMENT])
    readings = read(masks, classes, HALVES)
    assert readings.hits.tolist() == [[[2, 1, 0], [2, 1, 0], [1, 2, 1], [1, 2, 1]]]
    assert readings.hits_once_or_more.tolist() == readings.hits.tolist(), "no structure is hit twice"
    assert readings.any_class_hits.tolist() == [[[2, 0, 0], [2, 0, 0], [2, 1, 0], [2, 1, 0]]]
    found = measured(readings)
    assert found["structures/map"] == pytest.approx((2 / 3 + 2 / 3 + 1 / 4 + 1 / 4) / 4)
    assert found["structures/any_class_map"] == pytest.approx((1 + 1 + 2 / 3 + 2 / 3) / 4)


def test_right_masks_with_wrong_names_count_only_for_any_class() -> None:
    readings = read([LEFT, RIGHT], said([SKIN, LESION]), HALVES)
    assert readings.hits.tolist() == [[[0, 2, 2]] * 4]
    assert readings.any_class_hits.tolist() == [[[2, 0, 0]] * 4]
    found = measured(readings)
    assert (found["structures/map"], found["structures/any_class_map"]) == (0.0, 1.0)
    assert found["structures/class_accuracy"] == 0.0


def test_duplicates_and_a_missed_structure() -> None:
    """Both lesion masks hit the same structure: no TP, no FP, no FN, or once a TP; skin is missed by an empty mask."""
    readings = read([LEFT, LEFT, NOTHING], said([LESION, LESION, SKIN]), HALVES)
    assert readings.hits.tolist() == [[[0, 1, 1]] * 4]
    assert readings.hits_once_or_more.tolist() == [[[1, 1, 1]] * 4]
    found = measured(readings)
    assert found["structures/map"] == 0.0
    assert found["structures/map_matched_once_or_more"] == pytest.approx(1 / 3)


def test_a_structure_that_is_hit_twice_at_one_threshold_counts_at_the_next() -> None:
    """Both hit skin at .5 and .6, the exact one alone at .7 and .8."""
    readings = read([RIGHT, MOST_OF_RIGHT], said([SKIN, SKIN]), truth_of(skin=RIGHT))
    assert readings.hits.tolist() == [[[0, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 0]]]
    found = measured(readings)
    assert found["structures/map"] == pytest.approx((0 + 0 + 1 / 2 + 1 / 2) / 4)
    assert found["structures/map_matched_once_or_more"] == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)


def test_a_mask_may_hit_two_structures() -> None:
    """Lesion and pigment network are the same cells here; one mask hits both when names do not matter."""
    readings = read([LEFT], said([LESION]), truth_of(lesion=LEFT, skin=RIGHT, pigment_network=LEFT))
    assert readings.hits[0, 0].tolist() == [1, 0, 2]
    assert readings.any_class_hits[0, 0].tolist() == [2, 0, 1]


def test_map_is_a_mean_over_cases() -> None:
    both = concatenated(
        [read([LEFT, RIGHT], said([LESION, SKIN]), HALVES), read([NOTHING, NOTHING], said([LESION, SKIN]), HALVES)]
    )
    assert measured(both)["structures/map"] == pytest.approx(0.5)


def test_a_mask_is_cut_at_one_half() -> None:
    faint = 0.01 * LEFT / 10
    readings = read([faint, RIGHT], said([LESION, SKIN]), HALVES)
    assert readings.hits[0, 0].tolist() == [2, 0, 0]


def test_confusion_by_hand() -> None:
    """Rows: the structure a mask overlaps most, with repetition. EVERYTHING overlaps both halves alike: the first."""
    masks = [LEFT, MOST_OF_RIGHT, RIGHT, EVERYTHING]
    readings = read(masks, said([LESION, LESION, SKIN, NEGATIVE]), HALVES)
    expected = np.zeros((6, 6), dtype=int)
    expected[LESION, LESION] = expected[SKIN, LESION] = expected[SKIN, SKIN] = expected[LESION, NEGATIVE] = 1
    assert readings.confusion[0].tolist() == expected.tolist()
    assert measured(readings)["structures/class_accuracy"] == pytest.approx(2 / 4)


def test_confusion_never_pairs_with_an_absent_structure() -> None:
    readings = read([NOTHING], said([PIGMENT]), truth_of(skin=RIGHT))
    assert readings.confusion[0].sum(1).tolist() == [0, 1, 0, 0, 0, 0]


def test_iou_is_of_the_surest_timestep() -> None:
    """The second mask is surer to be the lesion, and half as good; no mask says skin, the third is surest of it."""
    masks = [LEFT, mask("##..", "##..", "....", "...."), MOST_OF_RIGHT]
    classes = torch.tensor([[[2.0, 0, 0, 0, 0, 0], [3.0, 0, 0, 0, 0, 0], [1.9, 1.5, 1.9, 0, 0, 0]]])
    readings = read(masks, classes, HALVES)
    assert readings.iou[0, :2].tolist() == pytest.approx([0.5, 0.625])
    assert np.isnan(readings.iou[0, 2:]).all()
    found = measured(readings)
    assert found["structures/iou_mean"] == pytest.approx((0.5 + 0.625) / 2)


def test_iou_mean_is_over_structures_not_cases() -> None:
    first = read([LEFT, RIGHT], said([LESION, SKIN]), HALVES)
    second = read([NOTHING, RIGHT], said([LESION, SKIN]), truth_of(lesion=LEFT))
    found = measured(concatenated([first, second]))
    assert found["lesion/iou"] == pytest.approx(0.5)
    assert found["skin/iou"] == pytest.approx(1.0)
    assert found["structures/iou_mean"] == pytest.approx(0.75)


def test_unknown_attributes_enter_nothing() -> None:
    """Neither the truth of an attribute that was not annotated, nor a mask that is said to show one."""
    masks, classes = [LEFT, MOST_OF_RIGHT, RIGHT], said([LESION, SKIN, PIGMENT])
    truth = truth_of(lesion=LEFT, skin=RIGHT, pigment_network=RIGHT)
    readings = read(masks, classes, truth, known=False)
    assert readings.hits.tolist() == [[[2, 0, 0], [2, 0, 0], [1, 1, 1], [1, 1, 1]]]
    assert readings.any_class_hits.tolist() == [[[2, 0, 0], [2, 0, 0], [1, 1, 1], [1, 1, 1]]]
    assert readings.said_pixels.sum() == 2 * 16
    assert readings.confusion.sum() == 2
    assert readings.confusion[0, :, PIGMENT].sum() == 0
    assert readings.confusion[0, PIGMENT].sum() == 0
    assert np.isnan(readings.iou[0, 2:]).all()
    assert readings.pixels.sum() == 0
    assert readings.superpixels.sum() == 0
    assert not [name for name in measured(readings) if name.startswith(ATTRIBUTES) or "attributes" in name]


def test_the_arguments_are_left_as_they_were() -> None:
    truth = truth_of(lesion=LEFT, pigment_network=RIGHT)
    before = truth.clone()
    read([LEFT], said([LESION]), truth, known=False)
    assert torch.equal(truth, before)


def test_a_case_reads_the_same_alone_and_in_a_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    masks, classes = torch.randn(3, 4, 6, 6, generator=generator), torch.randn(3, 4, 6, generator=generator)
    truth = (torch.rand(3, 6, 6, 6, generator=generator) < 0.4).float()
    known = torch.tensor([True, False, True])
    superpixels = torch.stack([torch.arange(36).view(6, 6) // size for size in (4, 9, 2)])
    whole = read_structures(masks, classes, truth, known, superpixels)
    parts = [
        read_structures(masks[i : i + 1], classes[i : i + 1], truth[i : i + 1], known[i : i + 1], superpixels[i : i + 1])
        for i in range(3)
    ]
    joined = concatenated(parts)
    for name in (field.name for field in fields(StructureReadings)):
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), rtol=1e-5, err_msg=name)


def test_weights_count_cases_with_repetition_and_joined_puts_parts_together() -> None:
    first = read([LEFT, RIGHT], said([LESION, SKIN]), HALVES)
    second = read([NOTHING, NOTHING], said([LESION, SKIN]), HALVES)
    both = concatenated([first, second])
    assert both.iou.shape == (2, 6)
    assert both.hits[:, 0, 0].tolist() == [2, 0]
    found = structure_metrics(both, np.array([[1, 2], [3, 0], [0, 0]]))
    assert found["structures/map"][:2] == pytest.approx([1 / 3, 1])
    assert found["lesion/iou"][:2] == pytest.approx([1 / 3, 1])
    assert {name: values[1] for name, values in found.items() if not np.isnan(values[1])} == measured(first)
    assert all(np.isnan(values[2]) for values in found.values()), "of no case nothing is known"


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def soft_overlap(logits: Tensor, truth: Tensor) -> float:
    probability = logits.double().sigmoid()
    both = float((probability * truth).sum())
    return both / (float(probability.sum()) + float(truth.sum()) - both)


def readings_of_many(seed: int, cases: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, StructureReadings]:
    """Masks that follow some truth, in steps of 1/4 so that no two scores fall into one bin unless they are equal."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.arange(12) // 2
    superpixels = (blocks.view(12, 1) * 6 + blocks).expand(cases, 12, 12).contiguous()
    annotation = torch.rand(cases, 6, 36, generator=generator) < 0.4
    annotation[:, 2:, 35], annotation[:, 2:, 34] = True, False
    truth = torch.stack([annotation[case][:, superpixels[case]] for case in range(cases)]).float()
    follow = 4 * truth[:, [2, 3, 4, 5, 0]] - 2 + 6 * torch.rand(cases, 5, 36, generator=generator)[:, :, superpixels[0]] - 3
    masks = ((follow + torch.randn(cases, 5, 12, 12, generator=generator)) * 4).round() / 4
    classes = torch.randn(cases, 5, 6, generator=generator)
    known = torch.tensor([case != 2 for case in range(cases)])
    return masks, classes, truth, known, superpixels, read_structures(masks, classes, truth, known, superpixels)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pixel_auroc_is_scikit_learns_over_the_masks_that_overlap_an_attribute_most(seed: int) -> None:
    masks, _, truth, known, _, readings = readings_of_many(seed)
    scores: dict[int, list[float]] = {s: [] for s in range(2, 6)}
    labels: dict[int, list[float]] = {s: [] for s in range(2, 6)}
    for case in range(len(masks)):
        for time in range(masks.shape[1]):
            overlaps = [soft_overlap(masks[case, time], truth[case, s]) for s in range(6)]
            structure = int(np.argmax(overlaps))
            if known[case] and structure >= 2:
                scores[structure] += masks[case, time].flatten().tolist()
                labels[structure] += truth[case, structure].flatten().tolist()
    found = measured(readings)
    areas = []
    for structure in range(2, 6):
        name = f"{STRUCTURES[structure]}/pixel_auroc"
        if scores[structure]:
            areas.append(roc_auc_score(labels[structure], scores[structure]))
            assert found[name] == pytest.approx(areas[-1], abs=1e-9)
            assert areas[-1] != pytest.approx(0.5, abs=0.02)
        else:
            assert name not in found
    assert len(areas) >= 2
    assert found["attributes/pixel_auroc_mean"] == pytest.approx(np.mean(areas))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_predicted_class_pixel_auroc_is_scikit_learns_over_all_masks(seed: int) -> None:
    masks, classes, truth, known, _, readings = readings_of_many(seed)
    said_there = classes.argmax(-1)
    scores, labels, left_out = [], [], 0
    for case in range(len(masks)):
        for time in range(masks.shape[1]):
            structure = int(said_there[case, time])
            if known[case] or structure < 2:
                scores += masks[case, time].flatten().tolist()
                labels += truth[case, structure].flatten().tolist()
            else:
                left_out += 1
    assert left_out, "nothing is said to be what was not annotated"
    expected = roc_auc_score(labels, scores)
    assert measured(readings)["structures/predicted_class_pixel_auroc"] == pytest.approx(expected, abs=1e-9)
    assert expected != pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_superpixel_auroc_is_scikit_learns_on_the_means(seed: int) -> None:
    masks, classes, truth, known, superpixels, readings = readings_of_many(seed)
    found = measured(readings)
    areas = []
    for structure in range(2, 6):
        scores, labels = [], []
        for case in range(len(masks)):
            if not known[case]:
                continue
            named = classes[case].double().softmax(-1)[:, structure]
            time = int(named.argmax())
            for number in range(36):
                cells = [(y, x) for y in range(12) for x in range(12) if int(superpixels[case, y, x]) == number]
                values = [sigmoid(float(masks[case, time, y, x])) * float(named[time]) for y, x in cells]
                scores.append(sum(values) / len(values))
                labels.append(float(truth[case, structure, cells[0][0], cells[0][1]]))
        areas.append(roc_auc_score(labels, scores))
        assert found[f"{STRUCTURES[structure]}/superpixel_auroc"] == pytest.approx(areas[-1], abs=5e-3)
    assert found["attributes/superpixel_auroc_mean"] == pytest.approx(np.mean(areas), abs=5e-3)


def test_every_superpixel_counts_once_and_missing_numbers_count_nowhere() -> None:
    masks, classes = LEFT.view(1, 1, 4, 4), said([PIGMENT])
    superpixels = torch.tensor([[0, 0, 0, 7]] * 4).view(1, 4, 4)
    truth = truth_of(pigment_network=mask("###.", "###.", "###.", "###."))
    readings = read_structures(masks, classes, truth, torch.tensor([True]), superpixels)
    assert readings.superpixels.sum(-1)[0].tolist() == [[1, 1], [2, 0], [2, 0], [2, 0]]
    assert measured(readings)["pigment_network/superpixel_auroc"] == 1.0


def auroc_of(counts: np.ndarray) -> float | None:
    """Of one case that counts three times, beside another that does not."""
    both = np.stack([counts, np.ones_like(counts)]).astype(float)
    found = auroc_of_histograms(both, np.array([[3, 0], [1, 1], [0, 3]]))
    assert found[2] == 0.5
    return None if np.isnan(found[0]) else found[0]


def test_auroc_of_histograms_is_scikit_learns_with_ties() -> None:
    generator = np.random.default_rng(0)
    for bins in (2, 5, 50):
        counts = generator.integers(0, 6, (2, bins))
        scores = [bin_ for row in counts for bin_, count in enumerate(row) for _ in range(count)]
        labels = [label for label, row in enumerate(counts) for _ in range(row.sum())]
        assert auroc_of(counts) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_auroc_of_histograms_by_hand() -> None:
    # Positive in bin 1 beats two of three negatives and ties with one: 2.5 / 3; the one in bin 0 ties with two: 1 / 3.
    assert auroc_of(np.array([[2.0, 1, 0], [1, 1, 0]])) == pytest.approx((2.5 + 1) / 6)
    assert auroc_of(np.array([[3.0, 0], [0, 2]])) == 1.0
    assert auroc_of(np.array([[0.0, 2], [3, 0]])) == 0.0


@pytest.mark.parametrize("counts", [[[0, 0], [1, 2]], [[3, 1], [0, 0]], [[0, 0], [0, 0]]])
def test_auroc_needs_both_kinds(counts: list[list[int]]) -> None:
    assert auroc_of(np.array(counts)) is None


def test_extreme_scores_are_counted() -> None:
    readings = read([1e4 * LEFT], said([PIGMENT], 200.0), truth_of(lesion=RIGHT, pigment_network=LEFT))
    found = measured(readings)
    assert found["pigment_network/pixel_auroc"] == 1.0
    assert found["pigment_network/superpixel_auroc"] == 1.0
    assert int(readings.superpixels.sum()) == 4 * 16


@pytest.mark.parametrize("shift", [-40.0, 40.0])
def test_areas_of_a_saturated_mask_are_still_areas(shift: float) -> None:
    """All scores in the last bin: nothing is ranked, .5."""
    found = metrics_of([shift + LEFT / 10], said([PIGMENT]), truth_of(pigment_network=LEFT))
    assert found["pigment_network/pixel_auroc"] == 0.5
