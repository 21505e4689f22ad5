"""Standard streams that outlast their readers."""

import errno
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli.streams import _LastingFile

REPOSITORY = Path(__file__).parents[2]


def test_what_nobody_can_read_any_more_is_dropped() -> None:
    reader, writer = os.pipe()
    file = _LastingFile(writer)
    assert file.write(b"heard") == 5
    assert os.read(reader, 5) == b"heard"
    os.close(reader)
    assert file.write(b"lost") == 4
    os.close(writer)


def test_a_terminal_that_was_closed_is_no_error() -> None:
    ours, theirs = pty.openpty()
    file = _LastingFile(theirs)
    os.close(ours)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        os.write(theirs, b"lost")
    assert file.write(b"lost") == 4
    os.close(theirs)


def test_a_full_disk_still_is_one() -> None:
    with Path("/dev/full").open("wb") as full, pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        _LastingFile(full.fileno()).write(b"data")


_PRINTS = """
import os, sys
from search.cli.streams import lasting_streams
os.write(2, b"go")
input()
with lasting_streams():
    print("lost", flush=True)
print("done", file=sys.stderr)
"""


def test_a_command_ends_as_it_would_when_its_reader_has_gone() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _PRINTS], cwd=REPOSITORY, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"godone\n")
