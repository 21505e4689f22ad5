"""Which trials are worth their remaining epochs. No Ray object, no clock: decisions follow from the reports' order."""

import math
from bisect import bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Literal, Protocol

from search.strategy.rungs import rungs

Verdict = Literal["go on", "stop", "pause"]
#: Trials that `one-epoch` trains to the end.
FINALISTS = 3


@dataclass(frozen=True)
class Ladder:
    """What every scheduler is made from.

    Args:    grace_period, max_epochs, reduction: see `rungs`.
    """

    grace_period: int
    max_epochs: int
    reduction: int = 3


class Scheduler(Protocol):
    """Stops or pauses trials that are not worth going on with. More is better in every score.

    Attributes: rungs: epochs after which a trial must report at once, so that it can be judged there.
                drops_rungs: whether its first rung can be dropped.
    """

    rungs: tuple[int, ...]
    drops_rungs: bool

    def enter(self, trial: str) -> None:
        """A new trial begins."""

    def judge(self, trial: str, epoch: int, score: float) -> Verdict:
        """What becomes of a trial that has just validated; every epoch of every trial is shown once, in order."""

    def promotable(self, more_to_come: bool) -> str | None:
        """The paused trial that should go on before a new one is begun; None when there is none.

        Args:    more_to_come: whether trials are still to be begun or to arrive at a rung.
        """

    def promote(self, trial: str) -> None:
        """A paused trial goes on."""

    def leave(self, trial: str) -> None:
        """A trial has ended, by itself or otherwise: it can no longer be promoted."""

    def drop_first_rung(self) -> None:
        """Judges nobody at the first rung from now on; there must be another, and `drops_rungs`."""


class RunAll:
    """Stops nothing."""

    rungs: tuple[int, ...] = ()
    drops_rungs = False

    def __init__(self, ladder: Ladder) -> None:
        del ladder

    def enter(self, trial: str) -> None:
        """Nothing to note."""

    def judge(self, trial: str, epoch: int, score: float) -> Verdict:
        """Go on."""
        return "go on"

    def promotable(self, more_to_come: bool) -> str | None:
        """Nothing is ever paused."""
        return None

    def promote(self, trial: str) -> None:
        """Nothing is ever paused."""

    def leave(self, trial: str) -> None:
        """Nothing to note."""

    def drop_first_rung(self) -> None:
        """There is none."""


class Asha(RunAll):
    """Asynchronous successive halving, the stopping kind: at a rung the best 1/reduction so far go on.

    Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", Algorithm 2
    Deviations: a trial is judged once, on arrival, against those before it, as in Ray Tune; it is never paused.
    """

    drops_rungs = True

    def __init__(self, ladder: Ladder) -> None:
        self.rungs = rungs(ladder.grace_period, ladder.max_epochs, ladder.reduction)
        self._reduction = ladder.reduction
        #: Rung → ascending scores.
        self._scores: dict[int, list[float]] = {rung: [] for rung in self.rungs}

    def judge(self, trial: str, epoch: int, score: float) -> Verdict:
        """Stop outside the best 1/reduction (rounded up) of those that reached this rung."""
        if epoch not in self._scores:
            return "go on"
        scores = self._scores[epoch]
        insort(scores, score)
        passing, better = math.ceil(len(scores) / self._reduction), len(scores) - bisect_right(scores, score)
        return "stop" if better >= passing else "go on"

    def drop_first_rung(self) -> None:
        """The next rung becomes the first."""
        del self._scores[self.rungs[0]]
        self.rungs = self.rungs[1:]


class AshaPromote(RunAll):
    """Asynchronous successive halving, the promoting kind: everyone waits at a rung until among its best 1/reduction.

    Source: Li et al. 2020, Algorithm 2
    Deviations: a trial that is among the best on arrival goes on at once.
    """

    drops_rungs = True

    def __init__(self, ladder: Ladder) -> None:
        self.rungs = rungs(ladder.grace_period, ladder.max_epochs, ladder.reduction)
        self._reduction = ladder.reduction
        self._scores: dict[int, dict[str, float]] = {rung: {} for rung in self.rungs}
        self._paused: dict[str, int] = {}

    def judge(self, trial: str, epoch: int, score: float) -> Verdict:
        """Pause at a rung outside the best 1/reduction (rounded down)."""
        if epoch not in self.rungs:
            return "go on"
        self._scores[epoch][trial] = score
        if trial in self._passing(epoch):
            return "go on"
        self._paused[trial] = epoch
        return "pause"

    def _passing(self, rung: int) -> list[str]:
        """The best 1/reduction at a rung, best first; of equals the first to arrive."""
        scores = self._scores[rung]
        return sorted(scores, key=lambda trial: -scores[trial])[: len(scores) // self._reduction]

    def promotable(self, more_to_come: bool) -> str | None:
        """The best that waits although among the best, at the highest rung that has one."""
        for rung in reversed(self._scores):
            found = next((trial for trial in self._passing(rung) if self._paused.get(trial) == rung), None)
            if found is not None:
                return found
        return None

    def promote(self, trial: str) -> None:
        """It waits no longer."""
        del self._paused[trial]

    def leave(self, trial: str) -> None:
        """It waits no longer; its scores still count."""
        self._paused.pop(trial, None)

    def drop_first_rung(self) -> None:
        """Trials that wait there can still be promoted; no further one is judged there."""
        self.rungs = self.rungs[1:]


class Hyperband(RunAll):
    """Asynchronous Hyperband: brackets of stopping ASHA that begin at different rungs, so that no grace period is trusted.

    Source: Li et al. 2018, "Hyperband", Algorithm 1, for the share of trials of each bracket; brackets run side by side.
    """

    def __init__(self, ladder: Ladder) -> None:
        self.rungs = rungs(ladder.grace_period, ladder.max_epochs, ladder.reduction)
        starts = [*self.rungs, ladder.max_epochs]
        self._brackets = [Asha(Ladder(start, ladder.max_epochs, ladder.reduction)) for start in starts]
        most = len(starts) - 1
        # Bracket s of Algorithm 1 tries η^s (s_max + 1) / (s + 1) configurations; s counts the rungs it has.
        self._shares = [ladder.reduction ** (most - i) * (most + 1) / (most - i + 1) for i in range(len(starts))]
        self._counts = [0] * len(starts)
        self._bracket: dict[str, int] = {}

    def enter(self, trial: str) -> None:
        """The bracket that is furthest behind its share takes it."""
        index = min(range(len(self._shares)), key=lambda i: (self._counts[i] + 1) / self._shares[i])
        self._counts[index] += 1
        self._bracket[trial] = index

    def judge(self, trial: str, epoch: int, score: float) -> Verdict:
        """As the trial's bracket says."""
        return self._brackets[self._bracket[trial]].judge(trial, epoch, score)


class MedianRule(RunAll):
    """Stops a trial whose best score so far is worse than the median of the others' mean scores up to the same epoch.

    Source: Golovin et al. 2017, "Google Vizier", Section 3.2.1
    """

    #: Others that must have come as far before anyone is stopped.
    MIN_OTHERS = 3

    def __init__(self, ladder: Ladder) -> None:
        self.rungs = rungs(ladder.grace_period, ladder.max_epochs, ladder.reduction)[:1]
        self._grace_period = ladder.grace_period
        self._sums: dict[str, float] = {}
        self._best: dict[str, float] = {}
        self._means: dict[int, dict[str, float]] = {}

    def judge(self, trial: str, epoch: int, score: float) -> Verdict:
        """Stop below the median, from the grace period on."""
        self._sums[trial] = self._sums.get(trial, 0.0) + score
        self._best[trial] = max(self._best.get(trial, -math.inf), score)
        others = self._means.setdefault(epoch, {})
        worse = len(others) >= self.MIN_OTHERS and self._best[trial] < median(others.values())
        others[trial] = self._sums[trial] / epoch
        return "stop" if epoch >= self._grace_period and worse else "go on"


class OneEpoch(RunAll):
    """Trains every trial for the grace period and the best few to the end: a baseline that is hard to beat.

    Source: Egele et al. 2024, "The Unreasonable Effectiveness of Early Discarding After One Epoch in Neural Network
    Hyperparameter Optimization"
    """

    def __init__(self, ladder: Ladder) -> None:
        self.rungs = rungs(ladder.grace_period, ladder.max_epochs, ladder.reduction)[:1]
        self._scores: dict[str, float] = {}
        self._promoted: set[str] = set()

    def judge(self, trial: str, epoch: int, score: float) -> Verdict:
        """Pause after the grace period."""
        if epoch not in self.rungs:
            return "go on"
        self._scores[trial] = score
        return "pause"

    def promotable(self, more_to_come: bool) -> str | None:
        """The next of the best, once every trial has been seen."""
        if more_to_come:
            return None
        best = sorted(self._scores, key=lambda trial: -self._scores[trial])[:FINALISTS]
        return next((trial for trial in best if trial not in self._promoted), None)

    def promote(self, trial: str) -> None:
        """It trains to the end."""
        self._promoted.add(trial)

    def leave(self, trial: str) -> None:
        """It has had its chance."""
        self._promoted.add(trial)


SCHEDULERS: dict[str, Callable[[Ladder], Scheduler]] = {
    "asha": Asha,
    "asha-promote": AshaPromote,
    "hyperband": Hyperband,
    "median": MedianRule,
    "none": RunAll,
    "one-epoch": OneEpoch,
}
#: Those that may stop a trial after any epoch, not at rungs only.
EVERY_EPOCH = ("median",)


def default_grace_period(max_epochs: int) -> int:
    """A third of the epochs, 20 at most, three at least.

    On a few hundred images the first validations say little of the last ones, and a score is the mean of three.
    """
    return max(3, min(max_epochs // 3, 20))
