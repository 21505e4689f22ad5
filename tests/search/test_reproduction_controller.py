"""A paper's experiments on a few seeds: what runs when, and that a grid taken up again goes on where it stood."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from bowl_search import PLAN, bowl_epochs, drive, ends, heard_epochs, of_kind, recording

from search.records.events import Event
from search.records.ledger import Journal
from search.records.plan import Experiment, Plan, Reproduction
from search.strategy.reproduction_controller import ReproductionController
from spaces.bowl import BowlSpace
from spaces.fields import complete

NAMES = ("near", "far", "tilted")
CONFIGS = (
    complete(BowlSpace, {"x": 0.3, "y": -0.7}),
    complete(BowlSpace, {"x": -1.0, "y": 1.0}),
    complete(BowlSpace, {"shape": "tilted", "tilt": 0.4}),
)
REPRODUCTION = Reproduction(tuple(map(Experiment, NAMES, CONFIGS)), 2)
GRID = replace(PLAN, seed=40, num_trials=6, max_epochs=5, scheduler="none", reproduction=REPRODUCTION)


def resumed(events: Sequence[Event]) -> tuple[ReproductionController, list[Event]]:
    journal, after = recording()
    return ReproductionController(GRID, journal, events), after


def test_every_experiment_runs_on_a_seed_before_any_runs_on_the_next() -> None:
    journal, events = recording()
    handed_out = drive(ReproductionController(GRID, journal))
    assert [(s.trial, s.seed, dict(s.config)) for s in handed_out] == [
        (f"t{number:04d}", 40 + number // 3, dict(CONFIGS[number % 3])) for number in range(6)
    ]
    assert [REPRODUCTION.experiment_of(s.trial).name for s in handed_out] == [*NAMES, *NAMES]
    assert [REPRODUCTION.seed_index(s.trial) for s in handed_out] == [0, 0, 0, 1, 1, 1]
    assert all(epochs == [1, 2, 3, 4, 5] for epochs in heard_epochs(events).values()), "nobody is stopped"
    assert len(of_kind(events, "finished")) == 6


@pytest.mark.parametrize("until", range(0, 31, 3))
def test_a_grid_that_was_killed_goes_on_without_a_run_lost_or_done_twice(until: int) -> None:
    journal, events = recording()
    drive(ReproductionController(GRID, journal), until=until)
    controller, after = resumed(events)
    drive(controller)
    every = [*events, *after]
    assert ends(every) == dict.fromkeys((f"t{number:04d}" for number in range(6)), 1)
    assert all(epochs == [1, 2, 3, 4, 5] for epochs in heard_epochs(every).values())


def test_a_run_that_fails_takes_no_other_with_it() -> None:
    journal, events = recording()
    controller = ReproductionController(GRID, journal)
    first = controller.next()
    assert first is not None
    controller.start(first.trial, {"host": "here"})
    controller.report(first.trial, bowl_epochs(GRID, first)[:2], None)
    controller.fail(first.trial, "out of luck")
    drive(controller)
    assert len(of_kind(events, "finished")) == 5
    assert [event.reason for event in of_kind(events, "failed")] == ["out of luck"]
    assert controller.exhausted


def test_a_plan_comes_back_from_its_file_as_it_went_there() -> None:
    assert Plan.from_json(GRID.to_json()) == GRID
    assert GRID.kind == "reproduction"
    assert PLAN.kind == "search"


def test_the_grid_of_a_search_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a reproduction must be planned as one; got the search bowls$"):
        ReproductionController(PLAN, Journal())
