"""What a command does not need it does not import: help and tables come in half a second."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas", "scipy", "sklearn", "pyarrow", "matplotlib")


@pytest.mark.parametrize("modules", ["search.cli.main", "search.cli.main, search.analysis.leaderboard"])
def test_a_command_line_is_there_before_anything_heavy_is_imported(modules: str) -> None:
    look = f"import sys, {modules}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
