"""A trial that hangs is killed, tried again, and given up; the others are left alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
#: What is a minute for a user is three seconds here.
_SCRIPT = """
import sys
from search.strategy import hanging
hanging.QUIET_S = 3.0
from search import run
found = run("bowl", name="silent", storage=sys.argv[1], pictures=False, num_trials=2, max_epochs=5, scheduler="none",
            settings={"fault": "hang", "seconds_per_epoch": 0.6})
"""


def test_a_trial_that_hangs_is_tried_again_and_then_fails_with_its_reason(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT, str(tmp_path / "runs")], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in (tmp_path / "runs" / "silent" / "ledger.jsonl").read_text().splitlines()]
    for trial in ("t0000", "t0001"):
        own = [event for event in events if event.get("trial") == trial and event["event"] in ("retried", "failed")]
        assert [event["event"] for event in own] == ["retried", "retried", "retried", "failed"]
        assert all(event["reason"].startswith("Hung: nothing was heard of the trial for ") for event in own)
