"""Which hyperparameters mattered, on tables in which it is known."""

from collections.abc import Callable, Mapping

import numpy as np
import optuna
import pytest
from bowl_events import plan_of
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import create_trial

from search.analysis.importance import FEWEST, Importance, importance_of
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.trials import TrialRecord
from search.strategy.distributions import distribution_of
from spaces.bowl import BowlSpace
from spaces.fields import Value, complete
from trainables.contract import Objective

PLAN = plan_of()
MAX = plan_of(objective=Objective("valid/height", "max"))
Score = Callable[[Mapping[str, Value]], float]


def state_of(num_trials: int, score: Score, plan: Plan = PLAN, *, seed: int = 0, tilted: float = 0.0) -> SearchState:
    """Ended trials with configurations drawn at random and the score that follows from them."""
    generator, state = np.random.default_rng(seed), SearchState(plan.objective)
    for number in range(num_trials):
        given: dict[str, Value] = {name: float(generator.uniform(-1, 1)) for name in ("x", "y")}
        given["rate"] = float(np.exp(generator.uniform(np.log(0.05), 0.0)))
        if generator.random() < tilted:
            given |= {"shape": "tilted", "tilt": float(generator.random())}
        config = complete(BowlSpace, given)
        trial = TrialRecord(
            f"t{number}", config, number, state="finished", reason="max_epochs", best_epoch=3, score=score(config)
        )
        state.trials[trial.trial] = trial
    return state


def of_x(config: Mapping[str, Value]) -> float:
    return abs(float(config["x"] or 0.0) - 0.3)


def found_in(plan: Plan, state: SearchState, *, seed: int = 0) -> Importance:
    found = importance_of(plan, state, seed=seed)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["x", "y", "rate"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_only_field_that_matters_stands_out(name: str, mode: str) -> None:
    def score(config: Mapping[str, Value]) -> float:
        distance = abs(float(config[name] or 0.0) - 0.3)
        return distance if mode == "min" else -distance

    plan = PLAN if mode == "min" else MAX
    found = found_in(plan, state_of(80, score, plan))
    assert set(found.shares) == set(found.noise) == {"x", "y", "rate"}
    assert max(found.shares, key=found.shares.__getitem__) == name
    assert found.shares[name] > max(0.6, found.noise[name])
    assert all(share < found.noise[other] for other, share in found.shares.items() if other != name)
    assert found.num_trials == 80


@pytest.mark.parametrize("sign", [1, -1])
def test_what_makes_trials_the_best_counts_and_not_what_makes_them_the_worst(sign: int) -> None:
    def score(config: Mapping[str, Value]) -> float:
        good, bad = abs(float(config["x"] or 0.0) - 0.3) < 0.2, abs(float(config["y"] or 0.0) - 0.3) < 0.2
        return float(sign * (-1 if good else bad))

    plan = PLAN if sign == 1 else MAX
    shares = found_in(plan, state_of(200, score, plan)).shares
    assert shares["x"] > 5 * shares["y"]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning", "ignore::UserWarning")
def test_a_conditional_field_counts_by_the_share_of_trials_in_which_it_is_active() -> None:
    """PED-ANOVA of every field alone over the trials that have it, written out."""
    state = state_of(90, lambda config: of_x(config) + float(config["tilt"] or 0.0), tilted=0.5)
    raw = {}
    for name in ("x", "y", "shape", "tilt", "rate"):
        distribution = distribution_of(PLAN.fields[name])
        trials = [trial for trial in state.trials.values() if trial.config[name] is not None]
        study = optuna.create_study(direction="minimize")
        for trial in trials:
            given = {name: trial.config[name]}
            study.add_trial(create_trial(params=given, distributions={name: distribution}, value=trial.score))
        raw[name] = PedAnovaImportanceEvaluator().evaluate(study, params=[name])[name] * len(trials) / 90
    assert sum(trial.config["tilt"] is not None for trial in state.trials.values()) < 60
    expected = {name: value / sum(raw.values()) for name, value in raw.items()}
    assert found_in(PLAN, state).shares == pytest.approx(expected)


def test_shares_sum_to_one_and_the_same_seed_gives_the_same_marks() -> None:
    state = state_of(40, of_x)
    one, again, other = (found_in(PLAN, state, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert sum(one.shares.values()) == pytest.approx(1)
    assert one.shares == other.shares
    assert one.noise != other.noise
    assert all(0 <= mark <= 1 for mark in one.noise.values())


def test_noise_alone_stays_near_its_mark() -> None:
    generator = np.random.default_rng(3)
    beyond = 0
    for seed in range(8):
        found = found_in(PLAN, state_of(40, lambda config: float(generator.random()), seed=seed))
        beyond += sum(share > found.noise[name] for name, share in found.shares.items())
    assert beyond <= 4, "one in twenty of 24 is to be expected"


def test_too_few_trials_say_nothing() -> None:
    assert FEWEST == 30
    assert importance_of(PLAN, state_of(29, of_x)) is None
    assert importance_of(PLAN, state_of(30, of_x)) is not None
    state = state_of(32, of_x)
    for trial in list(state.trials.values())[:3]:
        trial.state = "failed"
    assert importance_of(PLAN, state) is None, "failed ones have no score that counts"


def test_fields_that_do_not_vary_are_left_out() -> None:
    found = found_in(PLAN, state_of(30, of_x))
    assert "shape" not in found.shares
    assert found.left_out == {"shape": 30, "tilt": 0}, "said, with the trials in which they are active"
    same = state_of(30, of_x)
    for trial in same.trials.values():
        trial.config = complete(BowlSpace, {})
    assert importance_of(PLAN, same) is None


def test_a_conditional_field_is_judged_where_it_is_active() -> None:
    def of_tilt(config: Mapping[str, Value]) -> float:
        return abs(float(config["tilt"] or 0.0) - 0.5) if config["tilt"] is not None else 5.0

    found = found_in(PLAN, state_of(120, of_tilt, tilted=0.8))
    assert found.shares["tilt"] > found.noise["tilt"]
    assert set(found.shares) == {"x", "y", "shape", "tilt", "rate"}
    rarely = found_in(PLAN, state_of(40, of_x, tilted=0.1, seed=2))
    assert "tilt" not in rarely.shares, "active in fewer than thirty trials: no bar of zero"
    assert 0 < rarely.left_out["tilt"] < FEWEST


def test_equal_scores_are_no_error() -> None:
    found = found_in(PLAN, state_of(30, lambda config: 1.0))
    assert set(found.shares) == {"x", "y", "rate"}
    assert all(np.isfinite(share) for share in found.shares.values())
