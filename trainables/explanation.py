"""The numbers behind a checkpoint's pictures: what it confuses, what its tasks share, where it looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from trainables.contract import Confusions


@dataclass(frozen=True)
class Sharing:
    """What tasks take from each other.

    Source: Coppola et al. 2020, Eq. 11 and Fig. 4

    Args:    tasks: names of rows, which take, and of columns, which give.
             blocks: sharing fraction in [0, 1], first block to last.
    """

    tasks: tuple[str, ...]
    blocks: Float[np.ndarray, "blocks takers givers"]


@dataclass(frozen=True)
class Gaze:
    """One timestep's look at an image.

    Args:    attention: map over the part of the image that the network sees; every value 0 or more.
             x, y: its highest point, as shares of that part's width and height from the upper left.
             structure: what its mask is said to show, "" without a decoder.
             probability: of that, 0 without a decoder.
    """

    attention: Float[np.ndarray, "rows columns"]
    x: float
    y: float
    structure: str = ""
    probability: float = 0.0


@dataclass(frozen=True)
class SeenCase:
    """One case as the network sees it.

    Args:    name: of its image.
             image: the part that the network sees, RGB.
             truth, said: labels of the diagnosis.
             probability: of what is said.
             gazes: first to last.
    """

    name: str
    image: UInt8[np.ndarray, "size size 3"]
    truth: str
    said: str
    probability: float
    gazes: tuple[Gaze, ...]


@dataclass(frozen=True)
class Explanation:
    """What a checkpoint's pictures are drawn from.

    Args:    split: whose cases.
             num_cases: of that split.
             confusions: task → cases by truth (rows) and by what was said (columns); unknown labels are left out.
             sharing: of a gated network with learnt gates, else None.
             cases: some cases, as many kinds as there are; empty where the network has no attention.
    """

    split: str
    num_cases: int
    confusions: Mapping[str, Confusions] = field(default_factory=dict)
    sharing: Sharing | None = None
    cases: tuple[SeenCase, ...] = ()
