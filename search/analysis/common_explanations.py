"""What the explanations of several networks have in common, and where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from search.analysis.uncertainty import t_interval
from trainables.explanation import Sharing

Matrix = Float[np.ndarray, "takers givers"]


@dataclass(frozen=True)
class SharingSpread:
    """What tasks share in several networks, over all their blocks.

    Args:    tasks: names of rows, which take, and of columns, which give.
             mean, deviation: of the networks' sharing fractions; the deviation is the sample's.
             stability: mean correlation between two networks' fractions, the diagonal left out; None for fewer than two, or
                 where one shares everything alike.
             num_networks: how many.
    """

    tasks: tuple[str, ...]
    mean: Matrix
    deviation: Matrix
    stability: float | None
    num_networks: int

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        return {
            "tasks": list(self.tasks),
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "stability": self.stability,
            "num_networks": self.num_networks,
        }

    def most_shared(self, count: int) -> list[tuple[str, str, float, float]]:
        """(taker, giver, mean, deviation) where most is shared on average."""
        return self._largest(self.mean, count)

    def least_agreed(self, count: int) -> list[tuple[str, str, float, float]]:
        """(taker, giver, mean, deviation) where the networks differ most."""
        return self._largest(self.deviation, count)

    def _largest(self, values: Matrix, count: int) -> list[tuple[str, str, float, float]]:
        num = len(self.tasks)
        pairs = [(row, column) for row in range(num) for column in range(num) if row != column]
        pairs.sort(key=lambda pair: -values[pair])
        return [
            (self.tasks[row], self.tasks[column], float(self.mean[row, column]), float(self.deviation[row, column]))
            for row, column in pairs[:count]
        ]


def spread_of(sharings: Sequence[Sharing], block: int | None = None) -> SharingSpread | None:
    """The spread over networks of the same tasks; None where there are no networks, or their tasks differ.

    Args:    sharings: of each network.
             block: one of the gated blocks, -1 for the last; None for the mean over all.
    """
    if not sharings or len({sharing.tasks for sharing in sharings}) > 1:
        return None
    matrices = np.array([sharing.blocks.mean(0) if block is None else sharing.blocks[block] for sharing in sharings])
    deviation = matrices.std(0, ddof=1) if len(matrices) > 1 else np.zeros_like(matrices[0])
    return SharingSpread(sharings[0].tasks, matrices.mean(0), deviation, stability(matrices), len(matrices))


def stability(matrices: Float[np.ndarray, "networks takers givers"]) -> float | None:
    """Mean Pearson correlation over all pairs of networks, off the diagonal; None where it has no meaning."""
    off = ~np.eye(matrices.shape[1], dtype=bool)
    rows = matrices[:, off]
    if len(rows) < 2 or rows.shape[1] < 2 or np.any(np.ptp(rows, axis=1) == 0):
        return None
    return float(np.mean([np.corrcoef(one, other)[0, 1] for one, other in combinations(rows, 2)]))


@dataclass(frozen=True)
class Dependence:
    """Whether one task takes more of the others than those take of each other.

    Args:    task: the one.
             taken: mean share that it takes of the others, by network.
             others: mean share that the others take of each other, by network.
             interval: 95 % of the mean difference, Student's t over the networks; None for fewer than three.
    """

    task: str
    taken: tuple[float, ...]
    others: tuple[float, ...]
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        """Mean over the networks of `taken` less `others`."""
        return float(np.mean(np.subtract(self.taken, self.others)))

    @property
    def found(self) -> bool | None:
        """Whether the interval lies above 0; None where there is none."""
        return None if self.interval is None else self.interval[0] > 0

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        return {
            "task": self.task,
            "taken": list(self.taken),
            "others": list(self.others),
            "difference": self.difference,
            "interval": self.interval,
            "found": self.found,
        }


def dependence_of(task: str, sharings: Sequence[Sharing], block: int | None = None) -> Dependence | None:
    """What a task takes of the others against what they take of each other; None without two others.

    Source: Coppola et al. 2020, Section 7: in most experiments the diagnosis requires most of the other tasks; they look at the
        last block
    Deviations: the paper judges by eye.

    Args:    task: name of the diagnosis.
             sharings: of networks that differ in nothing but their seed.
             block: one of the gated blocks, -1 for the last; None for the mean over all.
    """
    if not sharings or any(task not in sharing.tasks or len(sharing.tasks) < 3 for sharing in sharings):
        return None
    taken, others = [], []
    for sharing in sharings:
        own = sharing.tasks.index(task)
        matrix = sharing.blocks.mean(0) if block is None else sharing.blocks[block]
        rest = np.delete(np.delete(matrix, own, 0), own, 1)
        taken.append(float(np.delete(matrix[own], own).mean()))
        others.append(float(rest[~np.eye(len(rest), dtype=bool)].mean()))
    return Dependence(task, tuple(taken), tuple(others), t_interval(np.subtract(taken, others)))
