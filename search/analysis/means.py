"""Means of a metric over runs that differ in nothing but their seed, and what cases and seeds leave open of them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from search.analysis.uncertainty import SeedSpread, interval, within
from trainables.contract import Casewise

RESAMPLES = 500


def means_over_runs(groups: Sequence[Sequence[Casewise]], seed: int) -> list[dict[str, tuple[float, float, float]]]:
    """For each group: metric → mean over its runs and its 95 % interval over cases and runs.

    Runs on the same cases are resampled together. What a seed changes is pooled over the groups, each of which has few. Every
    metric is computed each time, so there are fewer resamples.

    Args:    groups: runs that differ in nothing but their seed; one or more each.
             seed: of the resampling.
    """
    generator = np.random.default_rng(seed)
    plain = [[run.measure(None) for run in runs] for runs in groups]
    found = []
    for runs, measured in zip(groups, plain, strict=True):
        names = [name for name in measured[0] if all(name in metrics for metrics in measured)]
        deviations = _over_cases(runs, measured, names, generator)
        result = {}
        for name in names:
            values = [metrics[name] for metrics in measured]
            mean = math.fsum(values) / len(values)
            result[name] = (mean, *interval(mean, deviations[name], _spread(plain, name, generator), len(values)))
        found.append(result)
    return found


def _over_cases(
    runs: Sequence[Casewise], plain: Sequence[Mapping[str, float]], names: Sequence[str], generator: np.random.Generator
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """What resamples of the cases take each metric's mean away from where it is."""
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(RESAMPLES // 5):
        cases = {size: generator.integers(0, size, size) for size in sorted({run.num_cases for run in runs})}
        measured = [run.measure(cases[run.num_cases]) for run in runs]
        for name in names:
            gaps = [found[name] - own[name] for found, own in zip(measured, plain, strict=True) if name in found]
            if gaps:
                drawn[name].append(math.fsum(gaps) / len(gaps))
    # A metric without meaning in every resample has no interval over cases.
    return {name: np.asarray(values or [0.0]) for name, values in drawn.items()}


def _spread(groups: Sequence[Sequence[Mapping[str, float]]], name: str, generator: np.random.Generator) -> SeedSpread | None:
    """What a fresh seed changes in a metric; None where no group has two runs that have it."""
    values = {index: {run: m[name] for run, m in enumerate(runs) if name in m} for index, runs in enumerate(groups)}
    residuals, freedom = within(values)
    return SeedSpread(residuals, freedom, generator) if freedom else None
