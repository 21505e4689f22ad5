"""Events of a bowl search written by hand, each at its own time, and the tables that follow from them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bowl_search import with_changes

from search.records.ledger import Event
from search.records.plan import Plan
from search.records.trials import TrialTable
from spaces.bowl import BowlSpace
from spaces.fields import Value, complete, fields_of

BEGUN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


#: Whatever fields of the kind the bowl may get.
FIXED = {name: field.default for name, field in fields_of(BowlSpace).items() if not field.searched}


def plan_of(**changes: Any) -> Plan:
    """A plan that searches what a search of the bowl does by default."""
    return with_changes(**{"fixed": FIXED, **changes})


def event(kind: str, elapsed_s: float, **payload: Any) -> Event:
    """An event so many seconds after `BEGUN`."""
    time = (BEGUN + timedelta(seconds=elapsed_s)).isoformat(timespec="milliseconds")
    return {"event": kind, "time": time, "elapsed_s": elapsed_s, **payload}


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
) -> dict[str, Any]:
    """One epoch as a report has it; `more` are metrics of the validation split beside the height."""
    metrics = {"valid/height": height, **{f"valid/{name}": value for name, value in more.items()}}
    found: dict[str, Any] = {"epoch": epoch, "metrics": metrics, "score": score, "seconds": seconds, "is_best": is_best}
    return found if system is None else {**found, "system": system}


def begun(trial: str, elapsed_s: float, *, seed: int = 0, **given: Value) -> list[Event]:
    """A trial suggested and started."""
    return [
        event("suggested", elapsed_s, trial=trial, config=config_of(**given), seed=seed),
        event("started", elapsed_s + 0.1, trial=trial, where={"host": "here"}, notes=[]),
    ]


def reported(trial: str, elapsed_s: float, *epochs: dict[str, Any]) -> Event:
    """A report of some epochs."""
    return event("reported", elapsed_s, trial=trial, epochs=list(epochs))


def table_of(plan: Plan, events: Sequence[Event]) -> TrialTable:
    """The trials that follow from events."""
    return TrialTable.of(events, plan.objective, plan.constraints)
