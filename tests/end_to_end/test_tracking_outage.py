"""The tracking server is killed in mid-search: training goes on, and in the end the server has every epoch once."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from commands import Here, Shell
from tracking_servers import MlflowServer, mlflow_server

from search.records.tracking.store import trial_runs

pytestmark = pytest.mark.slow
#: Trials that begin and end while the server is away; raised by `make acceptance`, where they take a minute.
NUM_MISSED = int(os.environ.get("DERMTUNE_TEST_MISSED_TRIALS", "4"))
IN_ACCEPTANCE_ONLY = pytest.mark.skipif("DERMTUNE_TEST_MISSED_TRIALS" not in os.environ, reason="waits a minute: make acceptance")
#: Two at a time, a second each: the search lasts longer than the outage.
NUM_TRIALS, NUM_EPOCHS, EPOCH_S = NUM_MISSED + 10, 10, 0.1
ENDS = ("finished", "stopped", "failed")


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server for all tests: it takes longer to start than they have time for."""
    with mlflow_server(tmp_path_factory.mktemp("a server")) as server:
        yield server


@pytest.fixture
def server(one_server: MlflowServer) -> MlflowServer:
    """The server, running whatever the test before has done to it."""
    if not one_server.is_running:
        one_server.start()
    return one_server


def begin(shell: Shell, server: MlflowServer, name: str, num_trials: int, *more: str) -> Any:
    """Starts a search in which no trial is stopped."""
    options = ("--trials", str(num_trials), "--max-epochs", str(NUM_EPOCHS), "--max-concurrent", "2", "--scheduler", "none")
    slow = ("--set", f"seconds_per_epoch={EPOCH_S}")
    return shell.start("search", "bowl", "--name", name, *options, *slow, "--tracking-uri", server.uri, *more)


def events(folder: Path, name: str, *kinds: str) -> list[dict[str, Any]]:
    """Events of these kinds in the search's ledger; a line that is being written is left out."""
    file = folder / "runs" / name / "ledger.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return [event for event in map(json.loads, lines) if event["event"] in kinds]


def num_ended(folder: Path, name: str) -> int:
    """Trials that have ended."""
    return len(events(folder, name, *ENDS))


def expected_history(reported: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """What a trial's reports must be in MLflow: metric → (epoch, value) of every epoch, in order."""
    found: dict[str, list[tuple[int, float]]] = {}
    for epoch in [epoch for event in reported for epoch in event["epochs"]]:
        system = {f"system/{key}": value for key, value in epoch.get("system", {}).items()}
        for key, value in {**epoch["metrics"], **system, "score": epoch["score"], "epoch_s": epoch["seconds"]}.items():
            found.setdefault(key, []).append((epoch["epoch"], value))
    return found


def assert_mlflow_has_all(shell: Shell, server: MlflowServer, name: str, num_trials: int) -> None:
    """Compares runs and metric histories with the ledger, not by the library's means."""
    ended = events(shell.folder, name, *ENDS)
    assert {(event["trial"], event["event"]) for event in ended} == {(f"t{i:04d}", "finished") for i in range(num_trials)}
    client = mlflow.MlflowClient(tracking_uri=server.uri)
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    names = sorted(run.info.run_name for run in runs)
    assert names == sorted([f"search {name}", *(f"t{i:04d}" for i in range(num_trials))])
    assert {run.info.status for run in runs} == {"FINISHED"}
    reported = events(shell.folder, name, "reported")
    for found in runs:
        trial = found.info.run_name
        expected = expected_history([event for event in reported if event["trial"] == trial])
        if not trial.startswith("search "):
            assert [epoch for epoch, _ in expected["valid/height"]] == list(range(1, NUM_EPOCHS + 1))
        for key, values in expected.items():
            logged = [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, key)]
            assert logged == values, f"{trial} {key}"


def differences(here: Here, server: MlflowServer, name: str) -> Any:
    """What `dermtune doctor NAME` finds."""
    return here.run("doctor", name, "--tracking-uri", server.uri, "--json").json["differences"]


def test_a_search_outlasts_a_server_that_is_killed_and_comes_back(
    shell: Shell, here: Here, eventually: Any, server: MlflowServer
) -> None:
    search = begin(shell, server, "outlasting", NUM_TRIALS, "--no-pictures", "--json")
    eventually(lambda: len(events(shell.folder, "outlasting", "reported")) >= 3, "three reports")
    server.stop()
    before = num_ended(shell.folder, "outlasting")
    eventually(lambda: num_ended(shell.folder, "outlasting") >= before + NUM_MISSED, "the end of trials without a server")
    assert search.poll() is None, "the search was to last longer than the outage"
    server.start()
    ended = shell.finish(search)
    assert ended.status == 0, ended.err
    assert ended.json["num_trials"] == NUM_TRIALS
    assert "is away; training goes on" in ended.err
    assert "MLflow is back after" in ended.err
    assert "Traceback" not in ended.err
    assert "MLflow does not have everything" not in ended.err
    assert_mlflow_has_all(shell, server, "outlasting", NUM_TRIALS)
    assert differences(here, server, "outlasting") == []


def test_a_driver_killed_while_the_server_is_away_sends_all_of_it_on_resumption(
    shell: Shell, here: Here, eventually: Any, server: MlflowServer
) -> None:
    search = begin(shell, server, "struck", NUM_TRIALS)
    eventually(lambda: len(events(shell.folder, "struck", "reported")) >= 3, "three reports")
    server.stop()
    missed = num_ended(shell.folder, "struck")
    eventually(lambda: num_ended(shell.folder, "struck") >= missed + NUM_MISSED, "the end of trials without a server")
    os.kill(search.pid, signal.SIGKILL)
    shell.finish(search)
    before = events(shell.folder, "struck", *ENDS)
    assert missed + NUM_MISSED <= len(before) < NUM_TRIALS
    server.start()
    resumed = here.run("resume", "struck", "--no-pictures", "--tracking-uri", server.uri, "--json")
    assert resumed.status == 0, resumed.err
    assert resumed.json["num_trials"] == NUM_TRIALS
    assert "Traceback" not in resumed.err
    assert events(shell.folder, "struck", *ENDS)[: len(before)] == before
    assert_mlflow_has_all(shell, server, "struck", NUM_TRIALS)
    assert differences(here, server, "struck") == []


@pytest.mark.parametrize("patience", ["Ctrl-C", pytest.param("waits", marks=IN_ACCEPTANCE_ONLY)])
def test_a_server_that_stays_away_costs_no_result_and_repair_sends_all(
    shell: Shell, here: Here, eventually: Any, server: MlflowServer, patience: str
) -> None:
    name = f"forsaken-{patience}"
    search = begin(shell, server, name, 6)
    eventually(lambda: len(events(shell.folder, name, "reported")) >= 3, "three reports")
    server.stop()
    if patience == "Ctrl-C":
        # Read line by line: what is said after this comes after the signal.
        assert any("MLflow is still away: waiting" in line for line in search.stderr), "the search was to wait for the server"
        os.kill(search.pid, signal.SIGINT)
    ended = shell.finish(search)
    assert ended.status == 0, ended.err
    assert f"dermtune best {name}" in ended.out
    (line,) = [line for line in ended.err.splitlines() if line.startswith("MLflow does not have everything")]
    assert ("interrupted" if patience == "Ctrl-C" else f"{server.uri} is away") in line
    assert f"(dermtune doctor {name} --repair)" in line
    (line,) = [line for line in ended.err.splitlines() if line.startswith("MLflow did not take all pictures")]
    assert f"(again with: dermtune report {name})" in line
    assert "Traceback" not in ended.err
    assert (shell.folder / "runs" / name / "report.html").is_file()

    server.start()
    sent = [trial for trial, (_, status) in trial_runs(server.uri, name).items() if status == "FINISHED"]
    assert len(sent) < 6
    repaired = here.run("doctor", name, "--repair", "--tracking-uri", server.uri, "--json")
    assert (repaired.status, repaired.json["differences"]) == (0, []), repaired.out + repaired.err
    assert_mlflow_has_all(shell, server, name, 6)
