"""The ledger: an append-only file of what happened, on disk before anyone acts on it. All else follows from it."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

Event = dict[str, Any]
Listener = Callable[[Event], None]


class Ledger:
    """Appends events and passes them on.

    Every event has `event` (its kind), `time` (UTC) and `elapsed_s` (monotonic, since this process opened the ledger).

    Args:    file: made if missing.
             clock: seconds, monotonic.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        _drop_unfinished_line(file)
        self._file = file.open("ab")
        self._clock, self._start = clock, clock()
        self._listeners: list[Listener] = []
        self._undelivered: deque[Event] = deque()
        self._delivering = False

    def subscribe(self, listener: Listener) -> None:
        """Calls the listener with every event from now on, after it is on disk."""
        self._listeners.append(listener)

    def append(self, event: str, **payload: Any) -> Event:
        """Writes one event and waits until it is on disk.

        Args:    event: its kind.
                 payload: JSON values.
        """
        line: Event = {
            "event": event,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "elapsed_s": round(self._clock() - self._start, 3),
            **payload,
        }
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._undelivered.append(line)
        if not self._delivering:
            self._deliver()
        return line

    def _deliver(self) -> None:
        """Every listener hears every event in the file's order, even when a listener itself appends."""
        self._delivering = True
        try:
            while self._undelivered:
                event = self._undelivered.popleft()
                for listener in self._listeners:
                    listener(event)
        finally:
            self._delivering = False

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
    """Every complete event of a ledger; a last line that a crash cut short was never acknowledged and is left out."""
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)
