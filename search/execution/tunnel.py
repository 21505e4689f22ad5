"""A port of a cluster's head on this machine, through ssh as the cluster's file describes it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.errors import ClusterUnavailable, PlanError
from search.execution.interruption import take_signals

_OPEN_WITHIN_S = 60.0


@contextmanager
def tunnel(cluster_file: Path, remote_port: int, local_port: int = 0) -> Iterator[int]:
    """Forwards a port of the head's loopback to one of this machine's; Ray's own command does it, for any provider.

    Args:    cluster_file: that `ray up` was given.
             remote_port: on the head.
             local_port: on this machine, 0 for a free one.
    Returns: the local port.
    Raises:  PlanError: when there is no such file.
             ClusterUnavailable: when the head cannot be reached.
    """
    if not cluster_file.is_file():
        raise PlanError(f"--cluster must be the file that `ray up` was given; got {cluster_file}, which does not exist")
    port = local_port or _free_port()
    ray = Path(sys.executable).with_name("ray")
    command = [
        str(ray),
        "dashboard",
        "--no-config-cache",
        "--port",
        str(port),
        "--remote-port",
        str(remote_port),
        str(cluster_file),
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=take_signals,
        text=True,
    )
    try:
        _wait(process, port, cluster_file)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _wait(process: "subprocess.Popen[str]", port: int, cluster_file: Path) -> None:
    deadline = time.monotonic() + _OPEN_WITHIN_S
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            said = " ".join(process.communicate()[0].split())[-300:]
            raise ClusterUnavailable(
                f"the head of {cluster_file} must be reachable by ssh; got {said or 'no answer'} (ray up it)"
            )
        time.sleep(0.2)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
