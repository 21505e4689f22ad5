"""What every search does with its trials, whoever chooses them: what is written down, what goes on, what a budget is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bowl_events import epoch_result, event_of, unstamped
from bowl_search import of_kind, recording, with_changes

from search.records.events import Checkpointed, EpochResult, Event, Suggested, from_json, to_json
from search.records.plan import Experiment, Plan, Reproduction
from search.records.state import SearchState
from search.strategy.optuna_controller import OptunaController
from search.strategy.reproduction_controller import ReproductionController
from search.strategy.search_controller import SearchController
from search.strategy.suggestion import Suggestion
from spaces.bowl import BowlSpace
from spaces.fields import complete
from trainables.contract import Objective


def _plan(num_trials: int, **changes: Any) -> Plan:
    experiments = tuple(Experiment(f"e{number}", complete(BowlSpace, {})) for number in range(num_trials))
    changes = {"num_trials": num_trials, "scheduler": "none", **changes}
    return with_changes(**changes, reproduction=Reproduction(experiments, 1))


def _controller(num_trials: int, past: Sequence[Event] = (), **changes: Any) -> tuple[ReproductionController, list[Event]]:
    """A search that chooses nothing, and what it writes."""
    journal, events = recording()
    return ReproductionController(_plan(num_trials, **changes), journal, past), events


def _next(controller: SearchController) -> str:
    suggestion = controller.next()
    assert suggestion is not None
    return suggestion.trial


def _epochs(*numbers: int, height: float = 1.0, seconds: float = 1.0, **more: Any) -> list[EpochResult]:
    return [
        epoch_result(epoch=n, metrics={"valid/height": height}, score=height, seconds=seconds, **{"is_best": n == 1, **more})
        for n in numbers
    ]


def _best(epoch: int, **more: Any) -> Checkpointed:
    """A checkpoint of that epoch."""
    return Checkpointed(trial="t0000", epoch=epoch, path=f"trials/t0000/best-{epoch:05d}", sha256="ab", **more)


def _kinds(events: Sequence[Event]) -> list[str]:
    return [event.event for event in events]


def test_an_epoch_counts_with_the_share_of_a_gpu_that_it_had() -> None:
    """4 s on half of a GPU each, where a whole one was planned: 10 s of a GPU are five epochs."""
    controller, _ = _controller(1, gpus_per_trial=1.0, gpu_hours=10 / 3600)
    trial = _next(controller)
    assert controller.report(trial, _epochs(1, 2, 3, 4, seconds=4.0, gpus=0.5), None) is False
    assert controller.spent is None
    assert controller.report(trial, _epochs(5, seconds=4.0, gpus=0.5), None) is True
    assert controller.spent == "GPU hours"


@pytest.mark.parametrize(("planned", "epochs"), [(1.0, 5), (0.5, 10)])
def test_an_epoch_that_does_not_say_its_share_had_the_planned_one(planned: float, epochs: int) -> None:
    controller, _ = _controller(1, gpus_per_trial=planned, gpu_hours=10 / 3600)
    trial = _next(controller)
    assert controller.report(trial, _epochs(*range(1, epochs), seconds=2.0), None) is False
    assert controller.report(trial, _epochs(epochs, seconds=2.0), None) is True


def test_epochs_on_no_gpu_cost_no_gpu_hours() -> None:
    controller, _ = _controller(1, gpus_per_trial=None, gpu_hours=1 / 3600)
    assert controller.report(_next(controller), _epochs(1, 2, 3, seconds=100.0), None) is False
    assert controller.spent is None


def test_a_checkpoint_is_written_down_once_also_when_its_epoch_is_trained_again() -> None:
    controller, events = _controller(1)
    trial = _next(controller)
    controller.report(trial, _epochs(1, 2), None, _best(2))
    controller.report(trial, _epochs(2, 3), None, _best(2))
    assert [event.epoch for event in of_kind(events, "checkpointed")] == [2]
    controller.report(trial, _epochs(4, is_best=True), None, _best(4), saved_epoch=4)
    assert [unstamped(event) for event in of_kind(events, "checkpointed")][1:] == [_best(4)]
    assert _kinds(events)[-3:] == ["reported", "checkpointed", "saved"]
    assert unstamped(events[-1]) == event_of("saved", trial=trial, epoch=4)


def test_a_checkpoint_written_down_before_a_crash_is_not_written_down_again() -> None:
    controller, events = _controller(1)
    controller.report(_next(controller), _epochs(1, 2), None, _best(2))
    again, new = _controller(1, events)
    trial = _next(again)
    again.report(trial, _epochs(2), None, _best(2), saved_epoch=2)
    assert _kinds(new) == ["continued", "saved"], "neither is the epoch"
    again.report(trial, _epochs(3, is_best=True), None, _best(3))
    assert _kinds(new)[2:] == ["reported", "checkpointed"]


def test_a_model_that_is_kept_only_while_epochs_are_trained_again_is_not_written_down() -> None:
    """A node dies after epoch 5, the best; from the state of epoch 3 epoch 4 comes again first, and is the best of its time."""
    controller, events = _controller(1)
    trial = _next(controller)
    controller.report(trial, _epochs(1, 2), None, _best(1))
    controller.report(trial, _epochs(3, 4, 5, is_best=True), None, None)
    controller.report(trial, _epochs(4, is_best=True), None, _best(4))
    assert [event.epoch for event in of_kind(events, "checkpointed")] == [1]
    controller.report(trial, _epochs(5, is_best=True), None, _best(5))
    assert [event.epoch for event in of_kind(events, "checkpointed")] == [1, 5]


def test_trials_that_run_wait_and_are_still_to_come_are_all_wanted() -> None:
    controller, events = _controller(5)
    for _ in range(3):
        _next(controller)
    assert (controller.num_running, controller.num_wanted) == (3, 5)
    again, _ = _controller(5, events)
    assert (again.num_running, again.num_wanted) == (0, 5)
    trial = _next(again)
    assert (again.num_running, again.num_wanted) == (1, 5)
    again.stop(trial, "enough")
    assert (again.num_running, again.num_wanted) == (0, 4)


def test_what_ran_at_an_interruption_goes_on_before_what_had_waited_longer() -> None:
    controller, events = _controller(4)
    for _ in range(3):
        _next(controller)
    again, new = _controller(4, events)
    assert [_next(again), _next(again)] == ["t0000", "t0001"]
    again.report("t0000", _epochs(1, 2), None)
    again.interrupt("Ctrl-C")
    assert [unstamped(event) for event in of_kind(new, "interrupted")] == [
        event_of("interrupted", trial=trial, reason="Ctrl-C") for trial in ("t0000", "t0001")
    ]
    following = again.next()
    assert following is not None
    assert (following.trial, following.known_epoch) == ("t0000", 2)
    assert [_next(again) for _ in range(3)] == ["t0001", "t0002", "t0003"]


def test_who_waits_to_go_on_is_not_ended_while_the_search_may_go_on() -> None:
    controller, events = _controller(3)
    for _ in range(2):
        _next(controller)
    again, new = _controller(3, events)
    assert not again.exhausted
    again.settle()
    assert new == []
    assert _next(again) == "t0000"


def test_who_waits_to_go_on_is_ended_by_a_budget_that_was_spent_before() -> None:
    controller, events = _controller(3, epoch_budget=2)
    for _ in range(2):
        _next(controller)
    controller.report("t0000", _epochs(1, 2), None)
    again, new = _controller(3, events, epoch_budget=2)
    assert again.exhausted
    again.settle()
    assert [(event.trial, event.reason) for event in of_kind(new, "stopped")] == [("t0001", "epoch budget")]
    assert again.num_wanted == 1, "only the one that has not begun is left"


@pytest.mark.parametrize("crash", [False, True])
def test_who_waited_at_a_rung_in_vain_is_ended_with_the_rung_as_reason(crash: bool) -> None:
    plan = with_changes(scheduler="asha-promote", sampler="random", num_trials=2, grace_period=2)
    journal, events = recording()
    controller = OptunaController(plan, journal)
    for height in (1.0, 2.0):
        trial = _next(controller)
        assert controller.report(trial, _epochs(1, 2, height=height), None) is True
        assert controller.is_paused(trial)
    assert [(event.trial, event.reason) for event in of_kind(events, "paused")] == [
        ("t0000", "rung 2"),
        ("t0001", "rung 2"),
    ]
    if crash:
        journal, new = recording()
        controller, events = OptunaController(plan, journal, events), new
    assert controller.num_wanted == 0
    controller.settle()
    assert [(event.trial, event.reason) for event in of_kind(events, "stopped")] == [
        ("t0000", "rung 2, not promoted"),
        ("t0001", "rung 2, not promoted"),
    ]
    assert not controller.is_paused("t0000")


def test_a_retry_gives_the_epoch_from_which_the_trial_goes_on() -> None:
    controller, events = _controller(1)
    trial = _next(controller)
    controller.report(trial, _epochs(1, 2, 3), None)
    retried = event_of("retried", trial=trial, kind="memory", reason="OutOfMemory", gpus_per_trial=1.0, batch_parts=4)
    assert controller.retry(retried) == 3
    assert [unstamped(event) for event in of_kind(events, "retried")] == [retried]


def test_what_was_measured_for_trials_to_come_is_written_down() -> None:
    controller, events = _controller(1)
    controller.pack(0.25)
    controller.fuse(event_of("fused", shape=(None, 0.0, 1, "round"), num_trials=8, settled=True))
    assert [unstamped(event) for event in events] == [
        event_of("packed", gpus_per_trial=0.25),
        event_of("fused", shape=(None, 0.0, 1, "round"), num_trials=8, settled=True),
    ]


@pytest.mark.parametrize(
    "suggestion",
    [Suggestion("t0001", {"x": 0.5}, 8), Suggestion("t0001", {"x": 0.5}, 8, 2), Suggestion("t0001", {"x": None}, 8, 1, epochs=5)],
)
def test_a_suggestion_comes_back_from_the_ledger(suggestion: Suggestion) -> None:
    event = from_json(to_json(suggestion.event()))
    assert isinstance(event, Suggested)
    assert Suggestion.of(event) == suggestion


def test_an_epoch_that_is_trained_again_and_kept_has_the_metrics_of_its_checkpoint() -> None:
    """A node dies after epoch 5; from the state of epoch 3 epochs 4 and 5 are trained again, rounded otherwise, and 4 is kept."""
    controller, events = _controller(1)
    trial = _next(controller)
    controller.report(trial, [replace(e, is_best=True) for e in _epochs(1, 2, 3, 4, 5, height=2.0)], None, _best(5))
    again = _best(4, metrics={"valid/height": 1.5})
    fresh = [replace(e, is_best=True, kept=4) for e in _epochs(4, 5, 6)]
    controller.report(trial, fresh[:2], None, again)
    assert [event.epoch for event in of_kind(events, "checkpointed")] == [5], "nothing is news yet"
    controller.report(trial, fresh, None, again)
    assert unstamped(of_kind(events, "checkpointed")[-1]) == again
    state = SearchState.of(events, Objective("valid/height", "min"))
    found = state.trials[trial]
    assert (found.best_epoch, found.value, found.checkpoint) == (4, 1.5, again.path)
    restored, _ = _controller(1, past=events)
    assert restored.records[trial].best_metrics["valid/height"] == 1.5
