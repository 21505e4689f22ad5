"""A search in simulated time: the same controller, any number of workers, curves that are known beforehand."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from search.records.events import EpochResult
from search.strategy.suggestion import Suggestion


class Conducts(Protocol):
    """What is simulated: a `SearchController`, or anything that is to be compared with one."""

    def next(self) -> Suggestion | None:
        """What to train in a free slot; None when nothing may start now."""

    def report(self, trial: str, epochs: Sequence[EpochResult], ended: str | None) -> bool:
        """Takes epochs; says whether the trial must leave its slot."""

    def is_paused(self, trial: str) -> bool:
        """Whether it left its slot only for a while."""

    def stop(self, trial: str, reason: str) -> None:
        """No more is known of the trial."""

    def settle(self) -> None:
        """Nothing runs any more."""


@dataclass(frozen=True)
class Curve:
    """What is known of a trial beforehand.

    Args:    epochs: in order.
             cut_short: whether it would have gone on, nobody knows how.
    """

    epochs: Sequence[EpochResult]
    cut_short: bool = False


@dataclass(frozen=True)
class Observation:
    """One epoch that was trained.

    Args:    time_s: when it ended.
             trial: whose.
             epoch: the report.
    """

    time_s: float
    trial: str
    epoch: EpochResult


@dataclass
class SimulatedClock:
    """Seconds that pass only when a simulation says so."""

    now_s: float = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.now_s


@dataclass(order=True)
class _Work:
    ends_s: float
    order: int
    suggestion: Suggestion = field(compare=False)


def simulate(
    controller: Conducts,
    curve_of: Callable[[Suggestion], Curve],
    num_workers: int,
    *,
    clock: SimulatedClock | None = None,
    until_s: float = float("inf"),
) -> list[Observation]:
    """Runs a search to its end, or to a time.

    Args:    controller: chooses and judges.
             curve_of: trial → its epochs; it ends by itself after the last of them unless it was cut short there.
             num_workers: trials at once.
             clock: set to the simulated time, for a journal's sake.
             until_s: seconds after which nothing more is heard.
    Returns: every epoch, in the order in which they ended; with the same controller and seed always the same.
    """
    time = clock or SimulatedClock()
    work: list[_Work] = []
    curves: dict[str, Curve] = {}
    position: dict[str, int] = {}
    seen: list[Observation] = []
    order = 0

    def begin(suggestion: Suggestion) -> None:
        nonlocal order
        epoch = curves[suggestion.trial].epochs[position[suggestion.trial]]
        heapq.heappush(work, _Work(time.now_s + epoch.seconds, order, suggestion))
        order += 1

    while True:
        while len(work) < num_workers and (suggestion := controller.next()) is not None:
            if suggestion.trial not in curves:
                curves[suggestion.trial] = curve_of(suggestion)
                position[suggestion.trial] = 0
            begin(suggestion)
        if not work or work[0].ends_s > until_s:
            break
        done = heapq.heappop(work)
        time.now_s, trial = done.ends_s, done.suggestion.trial
        epoch = curves[trial].epochs[position[trial]]
        position[trial] += 1
        seen.append(Observation(time.now_s, trial, epoch))
        last, cut_short = position[trial] == len(curves[trial].epochs), curves[trial].cut_short
        left = controller.report(trial, [epoch], "max_epochs" if last and not cut_short else None)
        if last and cut_short and (not left or controller.is_paused(trial)):
            controller.stop(trial, "cut short")
        elif not left:
            begin(done.suggestion)
    controller.settle()
    return seen
