"""The numbers behind a checkpoint's pictures: what it confuses, what tasks share, what it sees in a case and where it looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from trainables.evaluation import Confusions
from trainables.sharing import Sharing


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
class Attribution:
    """Where in an image the evidence lies for what is said of a task (see `trainables.attribution`).

    Args:    evidence: in each cell of a grid over the part of the image that the network sees, in log-odds: above 0 what speaks
                 for what is said, below 0 what speaks against it.
    """

    evidence: Float[np.ndarray, "rows columns"]

    @property
    def peak(self) -> tuple[float, float]:
        """Centre of the cell with the most that speaks for it, as shares of width and height from the upper left."""
        rows, columns = self.evidence.shape
        row, column = divmod(int(self.evidence.argmax()), columns)
        return (column + 0.5) / columns, (row + 0.5) / rows

    @property
    def half_in(self) -> float | None:
        """Smallest share of the image that holds half of what speaks for it: 0.5 where that lies everywhere alike; None where
        nothing does.
        """
        speaks_for = np.clip(self.evidence, 0.0, None)
        if not speaks_for.any():
            return None
        summed = np.cumsum(np.sort(speaks_for, axis=None)[::-1])
        return float((np.searchsorted(summed, 0.5 * summed[-1]) + 1) / summed.size)

    def within(self, mask: Bool[np.ndarray, "height width"]) -> float | None:
        """Share of what speaks for it where a mask is, by chance the mask's share of the image; None where nothing does.

        Args:    mask: of the part that the network sees, at a multiple of the grid's resolution.
        """
        (rows, columns), (height, width) = self.evidence.shape, mask.shape
        if height % rows or width % columns:
            raise ValueError(f"a mask must be a multiple of {rows} x {columns}; got {height} x {width}")
        cells = mask.reshape(rows, height // rows, columns, width // columns).mean((1, 3))
        speaks_for = np.clip(self.evidence, 0.0, None)
        return float((speaks_for * cells).sum() / speaks_for.sum()) if speaks_for.any() else None

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        x, y = self.peak
        return {
            "x": x,
            "y": y,
            "for": float(np.clip(self.evidence, 0.0, None).sum()),
            "against": float(-np.clip(self.evidence, None, 0.0).sum()),
            "half_in": self.half_in,
            "log_odds": np.round(self.evidence, 5).tolist(),
        }


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
             evidence: task → where it lies for what is said; empty for a network whose gazes show that.
    """

    name: str
    image: UInt8[np.ndarray, "size size 3"]
    diagnosis: str
    probabilities: Mapping[str, Mapping[str, float]]
    truths: Mapping[str, str] = field(default_factory=dict)
    gazes: tuple[Gaze, ...] = ()
    seven_points: SevenPoints | None = None
    evidence: Mapping[str, Attribution] = field(default_factory=dict)

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
        if self.evidence:
            found["evidence"] = {task: attribution.to_json() for task, attribution in self.evidence.items()}
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
