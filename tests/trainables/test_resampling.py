"""Cases and groups drawn again: as many as there are, whole, and no wider or narrower than what they stand for."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.bootstrap import bootstrap
from trainables.resampling import Resampling


def test_without_groups_each_case_is_drawn_for_itself() -> None:
    resampling = Resampling(6)
    expected = np.bincount(np.random.default_rng(3).integers(0, 6, 6), minlength=6)
    assert resampling.num_groups == 6
    assert resampling.counts(np.random.default_rng(3), 1).tolist() == [expected.tolist()]


def test_groups_are_drawn_whole() -> None:
    """Groups 7 (cases 0, 2), 8 (case 1) and 9 (cases 3, 4, 5); the generator says 2, 0, 0."""
    resampling = Resampling(6, np.array([7, 8, 7, 9, 9, 9]))
    seed = next(s for s in range(1000) if np.random.default_rng(s).integers(0, 3, 3).tolist() == [2, 0, 0])
    assert resampling.num_groups == 3
    assert resampling.counts(np.random.default_rng(seed), 1).tolist() == [[2, 0, 2, 1, 1, 1]]


@pytest.mark.parametrize("groups", [None, np.array([7, 8, 7, 9, 9])])
def test_samples_are_the_same_at_once_and_one_by_one(groups: np.ndarray | None) -> None:
    """So that no interval hangs on how many are measured at once."""
    resampling, generator = Resampling(5, groups), np.random.default_rng(3)
    one_by_one = [resampling.counts(generator, 1)[0].tolist() for _ in range(9)]
    assert resampling.counts(np.random.default_rng(3), 9).tolist() == one_by_one


@given(st.lists(st.integers(-3, 12), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_a_sample_has_as_many_groups_as_there_are_and_each_of_them_whole(codes: list[int], seed: int) -> None:
    groups = np.array(codes)
    for times in Resampling(len(codes), groups).counts(np.random.default_rng(seed), 2):
        drawn = {code: set(times[groups == code].tolist()) for code in set(codes)}
        assert all(len(counts) == 1 for counts in drawn.values()), "members of a group come equally often"
        assert sum(next(iter(counts)) for counts in drawn.values()) == len(drawn)


@pytest.mark.parametrize(
    ("num_cases", "groups", "message"),
    [
        (0, None, "num_cases must be 1 or more; got 0"),
        (3, np.array([0, 1]), "groups must have a code for each of 3 cases; got 2"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(num_cases: int, groups: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Resampling(num_cases, groups)


def _interval(values: np.ndarray, groups: np.ndarray | None, seed: int) -> tuple[float, float]:
    mean = bootstrap(
        len(values), lambda counts: {"mean": counts @ values / counts.sum(1)}, groups=groups, resamples=300, seed=seed
    )
    low, high = mean["mean"]
    return low, high


def test_intervals_over_groups_are_wider_where_their_cases_are_alike_and_keep_their_promise() -> None:
    """30 patients of 4 images each; patients differ by 1, images of one by 0.2: the truth, 0, must lie inside 95 in 100 times."""
    inside, widths = {"cases": 0, "groups": 0}, {"cases": 0.0, "groups": 0.0}
    rounds = 100
    patients = np.repeat(np.arange(30), 4)
    for seed in range(rounds):
        generator = np.random.default_rng(seed)
        values = generator.normal(0, 1, 30)[patients] + generator.normal(0, 0.2, len(patients))
        for name, groups in (("cases", None), ("groups", patients)):
            low, high = _interval(values, groups, seed)
            inside[name] += low <= 0 <= high
            widths[name] += (high - low) / rounds
    # Four alike images count as one: the deviation of the mean is twice what independent images would have.
    assert widths["groups"] == pytest.approx(2 * widths["cases"], rel=0.1)
    assert inside["groups"] >= 88
    assert inside["cases"] <= 75, "what resampling cases promises is not so"


def test_where_cases_of_a_group_are_not_alike_the_grouped_interval_is_as_wide() -> None:
    values = np.random.default_rng(0).normal(size=400)
    widths = [high - low for low, high in (_interval(values, None, 0), _interval(values, np.repeat(np.arange(100), 4), 0))]
    assert widths[1] == pytest.approx(widths[0], rel=0.25)
