"""What a search's ledger holds: every kind of event, and how events are written and read."""

import json
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from search.records.search_events import (
    Fused,
    Noted,
    OutOfRace,
    Packed,
    RungDropped,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    Terminated,
    WarmStarted,
)
from search.records.trial_events import (
    CheckpointDeleted,
    Checkpointed,
    Continued,
    EpochResult,
    Failed,
    FailureKind,
    Finished,
    Interrupted,
    Paused,
    Promoted,
    Reported,
    Retried,
    Saved,
    Started,
    Stopped,
    Suggested,
)

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = [
    "CheckpointDeleted",
    "Checkpointed",
    "Continued",
    "EpochResult",
    "Event",
    "Failed",
    "FailureKind",
    "Finished",
    "Fused",
    "Interrupted",
    "Noted",
    "OutOfRace",
    "Packed",
    "Paused",
    "Promoted",
    "Reported",
    "Retried",
    "RungDropped",
    "Saved",
    "SearchEnded",
    "SearchResumed",
    "SearchStarted",
    "Started",
    "Stopped",
    "Suggested",
    "Terminated",
    "TrialEvent",
    "WarmStarted",
    "from_json",
    "to_json",
]

TrialEvent: TypeAlias = (
    Suggested
    | Started
    | Retried
    | Reported
    | Checkpointed
    | CheckpointDeleted
    | Saved
    | Paused
    | Promoted
    | Continued
    | Finished
    | Stopped
    | Failed
    | Interrupted
)
Event: TypeAlias = (
    SearchStarted
    | SearchResumed
    | SearchEnded
    | Noted
    | Terminated
    | RungDropped
    | Packed
    | Fused
    | WarmStarted
    | OutOfRace
    | TrialEvent
)


def to_json(event: Event) -> bytes:
    """One line of a ledger, without its end.

    Args:    event: given its time by a journal.
    """
    document = _document(event)
    if isinstance(event, Reported):
        document["epochs"] = [_document(epoch) for epoch in event.epochs]
    return json.dumps({"event": document.pop("event"), **document}).encode()


def _document(of: Event | EpochResult) -> dict[str, Any]:
    """The fields that are set; what is None says nothing."""
    values = {found.name: getattr(of, found.name) for found in fields(of)}
    return {name: value for name, value in values.items() if value is not None}


def from_json(line: bytes) -> Event:
    """The event of one line.

    Raises:  ValueError: when it holds none of this version.
    """
    try:  # by Python's own parser, since pydantic's takes no lone surrogates, of which names of files may be full
        found: Event = _adapter().validate_python(json.loads(line))
    except RecursionError as error:
        raise ValueError("too deep") from error
    return found


@cache
def _adapter() -> "TypeAdapter[Any]":
    """Made when a ledger is first read: commands that read none need not import pydantic."""
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Event, Field(discriminator="event")])
