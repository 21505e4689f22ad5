"""Intervals over cases and seeds, against hand calculation, an ANOVA written plainly, and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from search.analysis.uncertainty import SeedRuns, difference_intervals, mean_intervals, t_interval
from trainables.metric_ranges import SHARE, Range, range_of

FREE = Range()


def _of_seeds(*values: float) -> SeedRuns:
    """Runs of a metric that no case enters."""
    return SeedRuns(np.array(values)[:, None], [np.zeros((len(values), 0))])


def _of_scores(scores: np.ndarray) -> SeedRuns:
    """Runs of a metric that is the mean of a score of each case (seeds × cases), with its jackknife."""
    num = scores.shape[1]
    without = (scores.sum(1, keepdims=True) - scores) / (num - 1)
    influences = (without - without.mean(1, keepdims=True)) * math.sqrt((num - 1) / num)
    return SeedRuns(scores.mean(1)[:, None], [influences])


def test_without_cases_a_mean_has_students_interval() -> None:
    values = (0.2, 0.5, 0.4, 0.9)
    assert mean_intervals([_of_seeds(*values)], FREE) == [pytest.approx(stats.t.interval(0.95, 3, 0.5, stats.sem(values)))]
    assert t_interval(values) == pytest.approx(stats.t.interval(0.95, 3, 0.5, stats.sem(values)))


def test_without_cases_a_difference_has_welchs_interval() -> None:
    one, other = (0.2, 0.5, 0.4, 0.9), (0.1, 0.2, 0.1)
    found, itself = difference_intervals([_of_seeds(*one), _of_seeds(*other)], 1, FREE)
    assert found == pytest.approx(tuple(stats.ttest_ind(one, other, equal_var=False).confidence_interval()))
    assert itself is None


@pytest.mark.parametrize("values", [(), (0.5,), (0.5, 0.6)])
def test_fewer_than_three_seeds_say_nothing(values: tuple[float, ...]) -> None:
    few, many = _of_seeds(*values), _of_seeds(0.1, 0.2, 0.4)
    assert mean_intervals([few, many], FREE)[0] is None
    assert mean_intervals([few, many], FREE)[1] == mean_intervals([many], FREE)[0]
    assert difference_intervals([few, many], 1, FREE) == [None, None]
    assert difference_intervals([few, many], 0, FREE) == [None, None]
    assert t_interval(values) is None


def test_what_never_changes_has_no_interval() -> None:
    assert mean_intervals([_of_seeds(0.5, 0.5, 0.5)], SHARE) == [None]
    assert difference_intervals([_of_seeds(0.5, 0.5, 0.5), _of_seeds(0.4, 0.4, 0.4)], 0, SHARE) == [None, None]


def test_variance_and_freedom_are_those_of_a_two_way_analysis() -> None:
    """Mean squares of seeds, cases and their interaction, written plainly, for a metric that is a mean over cases.

    Variance of the grand mean: (MS_cases + MS_seeds - MS_interaction) / (seeds · cases). Where the interaction is larger than the
    seeds' mean square allows, the larger of the two parts is the least.
    """
    generator = np.random.default_rng(3)
    seeds, cases = 4, 30
    scores = (
        0.5 + generator.normal(0, 0.3, cases) + generator.normal(0, 0.2, (seeds, 1)) + generator.normal(0, 0.1, (seeds, cases))
    )
    grand, by_seed, by_case = scores.mean(), scores.mean(1), scores.mean(0)
    residuals = scores - by_seed[:, None] - by_case + grand
    of_seeds = cases * ((by_seed - grand) ** 2).sum() / (seeds - 1)
    of_cases = seeds * ((by_case - grand) ** 2).sum() / (cases - 1)
    of_both = (residuals**2).sum() / ((seeds - 1) * (cases - 1))
    variance = (of_cases + of_seeds - of_both) / (seeds * cases)
    deviations = (by_case - grand) / cases
    of_case_part = of_cases / (seeds * cases)
    assert ((deviations**2).sum() * cases / (cases - 1)) == pytest.approx(of_case_part)
    kurtosis = ((deviations**4).sum() * (cases / (cases - 1)) ** 2 - of_case_part**2 / cases) / 2
    freedom = variance**2 / ((of_seeds / (seeds * cases)) ** 2 / (seeds - 1) + kurtosis)
    reach = float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
    assert mean_intervals([_of_scores(scores)], FREE) == [pytest.approx((grand - reach, grand + reach))]


def test_paired_cases_cancel_and_seeds_do_not() -> None:
    """The same luck of the cases in both leaves the difference to the seeds: Welch's interval again."""
    generator = np.random.default_rng(4)
    luck = generator.normal(0, 5, 40)
    seeds = [generator.normal(0, 0.1, 4), generator.normal(0.3, 0.1, 4)]
    one, other = (_of_scores(luck + of[:, None]) for of in seeds)
    found, _ = difference_intervals([one, other], 1, FREE)
    assert found == pytest.approx(tuple(stats.ttest_ind(*seeds, equal_var=False).confidence_interval()), abs=1e-6)
    alone = mean_intervals([one], FREE)[0]
    assert alone is not None
    assert alone[1] - alone[0] > 2, "each mean alone hangs on the cases"


def test_folds_are_cases_of_their_own_and_count_alike() -> None:
    """Two folds of the same scores: the mean is the same, the variance over cases half."""
    generator = np.random.default_rng(5)
    runs = _of_scores(generator.normal(0, 1, 50) + np.zeros((3, 1)))
    twice = SeedRuns(np.hstack([runs.values, runs.values]), [*runs.influences, *runs.influences])
    (once,), (both,) = mean_intervals([runs], FREE), mean_intervals([twice], FREE)
    assert once is not None
    assert both is not None
    assert (both[1] - both[0]) / (once[1] - once[0]) == pytest.approx(1 / math.sqrt(2), rel=0.02)


def test_intervals_that_hold_together_are_those_of_the_studentised_range() -> None:
    """Four configurations that differ in seeds alone, with so many that freedom is no matter: Tukey's factor."""
    values = np.random.default_rng(6).normal(0, 1, 400)
    values = (values - values.mean()) / values.std(ddof=1)
    runs = [_of_seeds(*values + shift) for shift in (0.0, 0.1, 0.2, 0.3)]
    found = difference_intervals(runs, 3, FREE)
    factor = float(stats.studentized_range.ppf(0.95, 4, 1500)) / math.sqrt(2)
    for gap, shift in zip(found[:3], (-0.3, -0.2, -0.1), strict=True):
        assert gap == pytest.approx((shift - factor * math.sqrt(2 / 400), shift + factor * math.sqrt(2 / 400)), abs=0.01)
    means = mean_intervals(runs, FREE)
    reach = float(stats.norm.ppf(0.5 + 0.95**0.25 / 2)) / 20
    assert means[0] == pytest.approx((-reach, reach), abs=0.004), "Šidák's, since they are independent"


def test_means_that_go_together_pay_for_one() -> None:
    """Five configurations that are right and wrong on the same cases have five times the same interval."""
    scores = np.random.default_rng(7).normal(0, 1, 300) + np.zeros((3, 1)) + 1e-6 * np.arange(3)[:, None]
    alone, together = mean_intervals([_of_scores(scores)], FREE)[0], mean_intervals([_of_scores(scores)] * 5, FREE)[0]
    assert together == pytest.approx(alone, abs=0.01)


@pytest.mark.parametrize("mean", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("reach", [0.0, 0.01, 0.3, 1e3])
def test_an_interval_stays_within_its_range_and_around_its_mean(mean: float, reach: float) -> None:
    low, high = SHARE.interval(mean, reach)
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    odds = [math.log(p / (1 - p)) for p in (low, mean, high) if 0 < p < 1]
    if len(odds) == 3:
        assert odds[2] - odds[1] == pytest.approx(odds[1] - odds[0], rel=1e-2)


def test_ranges_by_hand() -> None:
    assert Range(0.0, 1.0).interval(0.5, 0.25) == pytest.approx((1 / (1 + math.e), 1 / (1 + 1 / math.e)))
    assert Range(0.0).interval(2.0, 2.0) == pytest.approx((2 / math.e, 2 * math.e)), "logarithms above one limit"
    assert Range().interval(-3.0, 4.0) == (-7.0, 1.0)
    assert SHARE.interval(1.0, 0.1) == (0.9, 1.0), "a mean at the limit has no log-odds"
    assert SHARE.interval(0.0, 0.1) == (0.0, 0.1)
    assert SHARE.interval(5.0, 0.3) == (4.7, 5.3), "no share at all: its range is not this one"
    assert [range_of(name) for name in ("valid/auroc_mean", "valid/loss", "valid/height")] == [SHARE, Range(0.0), Range()]


def test_an_interval_is_about_as_wide_on_every_scale_when_it_is_narrow() -> None:
    assert SHARE.interval(0.8, 0.001) == pytest.approx((0.799, 0.801), abs=1e-5)
    assert Range(0.0).interval(0.8, 0.001) == pytest.approx((0.799, 0.801), abs=1e-5)


def test_intervals_hold_what_they_promise() -> None:
    """Three configurations that differ by nothing; what cases and seeds do is drawn: 95 in 100 hold the truth, together."""
    num_seeds, repeats = 3, 150
    generator, held = np.random.default_rng(0), np.zeros(2)
    for _ in range(repeats):
        luck, runs = generator.normal(0, 0.3, 60), []
        for _ in range(3):
            own, seeds = generator.normal(0, 0.3, 60), generator.normal(0, 0.05, (num_seeds, 1))
            runs.append(_of_scores(luck + own + seeds + generator.normal(0, 0.2, (num_seeds, 60))))
        winner = int(np.argmax([of.mean for of in runs]))
        means, gaps = mean_intervals(runs, FREE), difference_intervals(runs, winner, FREE)
        held += [all(i is not None and i[0] <= 0 <= i[1] for i in means), all(g is None or g[0] <= 0 <= g[1] for g in gaps)]
    assert np.all(held / repeats > 0.92)
    assert np.all(held / repeats < 0.99)
