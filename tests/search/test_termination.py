"""A search ends by itself when nothing better has come for long, and never before."""

import math
import warnings
from dataclasses import replace
from statistics import NormalDist, pstdev

import numpy as np
import optuna
import pytest
from bowl_search import PLAN, bowl_curves, recording

from search.errors import PlanError
from search.execution.planning import prepare_search
from search.records.spec import SearchSpec
from search.records.study import new_study
from search.strategy.optuna_controller import OptunaController
from search.strategy.rungs import rung_correlation
from search.strategy.simulation import simulate
from search.strategy.termination import STAGNATION, Termination

LONG = replace(PLAN, num_trials=200, max_epochs=3, scheduler="none", sampler="random", terminate=True)


def test_a_search_ends_when_its_best_has_stood_long_enough() -> None:
    journal, events = recording()
    controller = OptunaController(LONG, journal)
    simulate(controller, bowl_curves(LONG), 1)
    reported = [event.epochs[-1] for event in events if event.event == "reported"]
    scores = [epoch.score for epoch in reported if epoch.epoch == 3]
    best = int(np.argmin(scores))
    assert controller.terminated
    assert len(scores) - 1 == best + STAGNATION
    assert sum(event.event == "terminated" for event in events) == 1
    restored = OptunaController(LONG, recording()[0], past=events)
    assert restored.terminated
    assert restored.num_to_come == 0


def test_without_the_wish_a_search_has_all_its_trials() -> None:
    plan = replace(LONG, terminate=False, num_trials=60)
    controller = OptunaController(plan, recording()[0])
    simulate(controller, bowl_curves(plan), 1)
    assert len(controller.records) == 60


def test_several_metrics_cannot_be_said_to_stand() -> None:
    options = SearchSpec("bowl", metric=("valid/height", "valid/depth"), terminate=True)
    with pytest.raises(PlanError, match=r"^--terminate must be for a single metric; got valid/height, valid/depth$"):
        prepare_search(options)


def test_the_rank_correlation_is_corrected_for_who_was_stopped() -> None:
    generator = np.random.default_rng(0)
    early = generator.normal(size=3000)
    late = 0.8 * early + 0.6 * generator.normal(size=3000)
    passed = early > np.quantile(early, 2 / 3)
    found = rung_correlation(1, 3, early.tolist(), early[passed].tolist(), late[passed].tolist())
    assert found is not None
    assert found.observed < 0.6
    assert found.estimate == pytest.approx(0.79, abs=0.05)
    assert found.high > found.estimate
    assert rung_correlation(1, 3, [1.0] * 9, [1.0] * 9, [2.0] * 9) is None
    assert rung_correlation(1, 3, [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]) is None


def _normal_scores(count: int) -> list[float]:
    """Of the ranks 1 to count."""
    return [NormalDist().inv_cdf(rank / (count + 1)) for rank in range(1, count + 1)]


def test_the_correction_for_who_was_stopped_by_hand() -> None:
    """The better eight of sixteen went on; neighbours changed places: squared differences sum to 8, 1 - 6·8 / (8·63) = 0.905."""
    early = [float(rank) for rank in range(16)]
    found = rung_correlation(1, 3, early, early[8:], [1.0, 0.0, 3.0, 2.0, 5.0, 4.0, 7.0, 6.0])
    assert found is not None
    assert (found.rung, found.later, found.num_trials) == (1, 3, 8)
    observed = 1 - 8 / 84
    assert found.observed == pytest.approx(observed)
    widening = pstdev(_normal_scores(16)) / pstdev(_normal_scores(16)[8:])
    high = math.tanh(math.atanh(observed) + 1.645 * math.sqrt((1 + observed**2 / 2) / 5))
    for given, corrected in ((observed, found.estimate), (high, found.high)):
        assert corrected == pytest.approx(given * widening / math.sqrt(1 - given**2 + (given * widening) ** 2))
    assert found.estimate == pytest.approx(0.965, abs=0.01)


@pytest.mark.parametrize(("late", "correlation", "high"), [(1, 1.0, 1.0), (-1, -1.0, -0.994)])
def test_an_order_that_is_kept_or_turned_round_is_a_correlation_of_one(late: int, correlation: float, high: float) -> None:
    """z is cut at 3.80, so that there is one: -3.80 + 1.645 · √(1.5 / 5) = -2.90, whose tanh is -0.994."""
    early = [float(rank) for rank in range(8)]
    found = rung_correlation(1, 3, early, early, [late * rank for rank in early])
    assert found is not None
    assert (found.observed, found.estimate) == (pytest.approx(correlation), pytest.approx(correlation))
    assert found.high == pytest.approx(high, abs=0.0005)


def test_seven_trials_or_equal_ones_say_nothing_of_a_correlation() -> None:
    ranks, equal = [float(rank) for rank in range(8)], [1.0] * 8
    assert rung_correlation(1, 3, ranks, ranks, ranks) is not None
    assert rung_correlation(1, 3, ranks[:7], ranks[:7], ranks[:7]) is None
    assert rung_correlation(1, 3, equal, equal, ranks) is None
    assert rung_correlation(1, 3, ranks, ranks, equal) is None


def test_optunas_warnings_of_what_is_still_an_experiment_stay_away() -> None:
    study = new_study("stands", PLAN.objectives, optuna.samplers.RandomSampler())
    study.add_trials([optuna.trial.create_trial(value=1.0 if number == 0 else 2.0) for number in range(STAGNATION + 5)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Termination(study).reached() == "ends: none of the last 30 trials to finish was better (--terminate)"


@pytest.mark.parametrize(("no_better", "ends"), [(STAGNATION - 1, False), (STAGNATION, True)])
def test_a_search_ends_at_the_thirtieth_trial_in_a_row_that_is_no_better(no_better: int, ends: bool) -> None:
    study = new_study("stands", PLAN.objectives, optuna.samplers.RandomSampler())
    values = [3.0, 1.0, *[2.0] * no_better]
    study.add_trials([optuna.trial.create_trial(value=value) for value in values])
    assert (Termination(study).reached() is not None) == ends


def test_trials_that_get_better_end_nothing() -> None:
    study = new_study("sinks", PLAN.objectives, optuna.samplers.RandomSampler())
    study.add_trials([optuna.trial.create_trial(value=float(-number)) for number in range(2 * STAGNATION)])
    assert Termination(study).reached() is None
