"""What the explanations of several networks have in common, and where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from search.analysis.uncertainty import t_interval
from trainables.sharing import MOVED, Sharing

_RELABELLINGS = 400
Matrix = Float[np.ndarray, "takers givers"]


@dataclass(frozen=True)
class SharingSpread:
    """What tasks share in several networks, and what training has made of it.

    Args:    tasks: names of rows, which take, and of columns, which give.
             mean, deviation: of the networks' sharing fractions; the deviation is the sample's.
             num_networks: how many.
             changes: of each network since its start; None where the start of one is not recorded.
             stability: mean correlation between two networks' changes (between their fractions where no start is recorded), the
                 diagonal left out; None for fewer than two, or where one changed everything alike.
             chance: what 95 % of networks whose tasks have changed names stay below, None without a stability.
    """

    tasks: tuple[str, ...]
    mean: Matrix
    deviation: Matrix
    num_networks: int
    changes: Float[np.ndarray, "networks takers givers"] | None = None
    stability: float | None = None
    chance: float | None = None

    @property
    def moved(self) -> bool | None:
        """Whether a pair has changed by `MOVED` or more in some network; None without a start."""
        return None if self.changes is None else bool(np.abs(self.changes).max() >= MOVED)

    @property
    def agreed(self) -> bool:
        """Whether the networks agree on who takes what, more than chance would have it."""
        return self.stability is not None and self.chance is not None and self.stability > self.chance

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        return {
            "tasks": list(self.tasks),
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "change": None if self.changes is None else self.changes.mean(0).tolist(),
            "stability": self.stability,
            "stability_by_chance": self.chance,
            "num_networks": self.num_networks,
        }

    def changed(self, sign: int, count: int) -> list[tuple[str, str, float, float]]:
        """(taker, giver, mean change, deviation) of the pairs that changed most on average, in one direction in every network.

        Args:    sign: 1 for those that take more than at the start, -1 for less.
                 count: at most so many.
        """
        if self.changes is None:
            return []
        mean, alike = self.changes.mean(0), (sign * self.changes > 0).all(0)
        deviation = self.changes.std(0, ddof=1) if self.num_networks > 1 else np.zeros_like(mean)
        pairs = [tuple(pair) for pair in np.argwhere(alike & (sign * mean >= MOVED)).tolist() if pair[0] != pair[1]]
        pairs.sort(key=lambda pair: -sign * float(mean[pair]))
        return [(self.tasks[i], self.tasks[j], float(mean[i, j]), float(deviation[i, j])) for i, j in pairs[:count]]


def spread_of(sharings: Sequence[Sharing], block: int | None = None) -> SharingSpread | None:
    """The spread over networks of the same tasks; None where there are no networks, or their tasks differ.

    Args:    sharings: of each network.
             block: one of the gated blocks, -1 for the last; None for the mean over all.
    """
    if not sharings or len({sharing.tasks for sharing in sharings}) > 1:
        return None
    matrices = np.array([_over(sharing.blocks, block) for sharing in sharings])
    starts = [sharing.start for sharing in sharings]
    known = [_over(start, block) for start in starts if start is not None]
    changes = matrices - np.array(known) if len(known) == len(matrices) else None
    compared = matrices if changes is None else changes
    deviation = matrices.std(0, ddof=1) if len(matrices) > 1 else np.zeros_like(matrices[0])
    return SharingSpread(
        sharings[0].tasks, matrices.mean(0), deviation, len(matrices), changes, stability(compared), stability_by_chance(compared)
    )


def _over(blocks: Float[np.ndarray, "blocks takers givers"], block: int | None) -> Matrix:
    return np.asarray(blocks.mean(0) if block is None else blocks[block])


def stability(matrices: Float[np.ndarray, "networks takers givers"]) -> float | None:
    """Mean Pearson correlation over all pairs of networks, off the diagonal; None where it has no meaning."""
    off = ~np.eye(matrices.shape[1], dtype=bool)
    rows = matrices[:, off]
    if len(rows) < 2 or rows.shape[1] < 2 or np.any(np.ptp(rows, axis=1) == 0):
        return None
    scaled = rows - rows.mean(1, keepdims=True)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    # The mean over all pairs from the sum over all networks: much cheaper than pair by pair, for `stability_by_chance`.
    return float((np.square(scaled.sum(0)).sum() - len(rows)) / (len(rows) * (len(rows) - 1)))


def stability_by_chance(matrices: Float[np.ndarray, "networks takers givers"]) -> float | None:
    """What the stability of 95 % of networks stays below if each network's tasks change names at random; None without one.

    Source: Mantel 1967, "The detection of disease clustering and a generalized regression approach": rows and columns of a matrix
        change places together, since its entries are not independent
    """
    if stability(matrices) is None:
        return None
    generator, found = np.random.default_rng(0), []
    for _ in range(_RELABELLINGS):
        orders = [generator.permutation(matrices.shape[1]) for _ in matrices]
        relabelled = np.array([matrix[np.ix_(order, order)] for matrix, order in zip(matrices, orders, strict=True)])
        found.append(stability(relabelled) or 0.0)
    return float(np.quantile(found, 0.95))


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
