"""The command line as a person would call it: another process, in a folder whose path has a space."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).parent / "dermtune"


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as one JSON document."""
        return json.loads(self.out)


class Shell:
    """Runs `dermtune` in one folder; whatever is still running at the end is killed, with its process group.

    Args:    folder: working directory.
             environment: added to this process's.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment}
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts a command in a process group of its own."""
        process = subprocess.Popen(
            [str(COMMAND), *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def run(self, *arguments: str, timeout_s: float = 300) -> Finished:
        """Runs a command to its end."""
        return self.finish(self.start(*arguments), timeout_s)

    def finish(self, process: "subprocess.Popen[str]", timeout_s: float = 300) -> Finished:
        """Waits for a started command."""
        out, err = process.communicate(timeout=timeout_s)
        return Finished(process.returncode, out, err)

    def close(self) -> None:
        """Kills what is left, by its process group."""
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


@pytest.fixture
def shell(tmp_path: Path, own_cache: Path) -> Iterator[Shell]:
    """A shell in a new folder whose path has a space."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    made = Shell(folder, {"DERMTUNE_CACHE": str(own_cache)})
    yield made
    made.close()


def wait_until(happened: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Waits for something, and says what did not happen."""
    end = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen within {timeout_s} s")
        time.sleep(0.1)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], float, str], None]:
    """`wait_until`, for tests."""
    return wait_until


@pytest.fixture
def unused_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
