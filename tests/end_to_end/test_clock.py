"""The wall clock jumps a day ahead and two back in mid-search: durations and the time budget stay what they are."""

import json
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from commands import Shell

pytestmark = pytest.mark.slow
#: Found by every Python process that the search starts: its wall clock is off by what a file says.
_CLOCK = """
import os, pathlib, time
real, real_ns, file = time.time, time.time_ns, pathlib.Path(os.environ["TEST_CLOCK"])
def off():
    return int(file.read_text() or 0)
time.time = lambda: real() + off()
time.time_ns = lambda: real_ns() + off() * 10**9
"""
_DAY_S = 86400
#: A busy machine may need half of it until the first report.
BUDGET_S = 20.0


def events(folder: Path) -> list[dict[str, Any]]:
    file = folder / "runs" / "jumping" / "ledger.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return [json.loads(line) for line in lines]


def test_a_clock_that_jumps_changes_no_duration_and_no_budget(tmp_path: Path, shell: Shell, eventually: Any) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    (tmp_path / "own modules").mkdir()
    (tmp_path / "own modules" / "sitecustomize.py").write_text(_CLOCK)
    shell.environment |= {"PYTHONPATH": str(tmp_path / "own modules"), "TEST_CLOCK": str(clock), "TZ": "Pacific/Auckland"}
    options = ("--trials", "500", "--max-epochs", "5", "--scheduler", "none", "--time-budget", f"{BUDGET_S:g}s", "--no-pictures")
    search = shell.start("search", "bowl", "--name", "jumping", *options, "--set", "seconds_per_epoch=0.2", "--json", fresh=True)

    def num_reports() -> int:
        return sum(event["event"] == "reported" for event in events(shell.folder))

    for jump in (1, -2):
        seen = num_reports()
        eventually(lambda seen=seen: num_reports() >= seen + 3, "three reports")
        clock.write_text(str(jump * _DAY_S))
    done = shell.finish(search)
    assert done.status == 0, done.err
    told = events(shell.folder)
    stamps = [datetime.fromisoformat(event["time"]) for event in told]
    jumps = [later - earlier for earlier, later in pairwise(stamps) if abs(later - earlier) > timedelta(hours=1)]
    assert [round(jump / timedelta(days=1)) for jump in jumps] == [1, -3], "the clock must have jumped"
    elapsed = [event["elapsed_s"] for event in told]
    assert elapsed == sorted(elapsed)
    assert told[-1]["reason"] == "time budget"
    assert BUDGET_S <= elapsed[-1] < BUDGET_S + 15
    assert BUDGET_S <= done.json["wall_s"] < BUDGET_S + 15
    epochs = [epoch for event in told if event["event"] == "reported" for epoch in event["epochs"]]
    assert all(0.2 <= epoch["seconds"] < 5 for epoch in epochs)
    ended = [event["event"] for event in told if event["event"] in ("finished", "stopped", "failed")]
    assert ended.count("failed") == 0
