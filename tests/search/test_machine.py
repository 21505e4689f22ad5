"""`dermtune doctor` on a good and on a bad machine."""

import json
from pathlib import Path

import pytest

from search.cli.main import run

# MLflow warns of what its own dependencies deprecate, and leaves connections to the garbage collector.
pytestmark = [pytest.mark.timeout(60), pytest.mark.filterwarnings("ignore")]


def test_a_good_machine_passes_every_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("doctor", "--storage", str(tmp_path / "runs"), "--json")) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert all(check["ok"] for check in checks.values())
    assert {"ray", "torch", "optuna", "mlflow", "gpus", "disk", "storage", "tracking"} <= set(checks)
    assert not (tmp_path / "runs").exists()


def test_a_store_that_cannot_be_opened_is_said_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.db"
    broken.write_text("no database at all, but a text that is long enough to be read as one" * 50)
    assert run(("doctor", "--storage", str(tmp_path / "runs"), "--tracking-uri", f"sqlite:///{broken}", "--json")) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert not checks["tracking"]["ok"]
    assert "--tracking-uri must be a store that MLflow can open" in checks["tracking"]["detail"]
