"""Searches sent to the cluster from a fourth place: on several hosts, two at once, with their results brought back."""

import json
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from searches import assert_all_ended_once, dermtune, events, job_status, log_of, running_at_once, submit, wait_for_job

if TYPE_CHECKING:
    from ray_cluster import Cluster

SLOW_BOWL = ("--scheduler", "none", "--set", "seconds_per_epoch=0.5", "--max-epochs", "8")


def test_a_search_from_elsewhere_runs_on_several_hosts_and_its_best_comes_back(cluster: "Cluster") -> None:
    done = cluster.ask(
        "dermtune",
        "submit",
        "--cluster",
        str(cluster.file),
        "--",
        "search",
        "bowl",
        "--name",
        "first",
        "--trials",
        "12",
        *SLOW_BOWL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "best first" in done.stdout
    assert_all_ended_once(cluster, "first", 12)
    nodes = {event["where"]["node"] for event in events(cluster, "first", "started")}
    assert len(nodes) >= 2
    storage = ("--storage", str(cluster.storage))
    (best,) = dermtune(cluster, "best", "first", "--out", "winner", *storage)
    there = cluster.client.home / "checkout" / "winner" / best["trial"] / "config.json"
    assert json.loads(there.read_text())["value"] == best["value"]
    (job,) = [entry for entry in dermtune(cluster, "jobs", "--cluster", str(cluster.file)) if "first" in entry["job"]]
    assert job["status"] == "SUCCEEDED"
    assert job["command"].startswith("dermtune search bowl --name first")
    assert "best first" in log_of(cluster, job["job"])
    assert dermtune(cluster, "submit", "--cluster", str(cluster.file), "--", "doctor", "first")["status"] == "SUCCEEDED"


def test_every_node_is_looked_at_and_the_one_that_cannot_is_named(cluster: "Cluster") -> None:
    job = submit(cluster, "doctor", "--data", "derm7pt:/nowhere/at/all", "--cpus-per-trial", "3")
    while job_status(cluster, job) in ("PENDING", "RUNNING"):
        pass
    said = " ".join(log_of(cluster, job).split())
    assert job_status(cluster, job) == "FAILED"
    for host in cluster.hosts:
        assert host.ip in said
    assert "which does not exist" in said
    assert "a trial must fit one node of the cluster (2 CPU, 0 GPU); got 3 CPU" in said


def test_a_search_that_can_never_be_placed_says_so_at_once(cluster: "Cluster") -> None:
    done = cluster.ask(
        "dermtune", "submit", "--cluster", str(cluster.file), "--", "search", "bowl", "--name", "huge", "--cpus-per-trial", "3"
    )
    assert done.returncode == 1
    assert "a trial must fit one node of the cluster (2 CPU, 0 GPU); got 3 CPU and 0 GPU a trial" in " ".join(done.stdout.split())
    assert not (cluster.storage / "huge").exists()


def test_a_job_is_stopped_from_elsewhere_and_has_saved(cluster: "Cluster") -> None:
    job = submit(cluster, "search", "bowl", "--name", "halted", "--trials", "100", *SLOW_BOWL)
    while not events(cluster, "halted", "reported"):
        assert job_status(cluster, job) in ("PENDING", "RUNNING"), log_of(cluster, job)
    dermtune(cluster, "stop", job, "--cluster", str(cluster.file))
    while job_status(cluster, job) == "RUNNING":
        pass
    assert events(cluster, "halted")[-1]["event"] == "search_ended"
    assert "dermtune resume halted" in log_of(cluster, job)


def test_both_architectures_share_the_cluster_by_halves(cluster: "Cluster") -> None:
    small = ("--scheduler", "none", "--max-epochs", "4", "--trials", "9", "--no-pictures", "--preset", "demo")
    gated = submit(cluster, "search", "gated", "--name", "one", "--set", "batches_per_epoch=1", *small)
    attentive = submit(cluster, "search", "attentive", "--name", "other", "--set", "batches_per_epoch=1", *small)
    wait_for_job(cluster, gated, 280)
    wait_for_job(cluster, attentive, 280)
    for name in ("one", "other"):
        assert_all_ended_once(cluster, name, 9)
    steps = {name: running_at_once(events(cluster, name, "started", "finished")) for name in ("one", "other")}
    # While both had more trials than their half: from where the later one has its half until a search has begun its last.
    begun = {name: [e["time"] for e in events(cluster, name, "started")] for name in steps}
    start, end = max(times[2] for times in begun.values()), min(times[-1] for times in begun.values())
    assert start < end, begun
    for name, found in steps.items():
        weights = [
            (count, (datetime.fromisoformat(later) - datetime.fromisoformat(at)).total_seconds())
            for (at, count), (later, _) in pairwise(found)
            if start <= at < end
        ]
        mean = sum(count * seconds for count, seconds in weights) / sum(seconds for _, seconds in weights)
        assert 2 <= mean <= 4, (name, mean, found)
