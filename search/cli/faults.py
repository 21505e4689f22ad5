"""Whose fault an error is: the request's or the machine's is a line that says what must change; ours is said to be ours."""

import logging
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from search.records.search_log import log_of
from spaces.errors import RequestError
from trainables.errors import DermtuneError, is_out_of_memory

#: Logging levels by the name that --log-level takes.
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
#: Packages whose errors tell of a store or a database.
_OF_STORES = ("mlflow", "sqlalchemy", "sqlite3")
_log = logging.getLogger("dermtune")


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is when something is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


_stderr = _Stderr()


def is_ours(error: Exception) -> bool:
    """Whether an error is a fault of dermtune's, and neither of the request nor of the machine, its network and stores."""
    if isinstance(error, DermtuneError | RequestError) or is_out_of_memory(error):
        return False
    if isinstance(error, OSError):
        # Libraries raise a bare one for contents that they cannot read; the system's have a number, a file or a kind.
        return type(error) is OSError and error.errno is None and error.filename is None
    return type(error).__module__.partition(".")[0] not in _OF_STORES


def log_to_stderr() -> None:
    """Sends warnings to stderr, where this process has not seen to that itself."""
    root = logging.getLogger()
    if not root.handlers:
        _stderr.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        root.addHandler(_stderr)
    _log.setLevel(logging.NOTSET)


def set_level(name: str) -> None:
    """How much dermtune logs on stderr; what --debug asks for stays.

    Args:    name: of `LEVELS`.
    """
    if _log.level != logging.DEBUG:
        _log.setLevel(LEVELS[name])


def line_of(error: Exception, arguments: Sequence[str]) -> str:
    """What a command says of an error that ends it; with --debug stderr has had the traceback before.

    Args:    arguments: of the command line, for the log.
    """
    from search.records.database import masked  # with SQLAlchemy, which few commands need

    text = masked(" ".join(str(error).split()))
    if _log.level == logging.DEBUG:
        sys.stderr.write(masked("".join(traceback.format_exception(error))))
    if isinstance(error, DermtuneError | RequestError):
        return text
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if not is_ours(error):
        return text if isinstance(error, OSError) and text else said
    where = log_of(error) or _written(error, arguments)
    report = (
        f"the traceback is in {where}; please attach that file to a report"
        if where
        else "run again with --debug for the traceback"
    )
    return f"an error in dermtune itself, not in your request: {said[:500]} ({report})"


def _written(error: Exception, arguments: Sequence[str]) -> str | None:
    """Writes command, versions and traceback to a file of its own; gives its path, None where none can be written."""
    from search.records.database import masked
    from trainables.versions import versions

    with suppress(OSError, ImportError):
        told = {"system": platform.platform(), **versions("ray", "optuna", "mlflow")}
        machine = ", ".join(f"{name} {value}" for name, value in told.items())
        text = f"dermtune {shlex.join(arguments)}\n{machine}\n\n{''.join(traceback.format_exception(error))}"
        descriptor, file = tempfile.mkstemp(prefix="dermtune-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as log:
            log.write(masked(text))
        return file
    return None
