"""Metrics of several resamples at once, each a row that says how often every case counts.

A row of ones is the cases themselves; 0 leaves a case out. Where a metric has no meaning in a resample, it is NaN.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, Num

#: Counts of cases → metrics by name, which are the same names for any counts.
Measure = Callable[[Int[np.ndarray, "resamples cases"]], Mapping[str, Float[np.ndarray, " resamples"]]]
#: Of resamples that are measured at once: their counts, and rows; a metric takes up to some hundred times as much memory.
_MOST_COUNTS, _MOST_ROWS = 100_000, 250


def once_each(num_cases: int) -> Int[np.ndarray, "1 cases"]:
    """The one resample that is the cases themselves."""
    return np.ones((1, num_cases), dtype=np.int64)


def of_all(measure: Measure, num_cases: int) -> dict[str, float]:
    """Metrics of all cases, once each; one that has no meaning is absent."""
    found = measure(once_each(num_cases))
    return {name: float(values[0]) for name, values in found.items() if not math.isnan(values[0])}


def chunks(num_resamples: int, num_cases: int) -> list[Int[np.ndarray, " chunk"]]:
    """Numbers of resamples, from 0, as many at once as keep what a metric computes below 100 MB."""
    step = max(1, min(_MOST_ROWS, _MOST_COUNTS // num_cases))
    return np.split(np.arange(num_resamples), range(step, num_resamples, step))


def measured(measure: Measure, counts: Iterable[Int[np.ndarray, "chunk cases"]]) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Metrics of resamples that come in chunks, one chunk or more."""
    parts = [measure(chunk) for chunk in counts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def numbers(
    counts: Int[np.ndarray, "resamples cases"], table: Bool[np.ndarray, "cases columns"] | Num[np.ndarray, "cases columns"]
) -> Float[np.ndarray, "resamples columns"]:
    """Sums over cases of a table of whole numbers, which are exact."""
    return np.asarray(counts.astype(float) @ table.astype(float, copy=False))


def sums(
    counts: Int[np.ndarray, "resamples cases"], table: Float[np.ndarray, "cases columns"]
) -> Float[np.ndarray, "resamples columns"]:
    """Sums over cases of any numbers. Not a product of BLAS, whose last bits hang on its threads."""
    return np.asarray(np.einsum("rc,cb->rb", counts.astype(float), table))


def ratio(part: Num[np.ndarray, "*shape"], whole: Num[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Quotient by whole numbers, NaN where they are 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def mean_of(values: Float[np.ndarray, "parts *shape"]) -> Float[np.ndarray, "*shape"]:
    """Mean over those that are not NaN; NaN where none is left. The same bits whatever lies beside."""
    defined = values == values
    # One part after another: numpy adds a single column in another order than several.
    total = functools.reduce(np.add, np.where(defined, values, 0.0))
    return ratio(total, defined.sum(0))
