"""What speed must show (issue 6): every bar is the last line of its benchmark."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from shown import REPOSITORY, Shown

ISSUE = 6


def benchmark(what: str, *command: str) -> Callable[[Path], list[Shown]]:
    """A must-show that a benchmark shows; it exits 1 when it misses its bar.

    Args:    what: it is.
             command: the script below benchmarks/, and its options.
    """

    def show(folder: Path) -> list[Shown]:
        done = subprocess.run(
            [sys.executable, f"benchmarks/{command[0]}", *command[1:]], cwd=REPOSITORY, capture_output=True, text=True
        )
        lines = done.stdout.strip().splitlines()
        if not lines:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
        return [Shown(ISSUE, what, f"python benchmarks/{' '.join(command)}", "; ".join(lines[1:]), done.returncode == 0)]

    return show


SHOWS = {
    "gated_step": benchmark(
        "training step, gated: at least 2 times the per-task reference on a CPU, 8 times on a GPU", "gated_step.py"
    ),
    "attentive_step": benchmark(
        "training step, attentive: at least 1.5 times the per-timestep reference on a CPU, 5 times on a GPU", "attentive_step.py"
    ),
    "search_overhead": benchmark(
        "20 trivial trials of 20 reports: at least 8 times as fast as plain Ray Tune; slots of the gated demo train 90 % of the time",
        "search_overhead.py",
    ),
    "data_path": benchmark(
        "augmentation at most 1.35 times on a CPU; a second search decodes nothing; one copy of the images per node",
        "data_path.py",
    ),
    "packing": benchmark("trials at once: a search's own choice is near the best", "packing.py"),
}
