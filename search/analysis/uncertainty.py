"""Intervals over cases and seeds: the analysis of multi-reader multi-case studies, with seeds in the place of readers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy import stats

from trainables.metric_ranges import Range

Interval = tuple[float, float]
#: With fewer, the spread over seeds is not known well enough for an interval that says anything.
MINIMUM_SEEDS = 3
ERROR = 0.05
#: Of what intervals that hold together are made from.
_DRAWS = 2**13


@dataclass(frozen=True)
class SeedRuns:
    """A metric of one configuration's runs.

    Args:    values: on each seed and fold.
             influences: one table for each fold: what each block of its cases contributes to the metric of each run, scaled so
                 that the squares of a row sum to the variance that the choice of cases gives to that run's metric
                 (`search.analysis.means.run_metrics`); no columns where there are no cases. Columns of two configurations are
                 the same cases.
    """

    values: Float[np.ndarray, "seeds folds"]
    influences: Sequence[Float[np.ndarray, "seeds blocks"]]

    @property
    def num_seeds(self) -> int:
        """Rows of `values`."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Over seeds and folds."""
        return float(self.values.mean())


@dataclass(frozen=True)
class _Estimate:
    """A mean, or a difference of two means, and what is known of its error.

    Args:    value: of the metric.
             influence: what each block of cases contributes to it.
             weights: configuration → factor of its mean in it.
             deviation: standard error over cases and seeds.
             freedom: with which that is known.
    """

    value: float
    influence: Float[np.ndarray, " blocks"]
    weights: Mapping[int, int]
    deviation: float
    freedom: float

    @property
    def is_known(self) -> bool:
        """Whether anything varied, and by how much is a number: one case alone leaves none."""
        return math.isfinite(self.deviation) and self.deviation > 0

    def reach(self, level: float) -> float:
        """Half the width of its interval at this two-sided error."""
        return float(stats.t.ppf(1 - level / 2, self.freedom)) * self.deviation


def _seeds(runs: SeedRuns) -> tuple[float, float, float]:
    """What seeds add to the variance of a mean: in all, of that what comes from these cases, and the freedom of it."""
    num_seeds, num_folds = runs.values.shape
    count = num_seeds * num_folds
    interaction = sum(float(table.var(0, ddof=1).sum()) for table in runs.influences) / (count * num_folds)
    return float(runs.values.var(0, ddof=1).mean()) / count, interaction, num_folds * (num_seeds - 1)


def _estimate(runs: Sequence[SeedRuns], weights: Mapping[int, int]) -> _Estimate:
    """A sum of means with its standard error.

    Cases and seeds each bring along what cases do to single seeds, so that it is taken off once; whichever of both is larger is
    the least that there can be.

    Source: Hillis 2007, "A comparison of denominator degrees of freedom methods for multiple observer ROC analysis", for
        variance and freedom; Dorfman, Berbaum, Metz 1992 for the jackknife over cases
    Deviations: the variance over seeds is each configuration's own, not pooled, since what is unstable must not look stable;
        the freedom of the cases' variance counts as well, from the influences' kurtosis.

    Args:    runs: of every configuration.
             weights: configuration → factor, 1 or -1.
    """
    value = sum(weight * runs[c].mean for c, weight in weights.items())
    parts = [
        weight * np.concatenate([table.mean(0) for table in runs[c].influences]) / len(runs[c].influences)
        for c, weight in weights.items()
    ]
    influence = np.sum(parts, axis=0)
    cases = float((influence**2).sum())
    kurtosis = float((influence**4).sum()) - cases**2 / max(len(influence), 1)
    seeds = [_seeds(runs[c]) for c in weights]
    of_seeds = sum(variance for variance, *_ in seeds)
    variance = max(cases + of_seeds - sum(interaction for _, interaction, _ in seeds), cases, of_seeds)
    shares = [own**2 / freedom for own, _, freedom in seeds]
    shares += [kurtosis / 2] if kurtosis > 1e-12 * cases**2 else []
    total = math.fsum(shares)
    deviation = math.sqrt(variance)
    if deviation < 1e-12 * sum(abs(runs[c].mean) for c in weights):  # rounding
        deviation = 0.0
    return _Estimate(value, influence, weights, deviation, variance**2 / total if total else math.inf)


def mean_intervals(runs: Sequence[SeedRuns], limits: Range, error: float = ERROR) -> list[Interval | None]:
    """Intervals of every configuration's mean over cases and seeds, within the metric's range, that hold together.

    Args:    runs: of every configuration, on the same cases.
             limits: what the metric can be.
             error: two-sided, of all of them together.
    Returns: for each configuration; None for fewer than three seeds, and where neither a seed nor a case changes anything.
    """
    known = {c: _estimate(runs, {c: 1}) for c, own in enumerate(runs) if own.num_seeds >= MINIMUM_SEEDS}
    known = {c: found for c, found in known.items() if found.is_known}
    level = simultaneous_level(list(known.values()), error)
    return [limits.interval(known[c].value, known[c].reach(level)) if c in known else None for c in range(len(runs))]


def difference_intervals(runs: Sequence[SeedRuns], other: int, limits: Range, error: float = ERROR) -> list[Interval | None]:
    """Intervals of every configuration's mean less that of one of them, over cases and seeds, that hold together.

    Cases are paired; seeds are not, since one seed draws other weights and batches in another configuration. That one may have
    been chosen for its mean, so that the differences of any two configurations hold together.

    Args:    runs: of every configuration, on the same cases.
             other: the one that the others are compared with.
             limits: what the metric can be.
             error: two-sided, of all of them together.
    Returns: for each configuration; None for the one itself, where either has fewer than three seeds, or where nothing
        changes anything.
    """
    known = [c for c, own in enumerate(runs) if own.num_seeds >= MINIMUM_SEEDS]
    pairs = [_estimate(runs, {one: 1, another: -1}) for one, another in combinations(known, 2)]
    pairs = [pair for pair in pairs if pair.is_known]
    level = simultaneous_level(pairs, error)
    found, width = list[Interval | None]([None] * len(runs)), limits.high - limits.low
    for pair in pairs:
        if other in pair.weights:
            (rival,) = set(pair.weights) - {other}
            reach, gap = pair.reach(level), pair.weights[rival] * pair.value
            found[rival] = max(gap - reach, -width), min(gap + reach, width)
    return found


def simultaneous_level(estimates: Sequence[_Estimate], error: float) -> float:
    """The error that each interval may have so that all of them hold together, given how they go together.

    Source: Hothorn, Bretz, Westfall 2008, "Simultaneous inference in general parametric models" (single-step)
    Deviations: the multivariate t distribution is drawn, always alike, with each estimate's own degrees of freedom.

    Args:    estimates: with an error above 0.
             error: of all together.
    """
    if len(estimates) < 2:
        return error
    generator = np.random.default_rng(0)
    configurations = sorted({c for estimate in estimates for c in estimate.weights})
    common = np.array([estimate.influence for estimate in estimates])
    # The variance that cases do not explain is the seeds': of each configuration apart.
    alone = np.array([[estimate.weights.get(c, 0) for c in configurations] for estimate in estimates], dtype=float)
    rest = np.array([max(e.deviation**2 - float((e.influence**2).sum()), 0.0) for e in estimates])
    alone *= np.sqrt(rest / (alone**2).sum(1))[:, None]
    factors = np.hstack([common, alone])
    root = np.linalg.cholesky(_correlation(factors) + 1e-9 * np.eye(len(estimates)))
    normal = generator.standard_normal((_DRAWS, len(estimates))) @ root.T
    freedoms = np.array([min(estimate.freedom, 1e6) for estimate in estimates])
    scaled = normal / np.sqrt(generator.chisquare(freedoms, normal.shape) / freedoms)
    least = np.min(2 * stats.t.sf(np.abs(scaled), freedoms), axis=1)
    return float(np.quantile(least, error))


def _correlation(factors: Float[np.ndarray, "estimates factors"]) -> Float[np.ndarray, "estimates estimates"]:
    rows = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    return np.asarray(rows @ rows.T)


def t_interval(values: Sequence[float] | Float[np.ndarray, " runs"], error: float = ERROR) -> Interval | None:
    """Student's interval of the mean of independent values; None for fewer than three.

    Args:    values: one a run.
             error: two-sided.
    """
    if len(values) < MINIMUM_SEEDS:
        return None
    mean, reach = float(np.mean(values)), float(stats.t.ppf(1 - error / 2, len(values) - 1) * stats.sem(values))
    return mean - reach, mean + reach
