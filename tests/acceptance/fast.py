"""What speed must show (issue 6): every bar is the last line of its benchmark."""

from collections.abc import Callable
from pathlib import Path

from shown import Shown, script

ISSUE = 6


def benchmark(what: str, name: str) -> Callable[[Path], list[Shown]]:
    """A must-show that a benchmark shows."""
    return script(ISSUE, what, f"benchmarks/{name}")


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
