"""GPUs that Ray only counts: where trials with a share of one are placed, and what becomes of one that needs more."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import search
from search.execution.planning import prepare_search
from search.execution.session import run_search
from search.records.events import Event, Finished, Reported, Started
from search.records.folder import SearchFolder
from search.records.spec import SearchSpec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("two_gpus"), pytest.mark.xdist_group("two gpus")]


@pytest.fixture
def two_gpus(one_ray: Any, own_cache: Path) -> None:
    """Ray runs in this process and was told of two GPUs."""
    one_ray.ensure(num_gpus=2)


def run_on_two_gpus(folder: Path, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A search's summary and ledger."""
    # With an address nothing is taken for granted of this machine, which has no GPU.
    found = search.run("bowl", name="shares", storage=str(folder / "runs"), address="auto", pictures=False, **options)
    ledger = (folder / "runs" / "shares" / "ledger.jsonl").read_text()
    return found.summary(), [json.loads(line) for line in ledger.splitlines()]


def test_four_halves_lie_on_two_gpus(tmp_path: Path) -> None:
    options = SearchSpec(
        task="bowl",
        name="shares",
        num_trials=4,
        max_epochs=600,
        gpus_per_trial="0.5",
        scheduler="none",
        settings={"seconds_per_epoch": "0.5"},
    )
    plan = prepare_search(options, address="auto", storage=tmp_path).plan
    events: list[Event] = []

    def stop_when_all_have_reported(event: Event) -> None:
        events.append(event)
        if {other.trial for other in events if isinstance(other, Reported)} == {f"t{index:04d}" for index in range(4)}:
            SearchFolder(tmp_path, "shares").stop_file.touch()

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    found = run_search(
        plan, tmp_path, tracking_uri=uri, address="auto", listeners=lambda plan, state: (stop_when_all_have_reported,)
    )
    devices = Counter(event.where["device"] for event in events if isinstance(event, Started))
    assert devices == {"cuda:0": 2, "cuda:1": 2}
    assert not [event for event in events if isinstance(event, Finished)], "all four at once"
    epochs = [epoch for event in events if isinstance(event, Reported) for epoch in event.epochs]
    assert {epoch.gpus for epoch in epochs} == {0.5}
    assert found.summary()["num_failed"] == 0


def test_a_trial_that_runs_out_of_memory_begins_again_with_more_and_the_others_are_left_alone(tmp_path: Path) -> None:
    # Three epochs before it breaks: a quarter of a GPU is too little for every trial, half of one is enough.
    options = {"num_trials": 3, "max_epochs": 5, "scheduler": "none", "settings": {"fault": "out_of_memory"}}
    summary, events = run_on_two_gpus(tmp_path, gpus_per_trial="0.25", **options)
    retried = [event for event in events if event["event"] == "retried"]
    assert [(event["trial"], event["kind"], event["gpus_per_trial"]) for event in sorted(retried, key=lambda e: e["trial"])] == [
        (f"t{index:04d}", "memory", 0.5) for index in range(3)
    ]
    assert all(event["reason"].startswith("OutOfMemory: the bowl must have half of a GPU; got 0.25") for event in retried)
    assert (summary["num_trials"], summary["num_failed"]) == (3, 0)
    last = [epoch for event in events if event["event"] == "reported" for epoch in event["epochs"] if epoch["epoch"] == 5]
    assert [epoch["gpus"] for epoch in last] == [0.5] * 3


def test_a_trial_that_a_whole_gpu_does_not_hold_passes_its_batches_in_parts(tmp_path: Path) -> None:
    options = {"num_trials": 2, "max_epochs": 5, "scheduler": "none", "settings": {"fault": "too_large"}}
    summary, events = run_on_two_gpus(tmp_path, gpus_per_trial="0.5", **options)
    for trial in ("t0000", "t0001"):
        retried = [event for event in events if event["event"] == "retried" and event["trial"] == trial]
        assert [(event["kind"], event["gpus_per_trial"], event["batch_parts"]) for event in retried] == [
            ("memory", 1.0, 1),
            ("memory", 1.0, 2),
            ("memory", 1.0, 4),
        ]
        assert "Unable to allocate 1.00 EiB" in retried[0]["reason"]
        notes = [event["notes"] for event in events if event["event"] == "started" and event["trial"] == trial]
        assert notes[-1] == ["every batch passes in 4 parts, for want of memory"]
    assert (summary["num_trials"], summary["num_failed"]) == (2, 0)


def test_an_error_that_comes_again_is_tried_but_once_more(tmp_path: Path) -> None:
    options = {"num_trials": 2, "max_epochs": 5, "scheduler": "none", "settings": {"fault": "raise"}}
    summary, events = run_on_two_gpus(tmp_path, gpus_per_trial="1", **options)
    assert summary["num_failed"] == 2
    retried = [(event["trial"], event["kind"]) for event in events if event["event"] == "retried"]
    assert sorted(retried) == [("t0000", "raised"), ("t0001", "raised")]
    assert {event["reason"] for event in events if event["event"] == "failed"} == {
        "RuntimeError: the bowl broke, as fault=raise asked"
    }


def test_what_nobody_can_measure_is_packed_by_default_after_the_first_report(tmp_path: Path) -> None:
    options = {"num_trials": 6, "max_epochs": 6, "scheduler": "none", "settings": {"seconds_per_epoch": "0.5"}}
    summary, events = run_on_two_gpus(tmp_path, **options)
    (packed,) = [event for event in events if event["event"] == "packed"]
    assert packed["gpus_per_trial"] == 0.25
    before = events[: events.index(packed)]
    assert {event["trial"] for event in before if event["event"] == "started"} <= {"t0000", "t0001"}
    assert (summary["num_trials"], summary["num_failed"]) == (6, 0)
    told: dict[str, list[int]] = {}
    for event in events:
        if event["event"] == "reported":
            told.setdefault(event["trial"], []).extend(epoch["epoch"] for epoch in event["epochs"])
    assert told == {f"t{index:04d}": list(range(1, 7)) for index in range(6)}
    last = [epoch for event in events if event["event"] == "reported" for epoch in event["epochs"] if epoch["epoch"] == 6]
    assert {epoch["gpus"] for epoch in last} == {0.25}
