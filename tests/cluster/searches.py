"""Searches on the test's cluster, as one runs them from elsewhere, and what their ledgers say."""

import json
from typing import TYPE_CHECKING, Any

from waiting import happens

if TYPE_CHECKING:
    from ray_cluster import Cluster

ENDS = ("finished", "stopped", "failed")


def dermtune(cluster: "Cluster", *arguments: str, timeout_s: float = 240) -> Any:
    """A command at the client's; gives what `--json` printed, or fails with all that was said."""
    done = cluster.ask("dermtune", arguments[0], "--json", *arguments[1:], timeout_s=timeout_s)
    assert done.returncode == 0, f"dermtune {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


_tunnels: set[str] = set()


def through_one_tunnel(cluster: "Cluster") -> tuple[str, str]:
    """`--address` of a tunnel to the dashboard that stays open: with `--cluster` every command opens one of its own."""
    if str(cluster.file) in _tunnels:
        return "--address", "http://127.0.0.1:8265"
    _tunnels.add(str(cluster.file))
    command = ["ray", "dashboard", "--no-config-cache", "--port", "8265", "--remote-port", "8265", str(cluster.file)]
    cluster.client.popen(command, cluster.environment, cwd=cluster.checkout)
    ask = ["bash", "-c", "until (echo > /dev/tcp/127.0.0.1/8265) 2> /dev/null; do sleep 0.2; done"]
    assert cluster.client.run(ask, cluster.environment, 60, cluster.checkout).returncode == 0
    return "--address", "http://127.0.0.1:8265"


def submit(cluster: "Cluster", *arguments: str) -> str:
    """Starts a command on the cluster; gives its job."""
    job: str = dermtune(cluster, "submit", *through_one_tunnel(cluster), "--no-follow", "--", *arguments)["job"]
    return job


def job_status(cluster: "Cluster", job: str) -> str:
    """What the cluster says of a job."""
    return str(cluster.told(f"jobs/{job}")["status"])


def wait_while(cluster: "Cluster", job: str, *statuses: str) -> str:
    """Waits until a job's status is another; gives it."""
    left = happens(lambda: job_status(cluster, job) not in statuses, every_s=1)
    assert left, f"{job} must not be {' or '.join(statuses)} for ever\n{log_of(cluster, job)}"
    return job_status(cluster, job)


def wait_for_job(cluster: "Cluster", job: str) -> None:
    """Waits until a job has succeeded."""
    assert wait_while(cluster, job, "PENDING", "RUNNING") == "SUCCEEDED", log_of(cluster, job)


def assert_clean(cluster: "Cluster", name: str) -> None:
    """`doctor NAME` on the head, as one logged in there runs it."""
    done = cluster.head.run(f"dermtune doctor {name}", timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr


def log_of(cluster: "Cluster", job: str) -> str:
    """What a job has printed."""
    return cluster.ask("dermtune", "logs", job, *through_one_tunnel(cluster)).stdout


def events(cluster: "Cluster", name: str, *kinds: str) -> list[dict[str, Any]]:
    """A search's ledger, as it lies in the shared folder; a line that is being written is left out."""
    file = cluster.storage / name / "ledger.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return [event for event in map(json.loads, lines) if not kinds or event["event"] in kinds]


def assert_all_ended_once(cluster: "Cluster", name: str, num_trials: int) -> None:
    """Every trial ended once and well, and its epochs follow each other without one told twice or left out."""
    ended = events(cluster, name, *ENDS)
    assert sorted((event["trial"], event["event"]) for event in ended) == [(f"t{i:04d}", "finished") for i in range(num_trials)]
    told: dict[str, list[int]] = {}
    for event in events(cluster, name, "reported"):
        told.setdefault(event["trial"], []).extend(epoch["epoch"] for epoch in event["epochs"])
    for trial, epochs in told.items():
        assert epochs == list(range(1, len(epochs) + 1)), trial


def slots_over_time(found: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """(time, slots that a search holds) after each change: a trial holds one from its suggestion to its end."""
    held, steps = set[str](), []
    for event in found:
        if event["event"] == "suggested":
            held.add(event["trial"])
        elif event["event"] in ENDS:
            held.discard(event["trial"])
        else:
            continue
        steps.append((event["time"], len(held)))
    return steps
