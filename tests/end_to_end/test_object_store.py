"""Storage and data behind `s3://`, served by moto on this machine: nothing but the bucket is shared between "machines"."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import CommandClient, Shell
from tracking_servers import Server, free_port, listens

from trainables.data.derm7pt_synthetic import write
from trainables.locations import RemoteFolder

pytestmark = pytest.mark.slow
ENDS = ("finished", "stopped", "failed")


@pytest.fixture(scope="module")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What leads to a server with one empty bucket, `lesions`."""
    port = free_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = Server(command, dict(os.environ), tmp_path_factory.mktemp("s3") / "log", lambda: listens(port))
    server.start()
    try:
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        client.create_bucket(Bucket="lesions")
        client.close()
        yield environment
    finally:
        server.stop()


@pytest.fixture
def machines(tmp_path: Path, s3_environment: dict[str, str], client: CommandClient) -> Iterator[tuple[Shell, Shell]]:
    """Two machines that share the bucket and nothing else."""
    made = []
    for name in ("one machine", "another"):
        folder = tmp_path / name
        folder.mkdir()
        made.append(Shell(folder, {**s3_environment, "DERMTUNE_CACHE": str(folder / "cache")}, client))
    yield made[0], made[1]
    for machine in made:
        machine.close()


@pytest.fixture
def bucket(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> RemoteFolder:
    """The bucket, as this process sees it."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return RemoteFolder("s3://lesions")


def ledger(bucket: RemoteFolder, name: str) -> list[dict[str, Any]]:
    """A search's ledger, as it lies in the bucket."""
    return [json.loads(line) for line in ((bucket / "runs" / name).read("ledger.jsonl") or b"").splitlines()]


def test_a_killed_search_goes_on_on_another_machine(machines: tuple[Shell, Shell], bucket: RemoteFolder, eventually: Any) -> None:
    one, another = machines
    storage = ("--storage", "s3://lesions/runs")
    slow = ("--set", "seconds_per_epoch=0.2", "--max-epochs", "12", "--scheduler", "asha-promote", "--grace-period", "3")
    search = one.start("search", "bowl", "--name", "moved", "--trials", "16", "--no-pictures", *slow, *storage)
    eventually(lambda: sum(event["event"] in ENDS for event in ledger(bucket, "moved")) >= 2, "the end of two trials")
    os.killpg(search.pid, signal.SIGKILL)
    one.finish(search)
    known = ledger(bucket, "moved")
    resumed = another.run("resume", "moved", "--no-pictures", "--json", *storage)
    assert resumed.status == 0, resumed.err
    assert resumed.json["num_trials"] == 16
    events = ledger(bucket, "moved")
    assert events[: len(known)] == known
    ended = [event["trial"] for event in events if event["event"] in ENDS]
    assert sorted(ended) == [f"t{index:04d}" for index in range(16)]
    told: dict[str, list[int]] = {}
    for event in events:
        if event["event"] == "reported":
            told.setdefault(event["trial"], []).extend(epoch["epoch"] for epoch in event["epochs"])
    assert all(epochs == list(range(1, len(epochs) + 1)) for epochs in told.values()), told
    doctor = another.run("doctor", "moved", "--json", *storage)
    assert (doctor.status, doctor.json["differences"]) == (0, [])
    best = one.run("best", "moved", "--out", "winner", "--json", *storage)
    assert best.status == 0, best.err
    (row,) = best.json
    assert json.loads((one.folder / "winner" / row["trial"] / "config.json").read_text())["value"] == row["value"]
    kept = {path.partition("/best-")[0] for file in (bucket / "runs/moved/trials").files() if "/best-" in (path := file.path)}
    assert len(kept) == 5
    assert not [file.path for file in (bucket / "runs/moved/trials").files() if "/state-" in file.path]


@pytest.mark.long
def test_gated_trains_on_data_and_into_a_storage_in_a_bucket(
    machines: tuple[Shell, Shell], bucket: RemoteFolder, tmp_path: Path
) -> None:
    one, another = machines
    write(tmp_path / "set", 48, 96, 0)
    (bucket / "a set").upload(tmp_path / "set")
    storage, data = ("--storage", "s3://lesions/runs"), "derm7pt:s3://lesions/a set"
    small = ("--preset", "demo", "--trials", "2", "--max-epochs", "2", "--set", "batches_per_epoch=1")
    searched = one.run("search", "gated", "--data", data, "--name", "far", *small, *storage, "--json")
    assert searched.status == 0, searched.err
    assert searched.err.count("fetching ") == 1
    assert json.loads((bucket / "runs/far").read("plan.json") or b"")["source"] == data
    assert (bucket / "runs/far").read("report.html")
    best = another.run("best", "far", "--out", "winner", "--json", *storage)
    (row,) = best.json
    metric = searched.json["metrics"][0]
    evaluated = another.run("evaluate", str(another.folder / "winner" / row["trial"]), "--data", data, "--json")
    assert evaluated.json["metrics"][metric] == row["value"]
    listed = another.run("list", "--json", *storage)
    assert [entry["name"] for entry in listed.json if entry["name"] == "far"] == ["far"]
    assert another.run("delete", "far", "--yes", *storage).status == 0
    assert not (bucket / "runs/far").files()
