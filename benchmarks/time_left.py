"""How often does the time that a running search says it has left hold?

Simulated searches (random learning curves, epochs whose length differs between trials by a factor of two and more, patience,
processes that start slowly), from two workers to eight and six trials to sixty, under every scheduler; the rest is forecast
whenever a trial ends, as `dermtune search` says it. `--search` asks the ledgers of real ones.

    python benchmarks/time_left.py [--seeds 60] [--search runs/NAME]...

Exits 1 when the true rest lies outside the span in more than a quarter of the looks.
"""

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from search.analysis.leaderboard import open_search
from search.records.events import EpochResult, Event
from search.records.ledger import Journal, read_events
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.trials import ENDED
from search.strategy.forecast import Span, time_left
from search.strategy.optuna_controller import OptunaController
from search.strategy.schedulers import default_grace_period
from search.strategy.simulation import Curve, SimulatedClock, simulate
from search.strategy.suggestion import Suggestion
from spaces.bowl import BowlSpace
from spaces.fields import fields_of
from trainables.contract import SCORE_WINDOW, Objective

BAR = 0.75
METRIC = Objective("valid/height", "max")
SIZES = ((6, 9, 2), (12, 18, 2), (20, 20, 4), (60, 60, 8))
SCHEDULERS = ("asha", "asha", "asha-promote", "hyperband", "median", "one-epoch", "none")
Look = tuple[Span, float]


def searches(num_seeds: int) -> Iterator[tuple[Plan, int]]:
    """Plans of many kinds, each with its seed."""
    fixed = {name: field.default for name, field in fields_of(BowlSpace).items() if not field.searched}
    for seed in range(num_seeds):
        num_trials, max_epochs, workers = SIZES[seed % len(SIZES)]
        scheduler = SCHEDULERS[seed % len(SCHEDULERS)]
        shape: dict[str, Any] = {"num_trials": num_trials, "max_epochs": max_epochs, "max_concurrent": workers}
        grace = default_grace_period(max_epochs)
        yield Plan("simulated", "bowl", None, "demo", fixed, METRIC, sampler="random", scheduler=scheduler, **shape,
                   grace_period=grace, gpus_per_trial=0.0, seed=seed), seed  # fmt: skip


def curve_of(plan: Plan, seed: int, trial: str, slow: bool) -> Curve:
    """A learning curve: it rises to a level of its own, with noise, and may end by patience.

    Args:    slow: whether its process begins with it.
    """
    chance = random.Random(f"{seed} {trial}")
    level, rate, noise = chance.gauss(0.8, 0.06), chance.uniform(0.1, 0.6), 0.02
    seconds = 4.0 * chance.lognormvariate(0, 0.45)
    values, epochs, best = list[float](), list[EpochResult](), (0, -1.0)
    for number in range(1, plan.max_epochs + 1):
        values.append(level - 0.3 * (1 - rate) ** number + chance.gauss(0, noise))
        window = values[-SCORE_WINDOW:]
        score = sum(window) / len(window)
        if score > best[1]:
            best = number, score
        taken = seconds * chance.uniform(0.9, 1.2) + (8.0 if slow and number == 1 else 0.3 if number == 1 else 0.0)
        metrics = {METRIC.metric: values[-1]}
        epochs.append(
            EpochResult(epoch=number, metrics=metrics, score=score, seconds=taken, is_best=best[0] == number, window=len(window))
        )
        if number - best[0] >= max(6, plan.max_epochs // 3):
            break
    return Curve(epochs)


def looks_of_a_simulation(plan: Plan, seed: int, every: int = 1) -> list[Look]:
    """What the search would have said whenever a trial ended, and how long it then took.

    Args:    plan: of the search.
             seed: of its curves.
             every: at which of the ends it is asked.
    """
    clock = SimulatedClock()
    journal, state, said = Journal(clock), SearchState(plan.objective), list[tuple[float, Span]]()

    def look(event: Event) -> None:
        state.apply(event)
        if event.event not in ENDED or state.count(*ENDED) % every:
            return
        if (found := time_left(plan, state, event.elapsed_s)) is not None:
            said.append((clock.now_s, found))

    journal.subscribe(look)
    workers = plan.max_concurrent or 1

    def curve(suggestion: Suggestion) -> Curve:
        return curve_of(plan, seed, suggestion.trial, int(suggestion.trial[1:]) < workers)

    end_s = simulate(OptunaController(plan, journal), curve, workers, clock=clock)[-1].time_s
    return [(span, end_s - now) for now, span in said if now < end_s]


def looks_of_a_ledger(folder: Path) -> list[Look]:
    """The same of a real search."""
    found = open_search(folder.parent, folder.name)
    events = list(read_events(found.folder.ledger_file))
    end_s = max(event.elapsed_s for event in events if event.event in ENDED)
    state, said = SearchState(found.plan.objective, found.plan.constraints), list[Look]()
    for event in events:
        state.apply(event)
        if event.event in ENDED and event.elapsed_s < end_s:
            span = time_left(found.plan, state, event.elapsed_s)
            said += [] if span is None else [(span, end_s - event.elapsed_s)]
    return said


def report(name: str, looks: Sequence[Look]) -> float:
    """Prints how often the span held and how wide it is; gives the share."""
    held = [span.low_s - 1 <= rest <= span.high_s + 1 for span, rest in looks]
    width = median(span.high_s / max(span.low_s, 1.0) for span, _ in looks)
    off = median(max(span.expected_s, 1.0) / max(rest, 1.0) for span, rest in looks)
    share = sum(held) / len(held)
    print(f"{name}: {len(looks)} looks, {100 * share:.0f} % within; high over low {width:.2f}, expected over true {off:.2f}")
    return share


def main() -> int:
    """Prints each kind of search, then all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=60, help="simulated searches")
    parser.add_argument("--search", type=Path, action="append", default=[], help="folder of a real search")
    given = parser.parse_args()
    for folder in given.search:
        for span, rest in looks_of_a_ledger(folder):
            print(f"  {span.low_s:6.0f} to {span.high_s:6.0f} s, in truth {rest:6.0f} s")
        report(str(folder), looks_of_a_ledger(folder))
    by_scheduler: defaultdict[str, list[Look]] = defaultdict(list)
    for plan, seed in searches(given.seeds):
        by_scheduler[plan.scheduler] += looks_of_a_simulation(replace(plan), seed)
    for name, looks in by_scheduler.items():
        report(name, looks)
    everything = [look for looks in by_scheduler.values() for look in looks]
    share = report("all", everything)
    print(f"{'met' if share >= BAR else 'MISSED'} (at least {BAR}): true rest within the span, ratio: {share:.2f}")
    return 0 if share >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
