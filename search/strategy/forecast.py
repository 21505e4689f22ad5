"""How long the rest of a search takes, as a range."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise, product
from statistics import fmean, quantiles

from search.records.events import Event
from search.records.plan import Plan
from search.records.state import SearchState
from search.strategy.playout import Rules, play
from search.strategy.rungs import rungs
from search.strategy.schedulers import EVERY_EPOCH, FINALISTS
from search.strategy.standing import Standing, standing_of

#: Times that the rest is played through, fewer where it holds many decisions; beyond the last number the mean says it.
_GAMES, _DECISIONS, _MOST_DECISIONS = 100, 10_000, 1_500
#: By how much a span is widened: always, and with a single trial whose epochs are known.
_NEVER_KNOWN, _FEW_KNOWN = 0.08, 0.35
#: Seconds between two looks.
_ANEW_S = 2.0


@dataclass(frozen=True)
class Span:
    """A duration that is not known: most often it is between low and high.

    Args:    low_s, expected_s, high_s: seconds.
    """

    low_s: float
    expected_s: float
    high_s: float

    def __add__(self, other: "Span") -> "Span":
        """Both, one after the other."""
        return Span(self.low_s + other.low_s, self.expected_s + other.expected_s, self.high_s + other.high_s)

    def widened(self, share: float) -> "Span":
        """Wider by that share on both sides, for what the model does not know."""
        return Span(self.low_s / (1 + share), self.expected_s, self.high_s * (1 + share))

    def times(self, factor: float) -> "Span":
        """On a machine that takes so many times as long, as far as one can tell: the span keeps what it was, too."""
        return Span(self.low_s * min(1.0, factor), self.expected_s * factor, self.high_s * max(1.0, factor))

    def at_most(self, limit_s: float) -> "Span":
        """Ended by a limit."""
        return Span(min(self.low_s, limit_s), min(self.expected_s, limit_s), min(self.high_s, limit_s))

    def after(self, seconds: float) -> "Span":
        """What is left of it when so much has passed."""
        return Span(*(max(0.0, own - seconds) for own in (self.low_s, self.expected_s, self.high_s)))


NOTHING = Span(0.0, 0.0, 0.0)


def forecast(plan: Plan, standing: Standing, *, pruned: bool = True, seed: int = 0) -> Span:
    """How long the trials of a search still take.

    The rest is played through: trials that are known keep their order but for luck, others are drawn beside them, and the
    plan's own scheduler judges all. The span holds the middle 80 % of the games. Budgets of epochs and GPU-hours end it.

    Args:    plan: of the search.
             standing: where it stands.
             pruned: whether trials are stopped early; without, every one takes all its epochs.
             seed: of the games.
    """
    if not pruned:
        plan = replace(plan, scheduler="none", fixed={name: value for name, value in plan.fixed.items() if name != "patience"})
    decisions = (standing.num_to_come + len(standing.underway) + len(standing.paused)) * _decisions_of_a_trial(plan)
    if decisions > _MOST_DECISIONS:
        found = _worked_out(plan, standing)
    else:
        rules, chance = Rules.of(plan, standing, delays_of(plan)), random.Random(seed)
        games = [play(rules, chance) for _ in range(max(20, min(_GAMES, _DECISIONS // max(decisions, 1))))]
        tenths = quantiles(games, n=10, method="inclusive")
        found = Span(tenths[0], fmean(games), tenths[-1])
    return found.at_most(_budget_s(plan, standing))


def _decisions_of_a_trial(plan: Plan) -> int:
    if plan.scheduler in EVERY_EPOCH:
        return plan.max_epochs
    return 1 + len(rungs(plan.grace_period, plan.max_epochs, plan.reduction))


def _budget_s(plan: Plan, standing: Standing) -> float:
    """Seconds after which a budget of epochs or of GPU-hours ends the search."""
    limits = [math.inf]
    if plan.epoch_budget is not None:
        limits.append(max(0, plan.epoch_budget - standing.epochs_done) * fmean(standing.epoch_s) / standing.slots)
    if plan.gpu_hours is not None and plan.gpus_per_trial:
        limits.append(max(0.0, 3600 * plan.gpu_hours - standing.gpu_s_done) / (plan.gpus_per_trial * standing.slots))
    return min(limits)


def _worked_out(plan: Plan, standing: Standing) -> Span:
    """By the mean, without a game."""
    epoch_s, each = fmean(standing.epoch_s), expected_epochs(plan)
    going = [max(1.0, each - trial.epochs) * (trial.epoch_s or epoch_s) for trial in standing.underway]
    work = standing.num_to_come * (each * epoch_s + standing.begin_s) + math.fsum(going)
    expected = max(work / standing.slots, *going, each * epoch_s if standing.num_to_come else 0.0)
    return Span(0.8 * expected, expected, 1.2 * expected)


def expected_epochs(plan: Plan) -> float:
    """Epochs of an average trial when one in `reduction` passes each rung; all of them where nobody can tell."""
    if plan.scheduler == "one-epoch":
        few = min(FINALISTS, plan.num_trials)
        return plan.grace_period + (plan.max_epochs - plan.grace_period) * few / plan.num_trials
    if not plan.scheduler.startswith("asha"):
        return float(plan.max_epochs)
    delay = fmean(delays_of(plan))
    later = [rung + delay for rung in rungs(plan.grace_period, plan.max_epochs, plan.reduction) if rung + delay < plan.max_epochs]
    bounds = [0.0, *later, float(plan.max_epochs)]
    spans = [(after - before) for before, after in pairwise(bounds)]
    return float(sum(span / plan.reduction**passed for passed, span in enumerate(spans)))


def delays_of(plan: Plan) -> list[int]:
    """Epochs before the objective is trained, for every combination of the choices that delay it."""
    choices = [found for found in plan.searched if found.delays and found.kind == "choice"]
    drawn = [dict(zip([f.name for f in choices], values, strict=True)) for values in product(*(f.choices for f in choices))]
    return [plan.delay_of({**plan.fixed, **values}) for values in drawn]


def time_left(plan: Plan, state: SearchState, elapsed_s: float) -> Span | None:
    """How long a running search still trains; None before the first epoch.

    Over 28 simulated searches the true rest was in the span in 88 % of 509 looks (`benchmarks/time_left.py`).

    Args:    plan, state: of the search.
             elapsed_s: by its own clock.
    """
    standing = standing_of(plan, state, elapsed_s)
    if standing is None:
        return None
    # Trials differ in how long an epoch takes, and of few of them that is known at first.
    found = forecast(plan, standing).widened(_NEVER_KNOWN + _FEW_KNOWN / len(standing.epoch_s) ** 0.5)
    return found if plan.time_budget_s is None else found.at_most(max(0.0, plan.time_budget_s - elapsed_s))


class TimeLeft:
    """How long a running search still takes, worked out anew now and then.

    Args:    plan: of the search.
             state: already up to date when this hears of an event.
             closing: what follows on the last trial.
             clock: seconds, monotonic.
    """

    def __init__(self, plan: Plan, state: SearchState, closing: Span, clock: Callable[[], float]) -> None:
        self._plan, self._state, self._closing, self._clock = plan, state, closing, clock
        self._elapsed_s, self._heard = 0.0, clock()
        self._found: Span | None = None
        self._found_at = self._again_at = -math.inf

    def on_event(self, event: Event) -> None:
        """Hears the ledger."""
        self._elapsed_s, self._heard = event.elapsed_s, self._clock()

    def __call__(self) -> Span | None:
        """None before the first epoch."""
        now = self._clock()
        if now >= self._again_at:
            begun = time.perf_counter()
            self._found = time_left(self._plan, self._state, self._elapsed_s + now - self._heard)
            if self._found is not None:  # a hundredth of the driver's time is enough for it
                self._found_at, self._again_at = now, now + max(_ANEW_S, 100 * (time.perf_counter() - begun))
        return None if self._found is None else self._found.after(now - self._found_at) + self._closing
