"""In mid-search a worker dies, another is cut off, the driver is killed: each costs minutes at most, and no search."""

from typing import TYPE_CHECKING, Any

import pytest
from searches import assert_all_ended_once, assert_clean, events, submit, wait_for_job, wait_while
from waiting import let_pass, wait_until

if TYPE_CHECKING:
    from hosts import Host
    from ray_cluster import Cluster

pytestmark = pytest.mark.timeout(600)
CUT_S = 30
#: Six at once, 8 s each.
BOWL = ("--scheduler", "none", "--max-epochs", "16", "--set", "seconds_per_epoch=0.5", "--no-pictures", "--save-every", "2s")


def begin(cluster: "Cluster", name: str, num_trials: int) -> str:
    """Starts a search and waits until its trials train everywhere and all but one have a state to go on from."""
    cluster.wait_for_nodes()
    job = submit(cluster, "search", "bowl", "--name", name, "--trials", str(num_trials), *BOWL)
    wait_until(lambda: len({event["trial"] for event in events(cluster, name, "saved")}) >= 5, "states of five trials")
    return job


def node_of(cluster: "Cluster", host: "Host") -> str:
    """Ray's id of a host's node."""
    return cluster.nodes()[host.ip]


def on_node(cluster: "Cluster", name: str, node: str) -> set[str]:
    """Trials that train there now."""
    where: dict[str, Any] = {}
    for event in events(cluster, name, "started", "finished"):
        where[event["trial"]] = event["where"]["node"] if event["event"] == "started" else None
    return {trial for trial, place in where.items() if place == node}


def last_saved(cluster: "Cluster", name: str) -> dict[str, int]:
    """Trial → epoch of its newest state."""
    return {event["trial"]: event["epoch"] for event in events(cluster, name, "saved")}


def assert_went_on(cluster: "Cluster", name: str, trials: set[str]) -> None:
    """Whichever of these trials had to begin again did so through no fault of its own, and not from scratch if it had a state."""
    with_a_state = 0
    for trial in trials:
        own = [event for event in events(cluster, name) if event.get("trial") == trial]
        for index, event in enumerate(own):
            if event["event"] == "retried":
                assert event["kind"] in ("lost", "hung")
                saved = max((earlier["epoch"] for earlier in own[:index] if earlier["event"] == "saved"), default=0)
                told = next(later["epochs"][0]["epoch"] for later in own[index:] if later["event"] == "reported")
                assert told > saved
                with_a_state += saved > 0
    assert with_a_state


def test_a_worker_that_dies_one_that_is_cut_off_and_a_killed_driver_cost_no_trial(cluster: "Cluster") -> None:
    job = begin(cluster, "struck", 14)
    dead, severed = cluster.workers
    lost = {host: on_node(cluster, "struck", node_of(cluster, host)) for host in (dead, severed)}
    assert all(lost.values()), lost
    dead.kill()
    severed.cut()
    let_pass(CUT_S)
    severed.mend()
    wait_until(
        lambda: lost[dead] | lost[severed] <= {event["trial"] for event in events(cluster, "struck", "retried", "finished")},
        "the lost trials retried",
    )
    driver = "python -m search.cli.main search bowl --name struck"
    cluster.head.run(f"pkill -KILL -f '^{driver}'")
    assert wait_while(cluster, job, "RUNNING") == "FAILED"
    before = last_saved(cluster, "struck")
    assert before.keys() & lost[dead]
    again = submit(cluster, "resume", "struck", "--no-pictures")
    dead.start()
    wait_for_job(cluster, again)
    assert_all_ended_once(cluster, "struck", 14)
    assert_went_on(cluster, "struck", lost[dead] | lost[severed])
    resumed = next(i for i, event in enumerate(events(cluster, "struck")) if event["event"] == "search_resumed")
    for trial, epoch in before.items():
        told = [
            event["epochs"][0]["epoch"]
            for event in events(cluster, "struck")[resumed:]
            if event["event"] == "reported" and event["trial"] == trial
        ]
        assert not told or told[0] > epoch, (trial, epoch, told)
    assert_clean(cluster, "struck")
    cluster.wait_for_nodes(timeout_s=120)
