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
        self._file = file.open("ab")
        self._clock, self._start = clock, clock()
        self._listeners: list[Listener] = []
        self._undelivered: deque[Event] = deque()

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
        if len(self._undelivered) == 1:
            self._deliver()
        return line

    def _deliver(self) -> None:
        """Every listener hears every event in the file's order, even when a listener itself appends."""
        while self._undelivered:
            for listener in self._listeners:
                listener(self._undelivered[0])
            self._undelivered.popleft()

    def close(self) -> None:
        """Closes the file; nothing more can be appended."""
        self._file.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_events(file: Path) -> Iterator[Event]:
    """Every complete event of a ledger; a last line that a crash cut short was never acknowledged and is left out."""
    if not file.is_file():
        return
    with file.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)
