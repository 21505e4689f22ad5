"""The seven-point checklist: what a dermatologist adds up, and the diagnosis that follows."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int, Shaped

#: criterion → (label that scores, its points)
POINTS = {
    "PN": ("ATP", 2),
    "BWV": ("PRS", 2),
    "VS": ("IR", 2),
    "STR": ("IR", 1),
    "PIG": ("IR", 1),
    "DaG": ("IR", 1),
    "RS": ("PRS", 1),
}
THRESHOLDS = (1, 3)


def scores(labels: Mapping[str, Sequence[str] | Shaped[np.ndarray, " cases"]]) -> Int[np.ndarray, "cases"]:
    """Seven-point score of each case.

    Source: Coppola et al. 2020, Section 3; Argenziano et al. 1998: 2 points for a major criterion, 1 for a minor one
    Deviations: none.

    Args:    labels: criterion (the keys of `POINTS`) → one label per case.
    Returns: 0 to 10.
    Raises:  ValueError: when a criterion is missing.
    """
    missing = sorted(set(POINTS) - set(labels))
    if missing:
        raise ValueError(f"labels must hold all seven criteria; got none for {', '.join(missing)}")
    columns = [points * (np.asarray(labels[name]) == label) for name, (label, points) in POINTS.items()]
    return np.asarray(np.sum(columns, axis=0), dtype=np.int64)


def inferred_melanoma(score: Int[np.ndarray, "cases"], threshold: int) -> Bool[np.ndarray, "cases"]:
    """Whether the checklist calls a case melanoma: score ≥ τ (the text says "exceeds", its numbers say ≥).

    Args:    score: see `scores`.
             threshold: τ, 1 (sensitive) or 3 (usual).
    """
    return np.asarray(score >= threshold, dtype=bool)


def confusion(
    truth: Bool[np.ndarray, "cases"], predicted: Bool[np.ndarray, "cases"], counts: Int[np.ndarray, "resamples cases"]
) -> Int[np.ndarray, "resamples 2 2"]:
    """Rows not-melanoma / melanoma, columns predicted no / yes, as in the paper's Table 3.

    Args:    truth, predicted: whether a case is melanoma, and is called so.
             counts: how often each case counts, a row each resample.
    """
    cells = [(truth == row) & (predicted == column) for row in (False, True) for column in (False, True)]
    return np.asarray((counts @ np.array(cells).T).reshape(-1, 2, 2))
