"""The interpreter that Ray's workers run, which Ray hands to a shell as it is: below a path with a space none would start."""

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from typing import Any

#: A command that stands for the interpreter of whichever host it runs on: the one in whose packages that host's Ray lies.
OF_ITS_HOST = """bash -c 'python="${0%/lib/python*}/bin/python"; [ -x "$python" ] || python=python3; exec "$python" "$0" "$@"'"""
_OF_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def needs_quoting(path: str) -> bool:
    """Whether a shell reads a path otherwise than it stands there."""
    return shlex.quote(path) != path


def own_interpreter() -> dict[str, str] | None:
    """A runtime environment for Ray on this machine, None where none is needed."""
    return {"py_executable": shlex.quote(sys.executable)} if needs_quoting(sys.executable) else None


def interpreter_of_hosts() -> dict[str, str] | None:
    """A runtime environment for a cluster, whose hosts are taken to be like the driver's; a job has its own already."""
    return {"py_executable": OF_ITS_HOST} if needs_quoting(sys.executable) and _OF_A_JOB not in os.environ else None


def interpreter_of_job(nodes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What a job's runtime environment needs besides.

    Args:    nodes: what the dashboard says of its nodes (`/nodes?view=summary`), with their raylets' command lines; of a
                 cluster that says nothing nothing is thought.
    """
    raylets = [node["cmdline"][0] for node in nodes if node.get("cmdline")]
    return {"py_executable": OF_ITS_HOST} if any(map(needs_quoting, raylets)) else {}
