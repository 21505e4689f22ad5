"""Ray's first processes import what a trial needs before there is one, and are the ones that the trials get."""

import os
import subprocess
import sys

import pytest
from waiting import PATIENCE_S

pytestmark = pytest.mark.slow
_SCRIPT = """
import os, sys
import ray
from search.execution.processes import wait_for_imports
from search.execution.ray_session import ray_session
class Trial:
    def look(self):
        return os.getpid(), sorted({"ray.tune", "torch", "trainables.gated.task"} & set(sys.modules))
with ray_session(None, ("search.execution.trial_worker", "trainables.gated.task")):
    ready = set()
    while len(ready) < ray.cluster_resources()["CPU"]:  # a search waits once, however slow the machine
        wait_for_imports(99)
        ready = {int(name) for name in os.listdir(os.environ["DERMTUNE_READY_FOLDER"])}
    pid, imported = ray.get(ray.remote(Trial).options(num_cpus=1).remote().look.remote())
print(pid in ready, *imported)
"""


@pytest.mark.skipif((os.cpu_count() or 1) > 8, reason="on more than 8 CPUs they import nothing")
@pytest.mark.timeout(300)
def test_a_trial_gets_a_process_that_has_imported_what_it_needs() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout.split() == ["True", "ray.tune", "torch", "trainables.gated.task"]
