"""What `ray up` with the shipped file makes: three nodes, one MLflow, and nobody in without the token."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from strangers import RIGHT, admitted
from waiting import happens, wait_until

if TYPE_CHECKING:
    from hosts import Host, Place
    from ray_cluster import Cluster

Question = tuple[str, str, dict[str, str], Any]

DASHBOARD, MLFLOW = 8265, 5000

#: Where each node's tasks run, and what they see of ~/.dermtune.env.
NODES = """
import json, os, platform, sys, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.init(sys.argv[1])
@ray.remote(num_cpus=2)
def look():
    import search
    names = ("DERMTUNE_STORAGE", "RAY_AUTH_MODE", "OMP_NUM_THREADS")
    return platform.node(), [os.environ.get(name) for name in names]
alive = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
print(json.dumps(dict(ray.get([look.options(scheduling_strategy=On(node, soft=False)).remote() for node in alive]))))
"""
#: Asks each of several times (method, URL, headers, body) and tells the status, or why there was none, and what was said.
HTTP = """
import json, sys, urllib.error, urllib.request
def ask(method, url, headers, body):
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(100_000).decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except Exception as error:
        return type(error).__name__, str(error)
print(json.dumps([ask(*one) for one in json.loads(sys.argv[1])]))
"""


def ask(place: "Place", *questions: Question) -> list[tuple[int | str, str]]:
    """What HTTP servers answer when they are asked from a place."""
    done = place.run(["python", "-c", HTTP, json.dumps(questions)])
    assert done.returncode == 0, done.stderr
    return [(status, said) for status, said in json.loads(done.stdout)]


def get(place: "Place", url: str) -> tuple[int | str, str]:
    """What one answers."""
    (answer,) = ask(place, ("GET", url, {}, None))
    return answer


def test_three_nodes_are_up(cluster: "Cluster") -> None:
    cluster.wait_for_nodes()
    assert "/6.0 CPU" in cluster.head.run("ray status").stdout
    nodes = json.loads(cluster.head.run("ray list nodes --format json").stdout)
    listed = [node for node in nodes if node["state"] == "ALIVE"]  # other tests here end workers, which Ray lists as dead
    assert {(node["node_ip"], node["state"]) for node in listed} == {(host.ip, "ALIVE") for host in cluster.hosts}
    assert [node["node_ip"] for node in listed if node["is_head_node"]] == [cluster.head.ip]


def test_trials_on_every_host_see_the_storage_and_have_as_many_threads_as_cpus(cluster: "Cluster") -> None:
    worker = cluster.workers[0]
    done = worker.run(["python", "-c", NODES, f"{cluster.head.ip}:6379"], RIGHT, timeout_s=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert set(seen) == {host.name for host in cluster.hosts}
    assert all(found == [str(cluster.storage), "token", "2"] for found in seen.values()), seen


def test_mlflow_answers_its_own_host_only(cluster: "Cluster") -> None:
    assert get(cluster.head, f"http://127.0.0.1:{MLFLOW}/health") == (200, "OK")
    for place in (cluster.workers[0], cluster.client, cluster.stranger):
        assert get(place, f"http://{cluster.head.ip}:{MLFLOW}/health")[0] == "URLError"
    assert cluster.head.run("echo $MLFLOW_TRACKING_URI").stdout == f"http://127.0.0.1:{MLFLOW}\n"
    assert sum("-m uvicorn" in line for line in cluster.head.processes()) == 1


def test_the_dashboard_is_not_on_the_network(cluster: "Cluster") -> None:
    for place in (cluster.workers[0], cluster.client, cluster.stranger):
        assert get(place, f"http://{cluster.head.ip}:{DASHBOARD}/api/version")[0] == "URLError"


def test_only_the_token_runs_code(cluster: "Cluster") -> None:
    statuses = {name: process.wait(200) for name, process in cluster.strangers.items()}
    assert len(statuses) == 5
    assert 0 not in statuses.values(), statuses
    assert [name for name in statuses if (cluster.storage / name).exists()] == []
    assert admitted(cluster)


@pytest.fixture
def dashboard(cluster: "Cluster") -> Iterator[str]:
    """The dashboard's address at the client's, through ssh."""
    known = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes"]
    tunnel = cluster.client.popen(["ssh", "-N", *known, "-L", f"18265:127.0.0.1:{DASHBOARD}", cluster.head.ip])
    address = "http://127.0.0.1:18265"
    wait_until(lambda: get(cluster.client, f"{address}/api/version")[0] != "URLError", "an answer of the dashboard", every_s=0.1)
    yield address
    tunnel.terminate()
    tunnel.wait(10)


def test_only_the_token_sees_and_starts_jobs(cluster: "Cluster", dashboard: str) -> None:
    url, file = f"{dashboard}/api/jobs/", cluster.storage / "of a job"
    look = 'echo "$DERMTUNE_STORAGE $MLFLOW_TRACKING_URI $(command -v dermtune)"'
    job = {"entrypoint": f"{look} > '{file}'", "submission_id": "looks"}
    kind = {"Content-Type": "application/json"}
    wrong, right = {"Authorization": f"Bearer {'0' * 64}"}, {"Authorization": f"Bearer {cluster.token}"}
    refused = [(method, url, kind | who, body) for who in ({}, wrong) for method, body in (("GET", None), ("POST", job))]
    assert [status for status, _ in ask(cluster.client, *refused)] == [401, 401, 403, 403]
    seen, start = ("GET", url, right, None), ("POST", url, kind | right, job)
    answers = ask(cluster.client, seen, start, seen)
    assert [status for status, _ in answers] == [200, 200, 200]
    started = ["looks" in [entry["submission_id"] for entry in json.loads(answers[index][1])] for index in (0, 2)]
    assert started == [False, True]
    assert happens(lambda: file.exists() and file.read_text().endswith("\n"), 60)
    storage, uri, command = file.read_text().split()
    assert (storage, uri) == (str(cluster.storage), f"http://127.0.0.1:{MLFLOW}")
    assert command.endswith("/dermtune-venv/bin/dermtune")


def listening(host: "Host") -> list[int]:
    """Ports of a host, those of its loopback too."""
    said = host.run(["ss", "--listening", "--tcp", "--numeric", "--no-header"]).stdout
    return sorted({int(port) for port in re.findall(r"^LISTEN +\d+ +\d+ +\S+:(\d+) ", said, re.MULTILINE)})


def test_without_the_token_every_port_gives_metrics_at_most(cluster: "Cluster") -> None:
    silent = {401, 405, "URLError", "BadStatusLine", "RemoteDisconnected"}  # gRPC and ssh are no HTTP
    for host in (cluster.head, cluster.workers[0]):
        ports = listening(host)
        assert len(ports) >= 5
        questions: list[Question] = [(how, f"http://{host.ip}:{port}/", {}, None) for port in ports for how in ("GET", "POST")]
        for question, (status, said) in zip(questions, ask(cluster.stranger, *questions), strict=True):
            assert status in silent or said.startswith("# HELP "), (question, status, said[:300])
