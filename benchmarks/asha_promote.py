"""Does it matter that our promoting ASHA lets a trial that is among the best on arrival go on at once?

Li et al. 2020 (Algorithm 2) sends every trial that arrives at a rung back to the queue, and the free worker takes the best
that may be promoted, of the highest rung that has one. Ours does not pause a trial that is among the best already. It should
not matter: an arrival lets one trial more pass at most, and if that is itself, the worker that it would free takes it again.
Compared in simulated time, eight asynchronous workers, on MFHartmann 3 and 6, good and moderate, at one cost in epochs: the
regret of the configuration that is best among those that have come furthest. A pair shares its seed. Printed are the means,
their ratio with a bootstrap interval over pairs, and how many trials were paused.

    python benchmarks/asha_promote.py [--seeds 100] [--whole-trials 40] [--sampler random]

Prints what it finds and exits 0: this is a question, not a bar.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.simulated.problems import Hartmann, plan_for
from search.records.ledger import Journal
from search.strategy.optuna_controller import OptunaController
from search.strategy.schedulers import AshaPromote, Ladder, Verdict
from search.strategy.simulation import Curve, simulate
from search.strategy.suggestion import Suggestion

WORKERS = 8
PROBLEMS = tuple(Hartmann(dimensions, level) for dimensions in (3, 6) for level in ("good", "moderate"))


class PausesAll(AshaPromote):
    """Algorithm 2 to the letter: everyone waits at a rung, if only for a moment."""

    def judge(self, trial: str, epoch: int, score: float) -> Verdict:
        """Pauses at every rung."""
        if super().judge(trial, epoch, score) == "go on" and epoch in self.rungs:
            self._paused[trial] = epoch
        return "pause" if epoch in self.rungs else "go on"


class Counted:
    """A controller whose pauses are counted.

    Args:    controller: asked and told.
    """

    def __init__(self, controller: OptunaController) -> None:
        self._controller, self.pauses = controller, 0

    def report(self, trial: str, epochs: Any, ended: str | None) -> bool:
        """As the controller's."""
        left = self._controller.report(trial, epochs, ended)
        self.pauses += left and self._controller.is_paused(trial)
        return left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


def one(problem: Hartmann, sampler: str, to_the_letter: bool, seed: int, whole_trials: int) -> tuple[float, int]:
    """Final regret and number of pauses of one search."""
    warnings.simplefilter("ignore")
    plan = plan_for(problem, sampler, "asha-promote", seed, 10**6, WORKERS)
    controller = OptunaController(plan, Journal())
    if to_the_letter:
        controller.scheduler = PausesAll(Ladder(plan.grace_period, plan.max_epochs, plan.reduction))
    counted = Counted(controller)
    configs: dict[str, Mapping[str, Any]] = {}

    def curve_of(suggestion: Suggestion) -> Curve:
        configs[suggestion.trial] = suggestion.config
        return problem.curve(suggestion.config, seed * 100_003 + int(suggestion.trial[1:]))

    furthest: dict[str, tuple[int, float]] = {}
    for observed in simulate(counted, curve_of, WORKERS, until_s=whole_trials * problem.max_epochs / WORKERS):
        furthest[observed.trial] = (observed.epoch.epoch, observed.epoch.score)
    return problem.regret(configs[max(furthest, key=furthest.__getitem__)]), counted.pauses


def main() -> int:
    """Every problem's pairs; the ratio over all of them last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--whole-trials", type=int, default=40)
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    begun, rng = time.perf_counter(), np.random.default_rng(0)
    tasks = [(p, given.sampler, letter, s, given.whole_trials) for p in PROBLEMS for s in range(given.seeds) for letter in (0, 1)]
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        found = np.array(list(pool.map(one, *zip(*tasks, strict=True), chunksize=4)))
    regret, pauses = found.reshape(len(PROBLEMS), given.seeds, 2, 2).transpose(3, 0, 1, 2)
    draws = rng.integers(0, given.seeds, (2000, given.seeds))
    ratios = []
    for problem, pairs, paused in zip(PROBLEMS, regret, pauses, strict=True):
        ours, letters = pairs.mean(0)
        drawn = pairs[draws].mean(1)
        ratios.append(drawn[:, 0] / drawn[:, 1])
        low, high = np.quantile(ratios[-1], (0.025, 0.975))
        told = f"ours {ours:.4f}, Algorithm 2 {letters:.4f}, {ours / letters:.2f} [{low:.2f}, {high:.2f}]"
        print(f"{problem.name}: {told}; pauses {paused[:, 0].mean():.0f} and {paused[:, 1].mean():.0f}", flush=True)
    low, high = np.quantile(np.mean(ratios, axis=0), (0.025, 0.975))
    means = regret.mean(1)
    print(f"mean of the four, {low:.2f} to {high:.2f} ({time.perf_counter() - begun:.0f} s)")
    print(f"our regret over Algorithm 2's; ratio: {float(np.mean(means[:, 0] / means[:, 1])):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
