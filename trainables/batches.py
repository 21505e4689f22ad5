"""Which cases go into a training batch."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from trainables.data.cases import MISSING

Draw = Callable[[np.random.Generator], Int[np.ndarray, " batch"]]


def balanced(labels: Int[np.ndarray, "cases tasks"], k: int) -> Draw:
    """Draws k cases of every label of every task, so that each batch holds each label at least k times.

    Source: Coppola et al. 2020, Section 4.2; 24 labels and k = 6 make 144 cases, 21 labels make 126
    Deviations: none; a draw may repeat a case, as in "with reinsertion".

    Args:    labels: class codes of the training cases, -1 where missing.
             k: draws per label, 1 or more.
    Returns: a function that draws positions in `labels`.
    """
    pools = [np.flatnonzero(column == code) for column in labels.T for code in np.unique(column[column != MISSING])]

    def draw(generator: np.random.Generator) -> Int[np.ndarray, " batch"]:
        return np.concatenate([pool[generator.integers(0, len(pool), k)] for pool in pools])

    return draw


def uniform(num_cases: int, batch_size: int) -> Draw:
    """Draws cases as they come, each at most once in a batch; a small data set is one batch.

    Args:    num_cases: training cases.
             batch_size: cases in a batch, 1 or more.
    Returns: a function that draws positions among the training cases.
    """
    size = min(batch_size, num_cases)

    def draw(generator: np.random.Generator) -> Int[np.ndarray, " batch"]:
        return generator.permutation(num_cases)[:size]

    return draw


def repeat_factors(presence: Bool[np.ndarray, "cases structures"]) -> Float[np.ndarray, " cases"]:
    """How much more often a case is to be drawn for the rarest structure that it has.

    Source: Gupta et al. 2019, "LVIS", repeat factor sampling: max over a case's structures of max(1, sqrt(t / f)), f the share
        of cases that have the structure
    Deviations: t = 1, so that a structure counts as rare as soon as a case lacks it; an epoch stays as long as it was, see
        `Passes`.

    Args:    presence: which structures the training cases have.
    Returns: 1 or more.
    """
    share = presence.mean(0)
    factors = np.sqrt(np.divide(1.0, share, out=np.ones_like(share), where=share > 0))
    return np.asarray(np.where(presence, factors, 1.0).max(1))


class Passes:
    """Goes through the cases in random order, each once in a pass; the last batch of a pass may be smaller.

    Args:    num_cases: training cases.
             batch_size: cases in a batch, 1 or more.
             generator: decides the order.
             shares: a pass, as long as ever, has each case in proportion to its share, rounded up or down at random.
    """

    def __init__(
        self,
        num_cases: int,
        batch_size: int,
        generator: np.random.Generator,
        shares: Float[np.ndarray, " cases"] | None = None,
    ) -> None:
        self._num_cases, self._batch_size, self._generator, self._shares = num_cases, batch_size, generator, shares
        self._left: Int[np.ndarray, " left"] = np.zeros(0, dtype=np.int64)

    def shuffle(self) -> None:
        """Begins a pass."""
        if self._shares is None:
            self._left = self._generator.permutation(self._num_cases)
            return
        # Systematic sampling: points one apart on a line on which each case has its expected number.
        ends = np.cumsum(self._shares) * (self._num_cases / self._shares.sum())
        points = self._generator.random() + np.arange(self._num_cases)
        chosen = np.searchsorted(ends, points, side="right").clip(max=self._num_cases - 1)
        self._left = self._generator.permutation(chosen)

    def draw(self) -> Int[np.ndarray, " batch"]:
        """The next batch; begins a pass when the last one is over."""
        if not len(self._left):
            self.shuffle()
        batch, self._left = self._left[: self._batch_size], self._left[self._batch_size :]
        return batch
