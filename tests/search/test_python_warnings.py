"""`PYTHONWARNINGS=error` in a person's environment: what MLflow warns of itself ends no command."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bowl_events import begun, epoch_of, event_of, plan_of, reported

from search.records.folder import SearchFolder
from search.records.ledger import Ledger

TRIAL = [
    *begun("t0000", 0.0),
    reported("t0000", 1.0, *(epoch_of(epoch, 1.0, 1.0, True) for epoch in (1, 2, 3))),
    event_of("checkpointed", 2.0, trial="t0000", epoch=3, path="trials/t0000/best-00003", sha256="ab" * 32),
    event_of("finished", 3.0, trial="t0000", reason="max_epochs"),
]


@pytest.mark.slow  # an interpreter of its own that imports MLflow
@pytest.mark.timeout(300)
def test_a_command_that_asks_mlflow_shows_warnings_and_ends_well(tmp_path: Path, fresh_store: Path) -> None:
    plan = plan_of(name="warned", num_trials=1, max_epochs=3)
    folder = SearchFolder(tmp_path, plan.name)
    folder.create(plan).release()
    with Ledger(folder.ledger_file) as ledger:
        ledger._write(TRIAL)
    shutil.copy(fresh_store, tmp_path / "mlflow.db")
    command = [sys.executable, "-m", "search.cli.main", "best", plan.name, "--storage", str(tmp_path), "--json"]
    filters = "error,ignore::ResourceWarning"
    done = subprocess.run(command, env={**os.environ, "PYTHONWARNINGS": filters}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["trial"] == "t0000"
    assert "Warning: " in done.stderr, "shown, as was asked for"
    assert "ResourceWarning" not in done.stderr, "what was to be ignored still is"


def test_what_was_not_made_an_error_stays_as_it_was() -> None:
    show = "print(json.dumps([(action, category.__name__, line) for action, _, category, _, line in warnings.filters]))"
    ask = "warnings.warn('a message'); warnings.warn('another'); warnings.warn('a third')"
    look = f"import json, warnings; {show}; from search.cli.main import _warnings_stay_warnings as f; f(); {show}; {ask}"
    environment = {
        **os.environ,
        "PYTHONWARNINGS": "ignore,error:a message,once::FutureWarning,error::ImportWarning,ignore:another",
    }
    done = subprocess.run([sys.executable, "-c", look], env=environment, capture_output=True, text=True, check=True)
    before, after = map(json.loads, done.stdout.splitlines())
    assert [action for action, *_ in before].count("error") == 2
    assert after == [["default" if action == "error" else action, *rest] for action, *rest in before]
    assert done.stderr.count("UserWarning") == 1
    assert "UserWarning: a message" in done.stderr
