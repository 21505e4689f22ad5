"""What the sequence of gazes is worth as an explanation: does it point where it claims to, at the lesion, and never twice?"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables.data.segmented import NUM_GENERIC, STRUCTURES

AGREEMENT, POINTING = "gazes/structure_agreement", "gazes/pointing_accuracy"
ENTROPY, REPEATED = "gazes/attention_entropy", "gazes/repeated"
_SKIN = STRUCTURES.index("skin")


@dataclass(frozen=True)
class GazeReadings:
    """What was counted of each case's gazes; a split's metrics are sums over any choice of its cases.

    Args:    claimed: cases × (hits, gazes), of those that claim a structure whose place is known.
             pointed: cases × (hits, gazes) on the lesion, whatever is claimed.
             entropy: of the attention maps, mean over gazes, as a share of that of a map without any preference.
             repeated: cases × (gazes at a point seen before, gazes after the first).
    """

    claimed: Int[np.ndarray, "cases 2"]
    pointed: Int[np.ndarray, "cases 2"]
    entropy: Float[np.ndarray, " cases"]
    repeated: Int[np.ndarray, "cases 2"]


def read_gazes(
    attention: Float[Tensor, "batch time rows columns"],
    classes: Float[Tensor, "batch time structures"] | None,
    truth: Float[Tensor, "batch structures height width"],
    known: Bool[Tensor, " batch"],
) -> GazeReadings:
    """Counts a batch's gazes. A gaze points at the middle of the cell where its attention map is highest.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 4.4 (the maximum of each map); the pointing game is
        Zhang et al. 2018, Section 4.1
    Deviations: the pointing game has no tolerance around the lesion: a cell of the map is wider than its 15 pixels.

    Args:    attention: maps, every value 0 or more.
             classes: logits of what each gaze is said to show, None without a decoder.
             truth: 0 or 1; empty where a structure is absent.
             known: whose attributes are annotated.
    """
    batch, _, rows, columns = attention.shape
    peaks = attention.flatten(2).argmax(-1)
    height, width = truth.shape[2:]
    row = ((peaks // columns).double().add(0.5) / rows * height).long()
    column = ((peaks % columns).double().add(0.5) / columns * width).long()
    case = torch.arange(batch, device=peaks.device).unsqueeze(1)
    there = truth.transpose(1, 2).transpose(2, 3)[case, row, column] > 0.5  # batch, time, structures
    lesion = ~there[..., _SKIN]
    if classes is None:
        claims = torch.zeros_like(lesion)
        hits = claims
    else:
        said = classes.argmax(-1)
        claims = known.unsqueeze(1) | (said < NUM_GENERIC)
        hits = there.gather(2, said.unsqueeze(-1)).squeeze(-1) & claims
    shares = attention.flatten(2).double()
    shares = shares / shares.sum(-1, keepdim=True)
    entropy = torch.special.entr(shares).sum(-1).mean(-1) / np.log(rows * columns)
    seen_before = (peaks.unsqueeze(1) == peaks.unsqueeze(2)).tril(-1).any(-1)

    def counted(found: Tensor, of: Tensor) -> Int[np.ndarray, "cases 2"]:
        return np.asarray(torch.stack([found.sum(-1), of.sum(-1)], -1).cpu())

    every = torch.ones_like(lesion)
    return GazeReadings(
        claimed=counted(hits, claims),
        pointed=counted(lesion, every),
        entropy=entropy.cpu().numpy(),
        repeated=counted(seen_before, every[:, 1:]),
    )


def gaze_metrics(readings: GazeReadings, weights: Float[np.ndarray, " cases"] | None = None) -> dict[str, float]:
    """Every metric of a split, named without the split; one that has no meaning is absent.

    `gazes/structure_agreement`: share of gazes that point into the structure which they claim to show, of those whose structure
    was annotated; `gazes/pointing_accuracy`: share that point at the lesion (the pointing game); `gazes/attention_entropy`:
    0 when a map is one point, 1 when it prefers nothing; `gazes/repeated`: share of gazes after the first that point where an
    earlier one did.

    Args:    readings: of some cases.
             weights: how often each case counts, None for once each.
    """
    weight = np.ones(len(readings.entropy)) if weights is None else weights
    found = {AGREEMENT: readings.claimed, POINTING: readings.pointed, REPEATED: readings.repeated}
    totals = {name: weight @ counts for name, counts in found.items()}
    metrics = {name: float(hits / of) for name, (hits, of) in totals.items() if of}
    return {**metrics, ENTROPY: float(weight @ readings.entropy / weight.sum())}
