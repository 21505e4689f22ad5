"""Trials whose processes are killed, and break down, in mid-epoch: each goes on from its last state."""

import signal

import pytest
from commands import Here
from striking import Striker, struck_search

from search.records.event_messages import notice
from search.records.ledger import read_events

pytestmark = pytest.mark.slow


def test_a_trial_whose_process_is_killed_or_breaks_down_goes_on_from_its_last_state(here: Here) -> None:
    striker = Striker((signal.SIGKILL, signal.SIGSEGV), lambda event: event.event == "saved" and 0 < event.epoch < 15)
    result = struck_search(
        *(here.folder / "runs", striker, "struck", {"seconds_per_epoch": "0.1"}),
        **{"num_trials": 4, "max_epochs": 20, "grace_period": 5, "scheduler": "none", "save_every_s": 0.3},
    )
    assert len(striker.struck) == 2
    events = list(read_events(result.folder.ledger_file))
    retried = [event for event in events if event.event == "retried"]
    assert sorted((event.trial, event.kind) for event in retried) == sorted((trial, "died") for trial in striker.struck)
    assert all("ended without a message" in event.reason for event in retried)
    assert all("begins again from its last state" in str(notice(event)) for event in retried)
    assert sum(event.event == "finished" for event in events) == 4
    for trial in {event.trial for event in events if event.event == "suggested"}:
        told = [epoch.epoch for e in events if e.event == "reported" and e.trial == trial for epoch in e.epochs]
        assert told == list(range(1, 21)), trial
    assert here.run("doctor", "struck").status == 0
