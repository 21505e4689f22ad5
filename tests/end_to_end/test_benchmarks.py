"""The benchmarks run, as small as they go; their figures are for `docs/performance.md`, not for a test."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]
SMALL = {
    "asha_promote.py": ["--seeds", "2", "--whole-trials", "3", "--processes", "1"],
    "attentive_baseline.py": ["--cases", "60", "--epochs", "1", "--seeds", "2"],
    "attentive_step.py": ["--size", "32", "--batch", "1", "--steps", "1"],
    "compare_calibration.py": ["--sets", "4", "--cases", "40", "--processes", "1"],
    "confirm_calibration.py": ["--repeats", "3", "--most-seeds", "3", "--jobs", "1"],
    "data_path.py": ["--cases", "60", "--turns", "1", "--size", "96", "--batch", "4"],
    "decoder_convolutions.py": ["--batch", "1", "--repeats", "1"],
    "deviations.py": ["--cases", "60", "--epochs", "1", "--seeds", "2"],
    "fused_trials.py": ["--seconds", "0.2", "--most", "2"],
    "gates_learned.py": ["--cases", "80", "--epochs", "1", "--seeds", "2", "--processes", "1", "--set", "batches_per_epoch=1"],
    "gated_step.py": ["--size", "96", "--batch", "8", "--steps", "1"],
    "gpu_smoke.py": ["--device", "cpu", "--cases", "40", "--threads", "1"],
    "kernels_per_step.py": ["--sizes", "demo"],
    "packing.py": ["--seconds", "0.5"],
    "scale.py": ["--slots", "10", "--trials", "20", "40"],
    "search_efficiency.py": [
        "--seeds",
        "2",
        "--rival-seeds",
        "2",
        "--network-seeds",
        "2",
        "--whole-trials",
        "3",
        "--evaluations",
        "12",
    ],
    "search_overhead.py": ["--trials", "2", "--reports", "2", "--repeats", "1", "--demo-trials", "0"],
    "time_left.py": ["--seeds", "4"],
    "tracking_overhead.py": ["--trials", "2", "--reports", "2", "--metrics", "2", "--repeats", "1"],
}
#: So small a run can miss the bars.
MAY_MISS = (
    "attentive_baseline.py",
    "attentive_step.py",
    "compare_calibration.py",
    "confirm_calibration.py",
    "data_path.py",
    "fused_trials.py",
    "gated_step.py",
    "packing.py",
    "scale.py",
    "search_overhead.py",
    "time_left.py",
    "tracking_overhead.py",
)
#: These run where only torch and what reads data are installed.
WITHOUT_SEARCH = (
    "attentive_baseline.py",
    "attentive_step.py",
    "data_path.py",
    "decoder_convolutions.py",
    "deviations.py",
    "fused_trials.py",
    "gated_step.py",
    "gates_learned.py",
    "gpu_smoke.py",
    "kernels_per_step.py",
    "packing.py",
)
#: Minutes even when small, and run at full size by `make acceptance`.
LONG = ("data_path.py", "fused_trials.py", "packing.py", "tracking_overhead.py")
#: What several of them share.
SHARED = ("measuring.py",)


def test_every_benchmark_is_run_here() -> None:
    assert {file.name for file in (REPOSITORY / "benchmarks").glob("*.py")} == {*SMALL, *SHARED}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in SMALL])
def test_a_benchmark_runs_and_prints_its_ratio_last(name: str, tmp_path: Path) -> None:
    command, environment = [sys.executable, str(REPOSITORY / "benchmarks" / name), *SMALL[name]], dict(os.environ)
    if name in WITHOUT_SEARCH:
        for missing in ("ray", "optuna", "mlflow"):
            (tmp_path / f"{missing}.py").write_text(f"raise ImportError('{missing} must not be imported here')\n")
        environment["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode in ((0, 1) if name in MAY_MISS else (0,)), done.stderr
    assert "NOT EQUAL" not in done.stdout
    assert re.search(r"ratio: \d+\.\d\d$", done.stdout.strip().splitlines()[-1])
