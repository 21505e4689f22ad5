"""Which failures of a trial are not its own, and how often it is tried again."""

from dataclasses import dataclass

from search.records.events import FailureKind
from search.records.trials import TrialRecord

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


def may_retry(trial: TrialRecord, failure: Failure) -> bool:
    """Whether a trial that has failed is to be tried again: not too often for one kind, nor a third time with the same error.

    Args:    trial: with its earlier retries; those that may have been another's fault do not count.
             failure: of it.
    """
    own = [retry for retry in trial.retries if retry.suspects is None and retry.kind == failure.kind]
    same = failure.kind == "raised" and bool(own) and own[-1].reason == failure.reason
    return len(own) < LIMITS[failure.kind] and not same
