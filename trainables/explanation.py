"""The numbers behind a checkpoint's pictures: what it confuses, what tasks share, what it sees in a case and where it looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from trainables.contract import Confusions


@dataclass(frozen=True)
class Sharing:
    """What tasks take from each other.

    Source: Coppola et al. 2020, Eq. 11 and Fig. 4

    Args:    tasks: names of rows, which take, and of columns, which give.
             blocks: sharing fraction in [0, 1], first block to last.
             epochs: some before it, and its own; none where they are not known.
             history: the same fractions after each of those.
    """

    tasks: tuple[str, ...]
    blocks: Float[np.ndarray, "blocks takers givers"]
    epochs: tuple[int, ...] = ()
    history: Float[np.ndarray, "epochs blocks takers givers"] | None = None

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
            "history": []
            if self.history is None
            else [
                {"epoch": epoch, "all_blocks": blocks.mean(0).tolist()}
                for epoch, blocks in zip(self.epochs, self.history, strict=True)
            ],
        }


@dataclass(frozen=True)
class Gaze:
    """One timestep's look at an image.

    Args:    attention: map over the part of the image that the network sees; every value 0 or more.
             x, y: its highest point, as shares of that part's width and height from the upper left.
             structure: what its mask is said to show, "" without a decoder.
             probability: of that, 0 without a decoder.
             mask: probability of that structure at each pixel of that part, None without a decoder.
             truth: where the structure is annotated, None where that is not known.
    """

    attention: Float[np.ndarray, "rows columns"]
    x: float
    y: float
    structure: str = ""
    probability: float = 0.0
    mask: Float[np.ndarray, "size size"] | None = None
    truth: Bool[np.ndarray, "size size"] | None = None

    @property
    def iou(self) -> float | None:
        """Overlap of mask and truth over their union, None where there is no truth or neither shows anything."""
        if self.mask is None or self.truth is None:
            return None
        drawn = self.mask > 0.5
        union = int((drawn | self.truth).sum())
        return float((drawn & self.truth).sum() / union) if union else None

    @property
    def hits(self) -> bool | None:
        """Whether it points into the structure that it is said to show, None where there is no truth (the pointing game)."""
        if self.truth is None:
            return None
        rows, columns = self.truth.shape
        return bool(self.truth[min(int(self.y * rows), rows - 1), min(int(self.x * columns), columns - 1)])

    def to_json(self) -> dict[str, Any]:
        """Every number but the mask's and truth's pixels, whose shares of the image stand for them."""
        found: dict[str, Any] = {"x": self.x, "y": self.y, "attention": self.attention.tolist()}
        if self.structure:
            found |= {"structure": self.structure, "probability": self.probability}
        if self.mask is not None:
            found["mask_share"] = float((self.mask > 0.5).mean())
        if self.truth is not None:
            found |= {"truth_share": float(self.truth.mean()), "iou": self.iou, "hits": self.hits}
        return found


@dataclass(frozen=True)
class SevenPoints:
    """The checklist over a case's criteria.

    Source: Coppola et al. 2020, Section 3; melanoma is said at τ or more

    Args:    criteria: criterion → (label that is said, points that it adds).
             truth: sum of the annotated labels' points, None where a label is not known.
    """

    criteria: Mapping[str, tuple[str, int]]
    truth: int | None = None

    @property
    def score(self) -> int:
        """Sum of the points, 0 to 10."""
        return sum(points for _, points in self.criteria.values())

    def to_json(self) -> dict[str, Any]:
        """Score, and what it is made of."""
        criteria = {name: {"label": label, "points": points} for name, (label, points) in self.criteria.items()}
        return {"score": self.score, "truth": self.truth, "criteria": criteria}


@dataclass(frozen=True)
class SeenCase:
    """One case as the network sees it.

    Args:    name: of its image.
             image: the part that the network sees, RGB.
             diagnosis: name of the task that is the diagnosis.
             probabilities: task → class → probability.
             truths: task → label, without the tasks of which none is known.
             gazes: first to last, empty for a network without attention.
             seven_points: where the tasks are the checklist's.
    """

    name: str
    image: UInt8[np.ndarray, "size size 3"]
    diagnosis: str
    probabilities: Mapping[str, Mapping[str, float]]
    truths: Mapping[str, str] = field(default_factory=dict)
    gazes: tuple[Gaze, ...] = ()
    seven_points: SevenPoints | None = None

    def said(self, task: str) -> str:
        """The most probable class of a task."""
        classes = self.probabilities[task]
        return max(classes, key=classes.__getitem__)

    def is_right(self, task: str) -> bool | None:
        """Whether what is said of a task is true, None where that is not known."""
        return None if task not in self.truths else self.said(task) == self.truths[task]

    def to_json(self) -> dict[str, Any]:
        """Every number of its picture."""
        found: dict[str, Any] = {
            "image": self.name,
            "diagnosis": self.diagnosis,
            "labels": {task: self.said(task) for task in self.probabilities},
            "probabilities": {task: dict(classes) for task, classes in self.probabilities.items()},
            "truths": dict(self.truths),
        }
        if self.gazes:
            found["gazes"] = [{"gaze": number, **gaze.to_json()} for number, gaze in enumerate(self.gazes, start=1)]
        if self.seven_points is not None:
            found["seven_points"] = self.seven_points.to_json()
        return found


@dataclass(frozen=True)
class Explanation:
    """What a checkpoint's pictures are drawn from.

    Args:    split: whose cases, "" for images that belong to none.
             num_cases: of that split.
             confusions: task → cases by truth (rows) and by what was said (columns); unknown labels are left out.
             sharing: of a gated network with learnt gates, else None.
             cases: some cases, as many kinds as there are.
             note: why there is less to show of the model than of others, a sentence; "" where there is not.
    """

    split: str
    num_cases: int
    confusions: Mapping[str, Confusions] = field(default_factory=dict)
    sharing: Sharing | None = None
    cases: tuple[SeenCase, ...] = ()
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """What is said of the model as a whole; cases have documents of their own."""
        found: dict[str, Any] = {"split": self.split, "num_cases": self.num_cases}
        if self.confusions:
            found["confusions"] = {
                task: {"classes": list(confusions.classes), "counts": matrix}
                for task, confusions in self.confusions.items()
                for matrix in confusions.matrices.values()
            }
        if self.sharing is not None:
            found["sharing"] = self.sharing.to_json()
        if self.note:
            found["note"] = self.note
        return found


def of_every_kind(labels: Int[np.ndarray, " members"], count: int) -> list[int]:
    """Positions of some cases, as many of each label as of every other while there are, the first ones of each.

    Args:    labels: code of each case, negative where it is not known: such come last.
             count: how many.
    """
    codes = sorted(set(labels.tolist()), key=lambda code: (code < 0, code))
    queues = [np.flatnonzero(labels == code).tolist() for code in codes]
    ranked = [(turn, order, position) for order, queue in enumerate(queues) for turn, position in enumerate(queue)]
    return sorted(position for _, _, position in sorted(ranked)[:count])
