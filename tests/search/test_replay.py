"""Recorded curves under another strategy: what it costs and lacks, worked out by hand on searches that use up all trials."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from bowl_events import begun, epoch_of, event_of, plan_of, reported

from search.analysis.leaderboard import RecordedSearch
from search.analysis.replay import Extrapolated, Strategy, replay, strategies_of, whole_curve
from search.errors import PlanError
from search.records.events import Event
from search.records.folder import SearchFolder
from search.records.state import SearchState

PLAN = plan_of(num_trials=3, max_epochs=4, scheduler="none", sampler="random", max_concurrent=1)
NONE = Strategy("random", "none", 1, 3)
#: Scores of each trial, epoch by epoch; less is better.
CURVES = {"t0000": [5.0, 4.0, 3.0, 2.0], "t0001": [6.0, 5.0, 4.5, 4.0], "t0002": [3.0, 2.5, 1.5, 1.0]}


def _events(trial: str, x: float, scores: Sequence[float], end: str = "finished") -> list[Event]:
    epochs = [epoch_of(n, score, score, score == min(scores[:n])) for n, score in enumerate(scores, start=1)]
    told = [reported(trial, 0.0, epoch) for epoch in epochs]
    return [*begun(trial, 0.0, x=x), *told, event_of(end, 0.0, trial=trial, reason="because")]


def _recorded(tmp_path: Path, curves: dict[str, list[float]], ends: dict[str, str] | None = None) -> RecordedSearch:
    events = [
        one
        for index, (trial, scores) in enumerate(curves.items())
        for one in _events(trial, index / 4, scores, (ends or {}).get(trial, "finished"))
    ]
    plan = replace(PLAN, num_trials=len(curves))
    return RecordedSearch(SearchFolder(tmp_path, plan.name), plan, SearchState.of(events, plan.objective))


def test_a_strategy_that_uses_up_all_trials_ends_at_the_best_and_costs_all_epochs(tmp_path: Path) -> None:
    (found,) = replay(_recorded(tmp_path, CURVES), [NONE], seeds=2)
    assert (found.regret, found.epochs, found.seconds, found.time_s) == (0.0, 12.0, 24.0, 24.0)
    assert found.band.x[-1] == 24.0
    assert len(found.band.x) == 100


def test_regret_is_what_the_leader_lacks_to_the_best_recorded_at_each_time(tmp_path: Path) -> None:
    """Two trials alike, whoever comes first: epochs end after 2, 4, ... 16 s; a mean over three validations beats one over two.

    The leader's score is 5, 4, 3, 2 after 2, 4, 6 and 8 s, and the best recorded is 2. Before 2 s the first counts.
    """
    alike = {"t0000": CURVES["t0000"], "t0001": CURVES["t0000"]}
    (found,) = replay(_recorded(tmp_path, alike), [NONE], seeds=1)
    regret = dict(zip(found.band.x, found.band.mean, strict=True))
    assert [regret[time] for time in (0.16, 2.08, 3.84, 4.0, 6.08, 8.0, 16.0)] == [3.0, 3.0, 3.0, 2.0, 1.0, 0.0, 0.0]
    assert (found.regret_quarter, found.regret_half, found.half_interval) == (2.0, 0.0, (0.0, 0.0))


def test_a_trial_that_was_cut_short_costs_what_is_due_and_gains_nothing_that_nobody_saw(tmp_path: Path) -> None:
    """Two of its four epochs were trained: with them the other two trials cost twelve, of which ten are known."""
    cut_short = _recorded(tmp_path, {**CURVES, "t0001": [6.0, 0.5]}, {"t0001": "stopped"})
    (found,) = replay(cut_short, [NONE], seeds=2)
    assert (found.epochs, found.seconds, found.time_s) == (12.0, 24.0, 24.0)
    assert found.known == pytest.approx(10 / 12)
    assert found.to_json()["known"] == found.known
    (whole,) = replay(_recorded(tmp_path, CURVES), [NONE], seeds=1)
    assert whole.known == 1.0


def test_a_curve_stays_as_it_was_where_it_was_cut_short_and_says_so(tmp_path: Path) -> None:
    found = _recorded(tmp_path, CURVES | {"t0001": [6.0, 5.0]}, {"t0001": "stopped", "t0002": "interrupted"})
    cut = whole_curve(found.state.trials["t0001"], 4)
    assert [epoch.epoch for epoch in cut] == [1, 2, 3, 4]
    assert [epoch.score for epoch in cut] == [6.0, 5.0, 5.0, 5.0]
    assert [epoch.seconds for epoch in cut] == [2.0] * 4
    assert [isinstance(epoch, Extrapolated) for epoch in cut] == [False, False, True, True]
    assert [epoch.is_best for epoch in cut] == [True, True, False, False]
    assert len(whole_curve(found.state.trials["t0000"], 9)) == 4, "it had ended by itself"


def test_failed_trials_are_left_out_and_two_are_needed(tmp_path: Path) -> None:
    (found,) = replay(_recorded(tmp_path, CURVES, {"t0002": "failed"}), [NONE], seeds=1)
    assert (found.epochs, found.regret) == (8.0, 0.0), "the best of the two others is 2"
    with pytest.raises(PlanError, match=r"^NAME must be a search with two trials or more that reported; got 'bowls'$"):
        replay(_recorded(tmp_path, CURVES, {"t0002": "failed", "t0001": "failed"}), [NONE])


def test_halving_costs_less_than_training_all_to_the_end(tmp_path: Path) -> None:
    halving = Strategy("random", "asha", 1, 3)
    none, asha = replay(_recorded(tmp_path, CURVES), [NONE, halving], seeds=4)
    assert (none.strategy, asha.strategy) == (NONE, halving)
    assert asha.epochs < none.epochs
    assert asha.to_json()["scheduler"] == "asha"
    assert "band" not in asha.to_json()


def test_strategies_are_every_combination_of_what_was_named() -> None:
    found = strategies_of(PLAN, ["random", "tpe"], ["asha", "none"], [1, 3])
    assert [strategy.label for strategy in found] == [
        *("random + asha (1)", "random + asha (3)", "random + none"),
        *("tpe + asha (1)", "tpe + asha (3)", "tpe + none"),
    ]
    assert [strategy.label for strategy in strategies_of(PLAN)] == ["random + none"]
    with pytest.raises(PlanError, match=r"--sampler must be .*; got 'tpee'"):
        strategies_of(PLAN, ["tpee"])


def test_a_mean_of_fewer_validations_is_no_best_that_one_of_three_lacks_something_to(tmp_path: Path) -> None:
    """Scores here are the trailing means themselves: the second epoch's 1 is one of two, the third's 2 one of three."""
    found = _recorded(tmp_path, {"t0": [5.0, 1.0, 2.0], "t1": [6.0, 5.0, 4.0]})
    (outcome,) = replay(found, [Strategy("random", "none", 3, 3)], seeds=2, workers=1)
    assert outcome.known == 1
    assert outcome.regret == 0
