"""What the attentive network's masks are worth: IoU, mAP, structure classes and attribute AUROC, from readings per case."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables.attentive.structure_losses import soft_iou
from trainables.counted import mean_of, numbers, ratio, sums
from trainables.data.segmented import ATTRIBUTES, NUM_GENERIC, STRUCTURES

THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
#: Scores are counted by their log-odds, in bins so narrow that ties hardly matter.
_BINS, _LARGEST_LOGIT = 512, 16.0


@dataclass(frozen=True)
class StructureReadings:
    """What was counted in each case; a split's metrics are sums over any choice of its cases.

    Args:    iou: cases × structures, of the mask that is most surely of that structure; NaN where it is absent or unknown.
             hits: cases × thresholds × (TP, FP, FN); a mask is held against the structure that it is said to be, and a
                 structure is TP when exactly one mask hits it.
             hits_once_or_more: the same, a structure being TP when a mask hits it at all.
             any_class_hits: as `hits_once_or_more`, a mask held against every structure.
             confusion: cases × structures × structures, masks by the structure they overlap most and the one they are said to be.
             pixels: cases × attributes × (absent, present) × bins, cells of the masks that overlap the attribute most.
             said_pixels: cases × (absent, present) × bins, cells of all masks, against the structure they are said to be.
             superpixels: cases × attributes × (absent, present) × bins.
    """

    iou: Float[np.ndarray, "cases structures"]
    hits: Int[np.ndarray, "cases thresholds 3"]
    hits_once_or_more: Int[np.ndarray, "cases thresholds 3"]
    any_class_hits: Int[np.ndarray, "cases thresholds 3"]
    confusion: Int[np.ndarray, "cases structures structures"]
    pixels: Float[np.ndarray, "cases attributes 2 bins"]
    said_pixels: Float[np.ndarray, "cases 2 bins"]
    superpixels: Float[np.ndarray, "cases attributes 2 bins"]


def read_structures(
    masks: Float[Tensor, "batch time height width"],
    classes: Float[Tensor, "batch time structures"],
    truth: Float[Tensor, "batch structures height width"],
    known: Bool[Tensor, " batch"],
    superpixels: Int[Tensor, "batch height width"],
) -> StructureReadings:
    """Counts a batch.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 3.2 (pairing in evaluation, with repetition) and 4.1
    Deviations: what is said of a structure is taken from the timestep that is surest of it, without a look at the truth.

    Args:    masks, classes: logits.
             truth: 0 or 1; empty where a structure is absent.
             known: whose attributes are annotated; the others' enter nothing, nor do masks that are said to show one there.
             superpixels: numbered within a case.
    """
    probabilities = masks.sigmoid()
    present = truth.flatten(2).any(-1)
    present[:, NUM_GENERIC:] &= known.unsqueeze(-1)
    overlap = soft_iou(probabilities, truth)
    hard = soft_iou((masks > 0).float(), truth)
    said = classes.argmax(-1)
    annotated = known.unsqueeze(-1) | (said < NUM_GENERIC)
    paired = overlap.masked_fill(~present.unsqueeze(-1), -1.0).argmax(1)
    judged = annotated & present.any(1, keepdim=True)
    surest = classes.softmax(-1).max(1)
    best_iou = hard.gather(2, surest.indices.unsqueeze(-1)).squeeze(-1)
    batch = torch.arange(len(masks), device=masks.device)
    attribute_scores = torch.stack(
        [
            probabilities[batch, surest.indices[:, column]] * surest.values[:, column, None, None]
            for column in range(NUM_GENERIC, len(STRUCTURES))
        ],
        1,
    )
    matches = hard.unsqueeze(1) > torch.tensor(THRESHOLDS, device=masks.device).view(1, -1, 1, 1)
    same = torch.nn.functional.one_hot(said, len(STRUCTURES)).transpose(1, 2).bool()
    matches = matches & present[:, None, :, None] & judged[:, None, None, :]
    said_matches = matches & same.unsqueeze(1)
    return StructureReadings(
        iou=best_iou.masked_fill(~present, float("nan")).double().cpu().numpy(),
        hits=_count_hits(said_matches, present, judged, exactly_once=True),
        hits_once_or_more=_count_hits(said_matches, present, judged),
        any_class_hits=_count_hits(matches, present, judged),
        confusion=_confusions(paired, said, judged),
        pixels=_pixel_counts(masks, truth, paired, known),
        said_pixels=_said_pixel_counts(masks, truth, said, annotated),
        superpixels=_superpixel_counts(attribute_scores, truth, known, superpixels),
    )


def _count_hits(
    matches: Bool[Tensor, "batch thresholds structures time"],
    present: Bool[Tensor, "batch structures"],
    judged: Bool[Tensor, "batch time"],
    *,
    exactly_once: bool = False,
) -> Int[np.ndarray, "batch thresholds 3"]:
    """TP: structures that a mask hits, or exactly one; FP: masks that hit none; FN: structures that none hits (Eq. 20)."""
    times, used = matches.sum(-1), matches.any(-2)
    hit = (times == 1 if exactly_once else times > 0).sum(-1)
    missed = present.sum(-1, keepdim=True) - (times > 0).sum(-1)
    return torch.stack([hit, (judged.unsqueeze(1) & ~used).sum(-1), missed], -1).cpu().numpy()


def _confusions(
    paired: Int[Tensor, "batch time"], said: Int[Tensor, "batch time"], judged: Bool[Tensor, "batch time"]
) -> Int[np.ndarray, "batch structures structures"]:
    size = len(STRUCTURES)
    cells = torch.nn.functional.one_hot(paired * size + said, size * size) * judged.unsqueeze(-1)
    return np.asarray(cells.sum(1).reshape(-1, size, size).cpu())


def _bins(log_odds: Tensor) -> Tensor:
    share = (log_odds.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT) + _LARGEST_LOGIT) / (2 * _LARGEST_LOGIT)
    return (share * (_BINS - 1)).round().long()


def _histograms(
    cells: Int[Tensor, "batch attributes cells"], positive: Bool[Tensor, "batch attributes cells"], counted: Tensor
) -> Float[np.ndarray, "batch attributes 2 bins"]:
    """Counts of scores by case, attribute, truth and bin."""
    batch, attributes = cells.shape[:2]
    row = torch.arange(batch * attributes, device=cells.device).view(batch, attributes, 1)
    index = (row * 2 + positive.long()) * _BINS + cells
    counts = torch.bincount(index[counted.expand_as(index)], minlength=batch * attributes * 2 * _BINS)
    return np.asarray(counts.view(batch, attributes, 2, _BINS).double().cpu())


def _pixel_counts(
    masks: Float[Tensor, "batch time height width"],
    truth: Float[Tensor, "batch structures height width"],
    paired: Int[Tensor, "batch time"],
    known: Bool[Tensor, " batch"],
) -> Float[np.ndarray, "batch attributes 2 bins"]:
    """Every cell of the masks that overlap an attribute most, against that attribute's truth."""
    total: Float[np.ndarray, "batch attributes 2 bins"] = np.zeros((len(masks), len(ATTRIBUTES), 2, _BINS))
    positive = truth[:, NUM_GENERIC:].flatten(2) > 0.5
    wanted = torch.arange(NUM_GENERIC, len(STRUCTURES), device=masks.device)
    for step in range(masks.shape[1]):
        here = (paired[:, step, None] == wanted) & known.unsqueeze(-1)
        if here.any():
            cells = _bins(masks[:, step].flatten(1)).unsqueeze(1).expand(-1, len(ATTRIBUTES), -1)
            total += _histograms(cells, positive, here.unsqueeze(-1))
    return total


def _said_pixel_counts(
    masks: Float[Tensor, "batch time height width"],
    truth: Float[Tensor, "batch structures height width"],
    said: Int[Tensor, "batch time"],
    annotated: Bool[Tensor, "batch time"],
) -> Float[np.ndarray, "batch 2 bins"]:
    """Every cell of every mask, against the truth of the structure that the mask is said to be."""
    total: Float[np.ndarray, "batch 1 2 bins"] = np.zeros((len(masks), 1, 2, _BINS))
    batch = torch.arange(len(masks), device=masks.device)
    for step in range(masks.shape[1]):
        positive = truth[batch, said[:, step]].flatten(1) > 0.5
        cells = _bins(masks[:, step].flatten(1))
        total += _histograms(cells.unsqueeze(1), positive.unsqueeze(1), annotated[:, step].view(-1, 1, 1))
    return total[:, 0]


def _superpixel_counts(
    scores: Float[Tensor, "batch attributes height width"],
    truth: Float[Tensor, "batch structures height width"],
    known: Bool[Tensor, " batch"],
    superpixels: Int[Tensor, "batch height width"],
) -> Float[np.ndarray, "batch attributes 2 bins"]:
    """Every superpixel's mean score against its annotation (the challenge's Part 2)."""
    count = int(superpixels.max()) + 1
    index = superpixels.long().flatten(1)
    index = index + torch.arange(len(index), device=index.device).unsqueeze(1) * count

    def means(values: Tensor) -> Tensor:
        # In double precision the order in which a GPU adds does not show in a bin.
        sums = torch.zeros(len(index) * count, values.shape[1], device=values.device, dtype=torch.float64)
        sums.index_add_(0, index.flatten(), values.flatten(2).transpose(1, 2).flatten(0, 1).double())
        return (sums / sizes.clamp(min=1)).view(len(index), count, -1).transpose(1, 2)

    sizes = torch.bincount(index.flatten(), minlength=len(index) * count).unsqueeze(1)
    exists = (sizes.view(len(index), 1, count) > 0) & known.view(-1, 1, 1)
    score = means(scores)
    positive = means(truth[:, NUM_GENERIC:]) >= 0.5
    return _histograms(_bins(torch.logit(score, 1e-7)), positive, exists)


def structure_metrics(
    readings: StructureReadings, counts: Int[np.ndarray, "resamples cases"]
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Every metric of a split, named without the split; NaN where one has no meaning.

    `structures/map`: mean over the IoU thresholds .5, .6, .7, .8 and cases of TP / (TP + FP + FN), each mask held against the
    structure it is said to be (Section 4.3). A structure that exactly one mask hits is TP, a mask that hits none FP, a structure
    that none hits FN; one that several hit is none of them. `structures/map_matched_once_or_more`: the same, but a structure that
    several masks hit is TP. `structures/any_class_map`: by that second rule, each mask held against all structures.

    `structures/class_accuracy`; `<structure>/iou` and `structures/iou_mean`. `structures/predicted_class_pixel_auroc` (Table 5):
    cells of all masks, each against the structure it is said to be, all cases together. `<attribute>/pixel_auroc`: cells of the
    masks that overlap the attribute most; `<attribute>/superpixel_auroc` (the challenge's); both with means over attributes.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 4.1 and 4.3, Eq. 20; its reference [42], S. Bailey's kernel of the
        2018 Data Science Bowl, for what counts as TP; the authors' code for the thresholds, of which the paper names none, and
        for the AUC
    Deviations: none; scores are counted in 512 bins of their log-odds, and masks said to be what was not annotated are left out.

    Args:    readings: of some cases.
             counts: how often each case counts.
    """
    metrics = {
        "structures/map": _precision(readings.hits, counts),
        "structures/map_matched_once_or_more": _precision(readings.hits_once_or_more, counts),
        "structures/any_class_map": _precision(readings.any_class_hits, counts),
    }
    right, judged = np.trace(readings.confusion, axis1=1, axis2=2), readings.confusion.sum((1, 2))
    metrics["structures/class_accuracy"] = ratio(*numbers(counts, np.stack([right, judged], 1)).T)
    overlaps = ratio(sums(counts, np.nan_to_num(readings.iou)), numbers(counts, np.isfinite(readings.iou))).T
    metrics |= {f"{name}/iou": overlap for name, overlap in zip(STRUCTURES, overlaps, strict=True)}
    metrics["structures/iou_mean"] = mean_of(overlaps)
    metrics["structures/predicted_class_pixel_auroc"] = auroc_of_histograms(readings.said_pixels, counts)
    for kind, histograms in (("pixel_auroc", readings.pixels), ("superpixel_auroc", readings.superpixels)):
        areas = [auroc_of_histograms(histograms[:, row], counts) for row in range(len(ATTRIBUTES))]
        metrics |= {f"{name}/{kind}": area for name, area in zip(ATTRIBUTES, areas, strict=True)}
        metrics[f"attributes/{kind}_mean"] = mean_of(np.array(areas))
    return metrics


def _precision(
    hits: Int[np.ndarray, "cases thresholds 3"], counts: Int[np.ndarray, "resamples cases"]
) -> Float[np.ndarray, " resamples"]:
    per_case = (hits[..., 0] / np.maximum(hits.sum(-1), 1)).mean(-1)
    return ratio(sums(counts, per_case[:, None])[:, 0], counts.sum(1))


def auroc_of_histograms(
    histograms: Float[np.ndarray, "cases 2 bins"], counts: Int[np.ndarray, "resamples cases"]
) -> Float[np.ndarray, " resamples"]:
    """Area under the ROC curve of binned scores of all cases together, ties counted half; NaN without both kinds.

    Args:    histograms: (absent, present) × bins, low scores first.
             counts: how often each case counts.
    """
    negative, positive = (numbers(counts, histograms[:, kind]) for kind in (0, 1))
    below = np.cumsum(negative, axis=1) - negative / 2
    return ratio(np.einsum("rb,rb->r", positive, below), positive.sum(1) * negative.sum(1))
