"""What the sequence of gazes is worth as an explanation: does it point where it claims to, at the lesion, and never twice?"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables.counted import numbers, ratio, sums
from trainables.data.segmented import NUM_GENERIC, STRUCTURES

AGREEMENT, POINTING = "gazes/structure_agreement", "gazes/pointing_accuracy"
ENTROPY, REPEATED = "gazes/attention_entropy", "gazes/repeated"
_SKIN = STRUCTURES.index("skin")


#: In `GazeReadings.claims`: what is not held against the truth.
_NOTHING = -1
_ROUNDING = 1e-9


@dataclass(frozen=True)
class GazeReadings:
    """What is known of each case's gazes; a split's metrics are sums over any choice of its cases.

    Args:    points: cell of the attention map at which each gaze points, counted in rows.
             claims: structure that each gaze is said to show, -1 where that is skin, was not annotated or is not said at all.
             named: whether the network says what its gazes show.
             occupied: whether each structure is at the middle of each cell; never where it was not annotated.
             known: whose attributes are annotated.
             entropy: of the attention maps, mean over gazes, as a share of that of a map without any preference.
             repeated: cases × (gazes at a point seen before, gazes after the first).
    """

    points: Int[np.ndarray, "cases time"]
    claims: Int[np.ndarray, "cases time"]
    named: Bool[np.ndarray, " cases"]
    occupied: Bool[np.ndarray, "cases structures cells"]
    known: Bool[np.ndarray, " cases"]
    entropy: Float[np.ndarray, " cases"]
    repeated: Int[np.ndarray, "cases 2"]


def read_gazes(
    attention: Float[Tensor, "batch time rows columns"],
    classes: Float[Tensor, "batch time structures"] | None,
    truth: Float[Tensor, "batch structures height width"],
    known: Bool[Tensor, " batch"],
) -> GazeReadings:
    """Reads a batch's gazes. A gaze points at the middle of the cell where its attention map is highest.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 4.4 (the maximum of each map)
    Deviations: none.

    Args:    attention: maps, every value 0 or more.
             classes: logits of what each gaze is said to show, None without a decoder.
             truth: 0 or 1; empty where a structure is absent.
             known: whose attributes are annotated.
    """
    batch, _, rows, columns = attention.shape
    points = attention.flatten(2).argmax(-1)
    middles = [
        (torch.arange(cells, device=truth.device).double().add(0.5) / cells * pixels).long()
        for cells, pixels in zip((rows, columns), truth.shape[2:], strict=True)
    ]
    occupied = truth[:, :, middles[0]][..., middles[1]].flatten(2) > 0.5
    occupied[:, NUM_GENERIC:] &= known.view(-1, 1, 1)
    said = torch.full_like(points, _SKIN) if classes is None else classes.argmax(-1)
    scored = (said != _SKIN) & (known.unsqueeze(1) | (said < NUM_GENERIC))
    shares = attention.flatten(2).double()
    shares = shares / shares.sum(-1, keepdim=True)
    entropy = torch.special.entr(shares).sum(-1).mean(-1) / np.log(rows * columns)
    seen_before = (points.unsqueeze(1) == points.unsqueeze(2)).tril(-1).any(-1)
    after_the_first = torch.full((batch,), points.shape[1] - 1, device=points.device)
    return GazeReadings(
        points=points.cpu().numpy(),
        claims=said.where(scored, _NOTHING).cpu().numpy(),
        named=np.full(batch, classes is not None),
        occupied=occupied.cpu().numpy(),
        known=known.cpu().numpy(),
        entropy=entropy.cpu().numpy(),
        repeated=torch.stack([seen_before.sum(-1), after_the_first], -1).cpu().numpy(),
    )


def gaze_metrics(
    readings: GazeReadings, counts: Int[np.ndarray, "resamples cases"]
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Every metric of a split, named without the split; NaN where one has no meaning.

    `gazes/structure_agreement`: whether gazes point into the structure which they claim to show, over the gazes that claim one
    other than skin and annotated; 0 where none does. `gazes/pointing_accuracy`: whether gazes point at the lesion (the pointing
    game). Both are corrected for chance, Σ (hit - chance) / Σ (1 - chance), where a gaze's chance is the share of the *other*
    cases in which the same claim at the same point would have hit: 1 is perfect, 0 is what any gaze comes to that does not depend
    on the case, wherever it looks and whatever it says, and less than 0 is worse than that. `gazes/attention_entropy`: 0 when a
    map is one point, 1 when it prefers nothing; `gazes/repeated`: share of gazes after the first that point where an earlier one
    did.

    Source: the pointing game is Zhang et al. 2018, Section 4.1; the correction is that of Cohen's kappa (Cohen 1960, Eq. 1)
    Deviations: the pointing game has no tolerance around the lesion, since a cell of the map is about as coarse as that. Both
        are corrected for chance: uncorrected, a network that always looks at a corner and says "skin" agrees with itself fully.

    Args:    readings: of some cases.
             counts: how often each case counts.
    """
    lesion, any_claim = ~readings.occupied[:, [_SKIN]], np.zeros_like(readings.points)
    metrics = {POINTING: _beyond_chance(readings.points, any_claim, lesion, np.ones_like(lesion[..., 0]), counts)}
    if readings.named.all():
        annotated = np.repeat(readings.known[:, None], len(STRUCTURES), 1)
        annotated[:, :NUM_GENERIC] = True
        metrics[AGREEMENT] = _beyond_chance(readings.points, readings.claims, readings.occupied, annotated, counts)
    again, of = numbers(counts, readings.repeated).T
    metrics[REPEATED] = ratio(again, of)
    return {**metrics, ENTROPY: ratio(sums(counts, readings.entropy[:, None])[:, 0], counts.sum(1))}


def _beyond_chance(
    points: Int[np.ndarray, "cases time"],
    claims: Int[np.ndarray, "cases time"],
    occupied: Bool[np.ndarray, "cases claimable cells"],
    annotated: Bool[np.ndarray, "cases claimable"],
    counts: Int[np.ndarray, "resamples cases"],
) -> Float[np.ndarray, " resamples"]:
    """Hits beyond those that the same claims would have at the same points on other cases, as a share of all that may be gained.

    A case is never its own chance, however often it counts. 0 where nothing is claimed, or nothing can be gained.
    """
    case, step = np.nonzero(claims != _NOTHING)
    what, where = claims[case, step], points[case, step]
    hit = occupied[case, what, where].astype(float)
    of = counts[:, case].astype(float)
    own = of * annotated[case, what]
    # Many gazes claim the same of the same place.
    claimed, same = np.unique(what * occupied.shape[2] + where, return_inverse=True)
    there = numbers(counts, occupied.reshape(len(occupied), -1)[:, claimed])[:, same]
    others = numbers(counts, annotated)[:, what] - own
    chance = (there - own * hit) / np.maximum(others, 1)
    of[others <= 0] = 0.0
    gained, gainable = (np.einsum("rg,rg->r", of, gain) for gain in (hit - chance, 1 - chance))
    return np.where(gainable > _ROUNDING, gained / np.maximum(gainable, _ROUNDING), 0.0)
