"""The one place that starts Ray or joins a cluster."""

import logging
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import ray

from search.errors import ClusterUnavailable
from search.execution.nodes import cluster_nodes
from search.execution.processes import importing
from search.execution.resources import NodeGroup
from trainables.data.cache import cache_root

#: Set before Ray starts: Tune must not log by itself, nor move into a trial's folder, nor save a state that nobody reads (it
#: writes all trials each time), nor phone home.
_ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_OBJECT_STORE_BYTES = 200 * 1024**2
_CONNECT_TIMEOUT_S = 5


@contextmanager
def ray_session(address: str | None, modules: Sequence[str] = ()) -> Iterator[list[NodeGroup]]:
    """Ray for the duration of a search; what was running before is left running.

    Workers put the driver's folder first on their import path, so Ray is started from an empty one: a user's `models/` or
    `search/` beside the command would otherwise be imported instead of ours.

    Args:    address: of a cluster, None to start Ray here.
             modules: that its first processes import before they are needed, where it is started here.
    Returns: its machines, with those that the cluster may still start.
    Raises:  ClusterUnavailable: when Ray cannot be started or reached.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
    if "DERMTUNE_CACHE" in os.environ:
        # Workers start in another folder: a relative path would be another place there.
        os.environ["DERMTUNE_CACHE"] = str(cache_root())
    ours = not ray.is_initialized()
    early = modules if ours and address is None and _runtime_env(sys.executable) is None else ()
    with tempfile.TemporaryDirectory(prefix="dermtune-") as empty, importing(early) as more:
        try:
            if ours:
                with chdir(empty):
                    _start(address, more)
            yield cluster_nodes()
        finally:
            if ours and ray.is_initialized():
                ray.shutdown()


def use_token() -> None:
    """Shows a cluster this account's token, where there is one: Ray itself does so only when told."""
    has_one = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ or (Path.home() / ".ray/auth_token").is_file()
    if has_one:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _start(address: str | None, more: dict[str, Any]) -> None:
    # A worker's copies of the driver's warnings and progress bars help nobody.
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        use_token()
        _check_reachable(address)
    try:
        if address is None:
            # "local": not whatever Ray happens to run on this machine already.
            local = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES, **more}
            ray.init(address="local", runtime_env=_runtime_env(sys.executable), **local, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterUnavailable(f"Ray must be reachable at {address or 'this machine'}; got {reason} (--address)") from error


def _runtime_env(executable: str) -> dict[str, str] | None:
    """Ray runs workers through a shell without quoting the interpreter: one below a path with a space never starts."""
    quoted = shlex.quote(executable)
    return None if quoted == executable else {"py_executable": quoted}


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes before it gives an address up."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterUnavailable(f"Ray must be reachable at {address}; got {error} (--address)") from error
