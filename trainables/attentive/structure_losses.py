"""The attentive network's training loss over unsorted masks (Esteve-Cogollos & Fernández-Torres 2020, Eq. 10 to 16)."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

#: b of Cui et al. 2019; they try .9, .99, .999 and .9999, and .999 suits counts of hundreds.
_EFFECTIVE_BETA = 0.999


class Pairs(NamedTuple):
    """Which timestep's mask is held against which structure's truth; three tensors of one length.

    Args:    case, structure, time: indices.
    """

    case: Tensor
    structure: Tensor
    time: Tensor


def soft_iou(
    predicted: Float[Tensor, "batch time height width"], truth: Float[Tensor, "batch structures height width"]
) -> Float[Tensor, "batch structures time"]:
    """Soft intersection over union of every truth with every prediction.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Eq. 10
    Deviations: the printed denominator adds the intersection; an IoU, and the authors' code, subtracts it. Eq. 10 as printed
        is 1 minus this.

    Args:    predicted: probabilities.
             truth: 0 or 1.
    Returns: 0 to 1; 0 where both are empty.
    """
    flat, known = predicted.flatten(2), truth.flatten(2)
    intersection = torch.einsum("bsn,btn->bst", known, flat)
    union = known.sum(-1).unsqueeze(2) + flat.sum(-1).unsqueeze(1) - intersection
    return intersection / union.clamp(min=1e-6)


def match(iou: Float[Tensor, "batch structures time"], present: Bool[Tensor, "batch structures"]) -> Pairs:
    """The assignment of present structures to timesteps that loses least, case by case.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 3.2, after Kuhn 1955; with fewer structures than timesteps the
        first that many timesteps are used (the authors' code)
    Deviations: none; a structure that is absent or unknown is not matched.

    Args:    iou: see `soft_iou`; 1 - iou is the cost. It leaves the device in one transfer.
             present: which structures a case has.
    """
    # What is not a number costs most here and makes the loss itself not a number, which ends the trial as diverged.
    costs = 1 - torch.cat([iou.detach().float(), present.unsqueeze(-1).float()], -1).cpu().numpy()
    found: list[tuple[int, int, int]] = []
    for case, cost in enumerate(costs):
        structures = np.flatnonzero(cost[:, -1] == 0)
        finite = np.nan_to_num(cost[structures, : min(len(structures), cost.shape[1] - 1)], nan=1.0)
        rows, columns = linear_sum_assignment(finite)
        found += [(case, int(structures[row]), int(column)) for row, column in zip(rows, columns, strict=True)]
    indices = torch.tensor(found, dtype=torch.long).reshape(-1, 3).to(iou.device)
    return Pairs(*indices.unbind(1))


def most_overlapped(iou: Float[Tensor, "batch structures time"], present: Bool[Tensor, "batch structures"]) -> Pairs:
    """Every mask with the present structure that it overlaps most, so that one may be taken often and another not at all.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 3.2, for evaluation
    Deviations: none; a case without a present structure gives no pair.

    Args:    iou: see `soft_iou`.
             present: which structures a case has.
    """
    structure = iou.masked_fill(~present.unsqueeze(-1), -1.0).argmax(1)
    case, time = present.any(1, keepdim=True).expand_as(structure).nonzero(as_tuple=True)
    return Pairs(case, structure[case, time], time)


def structure_weights(counts: Int[np.ndarray, " structures"], balancing: str) -> Float[Tensor, " structures"]:
    """Weights of the structures' losses.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Eq. 15 ("presence", w) and Eq. 16 ("inverse_presence", w'), Table 2; Cui et
        al. 2019, "Class-balanced loss based on effective number of samples" ("effective_number"): (1 - b) / (1 - b^P), b = .999
    Deviations: Eq. 15 is divided by S - 1, so that it sums to 1, as Table 2 is, and Cui et al.'s sum to 1, not to S; a structure
        that no training case has is left out of Eq. 16 and of Cui et al.'s, and gets 0.

    Args:    counts: training cases that have each structure, P_s.
             balancing: "presence", "inverse_presence", or another rule, whose weights are 1.
    """
    presence = counts.astype(float)
    if balancing == "presence":
        weights = (presence.sum() - presence) / presence.sum() / (len(counts) - 1)
    elif balancing == "inverse_presence":
        inverse = np.divide(1.0, presence, out=np.zeros_like(presence), where=presence > 0)
        weights = inverse / inverse.sum()
    elif balancing == "effective_number":
        effective = (1 - _EFFECTIVE_BETA**presence) / (1 - _EFFECTIVE_BETA)
        inverse = np.divide(1.0, effective, out=np.zeros_like(presence), where=presence > 0)
        weights = inverse / inverse.sum()
    else:
        weights = np.ones_like(presence)
    return torch.from_numpy(weights).float()


def balanced_mean(
    values: Float[Tensor, " pairs"], structure: Int[Tensor, " pairs"], weights: Float[Tensor, " structures"], balancing: str
) -> Float[Tensor, ""]:
    """Losses of matched pairs as one number.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 3.2, and the authors' code: per structure the mean over its
        occurrences in the batch, times its weight, summed, over the number of structures in the batch
    Deviations: none; "none" is the plain mean over all pairs.

    Args:    values: one loss for each pair.
             structure: which structure each pair is of.
             weights: see `structure_weights`.
             balancing: see there.
    Returns: 0 where there is no pair.
    """
    if balancing == "none":
        return values.sum() / max(len(values), 1)
    counts = torch.bincount(structure, minlength=len(weights))
    sums = torch.zeros_like(weights).index_add(0, structure, values)
    return (weights * sums / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)


class PairLosses(NamedTuple):
    """Losses of matched pairs; several batches' may be joined and balanced as one.

    Args:    masks: 1 - softIoU of each pair.
             named: cross-entropy of each pair's class.
             structure: which structure each pair is of.
    """

    masks: Tensor
    named: Tensor
    structure: Tensor


def pair_losses(
    pairs: Pairs, iou: Float[Tensor, "batch structures time"], classes: Float[Tensor, "batch time structures"]
) -> PairLosses:
    """Both losses of every pair.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Eq. 10 and 13
    Deviations: none.

    Args:    pairs: of `match` in training, of `most_overlapped` in evaluation.
             iou: see `soft_iou`.
             classes: logits of what each timestep's mask shows.
    """
    masks = 1 - iou.float()[pairs.case, pairs.structure, pairs.time]
    named = -classes.float().log_softmax(-1)[pairs.case, pairs.time, pairs.structure]
    return PairLosses(masks, named, pairs.structure)


def structures_loss(
    pairs: PairLosses, *, weights: Float[Tensor, " structures"], balancing: str, segmentation_share: float
) -> Float[Tensor, ""]:
    """gamma · L_seg + mu · L_class over matched pairs, mu = 1 - gamma.

    Source: Esteve-Cogollos & Fernández-Torres 2020, the bracket of Eq. 14
    Deviations: none.

    Args:    pairs: of a batch, or of a whole split.
             weights, balancing: see `balanced_mean`.
             segmentation_share: gamma, 0 to 1.
    """
    segmentation = balanced_mean(pairs.masks, pairs.structure, weights, balancing)
    classification = balanced_mean(pairs.named, pairs.structure, weights, balancing)
    return segmentation_share * segmentation + (1 - segmentation_share) * classification
