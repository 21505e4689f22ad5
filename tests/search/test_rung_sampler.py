"""What a sampler is shown of a study, rung by rung, and what all samplers suggest in a search of the bowl."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pytest
from bowl_search import PLAN, bowl_curves, of_kind, recording, with_changes
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.strategy.optuna_controller import OptunaController
from search.strategy.rung_sampler import BEST_REMEMBERED, MEMORY, RungSampler
from search.strategy.samplers import SAMPLERS, make_sampler, num_needed
from search.strategy.simulation import simulate

RUNGS = (1, 3, 9)
DRAWN = 0.25


class Recorder(BaseSampler):
    """Stores the trials that each new one is drawn after; always suggests the same."""

    def __init__(self) -> None:
        self.seen: list[list[FrozenTrial]] = []
        self.asked = 0

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """x alone."""
        self.seen.append(study.get_trials(deepcopy=False))
        return {"x": FloatDistribution(0, 1)}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        """The same whatever came before."""
        assert study.get_trials(deepcopy=False) == self.seen[-1]
        self.asked += 1
        return dict.fromkeys(search_space, DRAWN)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        """The same whatever came before."""
        return DRAWN


class Shown:
    """A study of x over [0, 1] and what its sampler is shown.

    Args:    num_needed, more: of the `RungSampler`.
    """

    def __init__(self, num_needed: int = 2, directions: Sequence[str] = ("minimize",), **more: Any) -> None:
        self.recorder = Recorder()
        self.sampler = RungSampler(self.recorder, RUNGS, num_needed, **more)
        self.study = optuna.create_study(directions=list(directions), sampler=self.sampler)

    def add(self, epochs: int, state: TrialState = TrialState.RUNNING, offset: float | None = None) -> optuna.Trial:
        """A trial whose value at epoch e is its number + e / 10 (or an offset instead of the number), this many epochs far."""
        trial = self.study.ask()
        trial.suggest_float("x", 0, 1)
        start = trial.number if offset is None else offset
        for epoch in range(1, epochs + 1):
            trial.report(start + epoch / 10, epoch)
        if state is TrialState.COMPLETE:
            self.study.tell(trial, start + epochs / 10)
        elif state is not TrialState.RUNNING:
            self.study.tell(trial, state=state)
        return trial

    def ask(self) -> tuple[dict[int, tuple[str, float | None]], float]:
        """What one more trial is drawn after, number → state and value, but for itself; and its x."""
        trial = self.study.ask()
        x = trial.suggest_float("x", 0, 1)
        shown = {t.number: (t.state.name.lower(), t.value) for t in self.recorder.seen[-1] if t.number != trial.number}
        return shown, x


def test_the_highest_rung_that_enough_trials_have_reached_is_shown_with_its_own_values() -> None:
    shown = Shown(num_needed=3)
    shown.add(9, TrialState.COMPLETE)  # 0
    shown.add(9, TrialState.COMPLETE)  # 1: one too few at the last rung
    shown.add(3, TrialState.PRUNED)  # 2
    shown.add(5)  # 3: past the rung, and on its way
    shown.add(2)  # 4: may reach it
    shown.add(1, TrialState.PRUNED)  # 5: never will
    shown.add(0)  # 6: has begun
    assert shown.ask()[0] == {
        0: ("complete", 0.3),
        1: ("complete", 1.3),
        2: ("complete", 2.3),
        3: ("complete", 3.3),
        4: ("running", None),
        6: ("running", None),
    }
    assert shown.sampler.level == 3


def test_with_enough_at_the_top_only_those_that_came_so_far_have_a_value() -> None:
    shown = Shown(num_needed=2)
    for epochs, state in ((9, TrialState.COMPLETE), (3, TrialState.PRUNED), (9, TrialState.COMPLETE), (8, TrialState.RUNNING)):
        shown.add(epochs, state)
    assert shown.ask()[0] == {0: ("complete", 0.9), 2: ("complete", 2.9), 3: ("running", None)}
    assert shown.sampler.level == 9


def test_below_all_rungs_a_model_is_shown_what_there_is_at_the_first() -> None:
    shown = Shown(num_needed=3)
    shown.add(1)
    shown.add(4, TrialState.PRUNED)
    shown.add(0)
    shown.add(2, TrialState.FAIL)
    assert shown.ask()[0] == {0: ("complete", 0.1), 1: ("complete", 1.1), 2: ("running", None)}
    assert shown.sampler.level is None


@pytest.mark.parametrize("at_top", range(5))
def test_values_of_two_rungs_are_never_mixed(at_top: int) -> None:
    """One trial more at the top rung at a time: below the number needed the middle rung is shown, from then on the top."""
    shown = Shown(num_needed=3)
    for number in range(6):
        shown.add(9 if number < at_top else 3, TrialState.COMPLETE if number < at_top else TrialState.PRUNED)
    rung = 9 if at_top >= 3 else 3
    assert shown.ask()[0] == {number: ("complete", number + rung / 10) for number in range(at_top if rung == 9 else 6)}


def test_of_many_ended_trials_the_best_and_the_latest_are_shown() -> None:
    shown = Shown()
    for number in range(MEMORY + 20):
        # Every fourth is a good one, the earliest of them the best.
        shown.add(9, TrialState.COMPLETE, offset=number / 1000 if number % 4 == 0 else 10.0)
    seen, _ = shown.ask()
    best = {4 * rank for rank in range(BEST_REMEMBERED)}
    assert len(seen) == MEMORY
    assert best <= set(seen)
    others = [number for number in range(MEMORY + 20) if number not in best]
    assert set(seen) - best == set(others[-(MEMORY - len(best)) :])


def test_of_many_running_trials_the_latest_are_shown() -> None:
    shown = Shown()
    for _ in range(3):
        shown.add(9, TrialState.COMPLETE)
    for _ in range(MEMORY + 30):
        shown.add(0)
    seen, _ = shown.ask()
    running = sorted(number for number, (state, _) in seen.items() if state == "running")
    # The one that is asked for is one of them.
    assert running == list(range(3 + 30 + 1, 3 + 30 + MEMORY))
    assert sorted(set(seen) - set(running)) == [0, 1, 2]


def test_a_trial_that_ended_early_by_itself_counts_at_later_rungs_with_its_last_value() -> None:
    shown = Shown(num_needed=2)
    shown.add(2, TrialState.COMPLETE)
    shown.add(9, TrialState.COMPLETE)
    shown.add(2, TrialState.PRUNED)
    assert shown.ask()[0] == {0: ("complete", 0.2), 1: ("complete", 1.9)}
    lower = Shown(num_needed=3)
    for epochs, state in ((2, TrialState.COMPLETE), (3, TrialState.PRUNED), (4, TrialState.PRUNED)):
        lower.add(epochs, state)
    assert lower.ask()[0] == {0: ("complete", 0.2), 1: ("complete", 1.3), 2: ("complete", 2.3)}


def test_a_trial_shown_at_one_rung_is_shown_anew_at_the_next_and_loses_no_params() -> None:
    shown = Shown(num_needed=2)
    running = [shown.add(1), shown.add(1)]
    assert shown.ask()[0] == {0: ("complete", 0.1), 1: ("complete", 1.1)}
    for trial in running:
        for epoch in (2, 3):
            trial.report(trial.number + epoch / 10, epoch)
    found, _ = shown.ask()
    assert {number: value for number, value in found.items() if number < 2} == {0: ("complete", 0.3), 1: ("complete", 1.3)}
    seen = {trial.number: trial for trial in shown.recorder.seen[-1]}
    assert [seen[number].params for number in (0, 1)] == [trial.params for trial in running]
    assert [seen[number]._trial_id for number in (0, 1)] == [trial._trial_id for trial in running]
    assert [trial.state for trial in shown.study.trials[:2]] == [TrialState.RUNNING] * 2, "the study itself is as it was"


def test_a_limit_that_was_told_at_a_trials_end_is_shown_at_every_rung() -> None:
    """Also where the trial had been shown before, while it ran and its limit was not known."""
    shown = Shown(num_needed=3)
    trials = [shown.add(3) for _ in range(4)]
    shown.ask()
    trials[0].set_constraint("cost<=1", 0.5)
    shown.study.tell(trials[0], state=TrialState.PRUNED)
    shown.ask()
    assert shown.sampler.level == 3
    assert {trial.number: trial.constraints for trial in shown.recorder.seen[-1] if trial.number < 4} == {
        0: {"cost<=1": 0.5},
        1: {},
        2: {},
        3: {},
    }


def _earlier() -> list[FrozenTrial]:
    """Two trials of an earlier search."""
    found = [
        create_trial(value=value, params={"x": x}, distributions={"x": FloatDistribution(0, 1)})
        for x, value in ((0.5, 70.0), (0.6, 80.0))
    ]
    for index, trial in enumerate(found):
        trial.number = -1 - index
    return found


def test_trials_of_earlier_searches_are_shown_only_while_no_rung_has_enough() -> None:
    shown = Shown(num_needed=2, earlier=_earlier())
    past = {-1: ("complete", 70.0), -2: ("complete", 80.0)}
    assert shown.ask()[0] == past
    shown.add(9, TrialState.COMPLETE)  # 1
    found = shown.ask()[0]
    assert found == {**past, 0: ("running", None)}, "one of its own is not enough, and is not mixed with earlier ones"
    shown.add(1, TrialState.PRUNED)  # 3
    assert shown.ask()[0] == {
        1: ("complete", 1.1),
        3: ("complete", 3.1),
        **dict.fromkeys((0, 2), ("running", None)),
    }


def test_a_share_is_drawn_at_random_below_the_last_rung_only() -> None:
    shown = Shown(num_needed=2, explore=0.5, seed=3)
    assert {shown.ask()[1] for _ in range(20)} == {DRAWN}, "no rung has enough: the sampler's own start-up trials"
    shown.add(3, TrialState.PRUNED)
    shown.add(3, TrialState.PRUNED)
    drawn = [shown.ask()[1] for _ in range(200)]
    assert 70 < sum(x != DRAWN for x in drawn) < 130, "half of 200, within four deviations"
    assert len({x for x in drawn if x != DRAWN}) == sum(x != DRAWN for x in drawn)
    shown.add(9, TrialState.COMPLETE)
    shown.add(9, TrialState.COMPLETE)
    assert {shown.ask()[1] for _ in range(50)} == {DRAWN}


def test_nothing_is_drawn_at_random_without_a_share() -> None:
    shown = Shown(num_needed=2)
    shown.add(3, TrialState.PRUNED)
    shown.add(3, TrialState.PRUNED)
    assert {shown.ask()[1] for _ in range(50)} == {DRAWN}


def test_a_study_of_several_objectives_is_shown_as_it_is() -> None:
    shown = Shown(num_needed=2, directions=["minimize", "maximize"], earlier=_earlier())
    for state, values in ((TrialState.PRUNED, None), (TrialState.COMPLETE, [1.0, 2.0]), (TrialState.COMPLETE, [3.0, 4.0])):
        trial = shown.study.ask()
        trial.suggest_float("x", 0, 1)
        if trial.number == 2:
            before = [t.number for t in shown.recorder.seen[-1]]
        shown.study.tell(trial, values, state=state)
    assert before == [-1, -2, 0, 1, 2], "earlier trials, while fewer than two have ended"
    trial = shown.study.ask()
    trial.suggest_float("x", 0, 1)
    seen = shown.recorder.seen[-1]
    assert seen == shown.study.get_trials(deepcopy=False)
    assert [t.state.name for t in seen] == ["PRUNED", "COMPLETE", "COMPLETE", "RUNNING"]


def test_a_rung_sampler_of_a_plan_needs_two_trials_more_than_fields_vary_and_knows_the_plans_rungs() -> None:
    """x, y, shape, tilt and rate vary."""
    assert num_needed(PLAN) == 7
    assert num_needed(with_changes(fixed={**PLAN.fixed, "shape": "round", "y": 0.0, "x": 0.0})) == 4
    assert make_sampler(PLAN).rungs == (1, 3, 9)
    assert make_sampler(with_changes(scheduler="none")).rungs == (9,)
    assert make_sampler(with_changes(grace_period=2)).rungs == (2, 6, 9)


Decision = tuple[str, str, str]


def _search(sampler: str, num_trials: int, seed: int = 7) -> tuple[list[Mapping[str, Any]], list[Decision], optuna.Study]:
    """Suggested configurations, ends with their reasons, and the study of a simulated search with four workers."""
    plan = with_changes(sampler=sampler, num_trials=num_trials, seed=seed)
    journal, events = recording()
    controller = OptunaController(plan, journal)
    simulate(controller, bowl_curves(plan), 4)
    decisions = [(event.event, event.trial, event.reason) for event in of_kind(events, "finished", "stopped")]
    return [event.config for event in of_kind(events, "suggested")], decisions, controller.study


#: The Gaussian process takes a second a trial once it takes over, after seven trials at a rung.
NUM_TRIALS = {**dict.fromkeys(SAMPLERS, 25), "gp": 11}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_suggests_inside_its_ranges_and_alike_for_the_same_seed(sampler: str) -> None:
    configs, decisions, study = _search(sampler, NUM_TRIALS[sampler])
    assert len(configs) == len(decisions) == NUM_TRIALS[sampler]
    for config in configs:
        assert list(config) == list(PLAN.fields)
        assert (config["tilt"] is None) is (config["shape"] == "round")
        assert {name: config[name] for name in PLAN.fixed} == PLAN.fixed
        for field in PLAN.searched:
            if config[field.name] is not None:
                assert field.check(config[field.name]) == config[field.name]
    assert {config["shape"] for config in configs} == {"round", "tilted"}
    assert {kind for kind, _, _ in decisions} == {"finished", "stopped"}
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    again, decided, _ = _search(sampler, NUM_TRIALS[sampler])
    assert (again, decided) == (configs, decisions)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_another_seed_gives_other_suggestions_after_the_papers(sampler: str) -> None:
    one, other = (_search(sampler, 6, seed)[0] for seed in (1, 2))
    assert one[0] == other[0]
    assert all(here["x"] != there["x"] for here, there in zip(one[1:], other[1:], strict=True))


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
@pytest.mark.parametrize("seed", [0, 7])
def test_no_configuration_is_suggested_twice(sampler: str, seed: int) -> None:
    """Three fields are real numbers: that two draws agree in all of them is no chance."""
    places = [(config["x"], config["y"], config["rate"]) for config in _search(sampler, 25, seed)[0]]
    assert len(set(places)) == len(places)


class Books(Recorder):
    """Remembers what else it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def reseed_rng(self) -> None:
        """Another seed."""
        self.told.append("reseed")

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """One begins."""
        self.told.append(f"{trial.number} begins beside {len(study.get_trials(deepcopy=False))}")

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """One has ended."""
        self.told.append(f"{trial.number} {state.name} {values}")


def test_the_sampler_hears_of_every_beginning_and_end_and_of_another_seed() -> None:
    books = Books()
    study = optuna.create_study(sampler=RungSampler(books, RUNGS, 2))
    for _ in range(2):
        study.ask().suggest_float("x", 0, 1)
    study.tell(0, 3.0)
    study.tell(1, state=TrialState.FAIL)
    study.sampler.reseed_rng()
    assert books.told == ["0 begins beside 0", "1 begins beside 1", "0 COMPLETE [3.0]", "1 FAIL None", "reseed"]


def test_what_is_drawn_at_random_does_not_hang_on_when_a_rung_is_reached() -> None:
    """The same trials are drawn at random, whether the first rung was reached before the third trial or before the twelfth."""
    early, late = (Shown(num_needed=2, explore=0.5, seed=3) for _ in range(2))
    for shown, before in ((early, 0), (late, 10)):
        for _ in range(before):
            shown.ask()
        for _ in range(2):
            shown.add(1, TrialState.PRUNED)
    found = {number: early.ask()[1] != DRAWN for number in range(2, 32)}
    assert [late.ask()[1] != DRAWN for _ in range(12, 32)] == [found[number] for number in range(12, 32)]
    assert set(found.values()) == {True, False}


def test_beside_earlier_trials_the_latest_running_ones_are_shown() -> None:
    shown = Shown(num_needed=2, earlier=_earlier())
    for _ in range(MEMORY + 30):
        shown.add(0)
    seen, _ = shown.ask()
    # The one that is asked for is one of them.
    assert sorted(seen) == [-2, -1, *range(30 + 1, 30 + MEMORY)]


def test_a_trial_of_which_nothing_has_been_drawn_yet_is_not_shown() -> None:
    shown = Shown(num_needed=1)
    shown.add(9, TrialState.COMPLETE)
    shown.study.ask()
    shown.add(0)
    assert shown.ask()[0] == {0: ("complete", 0.9), 2: ("running", None)}


def test_where_more_is_better_the_highest_of_many_are_remembered() -> None:
    shown = Shown(directions=["maximize"])
    for number in range(MEMORY + 20):
        shown.add(9, TrialState.COMPLETE, offset=10.0 if number < BEST_REMEMBERED else 0.0)
    seen, _ = shown.ask()
    assert sorted(seen) == [*range(BEST_REMEMBERED), *range(BEST_REMEMBERED + 20, MEMORY + 20)]


def test_running_trials_beyond_the_rung_count_among_the_best_of_many() -> None:
    """They have not ended, but are as far; the values that they had at the rung are compared."""
    shown = Shown()
    good = [shown.add(9, offset=-5.0 - number) for number in range(3)]
    for _ in range(MEMORY + 20):
        shown.add(9, TrialState.COMPLETE, offset=10.0)
    seen, _ = shown.ask()
    assert [seen[trial.number] for trial in good] == [("complete", pytest.approx(-4.1 - number)) for number in range(3)]
    assert len([number for number in seen if number >= 3]) == MEMORY - 3


def test_a_sampler_that_looks_at_no_trials_is_shown_none() -> None:
    shown = Shown(num_needed=1, looks=False)
    shown.add(9, TrialState.COMPLETE)
    shown.ask()
    assert shown.recorder.seen == [[], []]


def test_running_trials_beyond_the_rung_count_among_the_latest_of_many() -> None:
    shown = Shown()
    for _ in range(MEMORY + 20):
        shown.add(9, TrialState.COMPLETE, offset=0.0)
    late = [shown.add(9, offset=10.0) for _ in range(2)]
    seen, _ = shown.ask()
    assert [seen[trial.number] for trial in late] == [("complete", pytest.approx(10.9))] * 2
    assert len(seen) == MEMORY
