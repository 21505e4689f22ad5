"""Searches sent to the cluster from a fourth place: on several hosts, two at once, with their results brought back."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ray_cluster import object_store
from searches import (
    assert_all_ended_once,
    assert_clean,
    dermtune,
    events,
    log_of,
    slots_over_time,
    submit,
    through_one_tunnel,
    wait_for_job,
    wait_while,
)
from waiting import wait_until

from trainables.data.source import synthetic_location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray_cluster import Cluster

pytestmark = pytest.mark.timeout(600)
SCREENSHOTS = Path(os.environ.get("DERMTUNE_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots"))
SLOW_BOWL = ("--scheduler", "none", "--set", "seconds_per_epoch=0.5", "--max-epochs", "6", "--no-pictures")
# One host needs 108 s for twelve of these trials by itself, so that the others' processes have time to start and take some.
FOR_SEVERAL_HOSTS = (*SLOW_BOWL[:2], "--trials", "12", "--set", "seconds_per_epoch=3", *SLOW_BOWL[4:])
BUCKET = ("--storage", "s3://lesions/runs")


@pytest.fixture(scope="module")
def sent(cluster: "Cluster") -> dict[str, str]:
    """Jobs that cannot go well, begun together and before the others, since each waits most of its time."""
    return {
        "doctor": submit(cluster, "doctor", "--json", "--data", "derm7pt:/nowhere/at/all", "--cpus-per-trial", "3"),
        "huge": submit(cluster, "search", "bowl", "--name", "huge", "--cpus-per-trial", "3"),
    }


@pytest.fixture(scope="module")
def first(cluster: "Cluster", sent: dict[str, str]) -> str:
    """What a search said that was sent from elsewhere and followed to its end."""
    bowl = ("search", "bowl", "--name", "first", *FOR_SEVERAL_HOSTS)
    done = cluster.ask("dermtune", "submit", "--cluster", str(cluster.file), "--", *bowl, timeout_s=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_search_from_elsewhere_runs_on_several_hosts_and_its_best_comes_back(cluster: "Cluster", first: str) -> None:
    assert "best first" in first
    assert_all_ended_once(cluster, "first", 12)
    nodes = {event["where"]["node"] for event in events(cluster, "first", "started")}
    assert len(nodes) >= 2
    (best,) = dermtune(cluster, "best", "first", "--out", "winner", "--storage", str(cluster.storage))
    there = cluster.client.home / "checkout" / "winner" / best["trial"] / "config.json"
    assert json.loads(there.read_text())["value"] == best["value"]
    (job,) = [entry for entry in dermtune(cluster, "jobs", *through_one_tunnel(cluster)) if "first" in entry["job"]]
    assert job["status"] == "SUCCEEDED"
    assert job["command"].startswith("dermtune search bowl --name first")
    assert "best first" in log_of(cluster, job["job"])
    assert_clean(cluster, "first")


@pytest.fixture(scope="module")
def objects(cluster: "Cluster") -> "Iterator[dict[str, str]]":
    """What leads the client to an object store on the head."""
    server = cluster.serve_objects()
    try:
        yield {**cluster.environment, **object_store(cluster.head)}
    finally:
        os.killpg(server.pid, signal.SIGKILL)


def test_a_search_keeps_everything_in_a_bucket_that_all_nodes_reach(cluster: "Cluster", objects: dict[str, str]) -> None:
    wait_for_job(cluster, submit(cluster, "search", "bowl", "--name", "far", *BUCKET, *FOR_SEVERAL_HOSTS))
    ask = ["dermtune", "best", "far", "--json", "--out", "far winner", *BUCKET]
    done = cluster.client.run(ask, objects, 120, cluster.checkout)
    assert done.returncode == 0, done.stderr
    (best,) = json.loads(done.stdout)
    there = cluster.client.home / "checkout" / "far winner" / best["trial"] / "config.json"
    assert json.loads(there.read_text())["value"] == best["value"]
    show = "from trainables.locations import RemoteFolder; print((RemoteFolder('s3://lesions/runs/far').read('ledger.jsonl')).decode())"
    ledger = cluster.client.run([sys.executable, "-c", show], objects, 60, cluster.checkout)
    told = [json.loads(line) for line in ledger.stdout.splitlines() if line]
    assert sorted(event["trial"] for event in told if event["event"] == "finished") == [f"t{i:04d}" for i in range(12)]
    assert len({event["where"]["node"] for event in told if event["event"] == "started"}) >= 2
    assert not (cluster.storage / "far").exists()


def test_mlflows_page_of_the_head_comes_through_the_tunnel(cluster: "Cluster", first: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = cluster.client.popen(
        ["dermtune", "ui", "--cluster", str(cluster.file), "--port", "5500"],
        cluster.environment,
        cwd=cluster.checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        link = next(line for line in page.stderr or () if line.startswith("  first: "))
        picture = SCREENSHOTS / "cluster_page.png"
        script = Path(__file__).with_name("look_at_page.py")
        command = [sys.executable, str(script), link.partition(": ")[2].strip(), "t0011", str(picture)]
        done = cluster.client.run(command, cluster.environment, 180, cluster.checkout)
        assert done.returncode == 0, done.stdout + done.stderr
        assert picture.stat().st_size > 10_000
    finally:
        os.killpg(page.pid, signal.SIGKILL)
        page.communicate()


def test_every_node_is_looked_at_and_the_one_that_cannot_is_named(cluster: "Cluster", sent: dict[str, str]) -> None:
    assert wait_while(cluster, sent["doctor"], "PENDING", "RUNNING") == "FAILED"
    (line,) = [line for line in log_of(cluster, sent["doctor"]).splitlines() if line.startswith("[{")]
    wrong = {check["name"]: check["detail"] for check in json.loads(line) if not check["ok"]}
    for host in cluster.hosts:
        (detail,) = [detail for name, detail in wrong.items() if host.ip in name]
        assert "got /nowhere/at/all, which does not exist" in detail
    assert "a trial must fit one node of the cluster (2 CPU, 0 GPU); got 3 CPU" in wrong["trials at once"]


def test_a_search_that_can_never_be_placed_says_so_at_once(cluster: "Cluster", sent: dict[str, str]) -> None:
    assert wait_while(cluster, sent["huge"], "PENDING", "RUNNING") == "FAILED"
    said = " ".join(log_of(cluster, sent["huge"]).split())
    assert "a trial must fit one node of the cluster (2 CPU, 0 GPU); got 3 CPU and 0 GPU a trial" in said
    assert not (cluster.storage / "huge").exists()


def test_a_job_is_stopped_from_elsewhere_and_has_saved(cluster: "Cluster") -> None:
    job = submit(cluster, "search", "bowl", "--name", "halted", "--trials", "100", "--max-concurrent", "2", *SLOW_BOWL)
    wait_until(lambda: bool(events(cluster, "halted", "reported")), "a report")
    dermtune(cluster, "stop", job, *through_one_tunnel(cluster))
    assert wait_while(cluster, job, "RUNNING") != "SUCCEEDED"
    assert events(cluster, "halted")[-1]["event"] == "search_ended"
    assert "dermtune resume halted" in log_of(cluster, job)


# Trials of 6 s, so that both searches have some to begin for half a minute.
BOWLS = dict.fromkeys(("one", "other"), ("bowl", "--trials", "24", "--max-epochs", "6", "--set", "seconds_per_epoch=1"))
# Every node draws its own data.
ARCHITECTURES = {
    task: (task, "--trials", "8", "--max-epochs", "2", "--preset", "demo", "--data", f"{kind}:{synthetic_location(60, 96)}")
    for task, kind in (("gated", "derm7pt"), ("attentive", "isic2017"))
}


@pytest.mark.parametrize("searches", [BOWLS, pytest.param(ARCHITECTURES, marks=pytest.mark.long)], ids=["bowls", "architectures"])
def test_two_searches_share_the_cluster_by_halves(cluster: "Cluster", searches: dict[str, tuple[str, ...]]) -> None:
    through_one_tunnel(cluster)
    plain = ("--scheduler", "none", "--no-pictures")
    with ThreadPoolExecutor() as pool:
        jobs = pool.map(lambda name: submit(cluster, "search", *searches[name], "--name", name, *plain), searches)
    for job in jobs:
        wait_for_job(cluster, job)
    for name, asked in searches.items():
        assert_all_ended_once(cluster, name, int(asked[2]))
    steps = {name: slots_over_time(events(cluster, name)) for name in searches}
    # While both have trials to begin: one that came first had all six slots, and gives three of them up as its trials end.
    begun = {name: [event["time"] for event in events(cluster, name, "suggested")] for name in steps}
    shared = max(times[0] for times in begun.values())
    start = max(next((at for at, held in found if at >= shared and held == 3), "never") for found in steps.values())
    end = min(times[-1] for times in begun.values())
    assert start < end, begun
    for name, found in steps.items():
        spans = [
            (held, (datetime.fromisoformat(min(later, end)) - datetime.fromisoformat(max(at, start))).total_seconds())
            for (at, held), (later, _) in pairwise(found)
            if at < end and later > start
        ]
        mean = sum(held * seconds for held, seconds in spans) / sum(seconds for _, seconds in spans)
        assert 2.5 <= mean <= 3.5, (name, mean, found)
