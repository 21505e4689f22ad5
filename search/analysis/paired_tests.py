"""Tests of two models on the same cases: areas under ROC curves, and what is right or wrong."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats


def auroc_covariance(
    positive: Bool[np.ndarray, " cases"],
    scores: Float[np.ndarray, "models cases"],
    groups: Int[np.ndarray, " cases"] | None = None,
) -> tuple[Float[np.ndarray, " models"], Float[np.ndarray, "models models"]]:
    """Areas under the ROC curves of several models on the same cases, and their covariance.

    Source: DeLong, DeLong, Clarke-Pearson 1988, by midranks as in Sun & Xu 2014; Obuchowski 1997 where cases come in groups
    Deviations: none; with every case a group of its own Obuchowski's variance is DeLong's.

    Args:    positive: the truth, both kinds among it.
             scores: higher means more likely positive; ties count half.
             groups: code of each case's patient or lesion; None where every case is its own.
    Raises:  ValueError: when a kind of case is missing, or there is only one group of a kind.
    """
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    codes = np.arange(len(positive)) if groups is None else np.unique(groups, return_inverse=True)[1]
    of_positive, of_negative = np.unique(codes[positive]), np.unique(codes[~positive])
    if len(of_positive) < 2 or len(of_negative) < 2:
        raise ValueError("cases must be of two groups or more with a positive case, and of two with a negative one")
    every = stats.rankdata(scores, axis=1)
    above = (every[:, positive] - stats.rankdata(scores[:, positive], axis=1)) / num_negative  # share of negatives below each
    below = 1 - (every[:, ~positive] - stats.rankdata(scores[:, ~positive], axis=1)) / num_positive  # of positives above each
    areas = above.mean(1)
    count = codes.max() + 1
    parts = np.zeros((2, len(scores), count))
    for place, (values, members) in enumerate(((above, codes[positive]), (below, codes[~positive]))):
        for model, own in enumerate(values - areas[:, None]):
            parts[place, model] = np.bincount(members, weights=own, minlength=count)
    first, second = parts
    share, other = len(of_positive) / (len(of_positive) - 1), len(of_negative) / (len(of_negative) - 1)
    both = count / (count - 1)
    cross = both * first @ second.T / (num_positive * num_negative)
    within = share * first @ first.T / num_positive**2 + other * second @ second.T / num_negative**2
    return areas, within + cross + cross.T


def delong(
    positive: Bool[np.ndarray, " cases"],
    first: Float[np.ndarray, " cases"],
    second: Float[np.ndarray, " cases"],
    groups: Int[np.ndarray, " cases"] | None = None,
) -> float | None:
    """Two-sided p of the difference of two correlated areas. See `auroc_covariance`.

    Returns: None where these cases cannot say how sure the areas are: one group of a kind, or areas that differ and vary in
        nothing, as of a model that tells all apart beside one that says the same of all.
    """
    codes = np.arange(len(positive)) if groups is None else groups
    if min(len(np.unique(codes[positive])), len(np.unique(codes[~positive]))) < 2:
        return None
    areas, covariance = auroc_covariance(positive, np.stack([first, second]), groups)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= 1e-15:
        return 1.0 if abs(areas[0] - areas[1]) < 1e-12 else None
    return float(2 * stats.norm.sf(abs(areas[0] - areas[1]) / variance**0.5))


def mcnemar(
    first: Bool[np.ndarray, " cases"], second: Bool[np.ndarray, " cases"], groups: Int[np.ndarray, " cases"] | None = None
) -> float:
    """Two-sided p of two models being right equally often; 1 where they are right and wrong together.

    Source: McNemar 1947, exact (binomial); Durkalski et al. 2003 where cases come in groups

    Args:    first, second: whether each model is right.
             groups: see `auroc_covariance`.
    """
    better = first.astype(int) - second.astype(int)
    if not better.any():
        return 1.0
    if groups is None or len(np.unique(groups)) == len(groups):
        gained, lost = int((better > 0).sum()), int((better < 0).sum())
        return float(stats.binomtest(gained, gained + lost).pvalue)
    codes = np.unique(groups, return_inverse=True)[1]
    means = np.bincount(codes, weights=better) / np.bincount(codes)
    spread = float((means**2).sum())
    return 1.0 if spread == 0 else float(stats.chi2.sf(float(means.sum()) ** 2 / spread, 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The same for several tests together: below a level, that test's finding stands at that level for all (Holm 1979)."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    raised = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    return [float(raised[place]) for place in np.argsort(order)]
