"""Ray's first processes import what a trial needs before there is one, and are the ones that the trials get."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.execution.processes import importing, wait_for_imports
from search.execution.ready import FOLDER

pytestmark = pytest.mark.slow
_SCRIPT = """
import os, sys, time
import ray
from search.execution.processes import wait_for_imports
from search.execution.ray_session import ray_session
class Trial:
    def look(self):
        return os.getpid(), sorted({"ray.tune", "torch", "trainables.gated"} & set(sys.modules))
with ray_session(None, ("search.execution.actor", "trainables.gated")):
    wait_for_imports(1)
    ready = {int(name) for name in os.listdir(os.environ["DERMTUNE_READY_FOLDER"])}
    pid, imported = ray.get(ray.remote(Trial).options(num_cpus=1).remote().look.remote())
print(pid in ready, *imported)
"""


@pytest.mark.timeout(180)
def test_a_trial_gets_a_process_that_has_imported_what_it_needs() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=150, check=True)
    assert done.stdout.split() == ["True", "ray.tune", "torch", "trainables.gated"]


def test_nothing_is_imported_nor_waited_for_where_it_would_be_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with importing(()) as more:
        assert more == {}
        wait_for_imports(8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    with importing(("torch",)) as more:
        assert more == {}
        assert FOLDER not in os.environ


def test_what_is_waited_for_is_no_more_than_the_machine_has_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    with importing(("torch",)) as more:
        assert more["_system_config"]["preload_python_modules"] == ["torch", "search.execution.ready"]
        for pid in ("1", "2"):
            (Path(os.environ[FOLDER]) / pid).touch()
        wait_for_imports(40)
    assert FOLDER not in os.environ
