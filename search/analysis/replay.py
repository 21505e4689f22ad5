"""What another strategy would have found, at what cost, from the curves that a search recorded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from search.analysis import figures
from search.analysis.figures import Band
from search.analysis.leaderboard import RecordedSearch
from search.errors import PlanError
from search.execution.options import known
from search.records.ledger import Journal
from search.records.plan import Plan
from search.records.trials import TrialRecord
from search.strategy.bridge import Bridge
from search.strategy.pool import Pool, PoolSampler
from search.strategy.samplers import SAMPLERS
from search.strategy.schedulers import SCHEDULERS
from search.strategy.simulation import Curve, Observation, simulate
from trainables.selection import rank_key, window_of

_POINTS = 100


@dataclass(frozen=True)
class Strategy:
    """How a search is led.

    Args:    sampler, scheduler: keys of `SAMPLERS` and `SCHEDULERS`.
             grace_period, reduction: see `Plan`.
    """

    sampler: str
    scheduler: str
    grace_period: int
    reduction: int

    @property
    def label(self) -> str:
        """`tpe + asha (3)`: sampler, scheduler and grace period."""
        return f"{self.sampler} + {self.scheduler}" + (f" ({self.grace_period})" if self.scheduler != "none" else "")


@dataclass(frozen=True)
class Outcome:
    """How a strategy did, over seeds.

    Args:    strategy: which.
             regret: mean over seeds of what its best lacks to the best recorded, when it has ended.
             regret_quarter, regret_half: the same after a quarter and half of the time that the slowest strategy takes;
                 who may use up all recorded trials ends at 0, so these tell more.
             half_interval: 95 %, of `regret_half`, over seeds.
             epochs, seconds: mean cost: training, not waiting.
             time_s: mean simulated wall time.
             band: regret against simulated time.
    """

    strategy: Strategy
    regret: float
    regret_quarter: float
    regret_half: float
    half_interval: tuple[float, float]
    epochs: float
    seconds: float
    time_s: float
    band: Band

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON values, without its curve."""
        return {
            **asdict(self.strategy),
            **{name: value for name, value in vars(self).items() if name not in ("strategy", "band")},
        }


def strategies_of(
    plan: Plan,
    samplers: Sequence[str] = (),
    schedulers: Sequence[str] = (),
    grace_periods: Sequence[int] = (),
    reduction: int | None = None,
) -> list[Strategy]:
    """Every combination of what was named; the plan's own where nothing was.

    Raises:  PlanError: when there is no such sampler or scheduler.
    """
    for name in samplers:
        known(name, SAMPLERS, "--sampler")
    for name in schedulers:
        known(name, SCHEDULERS, "--scheduler")
    own = (samplers or [plan.sampler], schedulers or [plan.scheduler], grace_periods or [plan.grace_period])
    found = [Strategy(*parts, reduction or plan.reduction) for parts in product(*own)]
    # Without a scheduler there is no grace period to compare.
    return list({strategy.label: strategy for strategy in found}.values())


def plot(found: RecordedSearch, outcomes: Sequence[Outcome], file: Path) -> Path:
    """Draws regret against simulated time; the shade holds the middle 80 % of the runs.

    Args:    found: the search.
             outcomes: of its strategies.
             file: PNG or SVG; its folder is made.
    """
    figure = figures.curves(
        {outcome.strategy.label: outcome.band for outcome in outcomes},
        "simulated wall time (s)",
        f"regret in {found.plan.objective.metric}",
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(figures.svg(figure).encode() if file.suffix == ".svg" else figures.png(figure))
    return file.resolve()


def replay(
    found: RecordedSearch,
    strategies: Sequence[Strategy],
    *,
    seeds: int = 10,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Outcome]:
    """Replays recorded trials under other strategies in simulated time.

    A strategy chooses among the recorded configurations, each once: what its sampler suggests is moved to the nearest one
    that is left. A trial that the search itself had cut short is used as far as it goes, and then counts as stopped.

    Args:    found: the search.
             strategies: to compare.
             seeds: runs of each.
             workers: trials at once, None for as many as in the search.
             progress: called with (done, all).
    Raises:  PlanError: when fewer than two trials have reported, or a strategy does not fit.
    """
    records = [record for record in found.table.trials.values() if record.epochs and record.state != "failed"]
    if len(records) < 2:
        raise PlanError(f"NAME must be a search with two trials or more that reported; got {found.plan.name!r}")
    sign = found.plan.objective.sign
    best = max(sign * epoch["score"] for record in records for epoch in record.epochs if epoch["is_best"])
    total, done = len(strategies) * seeds, 0
    runs: dict[Strategy, list[list[Observation]]] = {strategy: [] for strategy in strategies}
    for strategy in strategies:
        for seed in range(seeds):
            plan = _plan(found.plan, strategy, seed, len(records), workers)
            runs[strategy].append(_run(plan, records))
            done += 1
            progress(done, total)
    end = max(observed[-1].time_s for several in runs.values() for observed in several)
    return [_outcome(strategy, several, best, sign, end) for strategy, several in runs.items()]


def _plan(plan: Plan, strategy: Strategy, seed: int, num_trials: int, workers: int | None) -> Plan:
    return replace(
        plan,
        **asdict(strategy),
        seed=seed,
        num_trials=num_trials,
        max_concurrent=workers or plan.max_concurrent or 1,
        further_objectives=(),
        constraints=(),
        epoch_budget=None,
        time_budget_s=None,
        gpu_hours=None,
        terminate=False,
        warm_start=(),
    )


def _run(plan: Plan, records: Sequence[TrialRecord]) -> list[Observation]:
    fields = plan.fields
    pool = Pool([record.config for record in records], plan.searched)
    bridge = Bridge(plan, Journal(), wrap=lambda inner: PoolSampler(inner, pool, fields, plan.fixed))

    def curve_of(suggestion: Any) -> Curve:
        record = records[pool.take(suggestion.config)]
        return Curve(record.epochs, cut_short=record.state != "finished")

    return simulate(bridge, curve_of, plan.max_concurrent or 1)


def _outcome(strategy: Strategy, several: Sequence[Sequence[Observation]], best: float, sign: int, end_s: float) -> Outcome:
    times = np.linspace(0, end_s, _POINTS + 1)[1:]
    table = np.stack([_regret_at(times, observed, best, sign) for observed in several])
    quarter, half_way, final = table[:, _POINTS // 4 - 1], table[:, _POINTS // 2 - 1], table[:, -1]
    band = Band(times.tolist(), *(values.tolist() for values in (table.mean(0), *np.percentile(table, (10, 90), axis=0))))
    reach = 1.96 * half_way.std(ddof=1) / len(half_way) ** 0.5 if len(half_way) > 1 else 0.0
    return Outcome(
        strategy=strategy,
        regret=float(final.mean()),
        regret_quarter=float(quarter.mean()),
        regret_half=float(half_way.mean()),
        half_interval=(float(half_way.mean() - reach), float(half_way.mean() + reach)),
        epochs=float(np.mean([len(observed) for observed in several])),
        seconds=float(np.mean([sum(float(o.epoch["seconds"]) for o in observed) for observed in several])),
        time_s=float(np.mean([observed[-1].time_s for observed in several])),
        band=band,
    )


def _regret_at(times: Any, observed: Sequence[Observation], best: float, sign: int) -> Any:
    """Regret of the leader at each time; before the first validation that of the first."""
    steps: list[tuple[float, float]] = []
    leader: tuple[int, float] | None = None
    for observation in observed:
        epoch: Mapping[str, Any] = observation.epoch
        key = rank_key(window_of(epoch), epoch["score"], sign)
        if leader is None or key > leader:
            leader = key
            steps.append((observation.time_s, best - sign * epoch["score"]))
    when, regret = np.array(steps).T
    return regret[np.maximum(np.searchsorted(when, times, side="right") - 1, 0)]
