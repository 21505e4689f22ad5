"""Rungs by hand, successive halving by a hand-worked sequence, and what holds for any sequence of reports."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.strategy.rungs import rungs
from search.strategy.schedulers import SCHEDULERS, Asha, Ladder, RunAll, Scheduler, default_grace_period


@pytest.mark.parametrize(
    ("grace_period", "max_epochs", "reduction", "expected"),
    [
        (1, 243, 3, (1, 3, 9, 27, 81)),
        (1, 244, 3, (1, 3, 9, 27, 81, 243)),
        (1, 100, 4, (1, 4, 16, 64)),
        (1, 100, 3, (1, 3, 9, 27, 81)),
        (1, 243, 4, (1, 4, 16, 64)),
        (3, 30, 3, (3, 9, 27)),
        (3, 27, 3, (3, 9)),
        (2, 50, 2, (2, 4, 8, 16, 32)),
        (22, 200, 3, (22, 66, 198)),
        (1, 1, 3, ()),
        (30, 30, 3, ()),
        (29, 30, 3, (29,)),
        (50, 30, 3, ()),
    ],
)
def test_rungs_are_the_grace_period_times_powers_of_the_reduction(
    grace_period: int, max_epochs: int, reduction: int, expected: tuple[int, ...]
) -> None:
    assert rungs(grace_period, max_epochs, reduction) == expected
    assert Asha(Ladder(grace_period, max_epochs, reduction)).rungs == expected


@pytest.mark.parametrize(("grace_period", "reduction"), [(0, 3), (-1, 3), (1, 1), (1, 0), (1, -2)])
def test_numbers_out_of_range_are_refused(grace_period: int, reduction: int) -> None:
    message = rf"^--grace-period must be 1 or more and --reduction 2 or more; got {grace_period} and {reduction}$"
    with pytest.raises(ValueError, match=message):
        rungs(grace_period, 100, reduction)
    with pytest.raises(ValueError, match=message):
        SCHEDULERS["asha"](Ladder(grace_period, 100, reduction))


@given(st.integers(1, 50), st.integers(1, 10**18), st.integers(2, 10))
def test_rungs_ascend_by_the_reduction_and_stay_below_the_end(grace_period: int, max_epochs: int, reduction: int) -> None:
    found = rungs(grace_period, max_epochs, reduction)
    assert all(after == reduction * before for before, after in pairwise(found))
    assert all(rung < max_epochs for rung in found)
    assert found[:1] == ((grace_period,) if grace_period < max_epochs else ())
    assert not found or found[-1] * reduction >= max_epochs


@pytest.mark.parametrize(("max_epochs", "expected"), [(1, 3), (9, 3), (12, 4), (18, 6), (59, 19), (60, 20), (81, 20), (200, 20)])
def test_the_grace_period_is_a_third_of_the_epochs_between_3_and_20(max_epochs: int, expected: int) -> None:
    assert default_grace_period(max_epochs) == expected


#: Arrivals at rung 1 with reduction 3: the score; how many are better; ceil(n / 3) go on; so it is stopped or not.
BY_HAND = [
    (0.50, False),  # n = 1: one goes on, none is better
    (0.40, True),  # n = 2: one goes on, 0.50 is better
    (0.45, True),  # n = 3: one goes on, 0.50 is better
    (0.48, False),  # n = 4: two go on, only 0.50 is better
    (0.47, True),  # n = 5: two go on, 0.50 and 0.48 are better
    (0.60, False),  # n = 6: two go on, none is better
    (0.49, False),  # n = 7: three go on, 0.60 and 0.50 are better
    (0.49, False),  # n = 8: three go on; its equal is not better
    (0.495, False),  # n = 9: three go on, 0.60 and 0.50 are better
    (0.485, True),  # n = 10: four go on; 0.60, 0.50, 0.495 and both 0.49 are better
    (0.10, True),
]


def _stops(scheduler: Scheduler, reports: Iterable[tuple[int, float]]) -> list[bool]:
    """Whether each report, an epoch and its score, stops its trial; each is of another trial."""
    return [scheduler.judge(f"t{number:04d}", *report) == "stop" for number, report in enumerate(reports)]


def test_asha_decides_as_worked_by_hand() -> None:
    asha = Asha(Ladder(1, 9, 3))
    assert _stops(asha, [(1, score) for score, _ in BY_HAND]) == [stopped for _, stopped in BY_HAND]


def test_rungs_are_judged_apart() -> None:
    asha = Asha(Ladder(1, 27, 3))
    assert _stops(asha, [(1, score) for score in (0.9, 0.1)]) == [False, True]
    assert _stops(asha, [(3, score) for score in (0.1, 0.05, 0.2)]) == [False, True, False]
    assert asha.judge("last", 1, 0.5) == "stop"


def test_epochs_between_rungs_are_not_looked_at() -> None:
    asha = Asha(Ladder(3, 27, 3))
    assert asha.judge("first", 3, 0.9) == "go on"
    assert not any(_stops(asha, [(epoch, -1.0) for epoch in (1, 2, 4, 5, 8, 10, 26, 27, 28)]))
    assert asha.judge("first", 9, 0.0) == "go on"
    assert asha.judge("second", 3, 0.8) == "stop"


def test_run_all_stops_nothing() -> None:
    scheduler = SCHEDULERS["none"](Ladder(1, 100, 3))
    assert isinstance(scheduler, RunAll)
    assert scheduler.rungs == ()
    verdicts = {scheduler.judge("t0000", epoch, score) for epoch in range(1, 101) for score in (-1e9, 0.0)}
    assert verdicts == {"go on"}


SCORES = st.floats(-100, 100)
REPORTS = st.lists(st.tuples(st.sampled_from([1, 2, 3, 9]), SCORES), max_size=60)


@given(REPORTS, REPORTS, st.integers(2, 5))
def test_decisions_never_depend_on_later_reports(
    first: list[tuple[int, float]], later: list[tuple[int, float]], reduction: int
) -> None:
    alone, followed = Asha(Ladder(1, 27, reduction)), Asha(Ladder(1, 27, reduction))
    assert _stops(followed, first + later)[: len(first)] == _stops(alone, first)


@given(REPORTS, st.integers(2, 5))
def test_the_best_so_far_at_a_rung_always_goes_on(reports: list[tuple[int, float]], reduction: int) -> None:
    asha, best = Asha(Ladder(1, 27, reduction)), dict.fromkeys((1, 2, 3, 9), float("-inf"))
    for (epoch, score), stopped in zip(reports, _stops(asha, reports), strict=True):
        if score >= best[epoch]:
            assert not stopped
        best[epoch] = max(best[epoch], score)


@given(st.lists(SCORES, min_size=1, max_size=60), st.integers(2, 5))
def test_a_trial_goes_on_exactly_when_it_is_among_the_best_share_so_far(scores: list[float], reduction: int) -> None:
    asha = Asha(Ladder(1, 9, reduction))
    stopped = _stops(asha, [(1, score) for score in scores])
    for count, score in enumerate(scores, start=1):
        best = sorted(scores[:count], reverse=True)[: -(-count // reduction)]
        assert stopped[count - 1] is (score < best[-1])


@given(st.integers(1, 200), st.integers(2, 5))
def test_scores_that_fall_from_trial_to_trial_stop_all_but_the_first(count: int, reduction: int) -> None:
    asha = Asha(Ladder(1, 9, reduction))
    assert _stops(asha, [(1, float(-number)) for number in range(count)]) == [False] + [True] * (count - 1)
