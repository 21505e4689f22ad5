"""Tests of two models on the same cases, against hand-worked numbers, brute force and published ones."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from search.analysis.paired_tests import auroc_covariance, delong, holm, mcnemar


def ratings(counts: list[int]) -> list[float]:
    return [float(rating) for rating, count in enumerate(counts, start=1) for _ in range(count)]


def test_the_standard_error_of_hanley_and_mcneils_ct_images() -> None:
    """58 normal and 51 abnormal images, rated 1 to 5 (Hanley & McNeil 1982, Table I); Stata's `roctab` has .8932 and .0307."""
    normal, abnormal = ratings([33, 6, 6, 11, 2]), ratings([3, 2, 2, 11, 33])
    positive = np.array([False] * len(normal) + [True] * len(abnormal))
    areas, covariance = auroc_covariance(positive, np.array([normal + abnormal]))
    assert (round(float(areas[0]), 4), round(float(covariance[0, 0]) ** 0.5, 4)) == (0.8932, 0.0307)


def brute_force(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's formula by double loops."""
    ill, well = np.flatnonzero(positive), np.flatnonzero(~positive)

    def kernel(s: np.ndarray, i: int, j: int) -> float:
        return 1.0 if s[i] > s[j] else 0.5 if s[i] == s[j] else 0.0

    of_ill = np.array([[np.mean([kernel(s, i, j) for j in well]) for i in ill] for s in scores])
    of_well = np.array([[np.mean([kernel(s, i, j) for i in ill]) for j in well] for s in scores])
    return of_ill.mean(1), np.cov(of_ill) / len(ill) + np.cov(of_well) / len(well)


@given(st.data())
@settings(max_examples=40)
def test_delongs_covariance_is_that_of_double_loops(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.booleans(), min_size=4, max_size=14).filter(lambda k: 2 <= sum(k) <= len(k) - 2))
    row = st.lists(st.integers(0, 5), min_size=len(kinds), max_size=len(kinds))
    scores = np.array(data.draw(st.lists(row, min_size=2, max_size=2)))
    areas, covariance = auroc_covariance(np.array(kinds), scores.astype(float))
    expected_areas, expected = brute_force(np.array(kinds), scores)
    assert areas == pytest.approx(expected_areas)
    assert covariance == pytest.approx(expected, abs=1e-12)


def test_groups_of_one_case_change_nothing_and_copies_in_groups_add_no_certainty() -> None:
    rng = np.random.default_rng(4)
    positive = rng.random(40) < 0.4
    scores = np.stack([positive + rng.normal(size=40), positive + rng.normal(size=40)])
    alone = auroc_covariance(positive, scores)[1]
    assert auroc_covariance(positive, scores, np.arange(40)[::-1])[1] == pytest.approx(alone)
    # Each case three times, as one patient's: what is known is what is known of 40 cases.
    thrice = auroc_covariance(np.repeat(positive, 3), np.repeat(scores, 3, axis=1), np.repeat(np.arange(40), 3))[1]
    assert thrice == pytest.approx(alone)
    unaware = auroc_covariance(np.repeat(positive, 3), np.repeat(scores, 3, axis=1))[1]
    assert np.diag(unaware) == pytest.approx(np.diag(alone) / 3, rel=0.1)


def test_groups_of_both_kinds_are_as_uncertain_as_a_jackknife_over_them() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 3)
    positive = rng.random(180) < 0.4
    score = positive * 1.0 + rng.normal(size=60)[groups] + 0.6 * rng.normal(size=180)
    _, covariance = auroc_covariance(positive, score[None], groups)

    def area(keep: np.ndarray) -> float:
        return float(auroc_covariance(positive[keep], score[None, keep])[0][0])

    left_out = np.array([area(groups != group) for group in range(60)])
    jackknife = 59 / 60 * ((left_out - left_out.mean()) ** 2).sum()
    assert float(covariance[0, 0]) == pytest.approx(jackknife, rel=0.05)


@pytest.mark.parametrize("in_groups", [False, True])
def test_equal_models_are_told_apart_in_one_set_of_twenty(in_groups: bool) -> None:
    rng, found = np.random.default_rng(0), 0
    groups = np.repeat(np.arange(30), 2) if in_groups else np.arange(60)
    for _ in range(600):
        positive = rng.random(60) < 0.4
        shared = rng.normal(size=60)[groups]
        scores = [positive + shared + 0.7 * rng.normal(size=60)[groups] + 0.3 * rng.normal(size=60) for _ in range(2)]
        found += (delong(positive, scores[0], scores[1], groups) or 0.0) < 0.05
    assert 0.03 <= found / 600 <= 0.075


def test_one_kind_of_case_or_one_group_of_it_is_refused() -> None:
    for positive, groups in (([True, True, False], None), ([True, True, False, False], [0, 0, 1, 2])):
        codes = None if groups is None else np.array(groups)
        with pytest.raises(ValueError, match=r"^cases must be of two groups or more with a positive case"):
            auroc_covariance(np.array(positive), np.zeros((1, len(positive))), codes)


def test_models_that_rank_alike_have_no_difference() -> None:
    positive, score = np.array([True, False, True, False]), np.array([0.9, 0.1, 0.4, 0.6])
    assert delong(positive, score, score * 2) == 1.0


def test_a_perfect_model_beside_a_constant_one_is_not_certain_to_be_better() -> None:
    """Both areas, 1 and .5, vary in nothing over these four cases, which is no proof."""
    positive = np.array([True, True, False, False])
    assert delong(positive, positive.astype(float), np.full(4, 0.5)) is None
    assert delong(np.array([True, False, False]), np.array([0.9, 0.1, 0.2]), np.array([0.1, 0.9, 0.2])) is None, "one alone"
    assert delong(positive, np.arange(4.0), np.arange(4.0)[::-1], np.array([0, 0, 1, 2])) is None, "one patient's"


def test_mcnemars_exact_test_is_the_binomial_of_the_cases_that_one_alone_has_right() -> None:
    """Eight that only the first has right, two only the second: 2 (1 + 10 + 45) / 1024."""
    first = np.array([True] * 8 + [False] * 2 + [True] * 30)
    second = np.array([False] * 8 + [True] * 2 + [True] * 30)
    assert mcnemar(first, second) == pytest.approx(112 / 1024)
    assert mcnemar(first, first) == 1.0


def test_grouped_right_and_wrong_by_hand() -> None:
    """Means of the groups 1/2, 1, -1/2: their sum squared over the sum of their squares is 1 / 1.5."""
    first, second = np.array([1, 1, 1, 0, 1], dtype=bool), np.array([0, 1, 0, 1, 1], dtype=bool)
    groups = np.array([7, 7, 3, 5, 5])
    assert mcnemar(first, second, groups) == pytest.approx(stats.chi2.sf(1 / 1.5, 1))


def test_holms_method_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@pytest.mark.parametrize(("gained", "lost"), list(product((3, 9), (3, 9))))
def test_who_is_called_first_changes_nothing(gained: int, lost: int) -> None:
    first = np.array([True] * gained + [False] * lost)
    assert mcnemar(first, ~first) == mcnemar(~first, first)
