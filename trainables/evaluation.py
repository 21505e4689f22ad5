"""What a checkpoint says of a split, and what that is worth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from trainables.counted import Measure


@dataclass(frozen=True)
class Confusions:
    """Confusion matrices over the same classes.

    Args:    classes: names of rows and columns.
             matrices: name → cases by truth (rows) and by what was said (columns).
    """

    classes: tuple[str, ...]
    matrices: Mapping[str, list[list[int]]]


@dataclass(frozen=True)
class CasePredictions:
    """What a checkpoint says of every case of a split for one task.

    Args:    task: its name.
             classes: names of the probabilities' columns.
             cases: each one's name.
             truths: class codes, -1 where a label is missing.
             probabilities: each row sums to 1.
             groups: whose each case is, "" where unknown; empty where nothing is known of any.
    """

    task: str
    classes: tuple[str, ...]
    cases: tuple[str, ...]
    truths: Int[np.ndarray, " cases"]
    probabilities: Float[np.ndarray, "cases classes"]
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint's metrics on one split.

    Args:    split: "train", "valid" or "test".
             num_cases: cases in it.
             metrics: full name → value.
             intervals: full name → 95 % bootstrap interval over cases, or over patients or lesions where the data name them;
                 none of what nearly every resample gives alike.
             confusions: what was confused with what, by name; empty where a task has nothing to show.
             predictions: of every case, a task each; for files, not part of the JSON document.
             units: what the intervals go over, in words.
    """

    split: str
    num_cases: int
    metrics: dict[str, float]
    intervals: dict[str, list[float]]
    confusions: dict[str, Confusions] = field(default_factory=dict)
    predictions: tuple[CasePredictions, ...] = ()
    units: str = "cases"

    @property
    def labelled(self) -> dict[str, int]:
        """Task → cases whose label is known: those that its metrics are over."""
        return {each.task: int((each.truths >= 0).sum()) for each in self.predictions}

    def to_json(self) -> dict[str, Any]:
        """The evaluation as JSON values; matrices stand under their own names, beside the classes of their rows."""
        document = {name: getattr(self, name) for name in ("split", "num_cases", "labelled", "metrics", "intervals", "units")}
        for name, found in self.confusions.items():
            document |= {name: dict(found.matrices), f"{name}_classes": list(found.classes)}
        return document


@dataclass(frozen=True)
class Casewise:
    """What a checkpoint says of every case of a split, ready to be measured on any of them.

    Args:    split: "train", "valid" or "test".
             num_cases: cases in it.
             measure: how often each case counts, a row each resample → full metric name → value in each, NaN where it has no
                 meaning; the same names for any counts.
             confusions: what was confused with what over all cases, by name.
             groups: code of each case's patient or lesion, for `trainables.resampling`; None where no two cases share one.
             units: what intervals go over, in words.
    """

    split: str
    num_cases: int
    measure: Measure
    confusions: Mapping[str, Confusions] = field(default_factory=dict)
    groups: Int[np.ndarray, " cases"] | None = None
    units: str = "cases"
