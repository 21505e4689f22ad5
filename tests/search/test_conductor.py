"""What every search does with its trials, whoever chooses them: what is written down, what goes on, what a budget is."""

from collections.abc import Sequence
from typing import Any

import pytest
from bowl_search import of_kind, recording, with_changes

from search.records.ledger import Event
from search.records.plan import Experiment, Plan, Reproduction
from search.strategy.bridge import Bridge
from search.strategy.conductor import Conductor
from search.strategy.grid import Grid
from search.strategy.suggestion import Suggestion
from spaces.bowl import BowlSpace
from spaces.fields import complete


def _plan(num_trials: int, **changes: Any) -> Plan:
    experiments = tuple(Experiment(f"e{number}", complete(BowlSpace, {})) for number in range(num_trials))
    changes = {"num_trials": num_trials, "scheduler": "none", **changes}
    return with_changes(**changes, reproduction=Reproduction(experiments, 1))


def _grid(num_trials: int, past: Sequence[Event] = (), **changes: Any) -> tuple[Grid, list[Event]]:
    """A search that chooses nothing, and what it writes."""
    journal, events = recording()
    return Grid(_plan(num_trials, **changes), journal, past), events


def _next(conductor: Conductor) -> str:
    suggestion = conductor.next()
    assert suggestion is not None
    return suggestion.trial


def _epochs(*numbers: int, height: float = 1.0, seconds: float = 1.0, **more: Any) -> list[dict[str, Any]]:
    return [
        {"epoch": n, "metrics": {"valid/height": height}, "score": height, "seconds": seconds, "is_best": n == 1, **more}
        for n in numbers
    ]


def _best(epoch: int) -> dict[str, Any]:
    """A checkpoint of that epoch."""
    return {"epoch": epoch, "path": f"trials/t0000/best-{epoch:05d}", "sha256": "ab"}


def _kinds(events: Sequence[Event]) -> list[str]:
    return [event["event"] for event in events]


def _bare(event: Event) -> Event:
    return {name: value for name, value in event.items() if name not in ("time", "elapsed_s")}


def test_an_epoch_counts_with_the_share_of_a_gpu_that_it_had() -> None:
    """4 s on half of a GPU each, where a whole one was planned: 10 s of a GPU are five epochs."""
    grid, _ = _grid(1, gpus_per_trial=1.0, gpu_hours=10 / 3600)
    trial = _next(grid)
    assert grid.report(trial, _epochs(1, 2, 3, 4, seconds=4.0, gpus=0.5), None) is False
    assert grid.spent is None
    assert grid.report(trial, _epochs(5, seconds=4.0, gpus=0.5), None) is True
    assert grid.spent == "GPU hours"


@pytest.mark.parametrize(("planned", "epochs"), [(1.0, 5), (0.5, 10)])
def test_an_epoch_that_does_not_say_its_share_had_the_planned_one(planned: float, epochs: int) -> None:
    grid, _ = _grid(1, gpus_per_trial=planned, gpu_hours=10 / 3600)
    trial = _next(grid)
    assert grid.report(trial, _epochs(*range(1, epochs), seconds=2.0), None) is False
    assert grid.report(trial, _epochs(epochs, seconds=2.0), None) is True


def test_epochs_on_no_gpu_cost_no_gpu_hours() -> None:
    grid, _ = _grid(1, gpus_per_trial=None, gpu_hours=1 / 3600)
    assert grid.report(_next(grid), _epochs(1, 2, 3, seconds=100.0), None) is False
    assert grid.spent is None


def test_a_checkpoint_is_written_down_once_also_when_its_epoch_is_trained_again() -> None:
    grid, events = _grid(1)
    trial = _next(grid)
    grid.report(trial, _epochs(1, 2), None, _best(2))
    grid.report(trial, _epochs(2, 3), None, _best(2))
    assert [event["epoch"] for event in of_kind(events, "checkpointed")] == [2]
    grid.report(trial, _epochs(4), None, _best(4), saved_epoch=4)
    assert [_bare(event) for event in of_kind(events, "checkpointed")][1:] == [
        {"event": "checkpointed", "trial": trial, **_best(4)}
    ]
    assert _kinds(events)[-3:] == ["reported", "checkpointed", "saved"]
    assert _bare(events[-1]) == {"event": "saved", "trial": trial, "epoch": 4}


def test_a_checkpoint_written_down_before_a_crash_is_not_written_down_again() -> None:
    grid, events = _grid(1)
    grid.report(_next(grid), _epochs(1, 2), None, _best(2))
    again, new = _grid(1, events)
    trial = _next(again)
    again.report(trial, _epochs(2), None, _best(2), saved_epoch=2)
    assert _kinds(new) == ["continued", "saved"], "neither is the epoch"
    again.report(trial, _epochs(3), None, _best(3))
    assert _kinds(new)[2:] == ["reported", "checkpointed"]


def test_trials_that_run_wait_and_are_still_to_come_are_all_wanted() -> None:
    grid, events = _grid(5)
    for _ in range(3):
        _next(grid)
    assert (grid.num_running, grid.num_wanted) == (3, 5)
    again, _ = _grid(5, events)
    assert (again.num_running, again.num_wanted) == (0, 5)
    trial = _next(again)
    assert (again.num_running, again.num_wanted) == (1, 5)
    again.stop(trial, "enough")
    assert (again.num_running, again.num_wanted) == (0, 4)


def test_what_ran_at_an_interruption_goes_on_before_what_had_waited_longer() -> None:
    grid, events = _grid(4)
    for _ in range(3):
        _next(grid)
    again, new = _grid(4, events)
    assert [_next(again), _next(again)] == ["t0000", "t0001"]
    again.report("t0000", _epochs(1, 2), None)
    again.interrupt("Ctrl-C")
    assert [_bare(event) for event in of_kind(new, "interrupted")] == [
        {"event": "interrupted", "trial": trial, "reason": "Ctrl-C"} for trial in ("t0000", "t0001")
    ]
    following = again.next()
    assert following is not None
    assert (following.trial, following.known_epoch) == ("t0000", 2)
    assert [_next(again) for _ in range(3)] == ["t0001", "t0002", "t0003"]


def test_who_waits_to_go_on_is_not_ended_while_the_search_may_go_on() -> None:
    grid, events = _grid(3)
    for _ in range(2):
        _next(grid)
    again, new = _grid(3, events)
    assert not again.exhausted
    again.settle()
    assert new == []
    assert _next(again) == "t0000"


def test_who_waits_to_go_on_is_ended_by_a_budget_that_was_spent_before() -> None:
    grid, events = _grid(3, epoch_budget=2)
    for _ in range(2):
        _next(grid)
    grid.report("t0000", _epochs(1, 2), None)
    again, new = _grid(3, events, epoch_budget=2)
    assert again.exhausted
    again.settle()
    assert [(event["trial"], event["reason"]) for event in of_kind(new, "stopped")] == [("t0001", "epoch budget")]
    assert again.num_wanted == 1, "only the one that has not begun is left"


@pytest.mark.parametrize("crash", [False, True])
def test_who_waited_at_a_rung_in_vain_is_ended_with_the_rung_as_reason(crash: bool) -> None:
    plan = with_changes(scheduler="asha-promote", sampler="random", num_trials=2, grace_period=2)
    journal, events = recording()
    bridge = Bridge(plan, journal)
    for height in (1.0, 2.0):
        trial = _next(bridge)
        assert bridge.report(trial, _epochs(1, 2, height=height), None) is True
        assert bridge.is_paused(trial)
    assert [(event["trial"], event["reason"]) for event in of_kind(events, "paused")] == [
        ("t0000", "rung 2"),
        ("t0001", "rung 2"),
    ]
    if crash:
        journal, new = recording()
        bridge, events = Bridge(plan, journal, events), new
    assert bridge.num_wanted == 0
    bridge.settle()
    assert [(event["trial"], event["reason"]) for event in of_kind(events, "stopped")] == [
        ("t0000", "rung 2, not promoted"),
        ("t0001", "rung 2, not promoted"),
    ]
    assert not bridge.is_paused("t0000")


def test_a_retry_says_what_the_trial_has_from_then_on() -> None:
    grid, events = _grid(1)
    trial = _next(grid)
    grid.report(trial, _epochs(1, 2, 3), None)
    assert grid.retry(trial, "lost", "NodeLost: gone", 0.5) == 3
    assert grid.retry(trial, "memory", "OutOfMemory", 1.0, 4, suspects=("t0000", 2)) == 3
    common = {"event": "retried", "trial": trial}
    assert [_bare(event) for event in of_kind(events, "retried")] == [
        {**common, "kind": "lost", "reason": "NodeLost: gone", "gpus_per_trial": 0.5, "batch_parts": 1},
        {**common, "kind": "memory", "reason": "OutOfMemory", "gpus_per_trial": 1.0, "batch_parts": 4, "suspects": ["t0000", 2]},
    ]


def test_what_was_measured_for_trials_to_come_is_written_down() -> None:
    grid, events = _grid(1)
    grid.pack(0.25)
    grid.fuse((None, 0.0, 1, "round"), 8, settled=True)
    assert [_bare(event) for event in events] == [
        {"event": "packed", "gpus_per_trial": 0.25},
        {"event": "fused", "shape": [None, 0.0, 1, "round"], "num_trials": 8, "settled": True},
    ]


def test_epochs_of_a_trial_that_has_ended_take_no_memory() -> None:
    grid, _ = _grid(2)
    done, running = _next(grid), _next(grid)
    for trial in (done, running):
        grid.report(trial, _epochs(1, 2), "max_epochs" if trial == done else None)
    assert [len(grid.records[trial].epochs) for trial in (done, running)] == [0, 2]
    assert (grid.records[done].state, grid.records[done].reason, grid.records[done].score) == ("finished", "max_epochs", 1.0)


@pytest.mark.parametrize(
    "suggestion",
    [Suggestion("t0001", {"x": 0.5}, 8), Suggestion("t0001", {"x": 0.5}, 8, 2), Suggestion("t0001", {"x": None}, 8, 1, epochs=5)],
)
def test_a_suggestion_comes_back_from_the_ledger(suggestion: Suggestion) -> None:
    assert Suggestion.from_json(suggestion.to_json()) == suggestion
    assert all(value is not None for value in suggestion.to_json().values())
