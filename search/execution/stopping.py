"""Ways to end a running search from outside: a file that `dermtune stop` makes, and SIGTERM."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.5


@contextmanager
def stop_watch(file: Path) -> Iterator[threading.Event]:
    """Turns a stop request into what Ctrl-C does: Tune ends after the step at hand.

    SIGTERM does the same. Outside the main thread nothing can be signalled; a stop then waits for the running trials.
    """
    requested, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            if file.exists():
                requested.set()
                signal.raise_signal(signal.SIGINT)
                return

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)) if main else None
    if main:
        threading.Thread(target=watch, name="stop-watch", daemon=True).start()
    try:
        yield requested
    finally:
        over.set()
        if before is not None:
            signal.signal(signal.SIGTERM, before)
