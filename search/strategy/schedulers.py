"""Which trials are worth their remaining epochs. No Ray object, no clock: decisions follow from the reports' order."""

import math
from collections.abc import Callable
from typing import Protocol

from search.strategy.rungs import rungs


class Scheduler(Protocol):
    """Stops trials that are not worth going on with."""

    rungs: tuple[int, ...]

    def should_stop(self, epoch: int, score: float) -> bool:
        """Whether a trial with this score (more is better) ends after this epoch."""


class Asha:
    """Asynchronous successive halving, the stopping kind: at a rung the best 1/reduction so far go on.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", Algorithm 2
    Deviations: a trial is judged once, on arrival, against those before it, as in Ray Tune; it is never paused.

    Args:    grace_period, max_epochs, reduction: see `rungs`.
    """

    def __init__(self, grace_period: int, max_epochs: int, reduction: int) -> None:
        self.rungs = rungs(grace_period, max_epochs, reduction)
        self._reduction = reduction
        self._scores: dict[int, list[float]] = {rung: [] for rung in self.rungs}

    def should_stop(self, epoch: int, score: float) -> bool:
        """Whether the trial is outside the best 1/reduction (rounded up) of those that reached this rung."""
        if epoch not in self._scores:
            return False
        scores = self._scores[epoch]
        scores.append(score)
        promoted = math.ceil(len(scores) / self._reduction)
        return sum(other > score for other in scores) >= promoted


class RunAll:
    """Stops nothing."""

    rungs: tuple[int, ...] = ()

    def should_stop(self, epoch: int, score: float) -> bool:
        """Never."""
        return False


#: name → (grace period, max epochs, reduction) → scheduler
SCHEDULERS: dict[str, Callable[[int, int, int], Scheduler]] = {
    "asha": Asha,
    "none": lambda grace_period, max_epochs, reduction: RunAll(),
}


def default_grace_period(max_epochs: int) -> int:
    """A third of the epochs, 20 at most, three at least.

    On a few hundred images the first validations say little of the last ones, and a score is the mean of three.
    """
    return max(3, min(max_epochs // 3, 20))
