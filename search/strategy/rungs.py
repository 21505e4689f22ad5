"""Rungs: the epochs at which a scheduler looks at a trial, and how well one predicts the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spaces.errors import RequestError

#: Fewer trials than these say nothing of how two rungs correlate.
MIN_TRIALS = 8


def rungs(grace_period: int, max_epochs: int, reduction: int) -> tuple[int, ...]:
    """Grace period times powers of the reduction, below the last epoch, in integer arithmetic.

    Args:    grace_period: first rung, in epochs, 1 or more.
             max_epochs: epochs of a whole trial.
             reduction: factor between rungs, 2 or more.
    Returns: ascending; empty when the grace period leaves nothing to stop.
    Raises:  RequestError: when a number is out of range.
    """
    if grace_period < 1 or reduction < 2:
        raise RequestError(f"--grace-period must be 1 or more and --reduction 2 or more; got {grace_period} and {reduction}")
    found, rung = [], grace_period
    while rung < max_epochs:
        found.append(rung)
        rung *= reduction
    return tuple(found)


@dataclass(frozen=True)
class RungCorrelation:
    """How well the order of trials at one rung predicts their order at a later one.

    Args:    rung, later: the two, in epochs.
             num_trials: that reached both.
             observed: Spearman's rank correlation over those.
             estimate: what it would be had none been stopped in between (see `rung_correlation`).
             high: the estimate's one-sided 95 % upper bound.
    """

    rung: int
    later: int
    num_trials: int
    observed: float
    estimate: float
    high: float


def rung_correlation(
    rung: int, later: int, all_early: Sequence[float], early: Sequence[float], late: Sequence[float]
) -> RungCorrelation | None:
    """Rank correlation between two rungs, corrected for having seen only the better trials at the later one.

    Source: Thorndike 1949, case 2 (restriction of range), on normal scores; Fisher's z with Bonett and Wright's (2000)
    deviation for Spearman's coefficient.

    Args:    rung, later: the two, in epochs.
             all_early: scores of every trial at the earlier rung.
             early, late: scores of the trials that reached both, in the same order.
    Returns: None while fewer than `MIN_TRIALS` have reached both, or all of them are equal.
    """
    count = len(early)
    if count < MIN_TRIALS or len(set(early)) == 1 or len(set(late)) == 1:
        return None
    from scipy import stats  # half a second to import, which most commands would pay for nothing

    observed = float(stats.spearmanr(early, late).statistic)
    normal = dict(zip(all_early, stats.norm.ppf(stats.rankdata(all_early) / (len(all_early) + 1)), strict=True))
    widening = float(np.std(list(normal.values())) / np.std([normal[score] for score in early]))
    z = math.atanh(max(-0.999, min(0.999, observed)))
    high = math.tanh(z + 1.645 * math.sqrt((1 + observed**2 / 2) / (count - 3)))
    return RungCorrelation(rung, later, count, observed, _unrestricted(observed, widening), _unrestricted(high, widening))


def _unrestricted(correlation: float, widening: float) -> float:
    """Thorndike's case 2: `widening` is the deviation of all over that of those seen."""
    scaled = correlation * widening
    return scaled / math.sqrt(1 - correlation**2 + scaled**2)
