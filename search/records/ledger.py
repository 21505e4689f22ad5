"""The ledger: an append-only file of what happened, on disk before anyone acts on it. All else follows from it."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from search.errors import LedgerDamaged
from search.records.disk_space import append
from search.records.events import Event, from_json, to_json
from trainables.folders import sync

Listener = Callable[[Event], None]


class Journal:
    """Stamps events and passes them on, in order; keeps nothing itself.

    A stamp is the time (UTC) and the seconds since the search began, by the clock; what passed between one process and the next
    that took the search up is left out.

    Args:    clock: seconds, monotonic.
             elapsed_s: of the processes before this one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, elapsed_s: float = 0.0) -> None:
        self._clock, self._start = clock, clock() - elapsed_s
        self._listeners: list[Listener] = []
        self._undelivered: deque[Event] = deque()
        self._delivering = False

    def subscribe(self, listener: Listener) -> None:
        """Calls the listener with every event from now on, after it has been written."""
        self._listeners.append(listener)

    def append(self, event: Event) -> None:
        """Writes one event; its `time` and `elapsed_s` are set here."""
        self.extend([event])

    def extend(self, events: Sequence[Event]) -> None:
        """Writes several events at once: after a crash all of them are there, or the first few."""
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        elapsed_s = round(self._clock() - self._start, 3)
        stamped = [replace(event, time=now, elapsed_s=elapsed_s) for event in events]
        self._write(stamped)
        self._undelivered.extend(stamped)
        if not self._delivering:
            self._deliver()

    def _write(self, events: Sequence[Event]) -> None:
        """Nowhere."""

    def _deliver(self) -> None:
        """Every listener hears every event in the order of writing, even when a listener itself appends."""
        self._delivering = True
        try:
            while self._undelivered:
                event = self._undelivered.popleft()
                for listener in self._listeners:
                    listener(event)
        finally:
            self._delivering = False


class Ledger(Journal):
    """The journal of a search on disk: an event is there before anyone hears of it.

    Args:    file: made if missing; a last line that a crash cut short is taken off.
             clock: seconds, monotonic.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        _drop_unfinished_line(file)
        #: What was written before, by earlier processes.
        self.past = list(read_events(file))
        super().__init__(clock, self.past[-1].elapsed_s if self.past else 0.0)
        self._file = file.open("ab", buffering=0)
        sync(file.parent)

    def _write(self, events: Sequence[Event]) -> None:
        if events:
            append(self._file, b"".join(to_json(event) + b"\n" for event in events), sync=True)

    def close(self) -> None:
        """Closes the file; nothing more can be appended."""
        self._file.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _drop_unfinished_line(file: Path) -> None:
    """Cuts off what a crash left half-written, so that the next event starts a line of its own."""
    if file.is_file():
        data = file.read_bytes()
        complete = data.rfind(b"\n") + 1
        if complete < len(data):
            os.truncate(file, complete)


def read_events(file: Path) -> Iterator[Event]:
    """Every complete event of a ledger; a last line that a crash cut short was never acknowledged and is left out.

    Raises:  LedgerDamaged: when another line holds no event: somebody or something has changed it, or it is another version's.
    """
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.endswith(b"\n"):
                yield _event(file, number, line)


def _event(file: Path, number: int, line: bytes) -> Event:
    try:
        return from_json(line)
    except ValueError as error:
        raise LedgerDamaged(
            f"every line of {file} must hold an event of this version of dermtune; got {line[:60]!a} on line {number} (damaged,"
            " or another version's)"
        ) from error
