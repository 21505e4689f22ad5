"""Means of a metric over runs that differ in nothing but their seed, and what cases and seeds leave open of them."""

import math
from collections.abc import Sequence

import numpy as np

from search.analysis.uncertainty import SeedSpread, interval
from trainables.contract import Casewise

RESAMPLES = 500


def means_over_runs(runs: Sequence[Casewise], seed: int) -> dict[str, tuple[float, float, float]]:
    """Metric → mean over runs and its 95 % interval over cases and runs.

    Runs on the same cases are resampled together. Every metric is computed each time, so there are fewer resamples.
    """
    generator = np.random.default_rng(seed)
    plain = [run.measure(None) for run in runs]
    names = [name for name in plain[0] if all(name in metrics for metrics in plain)]
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(RESAMPLES // 5):
        cases = {size: generator.integers(0, size, size) for size in sorted({run.num_cases for run in runs})}
        measured = [run.measure(cases[run.num_cases]) for run in runs]
        for name in names:
            gaps = [found[name] - own[name] for found, own in zip(measured, plain, strict=True) if name in found]
            if gaps:
                drawn[name].append(math.fsum(gaps) / len(gaps))
    result = {}
    for name in names:
        values = [metrics[name] for metrics in plain]
        mean = math.fsum(values) / len(values)
        spread = SeedSpread([value - mean for value in values], len(values) - 1, generator)
        result[name] = (mean, *interval(mean, np.asarray(drawn[name]), spread, len(values)))
    return result
