"""Events of a ledger that concern one trial: one frozen type for each kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from search.records.search_events import STRICT, EventBase
from spaces.fields import Value

#: "lost": its node went away; "hung": nothing was heard of it for too long; "memory": it needed more of its GPU than its share;
#: "full": there was no room for its checkpoint; "died": its process ended without a word; "raised": it said why; "diverged": a
#: loss or metric was no number.
FailureKind = Literal["lost", "hung", "memory", "died", "raised", "diverged", "full"]


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What a trial reported of one epoch.

    Args:    epoch: 1 for the first.
             metrics: name → value.
             score: trailing mean of the objective; what trials are ranked by.
             seconds: wall time of the epoch, validation included.
             is_best: whether its score is the trial's best so far.
             window: validations that the score is the mean of; 0 while the objective is not trained yet.
             kept: epoch whose model the trial keeps now, 0 for this one.
             gpus: share of a GPU that it took, None where the plan says it.
             system: what the trial's process used of its machine.
             time: when the search heard of it (UTC, ISO 8601); not part of the ledger, whose events have a time of their own.
    """

    __pydantic_config__ = STRICT

    epoch: int
    metrics: Mapping[str, float]
    score: float
    seconds: float
    is_best: bool
    window: int
    kept: int = 0
    gpus: float | None = None
    system: Mapping[str, float] | None = None
    time: str | None = None

    @property
    def kept_epoch(self) -> int:
        """Epoch whose model the trial keeps now."""
        return self.kept or self.epoch


@dataclass(frozen=True, kw_only=True)
class _TrialEvent(EventBase):
    """Something that happened to one trial.

    Args:    trial: its id.
    """

    trial: str


@dataclass(frozen=True, kw_only=True)
class _TrialEnd(_TrialEvent):
    """A trial left its slot.

    Args:    reason: why, in a few words.
    """

    reason: str


@dataclass(frozen=True, kw_only=True)
class Suggested(_TrialEvent):
    """The search decided to train a new trial, and there is a slot for it.

    Args:    config: every field of the space.
             seed: of its training.
             fold: of the cases that it trains on, None for the data's own split.
             epochs: it ends after so many, None for the plan's.
    """

    event: Literal["suggested"] = "suggested"
    config: Mapping[str, Value]
    seed: int
    fold: int | None = None
    epochs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Started(_TrialEvent):
    """A trial's process trains.

    Args:    where: host, device and process.
             notes: what the trial does otherwise than its paper, a line each.
    """

    event: Literal["started"] = "started"
    where: Mapping[str, Any]
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Retried(_TrialEvent):
    """A trial begins again from its last state after a failure.

    Args:    kind: of the failure.
             reason: one line.
             gpus_per_trial: the trial's share of a GPU from now on.
             batch_parts: in how many parts its batches pass from now on.
             suspects: first and number of the trials among which alone it trains from now on, since one of them may have broken
                 the others; None where the failure was the trial's own.
    """

    event: Literal["retried"] = "retried"
    kind: FailureKind
    reason: str
    gpus_per_trial: float
    batch_parts: int = 1
    suspects: tuple[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Reported(_TrialEvent):
    """A trial validated one or more epochs.

    Args:    epochs: in order.
    """

    event: Literal["reported"] = "reported"
    epochs: Sequence[EpochResult]


@dataclass(frozen=True, kw_only=True)
class Checkpointed(_TrialEvent):
    """A trial's best model is on disk.

    Args:    epoch: that the model is of.
             path: its folder, relative to the search's.
             sha256: of it.
             metrics: those that differ from what was reported of the epoch; None where none does.
    """

    event: Literal["checkpointed"] = "checkpointed"
    epoch: int
    path: str
    sha256: str
    metrics: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class CheckpointDeleted(_TrialEvent):
    """A trial's best model is no longer among the best of the search, and was deleted.

    Args:    path: as in `Checkpointed`.
    """

    event: Literal["checkpoint_deleted"] = "checkpoint_deleted"
    path: str


@dataclass(frozen=True, kw_only=True)
class Saved(_TrialEvent):
    """A state from which a trial can go on is on disk.

    Args:    epoch: after which it goes on.
    """

    event: Literal["saved"] = "saved"
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Paused(_TrialEnd):
    """The scheduler paused a trial at a rung; it may be promoted later."""

    event: Literal["paused"] = "paused"


@dataclass(frozen=True, kw_only=True)
class Promoted(_TrialEvent):
    """A paused trial goes on."""

    event: Literal["promoted"] = "promoted"


@dataclass(frozen=True, kw_only=True)
class Continued(_TrialEvent):
    """A trial that an earlier process left unfinished goes on."""

    event: Literal["continued"] = "continued"


@dataclass(frozen=True, kw_only=True)
class Finished(_TrialEnd):
    """A trial ended by itself."""

    event: Literal["finished"] = "finished"


@dataclass(frozen=True, kw_only=True)
class Stopped(_TrialEnd):
    """The scheduler, a budget or the user ended a trial early."""

    event: Literal["stopped"] = "stopped"


@dataclass(frozen=True, kw_only=True)
class Failed(_TrialEnd):
    """A trial broke or diverged for good."""

    event: Literal["failed"] = "failed"


@dataclass(frozen=True, kw_only=True)
class Interrupted(_TrialEnd):
    """The search ended before the trial did; a resumption continues it."""

    event: Literal["interrupted"] = "interrupted"
