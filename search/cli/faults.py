"""Whose fault an error is: the request's or the machine's is a line that says what must change; ours is said to be ours."""

import errno
import logging
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress

from search.records.search_log import log_of
from spaces.errors import RequestError
from trainables.errors import DermtuneError

#: Logging levels by the name that --log-level takes.
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
#: What no file names and is the machine's all the same: no room, no memory, too many files, no network.
_OF_THE_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EADDRINUSE,
    errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT,
}  # fmt: skip
_log = logging.getLogger("dermtune")


def is_ours(error: Exception) -> bool:
    """Whether an error is a fault of dermtune's, and neither of the request nor of the machine."""
    if isinstance(error, OSError) and not isinstance(error, DermtuneError):
        return error.filename is None and error.errno not in _OF_THE_MACHINE
    return not isinstance(error, DermtuneError | RequestError)


def log_to_stderr() -> None:
    """Sends warnings of every library to stderr, and of dermtune as much as `set_level` says later."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    set_level("warning")


def set_level(name: str) -> None:
    """How much of what dermtune logs reaches stderr.

    Args:    name: of `LEVELS`.
    """
    level = LEVELS[name]
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(level)
    _log.setLevel(level)


def line_of(error: Exception, arguments: Sequence[str]) -> str:
    """What a command says of an error that ends it; with --debug stderr has had the traceback before.

    Args:    arguments: of the command line, for the log.
    """
    text = " ".join(str(error).split())
    if _log.isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    if not is_ours(error):
        return text
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    where = log_of(error) or _written(error, arguments)
    report = f"its traceback is in {where}; please report it with that file" if where else "--debug shows its traceback"
    return f"a fault of dermtune's own, not of what was asked: {said[:500]} ({report})"


def _written(error: Exception, arguments: Sequence[str]) -> str | None:
    """Writes command, versions and traceback to a file of its own; gives its path, None where none can be written."""
    from trainables.versions import versions

    with suppress(OSError):
        descriptor, file = tempfile.mkstemp(prefix="dermtune-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as log:
            told = {"system": platform.platform(), **versions("ray", "optuna", "mlflow")}
            log.write(f"dermtune {shlex.join(arguments)}\n{', '.join(f'{name} {value}' for name, value in told.items())}\n\n")
            log.writelines(traceback.format_exception(error))
        return file
    return None
