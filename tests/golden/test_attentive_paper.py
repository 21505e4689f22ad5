"""Numbers and equations of Esteve-Cogollos & Fernández-Torres 2020 that an implementation can be held to."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.attentive_network import Reading
from spaces.attentive import PRESETS, VARIANTS, AttentiveSpace
from spaces.fields import complete, fields_of
from trainables.attentive.data import AttentiveBatch
from trainables.attentive.learner import AttentiveLearner, diagnosis_loss
from trainables.attentive.structure_losses import soft_iou, structure_weights
from trainables.data.segmented import STRUCTURES

#: Table 1: training images with lesion, skin, pigment network, negative network, milia-like cysts, streaks.
PRESENCE = np.array([2000, 2000, 1131, 126, 573, 116])


def test_structures_stand_in_the_papers_order() -> None:
    assert STRUCTURES == ("lesion", "skin", "pigment_network", "negative_network", "milia_like_cyst", "streaks")


@pytest.mark.parametrize(
    ("balancing", "expected"),
    [
        # Cui et al. 2019 with b = .999: effective numbers 864.8, 864.8, 677.5, 118.4, 436.3, 109.6; their inverses sum to .02365.
        ("effective_number", [0.049, 0.049, 0.062, 0.357, 0.097, 0.386]),
        ("presence", [0.133, 0.133, 0.162, 0.196, 0.181, 0.196]),
        # The paper prints .394 for the fourth; its counts give .3932.
        ("inverse_presence", [0.025, 0.025, 0.044, 0.393, 0.086, 0.427]),
        ("minibatch", [1.0] * 6),
        ("none", [1.0] * 6),
    ],
)
def test_table_2(balancing: str, expected: list[float]) -> None:
    weights = structure_weights(PRESENCE, balancing)
    assert [round(float(weight), 3) for weight in weights] == expected
    if balancing in ("presence", "inverse_presence", "effective_number"):
        assert float(weights.sum()) == pytest.approx(1.0, abs=1e-6)


def test_a_structure_without_training_cases_has_no_inverse() -> None:
    assert structure_weights(np.array([1, 3, 0]), "inverse_presence").tolist() == pytest.approx([0.75, 0.25, 0.0])
    # One case counts as one, three as 1 + .999 + .998001 = 2.997001.
    effective = np.array([1, 1 / 2.997001, 0]) / (1 + 1 / 2.997001)
    assert structure_weights(np.array([1, 3, 0]), "effective_number").tolist() == pytest.approx(effective.tolist(), abs=1e-6)
    assert structure_weights(np.array([1, 3, 0]), "presence").tolist() == pytest.approx([3 / 8, 1 / 8, 4 / 8])


def test_equation_10_is_iou_on_binary_masks() -> None:
    predicted = torch.zeros(1, 2, 2, 4)
    predicted[0, 0, :, :2] = 1  # 4 cells
    truth = torch.zeros(1, 3, 2, 4)
    truth[0, 0, :, 1:] = 1  # 6 cells, 2 shared: 2 of 8
    truth[0, 1, :, :2] = 1  # the same
    assert soft_iou(predicted, truth)[0].tolist() == [[0.25, 0.0], [1.0, 0.0], [0.0, 0.0]]


def test_equation_10_of_soft_masks_by_hand() -> None:
    """⟨M̂, M⟩ = 1.25, ‖M̂‖ = 1.5, ‖M‖ = 2: 1.25 / 2.25."""
    predicted = torch.tensor([0.75, 0.5, 0.25, 0.0]).view(1, 1, 2, 2)
    truth = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    assert float(soft_iou(predicted, truth)) == pytest.approx(1.25 / 2.25)


def test_equation_11_is_theta_0() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(50, 2, generator=generator)
    melanoma = torch.randint(0, 2, (50,), generator=generator)
    probability = logits.softmax(-1)[:, 1]
    expected = F.binary_cross_entropy(probability, melanoma.float())
    assert float(diagnosis_loss(logits, melanoma, 0.0)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("theta", "melanoma", "expected"),
    [
        (2.0, 1, 0.2**2 * -math.log(0.8)),  # .0089
        (2.0, 0, 0.8**2 * -math.log(0.2)),  # 1.0300
        (0.0, 1, -math.log(0.8)),
        (0.5, 0, 0.8**0.5 * -math.log(0.2)),
    ],
)
def test_equation_12_by_hand(theta: float, melanoma: int, expected: float) -> None:
    """ŷ = .8 is a logit of log 4."""
    logits = torch.tensor([[0.0, math.log(4)]])
    assert float(diagnosis_loss(logits, torch.tensor([melanoma]), theta)) == pytest.approx(expected, rel=1e-5)


def test_equation_12_is_a_mean_over_cases() -> None:
    logits = torch.tensor([[0.0, math.log(4)]] * 2)
    expected = (0.04 * -math.log(0.8) + 0.64 * -math.log(0.2)) / 2
    assert float(diagnosis_loss(logits, torch.tensor([1, 0]), 2.0)) == pytest.approx(expected, rel=1e-5)


def learner(**settings: object) -> AttentiveLearner:
    """What the loss needs of a learner, without data."""
    made = AttentiveLearner.__new__(AttentiveLearner)
    made._config = complete(AttentiveSpace, settings)
    made._balancing = str(made._config["balancing"])
    made._structure_weights = structure_weights(PRESENCE, made._balancing)
    return made


def loss_of(
    made: AttentiveLearner, reading: Reading, batch: AttentiveBatch, *, structures_only: bool, generic_only: bool
) -> torch.Tensor:
    diagnosis, pairs = made._losses(reading, batch, generic_only=generic_only)
    return made._combined(diagnosis, pairs, structures_only=structures_only)


def one_case() -> tuple[Reading, AttentiveBatch]:
    """Lesion above skin; the first mask is half of the lesion, the second all the skin; ŷ = .8; no idea of the classes."""
    truth = torch.zeros(1, 6, 4, 4)
    truth[0, 0, :2], truth[0, 1, 2:] = 1, 1
    masks = torch.full((1, 2, 4, 4), -100.0)
    masks[0, 0, :1], masks[0, 1, 2:] = 100, 100
    reading = Reading(torch.tensor([[0.0, math.log(4)]]), masks, torch.zeros(1, 2, 6), None)
    return reading, AttentiveBatch(torch.zeros(1, 3, 4, 4), truth, truth[:, 0], torch.tensor([1]), torch.tensor([True]))


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 0.75), (0.5, 0.1), (0.9, 0.9)])
def test_equation_14(alpha: float, gamma: float) -> None:
    diagnosis, segmentation, classes = 0.04 * -math.log(0.8), (0.5 + 0.0) / 2, math.log(6)
    expected = alpha * diagnosis + (1 - alpha) * (gamma * segmentation + (1 - gamma) * classes)
    found = loss_of(
        learner(diagnosis_weight=alpha, segmentation_share=gamma), *one_case(), structures_only=False, generic_only=False
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_equation_14_with_structures_only_and_with_w() -> None:
    structures = 0.75 * 0.25 + 0.25 * math.log(6)
    found = loss_of(learner(), *one_case(), structures_only=True, generic_only=False)
    assert float(found) == pytest.approx(structures, rel=1e-5)
    # w of lesion and skin is (5946 - 2000) / 5946 / 5 each.
    weight = 3946 / 5946 / 5
    weighted = loss_of(learner(balancing="presence"), *one_case(), structures_only=True, generic_only=False)
    assert float(weighted) == pytest.approx(structures * weight, rel=1e-5)


def test_equation_14_without_a_decoder_is_the_diagnosis() -> None:
    reading, batch = one_case()
    bare = Reading(reading.diagnosis, None, None, None)
    found = loss_of(learner(decoder=False), bare, batch, structures_only=False, generic_only=False)
    assert float(found) == pytest.approx(0.04 * -math.log(0.8), rel=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_generic_first_and_unknown_attributes_leave_the_attributes_out(known: bool) -> None:
    reading, batch = one_case()
    masks = batch.masks.clone()
    masks[0, 4] = 1
    with_attribute = replace(batch, masks=masks, known=torch.tensor([known]))
    found = loss_of(learner(), reading, with_attribute, structures_only=True, generic_only=known)
    assert float(found) == pytest.approx(0.75 * 0.25 + 0.25 * math.log(6), rel=1e-5)


def test_generic_first_leaves_the_batchs_masks_as_they_were() -> None:
    reading, batch = one_case()
    masks = batch.masks.clone()
    masks[0, 4] = 1
    given = replace(batch, masks=masks)
    loss_of(learner(), reading, given, structures_only=False, generic_only=True)
    assert bool(given.masks[0, 4].all())
    assert given.known.tolist() == [True]


def test_a_lesion_that_attributes_cover_whole_is_a_lesion_while_only_generic_structures_are_learnt() -> None:
    """The pigment network is all of the lesion, so Eq. 17 leaves none; the first mask is half of it, the second all the skin."""
    reading, batch = one_case()
    masks = batch.masks.clone()
    masks[0, 2], masks[0, 0] = masks[0, 0], 0
    covered = replace(batch, masks=masks)
    assert torch.equal(covered.lesion, batch.masks[:, 0])
    generic = loss_of(learner(), reading, covered, structures_only=True, generic_only=True)
    assert float(generic) == pytest.approx(0.75 * 0.25 + 0.25 * math.log(6), rel=1e-5)
    _, pairs = learner()._losses(reading, covered, generic_only=True)
    assert sorted(pairs.structure.tolist()) == [0, 1]
    _, pairs = learner()._losses(reading, covered)
    assert sorted(pairs.structure.tolist()) == [1, 2], "later the lesion is less its attributes, and there is none"
    assert not covered.masks[0, 0].any(), "the batch's masks are as they were"


def test_melanoma_weight_counts_melanomas_so_often() -> None:
    logits = torch.tensor([[0.0, math.log(4)]] * 2)
    melanoma, benign = 0.04 * -math.log(0.8), 0.64 * -math.log(0.2)
    found = diagnosis_loss(logits, torch.tensor([1, 0]), 2.0, 3.0)
    assert float(found) == pytest.approx((3 * melanoma + benign) / 2, rel=1e-5)


def test_defaults_are_the_papers() -> None:
    space = AttentiveSpace()
    expected = {
        "timesteps": 5,
        "attention_scale": "sum",
        "diagnosis_weight": 0.25,
        "segmentation_share": 0.75,
        "focal_theta": 2.0,
        "encoder": "frozen",
        "encoder_weights": "imagenet",
        "attention_learning_rate": 1e-2,
        "branch_learning_rate": 1e-4,
        "weight_decay": 1e-6,
        "adam_beta1": 0.92,
        "adam_beta2": 0.96,
        "batch_size": 8,
        "crop_from_px": 256,
        "size_px": 224,
        "width": 1.0,
        "augmentation": "rotations",
        "input_normalisation": "training_set",
        "structure_pooling": "average",
        "decoder_first_epochs": 0,
        "generic_first_epochs": 0,
        "pooled_width": 0,
        "batch_norm": "frozen",
        "melanoma_repeats": 1,
        "melanoma_weight": 1.0,
        "structure_sampling": "uniform",
        "crop": "centre",
        "resize": "stretch",
    }
    assert {name: getattr(space, name) for name in expected} == expected
    assert PRESETS["paper"].max_epochs == 20
    assert PRESETS["paper"].fixed == {}


def test_defaults_are_those_of_the_third_variant() -> None:
    space = AttentiveSpace()
    third = VARIANTS["VGG_AttentiveConvLSTM_Deco_GAP_3"]
    assert {name: getattr(space, name) for name in third} == third
    assert (space.attention, space.decoder, space.head, space.diagnosis_input) == (True, True, "gap", "attended")


def test_every_variant_is_a_configuration() -> None:
    for name, given in VARIANTS.items():
        config = complete(AttentiveSpace, given)
        assert set(config) == set(fields_of(AttentiveSpace)), name
    fifth, last = (VARIANTS[f"VGG_AttentiveConvLSTM_Deco_GAP_{number}"] for number in (5, 17))
    # Method 2 is w' and method 1 is w (Section 4.2).
    assert fifth == {"skips": False, "batch_norm": "trained", "balancing": "inverse_presence"}
    assert (last["balancing"], last["diagnosis_input"], last["skips"], last["batch_norm"]) == (
        "presence",
        "features",
        False,
        "trained",
    )
