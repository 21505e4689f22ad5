"""How far a metric may be from what other cases would have given: intervals by resampling the cases that there are."""

import numpy as np
from jaxtyping import Float, Int

from trainables.counted import Measure, chunks, measured
from trainables.resampling import Resampling

#: Values of a metric that differ by no more are one value.
_ALIKE = 1e-12


def interval_of(values: Float[np.ndarray, " resamples"]) -> tuple[float, float] | None:
    """The middle 95 % of a metric's resamples, of those in which it has a meaning.

    There is none for what nearly every resample gives alike: a property of the network, or a metric of classes so well
    apart in these cases that they cannot say how far from it the truth may be. One without a width would say that it is certain.

    Args:    values: NaN where the metric has no meaning.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = (float(edge) for edge in np.percentile(known, (2.5, 97.5)))
    return (low, high) if high - low > _ALIKE else None


def bootstrap(
    num_cases: int,
    measure: Measure,
    *,
    groups: Int[np.ndarray, " cases"] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """95 % percentile intervals over resampled cases, or groups of them, of whatever can be measured on some of them.

    Args:    num_cases: to draw from, with repetition.
             measure: counts of cases → metrics; a resample in which one is NaN does not count for it.
             groups: code of each case's group, which are drawn whole; None where every case is its own.
             resamples: bootstrap samples.
             seed: of the resampling.
    Returns: metric → see `interval_of`, of those that have one.
    """
    generator, resampling = np.random.default_rng(seed), Resampling(num_cases, groups)
    drawn = (resampling.counts(generator, len(chunk)) for chunk in chunks(resamples, num_cases))
    found = measured(measure, drawn)
    edges = {name: interval_of(values) for name, values in found.items()}
    return {name: list(edge) for name, edge in edges.items() if edge is not None}
