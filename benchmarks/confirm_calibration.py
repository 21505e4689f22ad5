"""Is a confirmation's verdict true as often as it says? Simulated confirmations, read by the code that reads real ones.

Each run is a classifier of a binormal model (Roe & Metz 1997, with seeds for readers): a melanoma scores higher than the rest by
a gap that its configuration and its seed decide; what a case does to all runs, to all of a configuration and to one run is drawn
apart. The true AUROC over all cases and seeds is known in closed form. Spreads are such that an AUROC of .85 varies by about .03
with the cases and .02 with the seeds, as in the issue that asked.

    python benchmarks/confirm_calibration.py [--repeats 200] [--jobs 2]

Prints a row for each setting and at last whether the bars hold: a configuration that is as good is called worse in at most 5 % of
confirmations, and printed intervals (those of the means together, those of the differences together, each metric of the test
split by itself) hold the truth in 93 to 97 %.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from search.analysis.confirmation import error_of
from search.analysis.uncertainty import SeedRuns, difference_intervals, mean_intervals
from search.strategy.confirmation_controller import looks, out_of_race
from trainables.metric_ranges import SHARE

PREVALENCE, GAP = 0.2, 1.466  # an AUROC of .85
#: Variances of what a case does to all runs, to a configuration's and to one.
CASE, CASE_AND_CONFIGURATION, CASE_AND_RUN = 0.5, 0.2, 0.3
SEED_DEVIATION = 0.12
#: How much worse each next configuration is where they differ.
STEP = 0.3


@dataclass(frozen=True)
class Setting:
    """One kind of confirmation.

    Args:    num_configurations, num_seeds, num_cases, num_folds: of it.
             rivals: "equal", "unequal seeds" (equal means, one configuration far less stable than the others), or "differ".
    """

    num_configurations: int
    num_seeds: int
    num_cases: int
    num_folds: int
    rivals: str

    @property
    def gaps(self) -> list[float]:
        """Of each configuration."""
        step = STEP if self.rivals == "differ" else 0.0
        return [GAP - step * index for index in range(self.num_configurations)]

    @property
    def deviations(self) -> list[float]:
        """Of the gap over seeds, for each configuration."""
        unstable = 3 * SEED_DEVIATION if self.rivals == "unequal seeds" else SEED_DEVIATION
        return [unstable] + [SEED_DEVIATION] * (self.num_configurations - 1)

    @property
    def truths(self) -> list[float]:
        """The AUROC of each configuration over all cases and seeds."""
        pairs = zip(self.gaps, self.deviations, strict=True)
        return [float(stats.norm.cdf(gap / math.sqrt(2 + deviation**2))) for gap, deviation in pairs]


def auroc_and_influences(scores: np.ndarray, positive: np.ndarray) -> tuple[float, np.ndarray]:
    """The AUROC and the jackknife that `search.analysis.means.run_metrics` makes of it, computed at once."""
    above = scores[positive][:, None] > scores[~positive][None, :]
    num_positive, num_negative = above.shape
    total = above.sum()
    without = np.empty(len(scores))
    without[positive] = (total - above.sum(1)) / ((num_positive - 1) * num_negative)
    without[~positive] = (total - above.sum(0)) / (num_positive * (num_negative - 1))
    num = len(scores)
    return total / (num_positive * num_negative), (without - without.mean()) * math.sqrt((num - 1) / num)


def simulated(setting: Setting, seed_gaps: np.ndarray, num_cases: int, generator: np.random.Generator) -> list[SeedRuns]:
    """Every configuration's runs on fresh cases.

    Args:    seed_gaps: configurations × seeds × folds, what training made of each run.
             num_cases: in all folds together.
    """
    num_configurations, num_seeds, num_folds = seed_gaps.shape
    values, tables = np.empty(seed_gaps.shape), []
    for fold in range(num_folds):
        size = num_cases // num_folds
        drawn = generator.binomial(size, PREVALENCE) if num_folds == 1 else round(size * PREVALENCE)  # folds are stratified
        positive = np.arange(size) < min(max(drawn, 2), size - 2)
        of_case = generator.normal(0, math.sqrt(CASE), size)
        influences = np.empty((num_configurations, num_seeds, size))
        for c in range(num_configurations):
            of_configuration = of_case + generator.normal(0, math.sqrt(CASE_AND_CONFIGURATION), size)
            for s in range(num_seeds):
                noise = generator.normal(0, math.sqrt(CASE_AND_RUN), size)
                scores = positive * seed_gaps[c, s, fold] + of_configuration + noise
                values[c, s, fold], influences[c, s] = auroc_and_influences(scores, positive)
        tables.append(influences)
    return [SeedRuns(values[c], [table[c] for table in tables]) for c in range(num_configurations)]


def raced(setting: Setting, runs: Sequence[SeedRuns]) -> list[SeedRuns]:
    """The runs that a race would have made: those of a dropped configuration end where it was dropped."""
    standing, kept = set(range(len(runs))), list(runs)
    for seeds in looks(setting.num_seeds):
        gains = {c: dict(enumerate(runs[c].values[:seeds].ravel())) for c in standing}
        lost = out_of_race(gains, standing, len(looks(setting.num_seeds)))
        for c in lost:
            kept[c] = SeedRuns(runs[c].values[:seeds], [table[:seeds] for table in runs[c].influences])
        standing -= lost
    return kept


@dataclass(frozen=True)
class Seen:
    """What one simulated confirmation said.

    Args:    equal_called_worse: whether a configuration that is no worse than the winner was said to be.
             means, differences: whether all intervals of the kind hold the truth; None where there are none.
             single: share of the means' intervals that would hold it each by itself at 95 %.
             test: whether the winner's interval on the test split holds it; None as well.
             worse: share of the configurations that are worse than the winner of which it was said.
             plain_worse: the same by a paired t-test over the seeds, Bonferroni for the rivals, without a race.
             plain_equal: whether that test calls one worse that is not.
             wrong_winner: whether the winner is not the best.
             num_dropped: configurations that ran on fewer seeds.
    """

    equal_called_worse: bool
    means: bool | None
    differences: bool | None
    single: float | None
    test: bool | None
    worse: float | None
    plain_worse: float | None
    plain_equal: bool
    wrong_winner: bool
    num_dropped: int


def confirmation(setting: Setting, generator: np.random.Generator) -> Seen:
    """One confirmation, simulated and read."""
    shape = (setting.num_configurations, setting.num_seeds, setting.num_folds)
    deviations = np.array(setting.deviations)[:, None, None]
    gaps = np.array(setting.gaps)[:, None, None] + deviations * generator.normal(size=shape)
    every = simulated(setting, gaps, setting.num_cases, generator)
    runs, truths, total = raced(setting, every), setting.truths, setting.num_configurations
    whole = [c for c in range(total) if runs[c].num_seeds == setting.num_seeds]
    winner = max(whole, key=lambda c: runs[c].mean)
    means = mean_intervals(runs, SHARE)
    single = [mean_intervals([of], SHARE)[0] for of in every]
    rivals = [c for c in range(total) if c != winner]
    gaps_of = difference_intervals(runs, winner, SHARE, error_of(setting.num_seeds))
    truly_worse = {c for c in rivals if truths[c] < truths[winner] - 1e-12}
    said_worse = {c for c in rivals if (gap := gaps_of[c]) is not None and gap[1] < 0}
    tests = {c: float(stats.ttest_rel(every[c].values.mean(1), every[winner].values.mean(1)).pvalue) for c in rivals}
    plain = {c for c in rivals if tests[c] < 0.05 / len(rivals) and every[c].mean < every[winner].mean}
    # On the test split every run counts as a seed, whatever fold it was trained on.
    flat = gaps[winner : winner + 1].reshape(1, -1, 1)
    tested = simulated(setting, flat, max(setting.num_cases, 100), generator)[0]
    on_test = mean_intervals([tested], SHARE)[0]
    return Seen(
        equal_called_worse=bool(said_worse - truly_worse),
        means=_all_hold(means, truths),
        differences=_all_hold([gaps_of[c] for c in rivals], [truths[c] - truths[winner] for c in rivals]),
        single=None if single[0] is None else float(np.mean([_holds(i, t) for i, t in zip(single, truths, strict=True)])),
        test=None if on_test is None else _holds(on_test, truths[winner]),
        worse=len(said_worse & truly_worse) / len(truly_worse) if truly_worse else None,
        plain_worse=len(plain & truly_worse) / len(truly_worse) if truly_worse else None,
        plain_equal=bool(plain - truly_worse),
        wrong_winner=truths[winner] < max(truths) - 1e-12,
        num_dropped=total - len(whole),
    )


def _holds(interval: tuple[float, float] | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def _all_hold(intervals: Sequence[tuple[float, float] | None], truths: Sequence[float]) -> bool | None:
    if any(interval is None for interval in intervals):
        return None
    return all(_holds(interval, truth) for interval, truth in zip(intervals, truths, strict=True))


def _cell(task: tuple[Setting, int, int]) -> list[Seen]:
    setting, repeats, seed = task
    generator = np.random.default_rng(seed)
    return [confirmation(setting, generator) for _ in range(repeats)]


def settings() -> Iterator[Setting]:
    """Every kind that is simulated."""
    for rivals, k, s in itertools.product(("equal", "unequal seeds", "differ"), (2, 3, 5), (2, 3, 5, 10)):
        for cases, folds in ((80, 1), (200, 1), (400, 1), (80, 5), (400, 5)):
            yield Setting(k, s, cases, folds, rivals)


def _share(seen: Sequence[Seen], name: str) -> float:
    values = [value for one in seen if (value := getattr(one, name)) is not None]
    return float(np.mean(values)) if values else math.nan


COLUMNS = ("equal_called_worse", "means", "differences", "single", "test", "worse", "plain_worse", "plain_equal", "num_dropped")


def main() -> int:
    """Simulates, prints a row for each setting and the bars at last; 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200, help="confirmations of each setting")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--most-seeds", type=int, default=10, help="no settings of more seeds")
    chosen = parser.parse_args()
    every = [setting for setting in settings() if setting.num_seeds <= chosen.most_seeds]
    print("rivals          K  S cases folds  " + "  ".join(f"{name:>18}" for name in COLUMNS))
    groups: dict[tuple[str, int], list[Seen]] = {}
    with ProcessPoolExecutor(chosen.jobs) as pool:
        tasks = [(setting, chosen.repeats, index) for index, setting in enumerate(every)]
        for setting, seen in zip(every, pool.map(_cell, tasks), strict=True):
            numbers = "  ".join(f"{_share(seen, name):18.3f}" for name in COLUMNS)
            head = f"{setting.rivals:14} {setting.num_configurations:2} {setting.num_seeds:2} {setting.num_cases:5}"
            print(f"{head} {setting.num_folds:5}  {numbers}", flush=True)
            groups.setdefault((setting.rivals, setting.num_seeds), []).extend(seen)
    print(f"\n{len(every) * chosen.repeats} confirmations; by rivals and seeds, over all K, cases and folds:")
    for (rivals, seeds), seen in groups.items():
        print(f"{rivals:14}    {seeds:2}              " + "  ".join(f"{_share(seen, name):18.3f}" for name in COLUMNS))
    known = [one for (_, seeds), seen in groups.items() if seeds >= 3 for one in seen]
    worst = max(_share(seen, "equal_called_worse") for seen in groups.values())
    print(f"\nas good, called worse: at most {100 * worst:.1f} % (bar 5 %)")
    held = {name: _share(known, name) for name in ("means", "differences", "single", "test")}
    for name, share in held.items():
        print(f"intervals of {name}: {100 * share:.1f} % hold the truth (bar 93 to 97 %)")
    power, plain = _share(known, "worse"), _share(known, "plain_worse")
    plain_equal = _share([one for one in known if one.worse is None], "plain_equal")
    print(f"as good, called worse by a paired t-test over the seeds: {100 * plain_equal:.0f} %")
    print(f"worse, called worse: {power:.2f} of them, by that t-test {plain:.2f}; ratio: {power / plain:.2f}")
    return 0 if worst <= 0.05 and all(0.93 <= share <= 0.97 for share in held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
