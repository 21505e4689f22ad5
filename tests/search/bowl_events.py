"""Events of a bowl search written by hand, each at its own time, and the tables that follow from them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from bowl_search import with_changes

from search.records.events import EpochResult, Event, to_json
from search.records.plan import Plan
from search.records.state import SearchState
from spaces.bowl import BowlSpace
from spaces.fields import Value, complete, fields_of
from trainables.contract import SCORE_WINDOW, Objective

#: Every kind of event by its name in the ledger.
KINDS: dict[str, Any] = {kind.event: kind for kind in get_args(Event)}
BEGUN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


#: Whatever fields of the kind the bowl may get.
FIXED = {name: field.default for name, field in fields_of(BowlSpace).items() if not field.searched}


def plan_of(**changes: Any) -> Plan:
    """A plan that searches what a search of the bowl does by default."""
    return with_changes(**{"fixed": FIXED, **changes})


#: What most tests do not care for.
_USUAL: dict[str, dict[str, Any]] = {
    "search_started": {"name": "bowls", "num_trials": 1},
    "search_resumed": {"name": "bowls", "num_trials": 1},
    "suggested": {"trial": "t0000", "config": {}, "seed": 0},
    "started": {"trial": "t0000", "where": {}},
    "retried": {"trial": "t0000", "kind": "died", "reason": "killed", "gpus_per_trial": 0.0},
    "reported": {"trial": "t0000", "epochs": []},
    "saved": {"trial": "t0000", "epoch": 1},
    "checkpointed": {"trial": "t0000", "epoch": 1, "path": "trials/t0000/best-00001", "sha256": "ab"},
    **{kind: {"trial": "t0000", "reason": ""} for kind in ("finished", "stopped", "failed", "paused", "interrupted")},
    "noted": {"text": "note"},
}


def event_of(kind: str, elapsed_s: float | None = None, /, **payload: Any) -> Event:
    """An event so many seconds after `BEGUN`, or without a time."""
    stamp = {} if elapsed_s is None else {"time": _time(elapsed_s), "elapsed_s": elapsed_s}
    made: Event = KINDS[kind](**{**stamp, **_USUAL.get(kind, {}), **payload})
    return made


def _time(elapsed_s: float) -> str:
    return (BEGUN + timedelta(seconds=elapsed_s)).isoformat(timespec="milliseconds")


def epoch_result(epoch: int, **given: Any) -> EpochResult:
    """An epoch whose score is the mean of as many validations as there are."""
    return EpochResult(epoch=epoch, **{"window": min(epoch, SCORE_WINDOW), "seconds": 1.0, **given})


def state_of(*events: Event) -> SearchState:
    """Where a search of the bowl stands after these events."""
    return SearchState.of(events, Objective("valid/height", "min"))


def lines_of(events: Sequence[Event]) -> str:
    """A ledger that holds these events, with their times."""
    return "".join(to_json(event).decode() + "\n" for event in events)


def unstamped(event: Event) -> Event:
    """An event without its time, as `event_of` makes it."""
    return replace(event, time="", elapsed_s=0.0)


def time_ms(elapsed_s: float) -> int:
    """What MLflow calls that time."""
    return int(BEGUN.timestamp()) * 1000 + round(elapsed_s * 1000)


def config_of(**given: Value) -> dict[str, Value]:
    """A whole configuration of the bowl."""
    return complete(BowlSpace, given)


def epoch_of(
    epoch: int,
    height: float,
    score: float,
    is_best: bool,
    *,
    seconds: float = 2.0,
    system: dict[str, float] | None = None,
    **more: float,
) -> EpochResult:
    """One epoch as a report has it; `more` are metrics of the validation split beside the height."""
    metrics = {"valid/height": height, **{f"valid/{name}": value for name, value in more.items()}}
    return epoch_result(epoch, metrics=metrics, score=score, seconds=seconds, is_best=is_best, system=system)


def begun(trial: str, elapsed_s: float, *, seed: int = 0, **given: Value) -> list[Event]:
    """A trial suggested and started."""
    return [
        event_of("suggested", elapsed_s, trial=trial, config=config_of(**given), seed=seed),
        event_of("started", elapsed_s + 0.1, trial=trial, where={"host": "here"}, notes=[]),
    ]


def reported(trial: str, elapsed_s: float, *epochs: EpochResult) -> Event:
    """A report of some epochs."""
    return event_of("reported", elapsed_s, trial=trial, epochs=list(epochs))


def state_after(plan: Plan, events: Sequence[Event]) -> SearchState:
    """The trials that follow from events."""
    return SearchState.of(events, plan.objective, plan.constraints)
