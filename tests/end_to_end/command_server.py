"""A process that has imported all that `dermtune` needs and forks for each command: seconds of imports are paid once.

What it runs is a process of its own, with its own streams, environment, folder and process group, which can be signalled and
killed like any other. A test of how a command begins must start a new interpreter (`Shell.start(..., fresh=True)`).

Run as `python command_server.py FD`, FD a Unix socket that keeps messages apart. Each request is a JSON document with three file
descriptors; the answers are `{"id", "pid"}` when a command has begun and `{"id", "status"}` when it has ended.
"""

import atexit
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from typing import Any

MODULES = (
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "mlflow.pyfunc", "optuna", "pandas"),
    *("pyarrow.parquet", "ray.tune", "scipy.stats", "sklearn.metrics", "torch", "torchvision"),
    *("search.analysis.confirmation_report", "search.analysis.dry_run", "search.analysis.explaining"),
    *("search.analysis.publication", "search.analysis.replay", "search.analysis.report", "search.analysis.reproduction_page"),
    *("search.cli.live", "search.cli.main", "search.execution.session"),
    *("trainables.attentive.task", "trainables.bowl", "trainables.gated.task"),
)
_LARGEST_REQUEST = 1 << 17


def become(request: dict[str, Any], streams: list[int]) -> None:
    """Turns this process, which has just been forked, into a command, and ends with it."""
    os.setsid()
    for number, given in enumerate(streams):
        os.dup2(given, number)
        os.close(given)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["dermtune", *request["arguments"]]
    from search.cli.main import run

    status: int | str | None = 1
    try:
        status = run()
    except SystemExit as ended:
        status = ended.code
    except BaseException:  # noqa: BLE001 - what an interpreter prints at its end
        traceback.print_exc()
    # As an interpreter ends, but without taking apart all that the server has imported, which takes two seconds.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status if isinstance(status, int) else 1)


class CommandServer:
    """Forks commands until the other end of its socket is closed, and then kills those that still run.

    Args:    connection: to whoever asks.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._running = connection, dict[int, int]()
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(self._woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which then closes the socket

    def serve(self) -> None:
        """Answers until nobody asks any more."""
        self._answer(ready=True)
        while True:
            ready, _, _ = select.select([self._connection, self._wake], [], [])
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._reap()
            if self._connection in ready:
                data, streams, _, _ = socket.recv_fds(self._connection, _LARGEST_REQUEST, 3)
                if not data:
                    break
                self._fork(json.loads(data), streams)
        for pid in self._running:
            os.killpg(pid, signal.SIGKILL)

    def _fork(self, request: dict[str, Any], streams: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for inherited in (self._wake, self._woken, self._connection.detach()):
                os.close(inherited)
            become(request, streams)
        for stream in streams:
            os.close(stream)
        self._running[pid] = request["id"]
        self._answer(id=request["id"], pid=pid)

    def _reap(self) -> None:
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._answer(id=self._running.pop(pid), status=os.waitstatus_to_exitcode(status))

    def _answer(self, **fields: Any) -> None:
        self._connection.send(json.dumps(fields).encode())


def main() -> None:
    """Imports everything and serves."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    for name in MODULES:
        importlib.import_module(name)
    CommandServer(connection).serve()


if __name__ == "__main__":
    main()
