"""Means of metrics over runs that differ in nothing but their seed (and fold), and what cases and seeds leave open of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from search.analysis.uncertainty import Interval, SeedRuns, mean_intervals
from trainables.counted import chunks, measured, of_all
from trainables.evaluation import Casewise
from trainables.metric_ranges import range_of

#: More cases than this are left out in blocks.
MAX_BLOCKS = 200
Mean = tuple[float, Interval | None]


@dataclass(frozen=True)
class RunMetrics:
    """One run's metrics, and what each block of cases contributes to each.

    Args:    values: full metric name → value.
             influences: full metric name → contribution of each block, see `SeedRuns`.
             units: what the blocks are made of, in words.
    """

    values: Mapping[str, float]
    influences: Mapping[str, Float[np.ndarray, " blocks"]]
    units: str = "cases"


def run_metrics(cases: Casewise) -> RunMetrics:
    """A run's metrics with a jackknife over its cases: everything is computed once without each block.

    A block is one patient or lesion (one case where groups are not known), or several where there are more than 200. A metric
    that a block leaves without meaning (its class was in no other case) is taken to be unchanged by it.

    Args:    cases: what the run's checkpoint says of each.
    """
    values = of_all(cases.measure, cases.num_cases)
    blocks = _blocks(cases)
    if not blocks.any():  # what other cases would have given cannot be known from a single one
        return RunMetrics(values, {name: np.full(1, np.nan) for name in values})
    left_out = chunks(int(blocks.max()) + 1, cases.num_cases)
    without = measured(cases.measure, ((chunk[:, None] != blocks).astype(np.int64) for chunk in left_out))
    influences = {}
    for name, value in values.items():
        found = np.where(np.isnan(without[name]), value, without[name])
        influences[name] = (found - found.mean()) * math.sqrt((len(found) - 1) / len(found))
    return RunMetrics(values, influences, cases.units)


def _blocks(cases: Casewise) -> Int[np.ndarray, " cases"]:
    """Which block each case is left out with; the same for every run on these cases."""
    groups = np.arange(cases.num_cases) if cases.groups is None else np.unique(cases.groups, return_inverse=True)[1]
    num_groups = int(groups.max()) + 1
    order = np.random.default_rng(0).permutation(num_groups)
    return np.asarray((order % min(num_groups, MAX_BLOCKS))[groups])


def seed_runs(runs: Sequence[Sequence[RunMetrics]], metric: str) -> SeedRuns:
    """A metric of a configuration's runs.

    Args:    runs: seeds × folds, perhaps none.
             metric: that all of them have.
    """
    num_folds = len(runs[0]) if runs else 0
    values = np.array([[run.values[metric] for run in folds] for folds in runs]).reshape(len(runs), num_folds)
    return SeedRuns(values, [np.array([folds[fold].influences[metric] for folds in runs]) for fold in range(num_folds)])


def averaged(runs: Sequence[RunMetrics]) -> RunMetrics:
    """The mean of several runs on the same cases as if it were one run's.

    Args:    runs: one or more.
    """
    names = [name for name in runs[0].values if all(name in run.values for run in runs)]
    return RunMetrics(
        {name: float(np.mean([run.values[name] for run in runs])) for name in names},
        {name: np.mean([run.influences[name] for run in runs], axis=0) for name in names},
    )


def means_over_runs(configurations: Sequence[Sequence[Sequence[RunMetrics]]]) -> list[dict[str, Mean]]:
    """For each configuration: metric → mean over its runs and its interval over cases and seeds, None for fewer than three.

    A metric's intervals hold together over the configurations: pass one alone for intervals each by itself.

    Args:    configurations: configurations × seeds × folds.
    """
    flat = [[run for folds in runs for run in folds] for runs in configurations]
    every = [run for runs in flat for run in runs]
    names = [name for name in every[0].values if all(name in run.values for run in every)] if every else []
    found: list[dict[str, Mean]] = [{} for _ in configurations]
    for name in names:
        own = [seed_runs(runs, name) for runs in configurations]
        for means, of, interval in zip(found, own, mean_intervals(own, range_of(name)), strict=True):
            if of.num_seeds:
                means[name] = (of.mean, interval)
    return found
