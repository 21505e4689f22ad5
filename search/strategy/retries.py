"""Which failures of a trial are not its own, and how often it is tried again."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from search.records.ledger import Event

#: "lost": its node went away; "hung": nothing was heard of it for too long; "memory": it needed more of its GPU than its share;
#: "died": its process ended without a word; "raised": it said why.
FailureKind = Literal["lost", "hung", "memory", "died", "raised"]
#: Retries of one trial. A node that is taken away is never the trial's fault, but a trial that loses so many is stuck; more
#: memory is limited by the GPU itself.
LIMITS: dict[FailureKind, int] = {"lost": 20, "hung": 3, "memory": 20, "died": 0, "raised": 0}


@dataclass(frozen=True)
class Failure:
    """Why a trial's process did not go on.

    Args:    kind: see `FailureKind`.
             reason: one line.
             trace: where, "" where nothing is known.
    """

    kind: FailureKind
    reason: str
    trace: str = ""


class Retries:
    """Counts each trial's failures by kind.

    Args:    past: events of earlier processes; their retries count.
    """

    def __init__(self, past: Iterable[Event] = ()) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        for event in past:
            if event["event"] == "retried":
                self._count(event["trial"], event["kind"])

    def again(self, trial: str, failure: Failure) -> bool:
        """Whether the trial is to be tried again; counted if so."""
        allowed = self._counts.get((trial, failure.kind), 0) < LIMITS[failure.kind]
        if allowed:
            self._count(trial, failure.kind)
        return allowed

    def _count(self, trial: str, kind: str) -> None:
        self._counts[trial, kind] = self._counts.get((trial, kind), 0) + 1
