"""What a worker says of its trials, and what it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.records.events import Checkpointed, EpochResult
from search.strategy.retries import Failure
from search.strategy.suggestion import Suggestion


@dataclass(frozen=True)
class TrialReport:
    """What a worker says of one of its trials.

    Args:    trial: its id.
             failure: why it cannot go on, None while it can.
             the rest: see `SearchController.report` and `SearchController.start`.
    """

    trial: str
    epochs: Sequence[EpochResult] = ()
    ended: str | None = None
    checkpoint: Checkpointed | None = None
    saved_epoch: int | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class Change:
    """What a worker does before its next epoch.

    Args:    leaving: trials that it trains no longer.
             joining: trials that take their places, in order.
             over: whether nobody is left.
    """

    leaving: Sequence[str]
    joining: Sequence[Suggestion]
    over: bool
