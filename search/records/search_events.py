"""Events of a ledger that concern the whole search: one frozen type for each kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from spaces.fields import Value

#: No field but those below: a ledger of another version is refused rather than half understood.
STRICT: Any = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class EventBase:
    """What every event has.

    Args:    time: when (UTC, ISO 8601), given by the journal.
             elapsed_s: seconds by the search's own clock, given by the journal.
    """

    __pydantic_config__ = STRICT

    time: str = ""
    elapsed_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _ProcessBegan(EventBase):
    """A process took the search up.

    Args:    name: of the search.
             num_trials: planned.
             code_version: of dermtune's sources.
             environment: machine and versions of the driver.
    """

    name: str
    num_trials: int
    code_version: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SearchStarted(_ProcessBegan):
    """The first process of a search began."""

    event: Literal["search_started"] = "search_started"


@dataclass(frozen=True, kw_only=True)
class SearchResumed(_ProcessBegan):
    """A later process took the search up."""

    event: Literal["search_resumed"] = "search_resumed"


@dataclass(frozen=True, kw_only=True)
class SearchEnded(EventBase):
    """A process of the search ended.

    Args:    reason: "all trials", a budget, "interrupted", ...
    """

    event: Literal["search_ended"] = "search_ended"
    reason: str


@dataclass(frozen=True, kw_only=True)
class Noted(EventBase):
    """Something that whoever reads the results should know.

    Args:    text: one line.
    """

    event: Literal["noted"] = "noted"
    text: str


@dataclass(frozen=True, kw_only=True)
class Terminated(EventBase):
    """No further trial begins, since too little is to be expected of one.

    Args:    text: one line.
    """

    event: Literal["terminated"] = "terminated"
    text: str


@dataclass(frozen=True, kw_only=True)
class RungDropped(EventBase):
    """Nobody is judged at the first rung any more.

    Args:    rung: that rung's epoch.
             grace_period: epoch of the next one, the first from now on.
             correlation: rank correlation of the two.
    """

    event: Literal["rung_dropped"] = "rung_dropped"
    rung: int
    grace_period: int
    correlation: float


@dataclass(frozen=True, kw_only=True)
class Packed(EventBase):
    """Trials that begin from now on get a share of a GPU that was measured.

    Args:    gpus_per_trial: the share.
    """

    event: Literal["packed"] = "packed"
    gpus_per_trial: float


@dataclass(frozen=True, kw_only=True)
class Fused(EventBase):
    """So many trials of a shape train as one program from now on.

    Args:    shape: values of the fields that its trials have in common.
             num_trials: at most.
             settled: whether that has been measured to be enough.
    """

    event: Literal["fused"] = "fused"
    shape: Sequence[Value]
    num_trials: int
    settled: bool


@dataclass(frozen=True, kw_only=True)
class WarmStarted(EventBase):
    """The search learnt from an earlier one.

    Args:    search: name of the earlier one.
             num_left_out: trials of it that do not fit this search.
             trials: the others, as `EarlierTrial.to_json` has them.
    """

    event: Literal["warm_started"] = "warm_started"
    search: str
    num_left_out: int
    trials: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class OutOfRace(EventBase):
    """A confirmation begins no further run of a configuration.

    Args:    candidate: the configuration's trial in the search.
             reason: why, in a few words.
    """

    event: Literal["out_of_race"] = "out_of_race"
    candidate: str
    reason: str
