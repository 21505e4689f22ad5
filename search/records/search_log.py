"""What happened in a search's process, in words and with times: `search.log` beside the ledger, which machines read."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


class _LogFile(logging.FileHandler):
    """Appends; a disk that is full takes lines from the log and nothing from the search."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%FT%TZ")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)
        self.setLevel(logging.INFO)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Leaves the line out."""


@contextmanager
def logged_to(file: Path) -> Iterator[None]:
    """Appends to a file what is logged meanwhile, warnings and more, and what ends it with a traceback.

    Args:    file: in a folder that exists.
    """
    handler, level = _LogFile(file), _log.level
    _log.addHandler(handler)
    if _log.getEffectiveLevel() > logging.INFO:
        _log.setLevel(logging.INFO)
    try:
        yield
    except Exception as error:
        info = type(error), error, error.__traceback__
        record = _log.makeRecord(_log.name, logging.ERROR, __file__, 0, "the search broke", (), info)
        handler.handle(record)  # to this file alone: whoever called is given the error itself
        error.add_note(f"{_LOGGED}{file}")
        raise
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)
        handler.close()


def log_of(error: Exception) -> str | None:
    """Where the traceback of an error has been logged, None where it has not been."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(_LOGGED)]
    return notes[0].removeprefix(_LOGGED) if notes else None


def log_event(event: Event) -> None:
    """Logs what a person would want to know of an event, where that is anything."""
    line = _words(event)
    if line is not None:
        _log.info("%s", line)


def _words(event: Event) -> str | None:
    match event:
        case SearchStarted() | SearchResumed():
            environment = ", ".join(f"{name} {value}" for name, value in event.environment.items())
            what = f"{event.event.replace('_', ' ')}: {event.name}, {event.num_trials} trials"
            return f"{what}, code {event.code_version} ({environment})"
        case Started():
            where = event.where
            host, device = where.get("host", "an unknown host"), where.get("device", "cpu")
            return f"{event.trial} started on {host}, {device}, process {where.get('pid')}"
        case Finished() | Stopped() | Failed() | Interrupted():
            return f"{event.trial} {event.event}: {event.reason}"
        case SearchEnded():
            return f"search ended: {event.reason}"
    return notice(event)
