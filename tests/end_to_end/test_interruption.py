"""Ctrl-C, SIGTERM and `dermtune stop`: what was found stays, and nothing is left running."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from commands import Shell

from search.records.tracking.store import trial_runs

pytestmark = pytest.mark.slow
SLOW_BOWL = ("search", "bowl", "--name", "long", "--trials", "200", "--set", "seconds_per_epoch=0.3")


def started(folder: Path) -> Callable[[], bool]:
    """Whether two reports are in the ledger."""
    ledger = folder / "runs" / "long" / "ledger.jsonl"
    return lambda: ledger.exists() and ledger.read_text().count('"reported"') >= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_ends_with_130_and_leaves_nothing_running(
    shell: Shell, eventually: Any, number: signal.Signals
) -> None:
    process = shell.start(*SLOW_BOWL)
    eventually(started(shell.folder), "a report")
    os.kill(process.pid, number)
    finished = shell.finish(process)
    assert finished.status == 130, finished.err
    assert "everything so far is saved" in finished.err
    assert "Traceback" not in finished.err
    rows = shell.run("show", "long", "--json").json
    assert rows["state"] == "interrupted"
    assert "running" not in {row["state"] for row in rows["trials"]}
    runs = trial_runs(f"sqlite:///{shell.folder / 'runs' / 'mlflow.db'}", "long")
    assert set(runs) == {row["trial"] for row in rows["trials"]}
    assert "RUNNING" not in {status for _, status in runs.values()}
    study = optuna.load_study(study_name="long", storage=f"sqlite:///{shell.folder / 'runs' / 'long' / 'study.db'}")
    found = {trial.user_attrs["trial"]: trial.state.name for trial in study.trials}
    told = {"finished": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL", "interrupted": "FAIL"}
    assert found == {row["trial"]: told[row["state"]] for row in rows["trials"]}


def test_stop_ends_a_search_of_another_process(shell: Shell, eventually: Any) -> None:
    process = shell.start(*SLOW_BOWL, "--no-pictures", "--json")
    eventually(started(shell.folder), "a report")
    assert shell.run("list", "--json").json[0]["state"] == "running"
    refused = shell.run("delete", "long")
    assert (refused.status, "which is running" in refused.err) == (2, True)
    assert shell.run("stop", "long").status == 0
    finished = shell.finish(process)
    assert finished.status == 0, finished.err
    assert finished.json["ended"] == "stop requested"
    assert shell.run("list", "--json").json[0]["state"] == "finished"
    again = shell.run("stop", "long")
    assert (again.status, "must be a running search" in again.err) == (2, True)
    assert shell.run("delete", "long").status == 0
    assert shell.run("list", "--json").json == []
