"""What another strategy would have found, at what cost, from the curves that a search recorded."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from search.analysis import figures
from search.analysis.figures import Band
from search.analysis.leaderboard import RecordedSearch
from search.errors import PlanError
from search.execution.choices import known
from search.records.events import EpochResult
from search.records.ledger import Journal
from search.records.plan import Plan
from search.records.trials import TrialRecord
from search.strategy.optuna_controller import OptunaController
from search.strategy.samplers import SAMPLERS
from search.strategy.schedulers import SCHEDULERS
from search.strategy.simulation import Curve, Observation, simulate
from search.strategy.tabular_sampler import Pool, TabularSampler
from trainables.selection import rank_key

_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class Extrapolated(EpochResult):
    """An epoch that nobody has trained."""


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
             known: share of those epochs that were recorded; the others are extrapolated (see `whole_curve`).
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
    known: float
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
    that is left. A trial that the search itself had cut short goes on as `whole_curve` has it, at its full cost.

    Args:    found: the search.
             strategies: to compare.
             seeds: runs of each.
             workers: trials at once, None for as many as in the search.
             progress: called with (done, all).
    Raises:  PlanError: when fewer than two trials have reported, or a strategy does not fit.
    """
    records = [record for record in found.state.trials.values() if record.epochs and record.state != "failed"]
    if len(records) < 2:
        raise PlanError(f"NAME must be a search with two trials or more that reported; got {found.plan.name!r}")
    sign = found.plan.objective.sign
    # As the search ranks: a mean over fewer validations is no rival of one over three.
    best = max(rank_key(epoch.window, epoch.score, sign) for record in records for epoch in record.epochs)[1]
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
    controller = OptunaController(plan, Journal(), wrap=lambda inner: TabularSampler(inner, pool, fields, plan.fixed))

    def curve_of(suggestion: Any) -> Curve:
        record = records[pool.take(suggestion.config)]
        return Curve(whole_curve(record, plan.max_epochs))

    return simulate(controller, curve_of, plan.max_concurrent or 1)


def whole_curve(record: TrialRecord, max_epochs: int) -> list[EpochResult]:
    """A trial's epochs to its end: beyond where the search had cut it short it stays as it was, in `Extrapolated` epochs.

    So a strategy pays for what it trains, and gains nothing that nobody has seen.

    Args:    record: of a trial that has reported.
             max_epochs: of a trial that nobody stops.
    """
    if record.state == "finished":
        return list(record.epochs)
    seconds = record.train_s / len(record.epochs)
    more = range(record.last_epoch + 1, (record.max_epochs or max_epochs) + 1)
    last = record.epochs[-1]
    stayed = Extrapolated(
        epoch=last.epoch, metrics=last.metrics, score=last.score, seconds=seconds, is_best=False, window=last.window
    )
    return [*record.epochs, *(replace(stayed, epoch=epoch) for epoch in more)]


def _outcome(strategy: Strategy, several: Sequence[Sequence[Observation]], best: float, sign: int, end_s: float) -> Outcome:
    times = np.linspace(0, end_s, _POINTS + 1)[1:]
    regrets = np.stack([_regret_at(times, observed, best, sign) for observed in several])
    quarter, half_way, final = regrets[:, _POINTS // 4 - 1], regrets[:, _POINTS // 2 - 1], regrets[:, -1]
    band = Band(times.tolist(), *(values.tolist() for values in (regrets.mean(0), *np.percentile(regrets, (10, 90), axis=0))))
    reach = 1.96 * half_way.std(ddof=1) / len(half_way) ** 0.5 if len(half_way) > 1 else 0.0
    return Outcome(
        strategy=strategy,
        regret=float(final.mean()),
        regret_quarter=float(quarter.mean()),
        regret_half=float(half_way.mean()),
        half_interval=(float(half_way.mean() - reach), float(half_way.mean() + reach)),
        epochs=float(np.mean([len(observed) for observed in several])),
        seconds=float(np.mean([sum(o.epoch.seconds for o in observed) for observed in several])),
        known=float(np.mean([not isinstance(o.epoch, Extrapolated) for observed in several for o in observed])),
        time_s=float(np.mean([observed[-1].time_s for observed in several])),
        band=band,
    )


def _regret_at(times: Any, observed: Sequence[Observation], best: float, sign: int) -> Any:
    """Regret of the leader at each time; before the first validation that of the first."""
    steps: list[tuple[float, float]] = []
    leader: tuple[int, float] | None = None
    for observation in observed:
        epoch = observation.epoch
        key = rank_key(epoch.window, epoch.score, sign)
        if leader is None or key > leader:
            leader = key
            steps.append((observation.time_s, max(0.0, best - sign * epoch.score)))
    when, regret = np.array(steps).T
    return regret[np.maximum(np.searchsorted(when, times, side="right") - 1, 0)]
