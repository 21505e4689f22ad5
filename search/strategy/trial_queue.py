"""Where the trials of a search are: in a slot, paused at a rung, or waiting to go on."""

from bisect import insort

from search.records.events import Continued, Event, Failed, Finished, Interrupted, Paused, Promoted, Stopped, Suggested


class TrialQueue:
    """Follows the events of a search.

    Attributes: running: trials that take up a slot.
                paused: trials that wait to be promoted.
                waiting: trials that were interrupted and go on next, by their ids.
    """

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.paused: set[str] = set()
        self.waiting: list[str] = []

    def apply(self, event: Event) -> None:
        """Takes one event."""
        match event:
            case Suggested() | Promoted() | Continued():
                self.go(event.trial)
            case Paused():
                self._leave(event.trial)
                self.paused.add(event.trial)
            case Interrupted() if event.trial in self.running:  # what had ended, or paused, before stays so
                self._leave(event.trial)
                insort(self.waiting, event.trial)
            case Finished() | Stopped() | Failed():
                self._leave(event.trial)

    def go(self, trial: str) -> None:
        """A trial takes up a slot."""
        self._leave(trial)
        self.running.add(trial)

    def wait_all(self) -> None:
        """The process that ran trials is gone: all of them wait to go on."""
        self.waiting = sorted({*self.running, *self.waiting})
        self.running.clear()

    def _leave(self, trial: str) -> None:
        self.running.discard(trial)
        self.paused.discard(trial)
        if trial in self.waiting:
            self.waiting.remove(trial)
