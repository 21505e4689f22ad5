"""How many trials one program may hold, by hand."""

import pytest
from bowl_events import event_of, state_of

from search.strategy.fusion_size import GROWTH, MEASURED_S, MOST, FusionSize, Shape

A = ("a",)


def trained(size: FusionSize, rate: float, shape: Shape = A, peak_share: float | None = None) -> bool:
    """Two reports of a worker as full as it may be: the first pays for what is made once."""
    size.observe(shape, size.limit(shape), 1, MEASURED_S)
    return size.observe(shape, size.limit(shape), round(rate * MEASURED_S), MEASURED_S, peak_share)


def test_a_number_that_was_asked_for_is_not_measured() -> None:
    size = FusionSize(8)
    assert (size.limit(A), size.is_settled(A)) == (8, True)
    assert not trained(size, 100)
    assert size.limit(A) == 8


def test_it_doubles_while_that_pays_and_goes_back_by_one() -> None:
    size = FusionSize(None)
    limits = []
    for rate in (100, 190, 300, 300 * GROWTH - 1):
        assert trained(size, rate)
        limits.append((size.limit(A), size.is_settled(A)))
    assert limits == [(2, False), (4, False), (8, False), (4, True)]
    assert not trained(size, 10_000)


def test_where_one_trial_fills_the_device_it_stays_one() -> None:
    size = FusionSize(None)
    trained(size, 100)
    trained(size, 90)
    assert (size.limit(A), size.is_settled(A)) == (1, True)


def test_it_ends_at_the_most() -> None:
    size = FusionSize(None)
    rate = 100.0
    while not size.is_settled(A):
        assert trained(size, rate)
        rate *= 2
    assert size.limit(A) == MOST


def test_memory_ends_it_before_it_runs_out() -> None:
    size = FusionSize(None)
    trained(size, 100, peak_share=0.1)
    trained(size, 200, peak_share=0.3)
    assert (size.limit(A), size.is_settled(A)) == (4, False)
    trained(size, 400, peak_share=0.45)
    assert (size.limit(A), size.is_settled(A)) == (4, True)
    assert size.ran_out(A, 4)
    assert size.limit(A) == 2
    assert not size.ran_out(A, 1)
    assert size.limit(A) == 2


def test_each_shape_has_its_own_and_only_full_arrays_count() -> None:
    size, narrow, wide = FusionSize(None), ("narrow", 1.0), ("wide", None)
    trained(size, 100, narrow)
    assert not size.observe(narrow, 1, 10_000, 100), "a worker that is not full any more"
    assert (size.limit(narrow), size.limit(wide), size.most) == (2, 1, 2)
    trained(size, 10, wide)
    trained(size, 11, wide)
    assert (size.limit(wide), size.is_settled(wide)) == (1, True)
    assert not size.is_settled(narrow)
    trained(size, 200, narrow)
    assert (size.limit(narrow), size.most) == (4, 4)


def test_a_resumed_search_takes_over_what_was_measured_and_tries_again_what_was_not() -> None:
    narrow, wide = ("narrow", 1.0, None), ("wide", 1.0, None)
    past = [
        event_of("fused", shape=list(narrow), num_trials=2, settled=False),
        event_of("fused", shape=list(narrow), num_trials=16, settled=False),
        event_of("fused", shape=list(wide), num_trials=16, settled=True),
    ]
    size = FusionSize(None, state_of(*past).fused.values())
    assert (size.limit(narrow), size.is_settled(narrow)) == (8, False)
    assert (size.limit(wide), size.is_settled(wide)) == (16, True)
    trained(size, 100, narrow)
    assert (size.limit(narrow), size.is_settled(narrow)) == (16, False)
    trained(size, 101, narrow)
    assert (size.limit(narrow), size.is_settled(narrow)) == (8, True)


def test_a_size_is_judged_by_five_seconds_after_its_first_report() -> None:
    size = FusionSize(None)
    assert not size.observe(A, 1, 100, 100.0), "the first report pays for what is made once"
    assert not size.observe(A, 1, 9, 4.5)
    assert size.limit(A) == 1
    assert size.observe(A, 1, 1, 0.5)
    assert (size.limit(A), size.is_settled(A)) == (2, False)


def test_so_many_times_as_fast_is_enough_by_hand() -> None:
    """Alone 10 epochs in 5 s, 2 per second; two together 12 in 5 s, 2.4 per second, just 1.2 times as fast; four 28 in 10 s."""
    size = FusionSize(None)
    size.observe(A, 1, 1, 1.0)
    assert size.observe(A, 1, 10, 5.0)
    size.observe(A, 2, 2, 1.0)
    assert size.observe(A, 2, 12, 5.0)
    assert size.limit(A) == 4
    size.observe(A, 4, 4, 1.0)
    assert size.observe(A, 4, 28, 10.0), "2.8 per second"
    assert (size.limit(A), size.is_settled(A)) == (2, True)
    assert isinstance(size.limit(A), int)


def test_twice_the_memory_may_fill_four_fifths_of_the_device() -> None:
    size = FusionSize(None)
    trained(size, 100, peak_share=0.4)
    assert (size.limit(A), size.is_settled(A)) == (2, False)
    trained(size, 200, peak_share=0.41)
    assert (size.limit(A), size.is_settled(A)) == (2, True)


@pytest.mark.parametrize(("num_members", "limit"), [(8, 4), (5, 2), (3, 1), (2, 1)])
def test_half_of_what_did_not_fit_is_the_limit_from_then_on(num_members: int, limit: int) -> None:
    size = FusionSize(None, [event_of("fused", shape=["a"], num_trials=16, settled=False)])
    assert (size.limit(A), size.is_settled(A)) == (8, False)
    assert size.ran_out(A, num_members)
    assert (size.limit(A), size.is_settled(A)) == (limit, True)


def test_a_smaller_worker_that_does_not_fit_never_makes_the_limit_larger() -> None:
    size = FusionSize(None, [event_of("fused", shape=["a"], num_trials=2, settled=True)])
    assert size.ran_out(A, 8)
    assert size.limit(A) == 2


@pytest.mark.parametrize(("tried", "limit"), [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_a_size_that_was_being_tried_at_a_crash_is_come_to_again(tried: int, limit: int) -> None:
    size = FusionSize(None, [event_of("fused", shape=["a"], num_trials=tried, settled=False)])
    assert (size.limit(A), size.is_settled(A)) == (limit, False)
    assert isinstance(size.limit(A), int)
