"""What Ray's workers run, through the shell to which Ray itself gives it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search.execution.interpreter import OF_ITS_HOST, interpreter_of_hosts, interpreter_of_job, own_interpreter

#: Starts a worker as Ray's `setup_worker.py` does.
_STARTS = """
import sys
from ray._private.runtime_env.context import RuntimeEnvContext
from ray.core.generated.common_pb2 import Language
RuntimeEnvContext(py_executable=sys.argv[1]).exec_worker(sys.argv[2:], Language.PYTHON)
"""
_SPACED, _PLAIN = "/home/a b/venv/bin/python", "/home/ab/venv/bin/python"


def worker_script(prefix: Path, *, python: bool) -> Path:
    """A worker's script that prints, in an environment of its own."""
    script = prefix / "lib" / "python3.11" / "site-packages" / "ray" / "default_worker.py"
    script.parent.mkdir(parents=True)
    script.write_text("import sys; print(sys.executable, sys.argv[1:])")
    if python:
        (prefix / "bin").mkdir()
        (prefix / "bin" / "python").symlink_to(sys.executable)
    return script


def start(script: Path) -> str:
    command = [sys.executable, "-c", _STARTS, OF_ITS_HOST, str(script), "--name=it's one", "$HOME"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_worker_below_a_path_with_a_space_runs_its_hosts_interpreter(tmp_path: Path) -> None:
    host = tmp_path / "a b"
    assert start(worker_script(host, python=True)) == f"""{host}/bin/python ["--name=it's one", '$HOME']"""


def test_a_worker_whose_packages_lie_apart_runs_the_first_python_on_the_path(tmp_path: Path) -> None:
    assert start(worker_script(tmp_path / "a b", python=False)).endswith("""["--name=it's one", '$HOME']""")


@pytest.mark.parametrize(("executable", "here", "there"), [(_PLAIN, None, None), (_SPACED, f"'{_SPACED}'", OF_ITS_HOST)])
def test_ray_is_told_of_interpreters_that_a_shell_would_take_apart(
    executable: str, here: str | None, there: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    assert (own_interpreter() or {}).get("py_executable") == here
    assert (interpreter_of_hosts() or {}).get("py_executable") == there
    monkeypatch.setitem(os.environ, "RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert interpreter_of_hosts() is None, "Ray refuses what a job says twice"


@pytest.mark.parametrize(
    ("nodes", "needed"),
    [
        ([], False),
        ([{}, {"cmdline": []}, {"cmdline": None}], False),
        ([{"cmdline": ["/venv/lib/python3.11/site-packages/ray/core/raylet", "--log=a b"]}], False),
        ([{"cmdline": ["/venv/ray/raylet"]}, {"cmdline": ["/a b/venv/ray/raylet"]}], True),
    ],
)
def test_a_job_is_told_of_hosts_whose_ray_lies_below_a_path_with_a_space(nodes: list[dict[str, Any]], needed: bool) -> None:
    assert interpreter_of_job(nodes) == ({"py_executable": OF_ITS_HOST} if needed else {})
