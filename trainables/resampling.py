"""Cases drawn again for a bootstrap: those of one patient or lesion are alike, so that they are drawn together."""

import numpy as np
from jaxtyping import Int


class Resampling:
    """Draws cases with repetition, or whole groups of them.

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
        self.num_cases = num_cases
        self._order: Int[np.ndarray, " cases"] | None = None
        if groups is not None:
            _, codes, self._sizes = np.unique(groups, return_inverse=True, return_counts=True)
            self._order = np.argsort(codes, kind="stable")
            self._starts = np.cumsum(self._sizes) - self._sizes

    @property
    def num_groups(self) -> int:
        """What is drawn from: groups, or cases where each is its own."""
        return self.num_cases if self._order is None else len(self._sizes)

    def draw(self, generator: np.random.Generator) -> Int[np.ndarray, " chosen"]:
        """Indices of the cases of one sample, group by group in the order in which they were drawn."""
        drawn = generator.integers(0, self.num_groups, self.num_groups)
        if self._order is None:
            return drawn
        sizes = self._sizes[drawn]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.asarray(self._order[np.repeat(self._starts[drawn], sizes) + within])
