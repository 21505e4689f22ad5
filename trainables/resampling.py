"""Cases drawn again for a bootstrap: those of one patient or lesion are alike, so that they are drawn together."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def group_codes(groups: Sequence[str]) -> Int[np.ndarray, " cases"] | None:
    """A number for each case's group, a case without one being its own; None where no two share one.

    Args:    groups: names, "" where unknown.
    """
    numbers: dict[tuple[str, str | int], int] = {}
    keys = [("group", group) if group else ("case", place) for place, group in enumerate(groups)]
    codes = [numbers.setdefault(key, len(numbers)) for key in keys]
    return np.array(codes, dtype=np.int64) if len(numbers) < len(codes) else None


class Resampling:
    """Draws cases with repetition, or whole groups of them, as many as there are (`num_groups`).

    Source: Davison & Hinkley 1997, Section 3.8 (the cluster bootstrap: groups are drawn, their members are taken as they are)
    Deviations: none; a sample has as many groups as there are, so its number of cases varies where groups differ in size.

    Args:    num_cases: to draw from, 1 or more.
             groups: code of each case's group, any whole numbers; None where every case is a group of its own.
    Raises:  ValueError: when there is no case, or not one code for each.
    """

    def __init__(self, num_cases: int, groups: Int[np.ndarray, " cases"] | None = None) -> None:
        if num_cases < 1:
            raise ValueError(f"num_cases must be 1 or more; got {num_cases}")
        if groups is not None and len(groups) != num_cases:
            raise ValueError(f"groups must have a code for each of {num_cases} cases; got {len(groups)}")
        self._group = np.arange(num_cases) if groups is None else np.unique(groups, return_inverse=True)[1]
        self.num_groups = int(self._group.max()) + 1

    def counts(self, generator: np.random.Generator, num_samples: int) -> Int[np.ndarray, "samples cases"]:
        """How often each case is in each of several samples, which are the same whether they are drawn at once or one by one."""
        drawn = generator.integers(0, self.num_groups, (num_samples, self.num_groups))
        drawn += np.arange(num_samples)[:, None] * self.num_groups
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        return np.asarray(times[:, self._group])
