"""How often does `dermtune compare` find a difference where there is none, and how often do its intervals hold?

Two models that are equally good: binormal scores of which a case shares a part between them. Counted over many simulated sets of
cases, alone or in groups: how often each test has p below 5 %, and how often the paired bootstrap's interval of a difference
leaves out 0. Beside it the power against a second model whose AUROC is about .05 lower.

    python benchmarks/compare_calibration.py [--sets 1000] [--cases 80 200 400]

Prints the shares; the ratio last is the largest size over 5 %. Exits 1 where a size is above 7 %.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from search.analysis.comparison import Compared, Scores, compare

#: Of the cases that are of the class; of a score's variance that a case shares between models, and a group among its cases.
_PREVALENCE, _SHARED, _OF_GROUP = 0.3, 0.6, 0.5
_RESAMPLES = 400


def drawn(rng: np.random.Generator, num_cases: int, in_groups: bool, worse: float) -> Compared:
    """Two models on one set of cases.

    Args:    rng: of the set.
             num_cases: of it.
             in_groups: whether cases come in threes that are alike.
             worse: by how much the second one tells the kinds apart less.
    """
    groups = np.arange(num_cases) // 3 if in_groups else np.arange(num_cases)
    # One in three groups is of one kind throughout; the others have both.
    positive = rng.random(num_cases) < _PREVALENCE
    positive[:2], positive[-2:] = True, False

    def noise() -> np.ndarray:
        own = rng.normal(size=num_cases)
        return _OF_GROUP**0.5 * rng.normal(size=num_cases)[groups] + (1 - _OF_GROUP) ** 0.5 * own if in_groups else own

    common, models = noise(), []
    for name, apart in (("first", 1.5), ("second", 1.5 - worse)):
        logit = apart * positive + _SHARED**0.5 * common + (1 - _SHARED) ** 0.5 * noise() - 1.6
        probability = 1 / (1 + np.exp(-1.5 * logit))
        models.append(Scores(name, probability, probability >= 0.5))
    return Compared("task", "class", positive, groups if in_groups else None, models)


def found(seed: int, num_cases: int, in_groups: bool, worse: float) -> dict[str, tuple[float, float]]:
    """Metric → whether its test, and whether its interval, tells the models apart; NaN where there is none."""
    rng = np.random.default_rng([seed, num_cases, int(in_groups), int(100 * worse)])
    measured = compare(drawn(rng, num_cases, in_groups, worse), 0.8, resamples=_RESAMPLES, seed=seed)
    result = {}
    for metric, (difference,) in measured.differences.items():
        low, high = difference.interval or (-1.0, 1.0)
        by_test = float("nan") if difference.p is None else float(difference.p < 0.05)
        result[metric] = (by_test, float(low > 0 or high < 0))
    return result


def main() -> int:
    """Every setting; the largest size over 5 % last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--cases", type=int, nargs="+", default=[80, 200, 400])
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    begun, largest = time.perf_counter(), 0.0
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        for in_groups in (False, True):
            for num_cases in given.cases:
                for worse in (0.0, 0.35):
                    n = given.sets
                    sets = list(pool.map(found, range(n), [num_cases] * n, [in_groups] * n, [worse] * n, chunksize=10))
                    shares = {m: np.mean([one[m] for one in sets], axis=0) for m in sets[0]}
                    told = "; ".join(f"{m} {100 * test:.1f} / {100 * edge:.1f}" for m, (test, edge) in shares.items())
                    what = "worse" if worse else "equal"
                    grouped = "in threes" if in_groups else "alone"
                    print(f"{num_cases} cases {grouped}, {what}: {told} ({time.perf_counter() - begun:.0f} s)", flush=True)
                    if not worse:
                        largest = max(largest, *(float(t) for t, _ in shares.values() if t == t))
    print(f"largest size of a test over 5 %, ratio: {largest / 0.05:.2f}")
    return int(largest > 0.07)


if __name__ == "__main__":
    sys.exit(main())
