"""What a new search takes over from an earlier one: which trials fit, in which order, and what is done with them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from bowl_events import FIXED, begun, config_of, epoch_of, event_of, plan_of, reported, state_after, unstamped
from bowl_search import of_kind, recording
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from search.records.events import Event
from search.records.plan import Plan
from search.records.state import SearchState
from search.strategy.optuna_controller import OptunaController
from search.strategy.rung_sampler import RungSampler
from search.strategy.warm_start import EarlierTrial, earlier_trials, fitting_trials
from spaces.fields import Value
from trainables.contract import Mode, Objective

PLAN = plan_of()
#: What a search of the bowl varies unless it is told otherwise.
VARIED = ["x", "y", "shape", "tilt", "rate"]


def _trial(trial: str, height: float, end: str = "finished", cost: float | None = None, **given: Any) -> list[Event]:
    """A trial of one epoch."""
    more: dict[str, Any] = {} if cost is None else {"cost": cost}
    events = [*begun(trial, 1.0, **given), reported(trial, 2.0, epoch_of(1, height, height, True, **more))]
    return events if end == "running" else [*events, event_of(end, 3.0, trial=trial, reason="")]


def _earlier(*trials: Sequence[Event], objective: Objective = PLAN.objective) -> SearchState:
    return state_after(plan_of(objective=objective), [found for trial in trials for found in trial])


def _places(trials: Sequence[EarlierTrial]) -> list[Value]:
    return [trial.config["x"] for trial in trials]


@pytest.mark.parametrize("then", ["min", "max"])
@pytest.mark.parametrize(("now", "order"), [("min", [0.2, 0.3, 0.1]), ("max", [0.1, 0.3, 0.2])])
def test_earlier_trials_stand_in_the_order_of_this_searchs_objective(then: Mode, now: Mode, order: list[float]) -> None:
    state = _earlier(
        _trial("t0000", 2.0, x=0.1),
        _trial("t0001", 0.5, x=0.2),
        _trial("t0002", 1.0, x=0.3),
        objective=Objective("valid/height", then),
    )
    plan = plan_of(objective=Objective("valid/height", now))
    assert _places(fitting_trials(state, VARIED, plan)) == order


def test_only_trials_that_were_finished_or_stopped_are_taken_over() -> None:
    state = _earlier(
        _trial("t0000", 1.0, x=0.1),
        _trial("t0001", 2.0, "stopped", x=0.2),
        _trial("t0002", 0.1, "failed", x=0.3),
        _trial("t0003", 0.2, "running", x=0.4),
        _trial("t0004", 0.3, "paused", x=0.5),
        _trial("t0005", 0.4, "interrupted", x=0.6),
    )
    assert _places(fitting_trials(state, VARIED, PLAN)) == [0.1, 0.2]


def test_what_is_taken_over_is_the_whole_configuration_and_the_mean_of_three_validations_at_the_best() -> None:
    heights = [epoch_of(number, height, height, True) for number, height in enumerate((8.0, 3.0, 2.0, 1.0), start=1)]
    heard = reported("t0000", 2.0, *heights, epoch_of(5, 7.0, 7.0, False))
    state = _earlier([*begun("t0000", 1.0, x=0.25), heard, event_of("finished", 3.0, trial="t0000", reason="")])
    assert fitting_trials(state, VARIED, PLAN) == [EarlierTrial(config_of(x=0.25), (2.0,))]
    assert config_of(x=0.25)["tilt"] is None


def test_a_trial_outside_a_range_that_has_been_narrowed_does_not_fit() -> None:
    state = _earlier(_trial("t0000", 1.0, x=-0.6), _trial("t0001", 2.0, x=0.5), _trial("t0002", 3.0, x=0.4))
    assert _places(fitting_trials(state, VARIED, plan_of(space={"x": "-0.5..0.5"}))) == [0.5, 0.4]


def test_a_trial_without_a_value_for_a_field_that_varies_now_does_not_fit() -> None:
    """As of a search by an older version, which did not know the field."""
    (suggested, *rest), whole = _trial("t0000", 1.0, x=0.1), _trial("t0001", 2.0, x=0.2)
    older = replace(suggested, config={name: value for name, value in suggested.config.items() if name != "rate"})
    assert _places(fitting_trials(_earlier([older, *rest], whole), VARIED, PLAN)) == [0.2]


def test_a_trial_must_agree_with_what_is_fixed_now_and_varied_then() -> None:
    state = _earlier(_trial("t0000", 1.0, x=0.1, rate=0.3), _trial("t0001", 2.0, x=0.2, rate=0.5))
    plan = plan_of(fixed={**FIXED, "rate": 0.5})
    assert _places(fitting_trials(state, VARIED, plan)) == [0.2]


def test_what_is_fixed_in_both_searches_may_differ_and_is_as_it_is_now() -> None:
    state = _earlier(_trial("t0000", 1.0, x=0.1, rate=0.3, noise=0.5))
    plan = plan_of(fixed={**FIXED, "rate": 0.5})
    (found,) = fitting_trials(state, ["x", "y", "shape", "tilt"], plan)
    assert found.config == config_of(x=0.1, rate=0.5, noise=0.0)


def test_a_field_that_meant_nothing_then_and_is_fixed_now_rules_nobody_out() -> None:
    """All bowls were round, so that nobody had a tilt; now all are tilted by as much."""
    state = _earlier(_trial("t0000", 1.0, x=0.1))
    plan = plan_of(fixed={**FIXED, "shape": "tilted", "tilt": 0.5})
    (found,) = fitting_trials(state, ["x", "y", "tilt", "rate"], plan)
    assert found.config == config_of(x=0.1, shape="tilted", tilt=0.5)


def test_a_field_that_means_nothing_now_is_left_out() -> None:
    state = _earlier(_trial("t0000", 1.0, x=0.1, shape="tilted", tilt=0.7))
    plan = plan_of(fixed={**FIXED, "shape": "round"})
    (found,) = fitting_trials(state, ["x", "y", "tilt", "rate"], plan)
    assert found.config == config_of(x=0.1)


def test_a_trial_that_has_not_reported_every_metric_of_this_search_does_not_fit() -> None:
    state = _earlier(_trial("t0000", 1.0, x=0.1), _trial("t0001", 3.0, x=0.2, cost=30.0), _trial("t0002", 2.0, x=0.3, cost=20.0))
    plan = plan_of(further_objectives=(Objective("valid/cost", "min"),))
    assert [trial.scores for trial in fitting_trials(state, VARIED, plan)] == [(2.0, 20.0), (3.0, 30.0)]
    assert len(fitting_trials(state, VARIED, PLAN)) == 3
    assert fitting_trials(state, VARIED, plan_of(objective=Objective("valid/depth", "min"))) == []


def test_an_earlier_trial_comes_back_from_json() -> None:
    trial = EarlierTrial(config_of(x=0.1), (1.0, 2.0))
    assert trial.to_json() == {"config": config_of(x=0.1), "scores": (1.0, 2.0)}
    assert EarlierTrial.from_json({"config": config_of(x=0.1), "scores": [1.0, 2.0]}) == trial


def test_optuna_hears_of_earlier_trials_as_ended_ones_with_numbers_of_nobody() -> None:
    plan = plan_of(space={"x": "-0.5..0.5"})
    trials = [EarlierTrial(config_of(x=0.1), (1.0,)), EarlierTrial(config_of(x=0.2, shape="tilted", tilt=0.4), (2.0,))]
    found = earlier_trials(trials, plan.fields, plan)
    assert [(trial.number, trial.state, trial.values) for trial in found] == [
        (-1, TrialState.COMPLETE, [1.0]),
        (-2, TrialState.COMPLETE, [2.0]),
    ]
    assert [trial.params for trial in found] == [
        {"x": 0.1, "y": 0.0, "shape": "round", "rate": 0.3},
        {"x": 0.2, "y": 0.0, "shape": "tilted", "tilt": 0.4, "rate": 0.3},
    ]
    assert found[0].distributions == {
        "x": FloatDistribution(-0.5, 0.5),
        "y": FloatDistribution(-1.0, 1.0),
        "shape": CategoricalDistribution(("round", "tilted")),
        "rate": FloatDistribution(0.05, 1.0, log=True),
    }


GUESSES = [EarlierTrial(config_of(x=0.1), (1.0,)), EarlierTrial(config_of(x=0.2), (2.0,))]


def _configs(controller: OptunaController, count: int) -> list[Mapping[str, Value]]:
    return [suggestion.config for _ in range(count) if (suggestion := controller.next()) is not None]


def _known(sampler: BaseSampler) -> list[list[float]]:
    """Values of the earlier trials that a search's sampler knows."""
    assert isinstance(sampler, RungSampler)
    return [trial.values for trial in sampler.earlier]


def _warm(plan: Plan) -> tuple[OptunaController, list[Event]]:
    journal, events = recording()
    controller = OptunaController(plan, journal)
    controller.learn_from("before", GUESSES, 3)
    return controller, events


def test_the_best_earlier_trial_is_tried_after_the_papers_and_the_sampler_knows_them_all() -> None:
    controller, events = _warm(PLAN)
    (learnt,) = of_kind(events, "warm_started")
    documents = [guess.to_json() for guess in GUESSES]
    assert unstamped(learnt) == event_of("warm_started", search="before", num_left_out=3, trials=documents)
    assert _known(controller.study.sampler) == [[1.0], [2.0]]
    first, second, third = _configs(controller, 3)
    assert (first, second) == (config_of(), GUESSES[0].config)
    assert third["x"] not in (0.0, 0.1, 0.2)


def test_two_earlier_searches_are_learnt_from_alike() -> None:
    controller, _ = _warm(PLAN)
    controller.learn_from("long before", [EarlierTrial(config_of(x=0.3), (3.0,))], 0)
    assert _known(controller.study.sampler) == [[1.0], [2.0], [3.0]]
    assert [config["x"] for config in _configs(controller, 3)] == [0.0, 0.1, 0.3]


def test_an_earlier_search_without_a_fitting_trial_changes_nothing() -> None:
    journal, events = recording()
    controller = OptunaController(PLAN, journal)
    controller.learn_from("before", [], 5)
    assert of_kind(events, "warm_started")[0].num_left_out == 5
    assert _known(controller.study.sampler) == []
    alone = OptunaController(PLAN, recording()[0])
    assert _configs(controller, 3) == _configs(alone, 3)


@pytest.mark.parametrize("num_begun", [0, 1, 2])
def test_a_search_that_was_killed_still_knows_what_it_has_learnt_from(num_begun: int) -> None:
    controller, events = _warm(PLAN)
    begun_before = _configs(controller, num_begun)
    past: list[dict[str, Any]] = list(events)
    again = OptunaController(PLAN, recording()[0], past)
    assert _known(again.study.sampler) == [[1.0], [2.0]]
    for config in begun_before:
        suggestion = again.next()
        assert suggestion is not None
        assert suggestion.config == config, "it goes on"
    assert [*begun_before, *_configs(again, 2 - num_begun)] == [config_of(), GUESSES[0].config]
    following = again.next()
    assert following is not None
    assert following.config["x"] not in (0.0, 0.1, 0.2)
