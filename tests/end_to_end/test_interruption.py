"""Ctrl-C, the signals like it and `dermtune stop`: what was found stays, and nothing is left running."""

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from commands import COMMAND, Shell
from waiting import PATIENCE_S

from search.records.tracking.store import trial_runs

pytestmark = pytest.mark.slow
SLOW_BOWL = ("search", "bowl", "--name", "long", "--trials", "200", "--set", "seconds_per_epoch=0.3")


def started(folder: Path) -> Callable[[], bool]:
    """Whether two reports are in the ledger."""
    ledger = folder / "runs" / "long" / "ledger.jsonl"
    return lambda: ledger.exists() and ledger.read_text().count('"reported"') >= 2


#: Strikes when Ray's core worker has just taken SIGTERM's handler, in the middle of `ray.init`.
STARTING = """
import os, ray._private.worker as worker
from search.cli.main import main
connect = worker.connect
def struck(*given, **named):
    connect(*given, **named)
    os.kill(os.getpid(), {number})
worker.connect = struck
main({arguments!r})
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_ray_starts_ends_with_one_line(shell: Shell, number: signal.Signals) -> None:
    script = STARTING.format(number=int(number), arguments=[*SLOW_BOWL])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    _, *said = done.stderr.splitlines()
    assert (done.returncode, done.stdout, said) == (130, "", ["interrupted before the first trial; nothing is left of it"])
    assert list(shell.folder.iterdir()) == []


def test_a_terminal_that_is_closed_ends_a_search_as_ctrl_c_does(shell: Shell, eventually: Any) -> None:
    terminal, its = pty.openpty()
    command = ["setsid", "--ctty", str(COMMAND), *SLOW_BOWL]
    begun = started(shell.folder)

    def begun_while_it_is_read() -> bool:
        if select.select([terminal], [], [], 0)[0]:  # nobody writes to a terminal that is full
            os.read(terminal, 1 << 16)
        return begun()

    search = subprocess.Popen(command, cwd=shell.folder, env=shell.environment, stdin=its, stdout=its, stderr=its)
    try:
        os.close(its)
        eventually(begun_while_it_is_read, "a report")
        os.close(terminal)
        assert search.wait(PATIENCE_S) == 130
    finally:
        search.kill()
        search.wait()
    rows = shell.run("show", "long", "--json").json
    assert rows["state"] == "interrupted"
    assert not {row["state"] for row in rows["trials"]} & {"running", "failed"}
    assert all((shell.folder / "runs" / "long" / "trials" / row["trial"]).is_dir() for row in rows["trials"] if row["epoch"])


def test_stop_ends_a_search_of_another_process(shell: Shell, eventually: Any) -> None:
    process = shell.start(*SLOW_BOWL, "--no-pictures", "--json")
    eventually(started(shell.folder), "a report")
    assert shell.run("list", "--json").json[0]["state"] == "running"
    refused = shell.run("delete", "long", "--yes")
    assert (refused.status, "which is running" in refused.err) == (2, True)
    assert shell.run("stop", "long").status == 0
    finished = shell.finish(process)
    assert finished.status == 0, finished.err
    assert finished.json["ended"] == "stop requested"
    assert shell.run("list", "--json").json[0]["state"] == "finished"
    again = shell.run("stop", "long")
    assert (again.status, "must be a running search" in again.err) == (2, True)
    assert shell.run("delete", "long", "--yes").status == 0
    assert shell.run("list", "--json").json == []
