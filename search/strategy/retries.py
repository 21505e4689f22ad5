"""Which failures of a trial are not its own, and how often it is tried again."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from search.records.ledger import Event

#: "lost": its node went away; "hung": nothing was heard of it for too long; "memory": it needed more of its GPU than its share;
#: "full": there was no room for its checkpoint; "died": its process ended without a word; "raised": it said why; "diverged": a
#: loss or metric was no number.
FailureKind = Literal["lost", "hung", "memory", "died", "raised", "diverged", "full"]
#: Retries of one trial. A node that is taken away is never the trial's fault, but a trial that loses so many is stuck; more
#: memory is limited by the GPU itself; what diverges would diverge again; a full disk is waited for.
LIMITS: dict[FailureKind, int] = {"lost": 20, "hung": 3, "memory": 20, "died": 3, "raised": 3, "diverged": 0, "full": 1000}


@dataclass(frozen=True)
class Failure:
    """Why a trial's process did not go on.

    Args:    kind: see `FailureKind`.
             reason: one line.
             trace: where, "" where nothing is known.
             needed_bytes: of what there was no room for.
    """

    kind: FailureKind
    reason: str
    trace: str = ""
    needed_bytes: int = 0


class Retries:
    """Counts each trial's failures by kind; one that raises the very same error again is not tried a third time.

    Args:    past: events of earlier processes; their retries count, but for those that may have been another's fault.
    """

    def __init__(self, past: Iterable[Event] = ()) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._raised: dict[str, str] = {}
        for event in past:
            if event["event"] == "retried" and "suspects" not in event:
                self._note(event["trial"], event["kind"], event["reason"])

    def again(self, trial: str, failure: Failure) -> bool:
        """Whether the trial is to be tried again; counted if so."""
        same = failure.kind == "raised" and self._raised.get(trial) == failure.reason
        allowed = self._counts.get((trial, failure.kind), 0) < LIMITS[failure.kind] and not same
        if allowed:
            self._note(trial, failure.kind, failure.reason)
        return allowed

    def _note(self, trial: str, kind: str, reason: str) -> None:
        self._counts[trial, kind] = self._counts.get((trial, kind), 0) + 1
        if kind == "raised":
            self._raised[trial] = reason
