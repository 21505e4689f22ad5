"""What samplers are made from a plan, and which fields they draw at random."""

import logging
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from bowl_search import FIXED, PLAN, bowl_curves, recording, with_changes

from search.strategy.distributions import searched_fields
from search.strategy.optuna_controller import OptunaController
from search.strategy.samplers import EXPLORE, drawn_at_random, make_sampler, num_good
from search.strategy.simulation import simulate
from spaces.fields import Value


@pytest.mark.parametrize(
    ("num_trials", "expected"), [(0, 3), (1, 3), (20, 3), (21, 4), (26, 4), (27, 5), (160, 24), (161, 25), (166, 25), (1000, 25)]
)
def test_fifteen_in_a_hundred_count_as_good_but_three_at_least_and_25_at_most(num_trials: int, expected: int) -> None:
    assert num_good(num_trials) == expected


@pytest.mark.parametrize(
    ("sampler", "fixed", "expected"),
    [
        ("tpe", {}, []),
        ("random", {}, ["x", "y", "shape", "tilt", "rate"]),
        ("gp", {}, ["tilt"]),
        ("qmc", {}, ["tilt"]),
        ("nsga2", {}, ["tilt"]),
        ("cmaes", {}, ["shape", "tilt"]),
        ("gp", {"shape": "tilted"}, []),  # every trial has a tilt
        ("cmaes", {"shape": "tilted"}, []),
        ("random", {"shape": "tilted", "x": 0.0}, ["y", "tilt", "rate"]),
        ("gp", {"shape": "round"}, []),  # none has
        ("random", {"shape": "round"}, ["x", "y", "rate"]),
    ],
)
def test_the_fields_that_are_drawn_at_random(sampler: str, fixed: dict[str, Value], expected: Sequence[str]) -> None:
    held = {**FIXED, **fixed}
    fields = searched_fields(PLAN.fields, held)
    assert [field.name for field in fields] == [name for name in ("x", "y", "shape", "tilt", "rate") if name not in fixed]
    assert drawn_at_random(sampler, fields, held) == expected


def test_with_nothing_fixed_every_condition_may_hold() -> None:
    fields = searched_fields(PLAN.fields, FIXED)
    assert drawn_at_random("gp", fields) == drawn_at_random("gp", fields, {}) == ["tilt"]


@pytest.mark.parametrize("sampler", ["cmaes", "qmc", "gp"])
def test_no_warning_is_logged_when_a_field_is_drawn_at_random(sampler: str) -> None:
    """The search itself says at its beginning which fields are; a line of Optuna's for every trial says nothing more."""

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    messages: list[str] = []
    handler, logger = Kept(), optuna.logging.get_logger("optuna")
    logger.addHandler(handler)
    try:
        plan = with_changes(sampler=sampler, num_trials=9, scheduler="none", max_epochs=1)
        controller = OptunaController(plan, recording()[0])
        simulate(controller, bowl_curves(plan), 1)
    finally:
        logger.removeHandler(handler)
    assert [trial.state.name for trial in controller.study.trials] == ["COMPLETE"] * 9
    assert messages == []


@pytest.mark.parametrize(
    ("sampler", "scheduler", "explore"),
    [("tpe", "asha", EXPLORE), ("gp", "none", EXPLORE), ("random", "asha", 0.0), ("qmc", "asha", 0.0)],
)
def test_a_share_is_drawn_at_random_where_a_model_is_fitted(sampler: str, scheduler: str, explore: float) -> None:
    assert make_sampler(with_changes(sampler=sampler, scheduler=scheduler))._explore == explore


@pytest.mark.parametrize(("max_epochs", "scheduler", "own"), [(9, "asha", True), (9, "none", False), (1, "asha", False)])
def test_the_share_of_good_trials_is_our_own_where_values_may_be_those_of_few_epochs(
    max_epochs: int, scheduler: str, own: bool
) -> None:
    inner: Any = make_sampler(with_changes(max_epochs=max_epochs, scheduler=scheduler)).inner
    assert (inner._gamma is num_good) is own


def test_a_generation_has_twenty_trials() -> None:
    inner: Any = make_sampler(with_changes(sampler="nsga2")).inner
    assert inner._population_size == 20


def test_a_samplers_seed_is_the_plans_unless_another_is_given() -> None:
    def drawn(seed: int, given: int | None = None) -> float:
        sampler = make_sampler(with_changes(sampler="random", seed=seed), given)
        return optuna.create_study(sampler=sampler).ask().suggest_float("x", 0, 1)

    assert drawn(7) == drawn(7) == drawn(3, 7)
    assert drawn(7) != drawn(3)
