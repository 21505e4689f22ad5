"""Trials whose processes are killed, and break down, in mid-epoch: each goes on from its last state."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Shell

pytestmark = pytest.mark.slow


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    """A search's ledger, as far as whole lines of it are there."""
    file = folder / "runs" / "struck" / "ledger.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return [event for event in map(json.loads, lines) if not kinds or event["event"] in kinds]


def in_mid_trial(folder: Path) -> list[int]:
    """The processes of trials that have saved and still have epochs to go, of their latest beginnings only."""
    processes, saved = {}, {}
    for event in events(folder):
        trial = event.get("trial")
        if event["event"] == "started":
            processes[trial] = event["where"]["pid"]
        elif event["event"] == "saved":
            saved[trial] = event["epoch"]
        elif event["event"] in ("retried", "finished"):
            processes.pop(trial, None)
    return [pid for trial, pid in processes.items() if 0 < saved.get(trial, 0) < 15]


def test_a_trial_whose_process_is_killed_or_breaks_down_goes_on_from_its_last_state(
    shell: Shell, eventually: Callable[[Callable[[], bool], float, str], None]
) -> None:
    slow = (
        "--set",
        "seconds_per_epoch=0.3",
        "--max-epochs",
        "20",
        "--grace-period",
        "5",
        "--scheduler",
        "none",
        "--save-every",
        "1s",
    )
    search = shell.start("search", "bowl", "--name", "struck", "--trials", "6", "--no-pictures", *slow)
    for number in (signal.SIGKILL, signal.SIGSEGV):
        before = len(events(shell.folder, "retried"))
        eventually(lambda: bool(in_mid_trial(shell.folder)), 120, "a report in mid-trial")
        os.kill(in_mid_trial(shell.folder)[-1], number)
        eventually(lambda before=before: len(events(shell.folder, "retried")) > before, 60, "another beginning")
    done = shell.finish(search, 240)
    assert done.status == 0, done.err
    retried = events(shell.folder, "retried")
    assert [event["kind"] for event in retried] == ["died", "died"]
    assert all("ended without a message" in event["reason"] for event in retried)
    assert "begins again from its last state" in done.err
    assert len(events(shell.folder, "finished")) == 6
    for trial in {event["trial"] for event in events(shell.folder, "suggested")}:
        told = [epoch["epoch"] for e in events(shell.folder, "reported") if e["trial"] == trial for epoch in e["epochs"]]
        assert told == list(range(1, 21)), trial
    assert shell.run("doctor", "struck").status == 0
