"""Limits: what a text stands for, how far beyond one a trial is, and that the best trial keeps them all."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bowl_events import epoch_result, event_of
from bowl_search import bowl_curves, of_kind, recording, with_changes
from optuna.trial import TrialState

from search.errors import PlanError
from search.records.constraints import Constraint
from search.records.events import EpochResult
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.study import FAR_BEYOND
from search.strategy.optuna_controller import OptunaController
from search.strategy.simulation import simulate
from search.strategy.study_from_state import study_of
from search.strategy.suggestion import Suggestion
from trainables.contract import Objective

GAIN, COST = Objective("valid/gain", "max"), Objective("valid/cost", "min")
CHEAP, SAFE = Constraint("valid/cost", "<=", 1.0), Constraint("valid/recall", ">=", 0.8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valid/cost<=1", CHEAP),
        ("valid/recall>=0.8", SAFE),
        ("  valid/cost  <=  1e0 ", CHEAP),
        ("valid/PN/recall>=.8", Constraint("valid/PN/recall", ">=", 0.8)),
        ("model/num_parameters<=200000", Constraint("model/num_parameters", "<=", 200000.0)),
        ("valid/gain>=-0.5", Constraint("valid/gain", ">=", -0.5)),
    ],
)
def test_a_limit_is_parsed(text: str, expected: Constraint) -> None:
    assert Constraint.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "valid/cost",
        "valid/cost<1",
        "valid/cost=1",
        "valid/cost=<1",
        "<=1",
        "valid/cost<=",
        "valid/cost<=cheap",
        "a b<=1",
        "valid/cost<=nan",
        "valid/cost<=1<=2",
        "0<=valid/cost",
        "valid/cost<=1 2",
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    message = f"--constraint must be METRIC<=V or METRIC>=V; got {text!r}"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        Constraint.parse(text)


@pytest.mark.parametrize("bound", [0.8, 1.0, -0.5, 200000.0, 1234567.0, 0.12345678, 1e-7])
def test_a_limit_written_as_text_is_the_same_limit(bound: float) -> None:
    """`--plan` repeats a search from what `str` gives."""
    for relation in ("<=", ">="):
        limit = Constraint("valid/cost", relation, bound)
        assert Constraint.parse(str(limit)) == limit


@pytest.mark.parametrize(
    ("limit", "value", "excess"),
    [(CHEAP, 1.0, 0.0), (CHEAP, 1.5, 0.5), (CHEAP, 0.25, -0.75), (SAFE, 0.8, 0.0), (SAFE, 0.3, 0.5), (SAFE, 1.0, -0.2)],
)
def test_the_excess_is_the_distance_beyond_the_limit(limit: Constraint, value: float, excess: float) -> None:
    assert limit.excess({limit.metric: value, "other": 9.0}) == pytest.approx(excess)


def test_a_metric_that_was_not_reported_is_infinitely_far_beyond() -> None:
    assert CHEAP.excess({"valid/gain": 1.0}) == SAFE.excess({}) == float("inf")


def _state(trials: dict[str, dict[str, float]], limits: Sequence[Constraint], ended_as: str = "finished") -> SearchState:
    """Trials with these metrics at their third epoch; what is named `broken` failed."""
    state = SearchState(GAIN, limits)
    for trial, metrics in trials.items():
        common = {"time": "", "elapsed_s": 1.0, "trial": trial}
        epoch = epoch_result(
            epoch=3,
            metrics={f"valid/{name}": value for name, value in metrics.items()},
            score=metrics["gain"],
            seconds=1.0,
            is_best=True,
        )
        state.apply(event_of("suggested", config={}, seed=0, **common))
        state.apply(event_of("reported", epochs=[epoch], **common))
        state.apply(event_of("failed" if trial == "broken" else ended_as, reason="", **common))
    return state


TRIALS = {
    "dear": {"gain": 0.99, "cost": 1.5, "recall": 0.9},  # 0.5 beyond
    "blind": {"gain": 0.95, "cost": 0.5, "recall": 0.6},  # 0.2 beyond
    "good": {"gain": 0.8, "cost": 1.0, "recall": 0.8},  # at both limits
    "fair": {"gain": 0.7, "cost": 0.1, "recall": 0.9},
    "both": {"gain": 0.97, "cost": 1.1, "recall": 0.7},  # 0.1 and 0.1 beyond
    "silent": {"gain": 1.0, "cost": 0.1},  # no recall
    "broken": {"gain": 1.0, "cost": 0.1, "recall": 1.0},
}


def test_trials_within_the_limits_rank_first_and_the_others_by_how_far_they_are_beyond() -> None:
    """`both` is a rounding less or more than `blind` beyond; `silent` is infinitely far."""
    state = _state(TRIALS, [CHEAP, SAFE])
    ranked = [trial.trial for trial in state.ranked()]
    assert ranked[:2] == ["good", "fair"]
    assert sorted(ranked[2:4]) == ["blind", "both"]
    assert ranked[4:] == ["dear", "silent"]
    assert state.best is not None
    assert state.best.trial == "good"
    assert [trial.trial for trial in _state(TRIALS, []).ranked()] == ["silent", "dear", "both", "blind", "good", "fair"]


def test_among_trials_equally_far_beyond_the_better_ranks_first() -> None:
    state = _state({"a": {"gain": 0.5, "cost": 2.0}, "b": {"gain": 0.9, "cost": 2.0}, "c": {"gain": 0.1, "cost": 1.5}}, [CHEAP])
    assert [trial.trial for trial in state.ranked()] == ["c", "b", "a"]


def test_no_trial_is_the_best_when_none_keeps_the_limits() -> None:
    beyond = {name: TRIALS[name] for name in ("dear", "blind", "silent")}
    state = _state(beyond, [CHEAP, SAFE])
    assert state.best is None
    assert len(state.ranked()) == 3
    assert _state({}, [CHEAP]).best is None


def test_the_front_leaves_out_who_is_beyond_a_limit() -> None:
    """Without limits `silent`, which has the most gain at the least cost, beats all on both; it is beyond one."""
    objectives = (GAIN, COST)
    assert [trial.trial for trial in _state(TRIALS, []).pareto(objectives)] == ["silent"]
    assert [trial.trial for trial in _state(TRIALS, [CHEAP]).pareto(objectives)] == ["silent"]
    assert [trial.trial for trial in _state(TRIALS, [SAFE]).pareto(objectives)] == ["dear", "good", "fair"]
    assert [trial.trial for trial in _state(TRIALS, [CHEAP, SAFE]).pareto(objectives)] == ["good", "fair"]
    assert _state({"dear": TRIALS["dear"]}, [CHEAP]).pareto(objectives) == []


def _plan(**changes: Any) -> Plan:
    return with_changes(**{"constraints": (Constraint("valid/cost", "<=", 1.0),), "sampler": "random", **changes})


def _epochs(height: float, cost: float | None, first: int = 1, last: int = 1) -> list[EpochResult]:
    metrics = {"valid/height": height} | ({} if cost is None else {"valid/cost": cost})
    return [
        epoch_result(epoch=epoch, metrics=metrics, score=height, seconds=1.0, is_best=True) for epoch in range(first, last + 1)
    ]


def _next(controller: OptunaController) -> str:
    suggestion = controller.next()
    assert suggestion is not None
    return suggestion.trial


def test_a_trial_beyond_a_limit_loses_at_a_rung_to_any_within() -> None:
    journal, events = recording()
    controller = OptunaController(_plan(), journal)
    one, two, three, four = (_next(controller) for _ in range(4))
    assert controller.report(one, _epochs(5.0, 1.0), None) is False, "at the limit is within it"
    assert controller.report(two, _epochs(0.1, 1.5), None) is True, "lower, but beyond the limit"
    assert controller.report(three, _epochs(0.2, None), None) is True, "what is not reported is beyond"
    assert controller.report(four, _epochs(4.0, 0.5), None) is False
    assert [event.reason for event in of_kind(events, "stopped")] == ["rung 1", "rung 1"]


def test_trials_that_are_all_beyond_a_limit_are_still_told_apart_at_a_rung() -> None:
    """A limit that no trial keeps in its first epochs, or at all, must not switch the scheduler off."""
    controller = OptunaController(_plan(), recording()[0])
    trials = [_next(controller) for _ in range(6)]
    left = [controller.report(trial, _epochs(1.0 + number, 2.0 + number), None) for number, trial in enumerate(trials)]
    assert left[0] is False
    assert all(left[1:]), "each is worse and further beyond the limit than all before it"


def test_a_trial_beyond_a_limit_is_promoted_after_any_within() -> None:
    controller = OptunaController(_plan(scheduler="asha-promote", num_trials=3), recording()[0])
    for height, cost in ((0.1, 9.0), (5.0, 0.5), (0.2, 2.0)):
        assert controller.report(_next(controller), _epochs(height, cost), None) is True
    suggestion = controller.next()
    assert suggestion is not None
    assert (suggestion.trial, suggestion.known_epoch) == ("t0001", 1)


def test_optuna_is_told_every_limit_of_every_trial_that_has_validated() -> None:
    limits = (Constraint("valid/cost", "<=", 1.0), Constraint("valid/recall", ">=", 0.8))
    controller = OptunaController(_plan(constraints=limits, scheduler="none"), recording()[0])
    finished, stopped, failed, silent, broken = (_next(controller) for _ in range(5))
    epoch = _epochs(1.0, 1.5)[0]
    for trial, cost, recall in ((finished, 1.5, 0.9), (stopped, 0.5, 0.5), (failed, 1.0, 0.8)):
        metrics = {"valid/height": 1.0, "valid/cost": cost, "valid/recall": recall}
        controller.report(trial, [replace(epoch, metrics=metrics)], "max_epochs" if trial == finished else None)
    controller.stop(stopped, "rung 1")
    controller.fail(failed, "broke")
    controller.report(silent, _epochs(1.0, 0.25), "max_epochs")
    controller.fail(broken, "broke before its first epoch")
    told = [trial.constraints for trial in controller.study.trials]
    keys = [str(limit) for limit in limits]
    assert told == [
        {keys[0]: 0.5, keys[1]: pytest.approx(-0.1)},
        {keys[0]: -0.5, keys[1]: pytest.approx(0.3)},
        {keys[0]: 0.0, keys[1]: 0.0},
        {keys[0]: -0.75, keys[1]: FAR_BEYOND},
        {},
    ]
    assert json.loads(json.dumps(told[3])) == told[3], "a database takes no infinity"


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("scheduler", ["asha", "none"])
def test_a_search_under_a_limit_keeps_its_ledger_study_and_best_in_step(sampler: str, scheduler: str) -> None:
    """A trial costs 1 + x: half of the bowl, with its lowest point, is beyond the limit."""

    def cost(suggestion: Suggestion, epoch: int, height: float) -> dict[str, float]:
        return {"valid/cost": 1 + float(suggestion.config["x"] or 0)}

    plan = _plan(sampler=sampler, scheduler=scheduler)
    journal, events = recording()
    controller = OptunaController(plan, journal)
    simulate(controller, bowl_curves(plan, cost), 3)
    state = SearchState.of(events, plan.objective, plan.constraints)
    assert state.best is not None
    assert float(state.best.config["x"] or 0) <= 0
    assert [trial.constraints for trial in study_of(plan, state).trials] == [
        trial.constraints for trial in controller.study.trials
    ]
    assert all(set(trial.constraints) == {"valid/cost<=1"} for trial in controller.study.trials)
    within = [max(trial.constraints.values()) <= 0 for trial in controller.study.trials]
    assert 0 < sum(within) < len(within)
    complete = [
        trial for trial, fits in zip(controller.study.trials, within, strict=True) if fits and trial.state == TrialState.COMPLETE
    ]
    assert min(complete, key=lambda trial: trial.value).user_attrs["trial"] == state.best.trial
