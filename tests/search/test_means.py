"""Metrics over runs: what each case contributes, by a jackknife written out, and one number with one interval."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from search.analysis import means
from search.analysis.means import RunMetrics, averaged, means_over_runs, run_metrics, seed_runs
from search.analysis.uncertainty import mean_intervals
from trainables.counted import of_all
from trainables.evaluation import Casewise
from trainables.metric_ranges import SHARE

LABELS = np.arange(40) % 4 == 0


def _scores(seed: int, gap: float = 1.5) -> np.ndarray:
    """Of forty cases: what is hard about a case is the same for every seed."""
    return np.random.default_rng(9).normal(0, 1, 40) + np.random.default_rng(seed).normal(0, 0.5, 40) + gap * LABELS


def _auroc(scores: np.ndarray, times: np.ndarray) -> float:
    return float(roc_auc_score(LABELS, scores, sample_weight=times)) if len(set(LABELS[times > 0])) == 2 else math.nan


def _cases(seed: int, groups: np.ndarray | None = None, gap: float = 1.5) -> Casewise:
    scores = _scores(seed, gap)

    def measure(counts: np.ndarray) -> Mapping[str, np.ndarray]:
        areas = [_auroc(scores, times) for times in counts]
        hits = counts @ ((scores > 1) == LABELS)
        return {"valid/accuracy": hits / counts.sum(1), "valid/auroc": np.array(areas), "valid/other/auroc": np.array(areas)}

    return Casewise("valid", 40, measure, groups=groups)


def test_each_case_contributes_what_is_other_without_it() -> None:
    found, cases = run_metrics(_cases(0)), _cases(0)
    assert found.values == of_all(cases.measure, 40)
    without = np.array([roc_auc_score(np.delete(LABELS, case), np.delete(_scores(0), case)) for case in range(40)])
    expected = (without - without.mean()) * math.sqrt(39 / 40)
    np.testing.assert_allclose(np.sort(found.influences["valid/auroc"]), np.sort(expected))


def test_the_jackknife_is_delongs_variance_of_an_auroc() -> None:
    """DeLong, DeLong, Clarke-Pearson 1988, written out: the sample variances of both kinds' placements, over their numbers."""
    scores = _scores(0)
    above = (scores[LABELS][:, None] > scores[~LABELS][None]).mean
    delong = np.var(above(1), ddof=1) / 10 + np.var(above(0), ddof=1) / 30
    assert (run_metrics(_cases(0)).influences["valid/auroc"] ** 2).sum() == pytest.approx(delong, rel=0.1)


def test_cases_of_one_patient_are_left_out_together() -> None:
    groups = np.arange(40) // 2
    found = run_metrics(_cases(0, groups)).influences["valid/accuracy"]
    assert len(found) == 20
    right = (_scores(0) > 1) == LABELS
    without = np.array([right[groups != group].mean() for group in range(20)])
    np.testing.assert_allclose(np.sort(found), np.sort((without - without.mean()) * math.sqrt(19 / 20)))


def test_many_cases_are_left_out_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """About the same variance from a quarter of the work; every run has the same blocks."""
    whole = (run_metrics(_cases(0)).influences["valid/accuracy"] ** 2).sum()
    monkeypatch.setattr(means, "MAX_BLOCKS", 10)
    found = run_metrics(_cases(0))
    assert len(found.influences["valid/accuracy"]) == 10
    assert 0.3 < (found.influences["valid/accuracy"] ** 2).sum() / whole < 3
    np.testing.assert_array_equal(found.influences["valid/auroc"], run_metrics(_cases(0)).influences["valid/auroc"])


def test_a_block_that_leaves_a_metric_without_meaning_is_taken_to_change_nothing() -> None:
    def measure(counts: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"valid/recall": np.where(counts[:, 0] > 0, 0.5, np.nan)}

    assert run_metrics(Casewise("valid", 5, measure)).influences["valid/recall"].tolist() == [0.0] * 5


def _runs(*seeds: int, gap: float = 1.5) -> Sequence[Sequence[RunMetrics]]:
    return [[run_metrics(_cases(seed, gap=gap))] for seed in seeds]


def test_one_number_has_one_interval() -> None:
    """A report said .646 twice, as test/melanoma/auroc and test/diagnosis/auroc, with two intervals."""
    (found,) = means_over_runs([_runs(0, 1, 2)])
    assert found["valid/auroc"] == found["valid/other/auroc"]
    assert found["valid/auroc"][1] == mean_intervals([seed_runs(_runs(0, 1, 2), "valid/auroc")], SHARE)[0]
    assert found == means_over_runs([_runs(0, 1, 2)])[0], "and the same one when it is asked again"


def test_intervals_of_several_configurations_hold_together() -> None:
    alone = means_over_runs([_runs(0, 1, 2)])[0]["valid/auroc"]
    together, other = means_over_runs([_runs(0, 1, 2), _runs(3, 4, 5, gap=1.0)])
    assert together["valid/auroc"][0] == alone[0] != other["valid/auroc"][0]
    own, joint = alone[1], together["valid/auroc"][1]
    assert own is not None
    assert joint is not None
    assert joint[0] < own[0] < own[1] < joint[1]


def test_two_seeds_have_a_mean_and_no_interval_and_none_has_nothing() -> None:
    few, none = means_over_runs([_runs(0, 1), []])
    assert few["valid/auroc"][0] == pytest.approx(np.mean([_auroc(_scores(seed), np.ones(40)) for seed in (0, 1)]))
    assert few["valid/auroc"][1] is None
    assert none == {}
    assert means_over_runs([]) == []


def test_cases_of_one_patient_alone_leave_no_interval() -> None:
    """What another patient would have given cannot be known; there are means."""
    groups = np.zeros(40, dtype=int)
    (found,) = means_over_runs([[[run_metrics(_cases(seed, groups))] for seed in (0, 1, 2)]])
    assert found["valid/auroc"][1] is None
    assert found["valid/auroc"][0] == means_over_runs([_runs(0, 1, 2)])[0]["valid/auroc"][0]


def test_runs_of_one_seed_are_averaged_case_by_case() -> None:
    """As on the test split, where all folds' networks see the same cases: their mean's jackknife is the mean of theirs."""
    one, other = run_metrics(_cases(0)), run_metrics(_cases(1))
    found = averaged([one, other])
    assert found.values["valid/auroc"] == pytest.approx((one.values["valid/auroc"] + other.values["valid/auroc"]) / 2)
    np.testing.assert_allclose(
        found.influences["valid/auroc"], (one.influences["valid/auroc"] + other.influences["valid/auroc"]) / 2
    )
