"""A trial that hangs is killed, tried again, and given up; the others are left alone."""

import json
from pathlib import Path

import pytest

import search
from search.strategy import heartbeat

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]


def test_a_trial_that_hangs_is_tried_again_and_then_fails_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "QUIET_S", 2.0)  # a minute and a half for a user
    monkeypatch.setattr(heartbeat, "PATIENCE", 2.0)
    settings = {"fault": "hang", "seconds_per_epoch": 0.6}
    options = {"num_trials": 1, "max_epochs": 5, "scheduler": "none", "pictures": False}
    search.run("bowl", name="silent", storage=str(tmp_path / "runs"), settings=settings, **options)
    events = [json.loads(line) for line in (tmp_path / "runs" / "silent" / "ledger.jsonl").read_text().splitlines()]
    own = [event for event in events if event["event"] in ("retried", "failed")]
    assert [event["event"] for event in own] == ["retried", "retried", "retried", "failed"]
    assert all(event["reason"].startswith("Hung: nothing was heard of the trial for ") for event in own)
