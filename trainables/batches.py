"""Which cases go into a training batch."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int

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


class Passes:
    """Goes through the cases in random order, each once in a pass; the last batch of a pass may be smaller.

    Args:    num_cases: training cases.
             batch_size: cases in a batch, 1 or more.
             generator: decides the order.
    """

    def __init__(self, num_cases: int, batch_size: int, generator: np.random.Generator) -> None:
        self._num_cases, self._batch_size, self._generator = num_cases, batch_size, generator
        self._left: Int[np.ndarray, " left"] = np.zeros(0, dtype=np.int64)

    def shuffle(self) -> None:
        """Begins a pass."""
        self._left = self._generator.permutation(self._num_cases)

    def draw(self) -> Int[np.ndarray, " batch"]:
        """The next batch; begins a pass when the last one is over."""
        if not len(self._left):
            self.shuffle()
        batch, self._left = self._left[: self._batch_size], self._left[self._batch_size :]
        return batch
