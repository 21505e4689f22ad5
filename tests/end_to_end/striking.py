"""Searches of the bowl in this process whose trials' processes are struck between two events: always at the same place."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search.execution.planning import prepare_search
from search.execution.result import SearchResult
from search.execution.session import run_search
from search.records.events import Event, Started, TrialEvent
from search.records.spec import SearchSpec


class Striker:
    """Follows a ledger and ends processes of trials, of another trial for each signal.

    A trial's process trains when it is asked to by the driver, which is this process: from an event on nothing has moved.

    Args:    signals: to be sent, in order.
             when: the event, after which its trial's process is struck.
    """

    def __init__(self, signals: Sequence[int], when: Callable[[Event], bool]) -> None:
        self._signals, self._when = list(signals), when
        self._processes: dict[str, int] = {}
        self.struck: list[str] = []

    def on_event(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, Started):
            self._processes[event.trial] = event.where["pid"]
        elif isinstance(event, TrialEvent) and self._signals and event.trial not in self.struck and self._when(event):
            os.kill(self._processes[event.trial], self._signals.pop(0))
            self.struck.append(event.trial)


def struck_search(storage: Path, striker: Striker, name: str, settings: dict[str, str], **options: Any) -> SearchResult:
    """Runs a search of the bowl that is struck.

    Args:    storage: folder of all searches.
             settings: as in `--set`.
             options: of `SearchSpec`.
    """
    storage.mkdir(exist_ok=True)
    plan = prepare_search(SearchSpec(task="bowl", name=name, settings=settings, **options), storage=storage).plan
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    return run_search(plan, storage, tracking_uri=uri, listeners=lambda plan, state: (striker.on_event,))
