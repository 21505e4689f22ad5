"""Intervals over few seeds and some cases: bootstrap for the cases, pooled residuals for the seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

Interval = tuple[float, float]
#: Draws of seeds for each draw of cases.
_SEED_DRAWS = 8


class SeedSpread:
    """What a fresh seed changes, from residuals pooled over configurations.

    Few seeds of each configuration are not enough to resample: the spread of three values is known within a factor of two.
    So residuals of all configurations are pooled, drawn with replacement, widened for the means that they were taken from,
    and scaled by a draw of how wrong their own spread may be (a chi-square with their degrees of freedom: the tails are
    those of Student's t).

    Args:    residuals: values less what does not come from the seed.
             freedom: independent ones among them, 1 or more.
             generator: draws.
    """

    def __init__(self, residuals: Sequence[float], freedom: int, generator: np.random.Generator) -> None:
        self._residuals = np.asarray(residuals, dtype=float) * np.sqrt(len(residuals) / freedom)
        self._freedom, self._generator = freedom, generator

    def of_mean(self, count: int, draws: int) -> Float[np.ndarray, " draws"]:
        """Deviations of a mean over so many seeds."""
        picked = self._generator.choice(self._residuals, (draws, count)).mean(1)
        return np.asarray(picked / np.sqrt(self._generator.chisquare(self._freedom, draws) / self._freedom))


def interval(
    centre: float, case_deviations: Float[np.ndarray, " resamples"], spread: SeedSpread | None, count: int, error: float = 0.05
) -> Interval:
    """Percentile interval of a mean over cases and seeds.

    Args:    centre: the mean.
             case_deviations: what each resample of the cases takes it away from there; zeros where there are no cases.
             spread: of single seeds, None where there is one only and the interval is over cases alone.
             count: seeds in the mean.
             error: two-sided.
    """
    cases = np.repeat(case_deviations, _SEED_DRAWS)
    drawn = centre + cases + (0.0 if spread is None else spread.of_mean(count, len(cases)))
    low, high = np.percentile(drawn, (50 * error, 100 - 50 * error))
    return float(low), float(high)


def t_interval(values: Sequence[float] | Float[np.ndarray, " runs"], error: float = 0.05) -> Interval | None:
    """Student's interval of the mean of independent values; None for fewer than two.

    Args:    values: one a run.
             error: two-sided.
    """
    if len(values) < 2:
        return None
    mean, reach = float(np.mean(values)), float(stats.t.ppf(1 - error / 2, len(values) - 1) * stats.sem(values))
    return mean - reach, mean + reach


def within(values: Mapping[int, Mapping[int, float]]) -> tuple[list[float], int]:
    """Residuals of each configuration's values around its mean, and their degrees of freedom.

    Args:    values: configuration → block → value.
    """
    groups = [list(blocks.values()) for blocks in values.values() if len(blocks) > 1]
    residuals = [value - float(np.mean(group)) for group in groups for value in group]
    return residuals, sum(len(group) - 1 for group in groups)


def crossed(values: Mapping[int, Mapping[int, float]], blocks: Sequence[int]) -> tuple[list[float], int]:
    """Residuals of configuration and block among the configurations that ran on all these blocks, and their freedom.

    What a block does to all alike is taken out: this is the spread that paired differences have.
    """
    rows = [[ran[block] for block in blocks] for ran in values.values() if all(block in ran for block in blocks)]
    table = np.asarray(rows)
    residuals = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    return residuals.ravel().tolist(), (len(rows) - 1) * (len(blocks) - 1)
