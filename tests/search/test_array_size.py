"""How many trials one program may hold, by hand."""

import pytest

from search.strategy.array_size import GROWTH, MEASURED_S, MOST, ArraySize


def trained(size: ArraySize, rate: float, shape: str = "a", peak_share: float | None = None) -> bool:
    """Two reports of an array as large as it may be: the first pays for what is made once."""
    size.observe(shape, size.limit, 1, MEASURED_S)
    return size.observe(shape, size.limit, round(rate * MEASURED_S), MEASURED_S, peak_share)


def test_a_number_that_was_asked_for_is_not_measured() -> None:
    size = ArraySize(8)
    assert (size.limit, size.settled) == (8, True)
    assert not trained(size, 100)
    assert size.limit == 8


def test_it_doubles_while_that_pays_and_goes_back_by_one() -> None:
    size = ArraySize(None)
    limits = []
    for rate in (100, 190, 300, 300 * GROWTH - 1):
        assert trained(size, rate)
        limits.append((size.limit, size.settled))
    assert limits == [(2, False), (4, False), (8, False), (4, True)]
    assert not trained(size, 10_000)


def test_where_one_trial_fills_the_device_it_stays_one() -> None:
    size = ArraySize(None)
    trained(size, 100)
    trained(size, 90)
    assert (size.limit, size.settled) == (1, True)


def test_it_ends_at_the_most() -> None:
    size = ArraySize(None)
    rate = 100.0
    while not size.settled:
        assert trained(size, rate)
        rate *= 2
    assert size.limit == MOST


def test_memory_ends_it_before_it_runs_out() -> None:
    size = ArraySize(None)
    trained(size, 100, peak_share=0.1)
    trained(size, 200, peak_share=0.3)
    assert (size.limit, size.settled) == (4, False)
    trained(size, 400, peak_share=0.45)
    assert (size.limit, size.settled) == (4, True)
    assert size.ran_out(4)
    assert size.limit == 2
    assert not size.ran_out(1)
    assert size.limit == 2


def test_only_full_arrays_of_one_shape_are_compared() -> None:
    size = ArraySize(None)
    trained(size, 100, "narrow")
    assert not size.observe("narrow", 1, 10_000, 100), "an array that is not full"
    assert not trained(size, 10, "wide")
    assert size.limit == 2
    assert trained(size, 200, "narrow")
    assert size.limit == 4


@pytest.mark.parametrize("settled", [True, False])
def test_a_resumed_search_takes_over_what_was_measured(settled: bool) -> None:
    past = [{"event": "fused", "num_trials": 2, "settled": False}, {"event": "fused", "num_trials": 16, "settled": settled}]
    size = ArraySize(None, past)
    assert (size.limit, size.settled) == (16, settled)
