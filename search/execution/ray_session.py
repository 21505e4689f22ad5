"""The one place that starts Ray or joins a cluster."""

import logging
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import ray

from search.errors import ClusterUnavailable
from search.execution.interpreter import interpreter_of_hosts, own_interpreter
from search.execution.interruption import starting_others
from search.execution.nodes import cluster_nodes
from search.execution.processes import importing, without_python_flags
from search.execution.resources import NodeGroup
from trainables.data.cache import cache_root
from trainables.places import home, is_writable, private_folder, temporary_roots

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
#: Of the folder in which Ray puts `ray/session_<26 characters>_<process>/sockets/plasma_store`; a socket's path has 107 at most.
_LONGEST_BYTES = 38
#: How Ray says that its first process has not started within 30 s, a limit of its own, and how often a start is tried.
_SLOW, _STARTS = "timed out during startup", 3
_log = logging.getLogger("dermtune")
#: With which Ray says that it did not start.
_OF_RAY = (ConnectionError, RuntimeError, TimeoutError, ValueError, OSError)


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
    early = modules if ours and address is None and own_interpreter() is None else ()
    with without_python_flags(), tempfile.TemporaryDirectory(prefix="dermtune-") as empty, importing(early) as more:
        try:
            if ours:
                with chdir(empty), starting_others():
                    _start(address, more)
            yield cluster_nodes()
        finally:
            if ours:  # also what an interrupted start leaves
                ray.shutdown()


def use_token() -> None:
    """Shows a cluster this account's token, where there is one: Ray itself does so only when told."""
    if _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _has_token() -> bool:
    own = home()
    named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return named or (own is not None and (own / ".ray" / "auth_token").is_file())


def _make_token() -> None:
    """A token for Ray on this machine, where Ray would make one and cannot: it lies in the home."""
    own = home()
    if not _has_token() and (own is None or not is_writable(own / ".ray")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _start(address: str | None, more: dict[str, Any]) -> None:
    # A worker's copies of the driver's warnings and progress bars help nobody.
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        use_token()
        _check_reachable(address)
    try:
        if address is None:
            # "local": not whatever Ray happens to run on this machine already.
            _make_token()
            local = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES, **_temporary_folder(), **more}
            _init_patiently(address="local", runtime_env=own_interpreter(), **local, **quiet)
        else:
            ray.init(address=address, runtime_env=interpreter_of_hosts(), **quiet)
    except Exception as error:
        # Ray's "timed out during startup", of a busy machine, is of no narrower kind.
        if not isinstance(error, _OF_RAY) and type(error) is not Exception:
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterUnavailable(f"Ray must be reachable at {address or 'this machine'}; got {reason} (--address)") from error


def _init_patiently(**given: Any) -> None:
    """`ray.init`, tried again on a machine so busy that Ray's half minute for its first process is over.

    What a start that was too slow leaves ends with this process.
    """
    for tries_left in reversed(range(_STARTS)):
        try:
            ray.init(**given)
            return
        except Exception as error:
            if not tries_left or _SLOW not in str(error):
                raise
            ray.shutdown()


def _temporary_folder() -> dict[str, str]:
    """What `ray.init` is to be given where it would take a folder that cannot hold its sockets, whose paths have a limit.

    Raises:  ClusterUnavailable: when there is no folder that can.
    """
    meant = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")
    fits = len(os.fsencode(meant)) <= _LONGEST_BYTES
    if fits and is_writable(meant / "ray"):
        return {}
    own = home()
    roots = [*temporary_roots(), *([] if own is None else [own / ".cache"])]
    instead = private_folder(roots, _LONGEST_BYTES)
    if instead is None:
        tried = ", ".join(map(str, (meant, *(root for root in roots if root != meant))))
        raise ClusterUnavailable(
            f"RAY_TMPDIR must name a folder that can be written and whose path has {_LONGEST_BYTES} bytes at most; got none of"
            f" {tried}"
        )
    why = "which cannot be written" if fits else f"whose path has more than {_LONGEST_BYTES} bytes"
    _log.warning("Ray's files are in %s: got %s, %s (RAY_TMPDIR names another folder)", instead, meant, why)
    return {"_temp_dir": str(instead / "ray")}


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes before it gives an address up."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:  # a name that no host can have is no OSError
        raise ClusterUnavailable(f"Ray must be reachable at {address}; got {error} (--address)") from error
