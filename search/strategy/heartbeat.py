"""Which trials have fallen silent: their process hangs, or what it said was lost on the way."""

import time
from collections.abc import Callable
from dataclasses import dataclass

#: A trial that has reported may be silent for so many of the longest silences of any trial so far (a busy machine is slow for all
#: of them) and, until its second report, of its own beginning; and for so many seconds at least: Ray itself takes up to 50 to
#: call a node dead.
PATIENCE, QUIET_S = 5.0, 90.0
#: Until its first report a trial may have to import, fetch and decode: so many of the longest beginning so far, and so many
#: seconds at least.
FIRST_PATIENCE, FIRST_QUIET_S = 10.0, 3600.0


@dataclass
class _Heard:
    """Of one trial: when it was heard of last, how long its first report took, how often it has reported."""

    at: float
    first_s: float = 0.0
    reports: int = 0


class Watchdog:
    """Follows when trials report.

    Args:    clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._heard = clock, dict[str, _Heard]()
        self._longest_first_s = self._longest_s = 0.0

    def watch(self, trial: str) -> None:
        """A trial trains from now on; nothing new if it did already."""
        self._heard.setdefault(trial, _Heard(self._clock()))

    def reported(self, trial: str) -> None:
        """It has given a sign of life."""
        self.watch(trial)
        heard, now = self._heard[trial], self._clock()
        if heard.reports:
            self._longest_s = max(self._longest_s, now - heard.at)
        else:
            heard.first_s = now - heard.at
            self._longest_first_s = max(self._longest_first_s, heard.first_s)
        heard.at, heard.reports = now, heard.reports + 1

    def forget(self, trial: str) -> None:
        """It does not train any more."""
        self._heard.pop(trial, None)

    def silent(self) -> dict[str, float]:
        """Trials that have been silent for too long → seconds."""
        now = self._clock()
        return {trial: now - heard.at for trial, heard in self._heard.items() if now - heard.at > self._allowed(heard)}

    def _allowed(self, heard: _Heard) -> float:
        if heard.reports:
            beginning_s = heard.first_s if heard.reports == 1 else 0.0
            return max(QUIET_S, PATIENCE * max(self._longest_s, beginning_s))
        return max(FIRST_QUIET_S, FIRST_PATIENCE * self._longest_first_s)
