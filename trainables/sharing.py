"""What tasks take from each other, and what training has made of that."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

#: A change of a sharing fraction that counts as one. Gates begin half open; a pair that training moves by less than this, over
#: all blocks, shares what it shared before.
MOVED = 0.05


@dataclass(frozen=True)
class Sharing:
    """What tasks take from each other.

    Source: Coppola et al. 2020, Eq. 11 and Fig. 4

    Args:    tasks: names of rows, which take, and of columns, which give.
             blocks: sharing fraction in [0, 1], first block to last.
             epochs: some before it, 0 for the start, and its own; none where they are not known.
             history: the same fractions after each of those.
    """

    tasks: tuple[str, ...]
    blocks: Float[np.ndarray, "blocks takers givers"]
    epochs: tuple[int, ...] = ()
    history: Float[np.ndarray, "epochs blocks takers givers"] | None = None

    @property
    def start(self) -> Float[np.ndarray, "blocks takers givers"] | None:
        """The fractions before anything was trained; None where they were not recorded."""
        return self.history[0] if self.history is not None and self.epochs[:1] == (0,) else None

    @property
    def change(self) -> Float[np.ndarray, "takers givers"] | None:
        """What training has added to the fractions over all blocks, negative where it has taken away; None without a start."""
        start = self.start
        return None if start is None else np.asarray((self.blocks - start).mean(0))

    @property
    def moved(self) -> bool | None:
        """Whether some task takes more or less of another than at the start, by `MOVED` or more; None without a start."""
        change = self.change
        return None if change is None else bool(np.abs(change).max() >= MOVED)

    @property
    def early(self) -> tuple[int, float] | None:
        """The first epoch of which something is known, and how its change correlates with the last one's over all pairs of
        tasks; None where there is no such epoch between start and end, or no correlation.
        """
        change = self.change
        if change is None or self.history is None or len(self.epochs) < 3:
            return None
        off = ~np.eye(len(self.tasks), dtype=bool)
        first, last = (self.history[1] - self.history[0]).mean(0)[off], change[off]
        if len(last) < 2 or np.ptp(first) == 0 or np.ptp(last) == 0:
            return None
        return self.epochs[1], float(np.corrcoef(first, last)[0, 1])

    @property
    def taken(self) -> Float[np.ndarray, " tasks"]:
        """Mean share that each task takes of the others' features, over blocks and givers; 0 where there is one task only."""
        return np.asarray(self._off_diagonal().mean((0, 2)))

    @property
    def given(self) -> Float[np.ndarray, " tasks"]:
        """Mean share of each task's features that the others take, over blocks and takers."""
        return np.asarray(self._off_diagonal().mean((0, 1)))

    def _off_diagonal(self) -> Float[np.ndarray, "blocks takers givers"]:
        """Without what a task takes of itself, scaled so that a mean over tasks is one over the others."""
        num = len(self.tasks)
        return np.asarray(self.blocks * (1 - np.eye(num)) * (num / max(num - 1, 1)))

    def to_json(self) -> dict[str, Any]:
        """Every number, rows take and columns give."""
        return {
            "tasks": list(self.tasks),
            "all_blocks": self.blocks.mean(0).tolist(),
            "blocks": self.blocks.tolist(),
            "taken": self.taken.tolist(),
            "given": self.given.tolist(),
            "start": None if self.start is None else self.start.mean(0).tolist(),
            "change": None if self.change is None else self.change.tolist(),
            "moved": self.moved,
            "history": []
            if self.history is None
            else [
                {"epoch": epoch, "all_blocks": blocks.mean(0).tolist()}
                for epoch, blocks in zip(self.epochs, self.history, strict=True)
            ],
        }
