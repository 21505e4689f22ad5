"""`kill -9` of the driver at a random moment, then `resume`: every trial ends once, and all books agree."""

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Here, Shell

pytestmark = pytest.mark.slow
#: Raised by `make acceptance`.
KILLS = int(os.environ.get("DERMTUNE_TEST_KILLS", "2"))
SEARCH = ("search", "bowl", "--name", "doomed", "--trials", "10", "--max-epochs", "12", "--max-concurrent", "2", "--no-pictures")


def events(folder: Path, name: str = "doomed") -> list[dict[str, Any]]:
    """The search's ledger; a line that is being written is left out."""
    file = folder / "runs" / name / "ledger.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return [json.loads(line) for line in lines]


def has_events(folder: Path, number: int) -> Callable[[], bool]:
    """Whether so many are in the ledger."""
    return lambda: len(events(folder)) >= number


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_search_goes_on_as_if_nothing_had_been(shell: Shell, here: Here, eventually: Any, kill: int) -> None:
    scheduler = ("asha", "asha-promote", "none")[kill % 3]
    moment = random.Random(kill).randint(3, 60)
    process = shell.start(*SEARCH, "--scheduler", scheduler, "--set", "seconds_per_epoch=0.1")
    eventually(has_events(shell.folder, moment), f"event {moment}")
    os.kill(process.pid, signal.SIGKILL)
    shell.finish(process)
    before = [event for event in events(shell.folder) if event["event"] in ("finished", "stopped", "failed")]

    resumed = here.run("resume", "doomed", "--no-pictures", "--json")
    assert resumed.status == 0, resumed.err
    told = events(shell.folder)
    ended = Counter(event["trial"] for event in told if event["event"] in ("finished", "stopped", "failed"))
    assert ended == {f"t{index:04d}": 1 for index in range(10)}
    epochs = Counter(
        (event["trial"], epoch["epoch"]) for event in told if event["event"] == "reported" for epoch in event["epochs"]
    )
    assert set(epochs.values()) == {1}
    for trial in ended:
        own = sorted(epoch for name, epoch in epochs if name == trial)
        assert own == list(range(1, len(own) + 1))
    assert [event for event in told if event["event"] in ("finished", "stopped", "failed")][: len(before)] == before
    rows = here.run("show", "doomed", "--json").json["trials"]
    assert {row["trial"] for row in rows if row["score"] is not None} == set(ended)
    examined = here.run("doctor", "doomed", "--json")
    assert (examined.status, examined.json["differences"]) == (0, []), examined.out
    assert resumed.json["num_trials"] == 10


def test_ctrl_c_says_how_to_go_on_and_extending_adds_trials(shell: Shell, here: Here, eventually: Any) -> None:
    process = shell.start(*SEARCH, "--set", "seconds_per_epoch=0.1")
    eventually(lambda: any(event["event"] == "reported" for event in events(shell.folder)), "a report")
    os.kill(process.pid, signal.SIGINT)
    interrupted = shell.finish(process)
    assert interrupted.status == 130
    assert "dermtune resume doomed" in interrupted.err
    assert here.run("doctor", "doomed").status == 0

    assert here.run("resume", "doomed", "--no-pictures").status == 0
    extended = here.run("resume", "doomed", "--trials", "+3", "--no-pictures", "--json")
    assert extended.status == 0, extended.err
    assert (extended.json["num_trials"], extended.json["ended"]) == (13, "all trials")
    suggested = [event for event in events(shell.folder) if event["event"] == "suggested"]
    searched = [tuple(event["config"][name] for name in ("x", "y", "rate")) for event in suggested]
    assert len(set(searched)) == 13
    assert here.run("doctor", "doomed").status == 0
    again = here.run("resume", "doomed", "--no-pictures", "--json")
    assert (again.status, again.json["num_trials"]) == (0, 13)
    fewer = here.run("resume", "doomed", "--trials", "5")
    assert (fewer.status, "must be 13 or more" in fewer.err) == (2, True)


def test_doctor_names_what_was_changed_and_repairs_it(here: Here) -> None:
    import mlflow
    import optuna

    from search.records.tracking.store import trial_runs

    assert here.run("search", "bowl", "--name", "doomed", "--trials", "4", "--max-epochs", "6", "--no-pictures").status == 0
    runs = here.folder / "runs"
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    found = trial_runs(f"sqlite:///{runs / 'mlflow.db'}", "doomed")
    client.set_terminated(found["t0001"][0], status="FAILED")
    client.delete_run(found["t0002"][0])
    client.log_metric(found["t0003"][0], "score", 77.0, step=99)
    storage = f"sqlite:///{runs / 'doomed' / 'study.db'}"
    optuna.load_study(study_name="doomed", storage=storage).enqueue_trial({"x": 0.5})
    with (runs / "doomed" / "tune.jsonl").open("a") as lines:
        lines.write('{"trial": "t0000", "status": "RUNNING"}\n')

    wrong = here.run("doctor", "doomed", "--json")
    assert wrong.status == 1
    named = {(entry["where"], entry["trial"]) for entry in wrong.json["differences"]}
    assert named == {("tune", "t0000"), ("optuna", ""), ("mlflow", "t0001"), ("mlflow", "t0002"), ("mlflow", "t0003")}
    repaired = here.run("doctor", "doomed", "--repair", "--json")
    assert (repaired.status, repaired.json["differences"]) == (0, []), repaired.out + repaired.err
