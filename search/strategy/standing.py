"""Where a search stands, as far as it decides how long the rest takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from search.records.plan import Plan
from search.records.state import SearchState
from search.records.study import FAR_BEYOND
from search.records.trials import ENDED, TrialRecord
from search.strategy.rungs import rungs
from search.strategy.schedulers import EVERY_EPOCH


@dataclass(frozen=True)
class Underway:
    """A trial that runs, or waits to go on.

    Args:    trial: its id.
             epochs: done.
             epoch_s: of one of its own, None before the first.
             silent_s: since it was last heard of.
             whole: epochs after which it ends by itself, None for the plan's.
             delay: epochs before its objective is trained; rungs count from there.
    """

    trial: str
    epochs: int
    epoch_s: float | None
    silent_s: float = 0.0
    whole: int | None = None
    delay: int = 0


@dataclass(frozen=True)
class Standing:
    """Where a search stands.

    Args:    num_to_come: trials that have not begun.
             slots: trials at once.
             epoch_s: mean seconds of an epoch, of every trial of which that is known; one at least.
             begin_s: from a trial's suggestion to its first epoch, beyond the time of its epochs.
             underway: trials that go on.
             paused: those that may be promoted.
             judged: rung → trial → score there, more is better, in the order of arrival; of all trials.
             lengths: epochs of trials that ended by themselves.
             dropped_rungs: first rungs at which nobody is judged any more.
             epochs_done, gpu_s_done: of all trials.
    """

    num_to_come: int
    slots: int
    epoch_s: Sequence[float]
    begin_s: float = 0.0
    underway: Sequence[Underway] = ()
    paused: Sequence[Underway] = ()
    judged: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    lengths: Sequence[int] = ()
    dropped_rungs: int = 0
    epochs_done: int = 0
    gpu_s_done: float = 0.0


def standing_of(plan: Plan, state: SearchState, elapsed_s: float) -> Standing | None:
    """Where a search stands; None before the first epoch.

    Args:    plan: of the search.
             state: its trials.
             elapsed_s: by the search's own clock.
    """
    records = list(state.trials.values())
    # The first epoch of a process also pays for what is made once.
    settled = [record for record in records if len(record.epochs) > 1]
    epoch_s = [epoch_s_of(record) for record in settled or [record for record in records if record.epochs]]
    if not epoch_s:
        return None
    going = [record for record in records if record.state in ("running", "suggested", "interrupted")]
    slots = max(plan.max_concurrent or 1, sum(record.state in ("running", "suggested") for record in records))
    # A slot's first trial waits for its process.
    later = [record.heard_s - record.suggested_s - record.train_s for record in records[slots:] if record.state in ENDED]
    return Standing(
        num_to_come=max(0, plan.num_trials - len(records)),
        slots=slots,
        epoch_s=epoch_s,
        begin_s=max(0.0, median(later)) if later else 0.0,
        underway=[_underway(plan, record, elapsed_s) for record in going],
        paused=[_underway(plan, record, elapsed_s) for record in records if record.state == "paused"],
        judged=_judged(plan, records),
        lengths=[record.last_epoch for record in records if record.state == "finished" and plan.kind != "confirmation"],
        dropped_rungs=state.num_dropped_rungs,
        epochs_done=sum(len(record.epochs) for record in records),
        gpu_s_done=sum(record.gpu_s(plan.gpus_per_trial or 0.0) for record in records),
    )


def epoch_s_of(record: TrialRecord) -> float:
    """Mean seconds of a trial's epochs, without the first one where there are others."""
    return fmean(epoch.seconds for epoch in record.epochs[1:] or record.epochs)


def _underway(plan: Plan, record: TrialRecord, elapsed_s: float) -> Underway:
    silent_s = max(0.0, elapsed_s - record.heard_s) if record.state in ("running", "suggested") else 0.0
    epoch_s = epoch_s_of(record) if record.epochs else None
    return Underway(record.trial, record.last_epoch, epoch_s, silent_s, record.max_epochs, plan.delay_of(record.config))


def _judged(plan: Plan, records: Sequence[TrialRecord]) -> dict[int, dict[str, float]]:
    """Rung → trial → gain, as the search's own scheduler hears it."""
    if plan.scheduler == "none" or plan.kind != "search":
        return {}
    every = plan.scheduler in EVERY_EPOCH
    levels = range(1, plan.max_epochs) if every else rungs(plan.grace_period, plan.max_epochs, plan.reduction)
    found: dict[int, list[tuple[str, str, float]]] = {level: [] for level in levels}
    for record in records:
        delay = plan.delay_of(record.config)
        for epoch in record.epochs:
            if (number := epoch.epoch - delay) in found:
                beyond = math.fsum(max(0.0, limit.excess(epoch.metrics)) for limit in plan.constraints)
                gain = plan.objective.sign * epoch.score if not beyond else -FAR_BEYOND - beyond
                found[number].append((epoch.time or "", record.trial, gain))
    return {level: {trial: gain for _, trial, gain in sorted(arrivals)} for level, arrivals in found.items() if arrivals}
