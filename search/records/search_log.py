"""What happened in a search's process, in words and with times, for people: `search.log`, beside the ledger."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.records.event_messages import notice
from search.records.events import (
    Event,
    Failed,
    Finished,
    Interrupted,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    Started,
    Stopped,
)

_log = logging.getLogger("dermtune")
#: How a note of an error begins that says where its traceback is.
_LOGGED = "logged in "


class SearchLog(logging.FileHandler):
    """Appends to a file; what a full disk does not take is left out, and the search goes on.

    Args:    file: in a folder that exists.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file, encoding="utf-8", errors="replace", delay=True)
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%FT%TZ")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)
        self.is_complete = True

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, where the file can be opened."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Leaves the line out."""
        self.is_complete = False

    def on_event(self, event: Event) -> None:
        """Writes down what a person would want to know of an event, where that is anything."""
        if (line := _words(event)) is not None:
            self.write(logging.INFO, line)

    def write(self, level: int, line: str, error: BaseException | None = None) -> None:
        """Writes a line to this file alone, with an error's traceback."""
        info = None if error is None else (type(error), error, error.__traceback__)
        self.handle(_log.makeRecord(_log.name, level, __file__, 0, line, (), info))


@contextmanager
def logged_to(file: Path) -> Iterator[SearchLog]:
    """Appends to a file what dermtune warns of meanwhile, and what ends it with a traceback.

    Args:    file: in a folder that exists.
    """
    log = SearchLog(file)
    _log.addHandler(log)
    try:
        yield log
    except Exception as error:
        log.write(logging.ERROR, "the search failed", error)
        if log.is_complete:
            error.add_note(f"{_LOGGED}{file}")
        raise
    finally:
        _log.removeHandler(log)
        with suppress(OSError):  # what could not be written before
            log.close()


def log_of(error: Exception) -> str | None:
    """Where the traceback of an error has been logged, None where it has not been."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(_LOGGED)]
    return notes[0].removeprefix(_LOGGED) if notes else None


def _words(event: Event) -> str | None:
    match event:
        case SearchStarted() | SearchResumed():
            environment = ", ".join(f"{name} {value}" for name, value in event.environment.items())
            what = f"{event.event.replace('_', ' ')}: {event.name}, {event.num_trials} trials"
            return f"{what}, code {event.code_version} ({environment})"
        case Started():
            where = event.where
            parts = [str(where[name]) for name in ("host", "device") if name in where]
            parts += [f"process {where['pid']}"] if "pid" in where else []
            return f"{event.trial} started{' on ' if parts else ''}{', '.join(parts)}"
        case Finished() | Stopped() | Failed() | Interrupted():
            return f"{event.trial} {event.event}: {event.reason}"
        case SearchEnded():
            return f"search ended: {event.reason}"
    return notice(event)
