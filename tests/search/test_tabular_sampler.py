"""Pools: the nearest configuration that is left, and a sampler that suggests nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pytest
from bowl_search import FIXED, PLAN, bowl_epochs, ends, recording, with_changes
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from search.strategy.optuna_controller import OptunaController
from search.strategy.samplers import SAMPLERS
from search.strategy.simulation import Curve, simulate
from search.strategy.suggestion import Suggestion
from search.strategy.tabular_sampler import Pool, TabularSampler
from spaces.fields import Field, Value
from spaces.papers import paper_config

SEARCHED = PLAN.searched


def _config(x: float = 0.0, y: float = 0.0, tilt: float | None = None, rate: float = 0.3) -> dict[str, Value]:
    """A bowl; tilted where a tilt is given."""
    given: dict[str, Value] = {"x": x, "y": y, "shape": "round" if tilt is None else "tilted", "tilt": tilt, "rate": rate}
    return {**given, **FIXED}


@pytest.mark.parametrize(
    ("configs", "wish", "nearest"),
    [
        ([_config(x=-1), _config(x=0.2), _config(x=1)], _config(x=0.5), 1),
        ([_config(x=-1), _config(x=0.2), _config(x=1)], _config(x=0.7), 2),
        # x spans 2 and the logarithm of rate 3: a rate of 0.1 is 0.53 of its range from 0.5, x = 0.9 only 0.45 of its own.
        ([_config(rate=0.1), _config(rate=0.5, x=0.9)], _config(rate=0.5), 1),
        # On a logarithmic scale 0.2 is nearer to 0.39 than to 0.1; linearly it is nearer to 0.1.
        ([_config(rate=0.1), _config(rate=0.39)], _config(rate=0.2), 1),
        ([_config(tilt=0.5), _config(x=0.9)], _config(), 1),  # another shape is further than half of x
        ([_config(x=0.9), _config(tilt=0.1), _config(tilt=0.6)], _config(tilt=0.5), 2),
        ([_config(x=0.1), _config(x=0.1)], _config(), 0),  # of equals the first
    ],
)
def test_the_nearest_by_hand(configs: Sequence[Mapping[str, Value]], wish: Mapping[str, Value], nearest: int) -> None:
    assert Pool(configs, SEARCHED).nearest(wish) == nearest


def test_a_configuration_of_the_pool_is_its_own_nearest_until_it_is_taken() -> None:
    configs = [_config(x=0.1), _config(x=0.2), _config(x=0.5), _config(x=0.2, tilt=0.0)]
    pool = Pool(configs, SEARCHED)
    assert [pool.nearest(config) for config in configs] == [0, 1, 2, 3]
    assert [pool.take(_config(x=0.2)) for _ in configs] == [1, 0, 2, 3]
    for ask in (pool.nearest, pool.take):
        with pytest.raises(IndexError, match=r"^a pool must have a free configuration; got none$"):
            ask(configs[0])


def test_asking_takes_nothing() -> None:
    pool = Pool([_config(x=0.1), _config(x=0.2)], SEARCHED)
    assert [pool.nearest(_config()) for _ in range(3)] == [0, 0, 0]


def test_choices_weigh_as_much_as_numbers() -> None:
    """One choice apart is 1, as is one end of a range from the other."""
    fields = [Field("a", "choice", 0, choices=(0, 1, 2)), Field("b", "integer", 0, low=0, high=10)]
    pool = Pool([{"a": 1, "b": 0}, {"a": 0, "b": 10}, {"a": 0, "b": 9}], fields)
    assert pool.take({"a": 0, "b": 0}) == 2, "0.9 of the range is nearer than another choice"
    assert pool.take({"a": 0, "b": 0}) in (0, 1)
    assert Pool([{"a": 0, "b": 10}, {"a": 1, "b": 0}], fields).nearest({"a": 0, "b": 1}) == 0, "0.9 against 1 and 0.1"


X = st.floats(-1, 1)


@given(st.lists(st.tuples(X, X), min_size=1, max_size=12), st.lists(st.tuples(X, X), max_size=12))
def test_each_is_taken_once_and_none_that_is_left_is_nearer(
    places: list[tuple[float, float]], wishes: list[tuple[float, float]]
) -> None:
    pool, left = Pool([_config(x, y) for x, y in places], SEARCHED), set(range(len(places)))
    for x, y in wishes[: len(places)]:
        taken = pool.take(_config(x, y))
        distance = {index: (places[index][0] - x) ** 2 + (places[index][1] - y) ** 2 for index in left}
        assert taken in left
        assert distance[taken] <= min(distance.values()) + 1e-9
        left.remove(taken)


def _recorded(num_trials: int) -> list[dict[str, Value]]:
    """What a random search suggested, the paper's configuration first."""
    controller = OptunaController(with_changes(sampler="random", num_trials=num_trials, seed=1), recording()[0])
    found = [dict(suggestion.config) for _ in range(num_trials) if (suggestion := controller.next()) is not None]
    assert found[0] == paper_config(PLAN.fields, FIXED)
    return found


@pytest.mark.parametrize("scheduler", ["asha", "none", "asha-promote"])
@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
def test_a_sampler_over_a_pool_suggests_only_its_members_and_each_once(sampler: str, scheduler: str) -> None:
    configs = _recorded(20)
    plan = with_changes(sampler=sampler, scheduler=scheduler, num_trials=20, seed=5)
    pool, taken = Pool(configs, plan.searched), list[int]()
    journal, events = recording()
    controller = OptunaController(plan, journal, wrap=lambda inner: TabularSampler(inner, pool, plan.fields, plan.fixed))

    def curve_of(suggestion: Suggestion) -> Curve:
        assert suggestion.config in configs
        taken.append(pool.take(suggestion.config))
        assert configs[taken[-1]] == suggestion.config
        return Curve(bowl_epochs(plan, suggestion))

    simulate(controller, curve_of, 4)
    assert sorted(taken) == list(range(20))
    assert ends(events) == {f"t{number:04d}": 1 for number in range(20)}
    assert taken != sorted(taken), "the order is the sampler's own"


def _run(sampler: str, seed: int) -> list[Any]:
    configs = _recorded(15)
    plan = with_changes(sampler=sampler, num_trials=15, seed=seed)
    pool, found = Pool(configs, plan.searched), list[Any]()
    controller = OptunaController(plan, recording()[0], wrap=lambda inner: TabularSampler(inner, pool, plan.fields, plan.fixed))

    def curve_of(suggestion: Suggestion) -> Curve:
        found.append(pool.take(suggestion.config))
        return Curve(bowl_epochs(plan, suggestion))

    simulate(controller, curve_of, 2)
    return found


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_seed_takes_from_a_pool_in_the_same_order(sampler: str) -> None:
    assert _run(sampler, 1) == _run(sampler, 1)
    assert _run(sampler, 1) != _run(sampler, 2)


@pytest.mark.parametrize(
    ("configs", "wish", "nearest"),
    [
        # Another shape is 1, a tilt where there is none 1 more, whatever the tilt; x from end to end 1, y half of its range 0.25.
        ([_config(x=-1, tilt=0.0), _config(x=1, y=1)], _config(x=-1), 1),
        ([_config(x=-1, tilt=0.0), _config(x=1, y=1, rate=0.05)], _config(x=-1, rate=1.0), 0),
        # 0.1 is 0.54 of the logarithmic range from 0.5; x = 1 is 0.6 of its own from -0.2.
        ([_config(x=-0.2, rate=0.1), _config(x=1, rate=0.5)], _config(x=-0.2, rate=0.5), 0),
    ],
)
def test_how_far_a_missing_field_and_a_logarithm_are_by_hand(
    configs: Sequence[Mapping[str, Value]], wish: Mapping[str, Value], nearest: int
) -> None:
    assert Pool(configs, SEARCHED).nearest(wish) == nearest


def test_the_lowest_value_of_a_range_is_as_far_from_none_as_one_end_from_the_other() -> None:
    fields = [Field("a", "real", 0.0, low=0, high=1), Field("b", "real", 1.0, low=1, high=2)]
    pool = Pool([{"a": 0.0, "b": None}, {"a": 1.0, "b": 1.5}], fields)
    assert pool.nearest({"a": 0.0, "b": 1.0}) == 0, "1 against 1 and 0.25"


class Books(RandomSampler):
    """A sampler that remembers what it was told of."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.told: list[tuple[int, str]] = []

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """One begins."""
        self.told.append((trial.number, "begins"))

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """One has ended."""
        self.told.append((trial.number, f"{state.name} {values}"))


def test_the_sampler_behind_a_pool_hears_of_every_beginning_and_end() -> None:
    books = Books()
    pool = Pool([_config(x=0.1), _config(x=0.2)], SEARCHED)
    study = optuna.create_study(sampler=TabularSampler(books, pool, PLAN.fields, FIXED))
    study.tell(study.ask(), 3.0)
    study.tell(study.ask(), state=TrialState.FAIL)
    assert books.told == [(0, "begins"), (0, "COMPLETE [3.0]"), (1, "begins"), (1, "FAIL None")]
