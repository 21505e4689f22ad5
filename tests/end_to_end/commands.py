"""Three ways to call the command line: here, in a process forked for it, in an interpreter of its own.

`Here` is the quickest and serves whatever is not about processes: Ray runs once, and nothing is imported twice. `Shell` gives a
command a process of its own, to be signalled and killed; `fresh=True` starts it from the console script, as a person does.
"""

import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from waiting import PATIENCE_S

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


class Here:
    """Runs `dermtune` in this process, in one folder, with the Ray that runs here.

    Args:    folder: working directory.
             environment: added to this process's while a command runs.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, dict(environment)

    def run(self, *arguments: str) -> Finished:
        """Runs a command to its end."""
        from search.cli.main import run

        out, err, before = io.StringIO(), io.StringIO(), dict(os.environ)
        os.environ.update(self.environment)
        try:
            with chdir(self.folder), redirect_stdout(out), redirect_stderr(err):
                status = run(arguments)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return Finished(status, out.getvalue(), err.getvalue())


@dataclass
class Command:
    """A command that the server has forked, as `subprocess.Popen` shows one.

    Args:    pid: of the process, which leads its own group.
             stdout, stderr: what it says.
    """

    pid: int
    stdout: TextIOWrapper
    stderr: TextIOWrapper
    _ended: threading.Event = field(default_factory=threading.Event)
    _status: int | None = None

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the signal that ended it, None while it runs."""
        return self._status

    def poll(self) -> int | None:
        """The same."""
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end.

        Raises:  subprocess.TimeoutExpired: when it does not come.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("dermtune", timeout or 0.0)
        assert self._status is not None
        return self._status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Reads both streams to their ends and waits; see `wait`."""
        said: dict[str, str] = {}
        readers = [
            threading.Thread(target=lambda name=name, stream=stream: said.update({name: stream.read()}), daemon=True)
            for name, stream in (("out", self.stdout), ("err", self.stderr))
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(10)
        for stream in (self.stdout, self.stderr):
            stream.close()
        return said["out"], said["err"]

    def send_signal(self, number: int) -> None:
        """To the process itself, while it runs."""
        if self._status is None:
            os.kill(self.pid, number)

    def has_ended(self, status: int) -> None:
        """Called by whoever hears of it."""
        self._status = status
        self._ended.set()


class CommandClient:
    """Asks a server of its own for commands; see `command_server.py`."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = Path(__file__).with_name("command_server.py")
        self._server = subprocess.Popen(
            [sys.executable, str(script), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "RAY_AUTH_MODE": "token"},
        )
        theirs.close()
        self._connection, self._numbers = ours, itertools.count()
        self._changed = threading.Condition()
        self._ready, self._commands, self._answers = False, dict[int, Command](), dict[int, dict[str, int]]()
        threading.Thread(target=self._listen, daemon=True).start()
        with self._changed:
            assert self._changed.wait_for(lambda: self._ready, PATIENCE_S), "the server has not come up"

    def start(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Command:
        """Starts a command."""
        number = next(self._numbers)
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        request = {"id": number, "arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
        socket.send_fds(self._connection, [json.dumps(request).encode()], [nothing, their_out, their_err])
        for given in (nothing, their_out, their_err):
            os.close(given)
        with self._changed:
            assert self._changed.wait_for(lambda: "pid" in self._answers.get(number, {}), PATIENCE_S), "no answer"
            answer = self._answers.pop(number)
            command = Command(answer["pid"], os.fdopen(out), os.fdopen(err))
            if "status" in answer:
                command.has_ended(answer["status"])
            else:
                self._commands[number] = command
        return command

    def close(self) -> None:
        """Ends the server, which kills what it has started and still runs."""
        self._connection.shutdown(socket.SHUT_RDWR)
        self._server.wait(30)
        self._connection.close()

    def _listen(self) -> None:
        while data := self._connection.recv(4096):
            answer = json.loads(data)
            with self._changed:
                if "ready" in answer:
                    self._ready = True
                elif "status" in answer and answer["id"] in self._commands:
                    self._commands.pop(answer["id"]).has_ended(answer["status"])
                else:
                    self._answers.setdefault(answer["id"], {}).update(answer)
                self._changed.notify_all()


class Shell:
    """Runs `dermtune` in one folder; whatever is still running at the end is killed, with its process group.

    Args:    folder: working directory.
             environment: added to this process's.
             client: of the server that forks commands.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], client: CommandClient) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment}
        self._client, self._running = client, list["Command | subprocess.Popen[str]"]()

    def start(self, *arguments: str, fresh: bool = False) -> "Command | subprocess.Popen[str]":
        """Starts a command in a process group of its own.

        Args:    fresh: in an interpreter of its own, from the console script.
        """
        process: Command | subprocess.Popen[str]
        if fresh:
            process = subprocess.Popen(
                [str(COMMAND), *arguments],
                cwd=self.folder,
                env=self.environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        else:
            process = self._client.start(arguments, self.folder, self.environment)
        self._running.append(process)
        return process

    def run(self, *arguments: str, fresh: bool = False) -> Finished:
        """Runs a command to its end."""
        return self.finish(self.start(*arguments, fresh=fresh))

    def finish(self, process: "Command | subprocess.Popen[str]") -> Finished:
        """Waits for a started command."""
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode is not None
        return Finished(process.returncode, out, err)

    def close(self) -> None:
        """Kills what is left, by its process group."""
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
