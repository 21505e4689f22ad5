"""What the cluster must show (issue 5)."""

import subprocess
import sys
from pathlib import Path

from shown import REPOSITORY, Shown, tested

ISSUE = 5


def scale(folder: Path) -> list[Shown]:
    """What the driver's own work costs with a thousand slots."""
    command = ["benchmarks/scale.py"]
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if not lines:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    what = "1000 slots, 10,000 trials of bowl under simulated time: driver CPU per trial and memory"
    return [Shown(ISSUE, what, f"python {command[0]}", lines[-1], done.returncode == 0)]


SHOWS = {
    "cluster": tested(
        ISSUE,
        "`ray up` of onprem.yaml on three hosts: searches from elsewhere, both architectures by halves, the head's MLflow page in a"
        " browser, a worker killed, one cut off for 30 s, the driver killed and resumed, strangers kept out",
        {},
        "tests/cluster",
    ),
    "gpu_shares": tested(
        ISSUE,
        "logical GPUs: four trials at 0.5 on two devices, an out-of-memory error retried at a larger share",
        {},
        "tests/end_to_end/test_gpu_shares.py",
    ),
    "object_store": tested(
        ISSUE,
        "an S3 endpoint as storage and as data: killed on one machine, resumed on another",
        {},
        "tests/end_to_end/test_object_store.py",
    ),
    "scale": scale,
}
