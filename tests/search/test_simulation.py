"""Simulated time by hand: when what is heard, who takes the next slot, and when it ends."""

from collections.abc import Sequence
from typing import Any

from bowl_events import epoch_result
from bowl_search import of_kind, recording, with_changes

from search.strategy.optuna_controller import OptunaController
from search.strategy.simulation import Curve, SimulatedClock, simulate
from search.strategy.suggestion import Suggestion

PLAN = with_changes(sampler="random", scheduler="none", num_trials=3)
#: Seconds of each trial's epochs.
SECONDS = {"t0000": (2.0, 2.0, 2.0), "t0001": (3.0, 3.0), "t0002": (1.0,)}


def _curve(seconds: Sequence[float], cut_short: bool = False) -> Curve:
    epochs: list[dict[str, Any]] = [
        epoch_result(epoch=number, metrics={"valid/height": 1.0}, score=1.0, seconds=length, is_best=number == 1)
        for number, length in enumerate(seconds, start=1)
    ]
    return Curve(epochs, cut_short)


def _known(suggestion: Suggestion) -> Curve:
    return _curve(SECONDS[suggestion.trial])


def test_epochs_are_heard_in_the_order_in_which_they_end_and_of_those_that_end_at_once_in_that_of_their_beginning() -> None:
    """t0001 and t0000 both end an epoch at 6 s; t0001's began at 3 s, t0000's at 4 s."""
    clock = SimulatedClock()
    seen = simulate(OptunaController(PLAN, recording()[0]), _known, 2, clock=clock)
    assert [(found.time_s, found.trial, found.epoch.epoch) for found in seen] == [
        (2.0, "t0000", 1),
        (3.0, "t0001", 1),
        (4.0, "t0000", 2),
        (6.0, "t0001", 2),
        (6.0, "t0000", 3),
        (7.0, "t0002", 1),
    ]
    assert clock() == 7.0


def test_what_ends_at_the_last_second_is_heard_and_nothing_later() -> None:
    clock = SimulatedClock()
    seen = simulate(OptunaController(PLAN, recording()[0]), _known, 2, clock=clock, until_s=4.0)
    assert [(found.time_s, found.trial) for found in seen] == [(2.0, "t0000"), (3.0, "t0001"), (4.0, "t0000")]
    assert clock() == 4.0


def test_a_trial_ends_by_itself_unless_nobody_knows_how_it_went_on() -> None:
    journal, events = recording()
    simulate(OptunaController(PLAN, journal), lambda found: _curve(SECONDS[found.trial], cut_short=found.trial == "t0001"), 1)
    assert [(event.event, event.trial, event.reason) for event in of_kind(events, "finished", "stopped")] == [
        ("finished", "t0000", "max_epochs"),
        ("stopped", "t0001", "cut short"),
        ("finished", "t0002", "max_epochs"),
    ]
