"""Which trials have fallen silent: their process hangs, or what it said was lost on the way."""

import time
from collections.abc import Callable
from dataclasses import dataclass

#: A trial that has reported may be silent for so many of its longest silences so far, and for so many seconds at least: Ray
#: itself takes up to 50 to call a node dead.
PATIENCE, QUIET_S = 5.0, 90.0
#: Until its first report a trial may have to import, fetch and decode: so many of the longest beginning so far, and so many
#: seconds at least.
FIRST_PATIENCE, FIRST_QUIET_S = 10.0, 3600.0


@dataclass
class _Heard:
    """Of one trial: when it was heard of last, its longest silence, whether it has reported."""

    at: float
    longest_s: float = 0.0
    reported: bool = False


class Watchdog:
    """Follows when trials report.

    Args:    clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._heard = clock, dict[str, _Heard]()
        self._longest_first_s = 0.0

    def watch(self, trial: str) -> None:
        """A trial trains from now on; nothing new if it did already."""
        self._heard.setdefault(trial, _Heard(self._clock()))

    def reported(self, trial: str) -> None:
        """It has given a sign of life."""
        self.watch(trial)
        heard, now = self._heard[trial], self._clock()
        if heard.reported:
            heard.longest_s = max(heard.longest_s, now - heard.at)
        else:
            self._longest_first_s = max(self._longest_first_s, now - heard.at)
        heard.at, heard.reported = now, True

    def forget(self, trial: str) -> None:
        """It does not train any more."""
        self._heard.pop(trial, None)

    def silent(self) -> dict[str, float]:
        """Trials that have been silent for too long → seconds."""
        now = self._clock()
        return {trial: now - heard.at for trial, heard in self._heard.items() if now - heard.at > self._allowed(heard)}

    def _allowed(self, heard: _Heard) -> float:
        if heard.reported:
            return max(QUIET_S, PATIENCE * heard.longest_s)
        return max(FIRST_QUIET_S, FIRST_PATIENCE * self._longest_first_s)
