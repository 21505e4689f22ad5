"""Standard streams whose reader may go away: a closed terminal or pipe must not end a search."""

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class _LastingFile(io.FileIO):
    """Drops what is written to it once nobody can read it any more.

    Args:    descriptor: of an open file, which is left open.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        # EIO of a terminal means that it was closed; of a file on a disk it means that the disk is broken.
        self._gone = (errno.EPIPE, errno.EIO, errno.ENXIO) if self.isatty() else (errno.EPIPE,)

    def write(self, data: Any) -> int:
        """Bytes that were taken."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in self._gone:
                raise
            return memoryview(data).nbytes


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Lets stdout and stderr, where they are this process's own, outlast their readers."""
    own = [("stdout", sys.__stdout__), ("stderr", sys.__stderr__)]
    before = {name: stream for name, stream in own if stream is not None and getattr(sys, name) is stream}
    try:
        for name, stream in before.items():
            setattr(sys, name, _lasting(stream))
        yield
    finally:
        for name, stream in before.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)


def _lasting(stream: TextIO) -> TextIO:
    with suppress(OSError):  # what is written before the reader is known to be gone
        stream.flush()
    buffer = io.BufferedWriter(_LastingFile(stream.fileno()))
    return io.TextIOWrapper(buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=bool(stream.line_buffering))
