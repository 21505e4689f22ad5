"""Every metric against scikit-learn on random data, or against a table worked by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from trainables import metrics
from trainables.data.cases import LabelTask

Case = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
TASKS = (LabelTask("DIAG", ("NEV", "MEL", "MISC")), LabelTask("colour", ("no", "yes")))


@st.composite
def one_task(draw: st.DrawFn) -> Case:
    """Probabilities on a coarse grid, so that scores tie, and codes that leave some classes out."""
    classes, cases = draw(st.integers(2, 5)), draw(st.integers(1, 25))
    rows = st.lists(st.integers(0, 4), min_size=classes, max_size=classes).filter(any)
    weights = np.array(draw(st.lists(rows, min_size=cases, max_size=cases)), dtype=np.float64)
    codes = draw(st.lists(st.integers(0, classes - 1), min_size=cases, max_size=cases))
    return weights / weights.sum(1, keepdims=True), np.array(codes, dtype=np.int64)


@settings(max_examples=60, deadline=None)
@given(one_task())
def test_rates_are_scikit_learns(case: Case) -> None:
    probabilities, codes = case
    found, predicted = metrics.task_metrics(probabilities, codes), probabilities.argmax(1)
    assert found["accuracy"] == pytest.approx(accuracy_score(codes, predicted))
    assert found["f1"] == pytest.approx(f1_score(codes, predicted, average="macro", zero_division=0))
    assert found["precision"] == pytest.approx(precision_score(codes, predicted, average="macro", zero_division=0))
    occurring = np.unique(codes)
    assert found["recall"] == pytest.approx(recall_score(codes, predicted, labels=occurring, average="macro", zero_division=0))


@settings(max_examples=60, deadline=None)
@given(one_task())
def test_auroc_is_scikit_learns_with_ties_and_without_absent_classes(case: Case) -> None:
    probabilities, codes = case
    areas = []
    for code in range(probabilities.shape[1]):
        positive, score = codes == code, probabilities[:, code]
        found = metrics.auroc(score, positive)
        if positive.all() or not positive.any():
            assert found is None
        else:
            areas.append(roc_auc_score(positive, score))
            assert found == pytest.approx(areas[-1])
    if areas:
        assert metrics.task_metrics(probabilities, codes)["auroc"] == pytest.approx(np.mean(areas))
    else:
        assert "auroc" not in metrics.task_metrics(probabilities, codes)


def test_macro_auroc_is_scikit_learns_one_against_rest() -> None:
    generator = np.random.default_rng(0)
    probabilities, codes = generator.dirichlet(np.ones(4), 200), generator.integers(0, 4, 200)
    expected = roc_auc_score(codes, probabilities, multi_class="ovr", average="macro")
    assert metrics.macro_auroc(probabilities, codes) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("negatives", "positives", "specificity", "expected"),
    [
        # Twenty negatives at 95 %: one may lie above the threshold.
        ([0.9] + [0.1] * 19, [0.5, 0.2, 0.1, 0.05], 0.95, 2 / 4),
        # Two negatives tie for the highest: no threshold cuts between them.
        ([0.9, 0.9] + [0.1] * 18, [0.95, 0.9, 0.5, 0.2], 0.95, 1 / 4),
        # Nineteen negatives: one above would already be 94.7 %.
        ([0.9] + [0.1] * 18, [0.95, 0.9, 0.5, 0.2], 0.95, 1 / 4),
        # A tie with the negative at the threshold is not above it.
        ([0.5] * 20, [0.5, 0.5], 0.95, 0.0),
        ([0.1, 0.2], [0.3, 0.4], 0.95, 1.0),
        ([0.1, 0.2, 0.3, 0.4], [0.15, 0.25, 0.35, 0.45], 0.5, 3 / 4),
    ],
)
def test_sensitivity_at_specificity_of_hand_worked_scores(
    negatives: list[float], positives: list[float], specificity: float, expected: float
) -> None:
    score = np.array([*negatives, *positives])
    positive = np.array([False] * len(negatives) + [True] * len(positives))
    assert metrics.sensitivity_at_specificity(score, positive, specificity) == pytest.approx(expected)


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_sensitivity_needs_both_kinds_of_case(positive: list[bool]) -> None:
    assert metrics.sensitivity_at_specificity(np.array([0.1, 0.9]), np.array(positive)) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60), st.sampled_from([0.5, 0.8, 0.95]))
def test_sensitivity_at_specificity_is_the_best_of_all_thresholds(cases: list[tuple[int, bool]], specificity: float) -> None:
    score, positive = np.array([float(value) for value, _ in cases]), np.array([flag for _, flag in cases])
    found = metrics.sensitivity_at_specificity(score, positive, specificity)
    if positive.all() or not positive.any():
        assert found is None
        return
    # "Called positive" is a score of the threshold or more; 9 calls none.
    rates = [((score[~positive] < cut).mean(), (score[positive] >= cut).mean()) for cut in range(10)]
    assert found == pytest.approx(max(hit for kept, hit in rates if kept >= specificity - 1e-9))


def test_calibration_error_of_a_hand_worked_table() -> None:
    # bin 0.9..1: confidences .95 .95, one right: |1.90 - 1| = .90; bin 0.6..0.7: .65 .65 .65, all right: |1.95 - 3| = 1.05
    confidence = np.array([0.95, 0.95, 0.65, 0.65, 0.65])
    probabilities = np.stack([confidence, 1 - confidence], 1)
    found = metrics.calibration_error(probabilities, np.array([0, 1, 0, 0, 0]))
    assert found == pytest.approx((0.90 + 1.05) / 5)


def test_calibration_error_of_certain_predictions_is_their_share_of_errors() -> None:
    certain = np.eye(2)[[0, 0, 1, 1]]
    assert metrics.calibration_error(certain, np.array([0, 0, 1, 1])) == 0
    assert metrics.calibration_error(certain, np.array([0, 1, 1, 1])) == pytest.approx(1 / 4)


def split_of(cases: int, *, missing: float, seed: int = 0) -> Case:
    """Predictions that lean towards the truth, padded with zeros, and codes."""
    generator = np.random.default_rng(seed)
    codes = np.stack([generator.integers(0, len(task.classes), cases) for task in TASKS], 1)
    probabilities = np.zeros((cases, len(TASKS), 3))
    for column, task in enumerate(TASKS):
        lean = 1 + 2 * np.eye(len(task.classes))[codes[:, column]]
        draws = np.stack([generator.dirichlet(row) for row in lean])
        probabilities[:, column, : len(task.classes)] = draws
    codes[generator.random(codes.shape) < missing] = -1
    return probabilities, codes


def test_missing_labels_are_left_out() -> None:
    probabilities, codes = split_of(120, missing=0.3)
    found = metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")
    for column, task in enumerate(TASKS):
        known = codes[:, column] >= 0
        assert 0 < known.sum() < 120
        alone = metrics.task_metrics(probabilities[known, column, : len(task.classes)], codes[known, column])
        assert {name: found[f"{task.name}/{name}"] for name in alone} == alone
    known = codes[:, 0] >= 0
    melanoma = roc_auc_score(codes[known, 0] == 1, probabilities[known, 0, 1])
    assert found["melanoma/auroc"] == pytest.approx(melanoma)


def test_means_are_over_the_tasks_that_have_the_metric() -> None:
    probabilities, codes = split_of(60, missing=0.1)
    found = metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")
    for name in ("accuracy", "recall", "precision", "f1", "calibration_error", "auroc"):
        assert found[f"{name}_mean"] == pytest.approx((found[f"DIAG/{name}"] + found[f"colour/{name}"]) / 2)
    codes[:, 1] = np.where(codes[:, 1] >= 0, 0, -1)  # one class left: no AUROC
    found = metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")
    assert "colour/auroc" not in found
    assert found["auroc_mean"] == found["DIAG/auroc"]
    assert found["accuracy_mean"] == pytest.approx((found["DIAG/accuracy"] + found["colour/accuracy"]) / 2)


def test_a_task_without_any_label_reports_nothing() -> None:
    probabilities, codes = split_of(40, missing=0.0)
    codes[:, 1] = -1
    found = metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")
    assert not [name for name in found if name.startswith("colour/")]
    codes[:, 0] = -1
    assert metrics.classification_metrics(probabilities, codes, TASKS, "DIAG") == {}


def test_melanoma_is_reported_only_where_the_diagnosis_has_such_a_class() -> None:
    probabilities, codes = split_of(40, missing=0.0)
    assert "melanoma/auroc" in metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")
    found = metrics.classification_metrics(probabilities, codes, TASKS, "colour")
    assert not [name for name in found if name.startswith(("melanoma/", "seven_point/"))]


def intervals_of(probabilities: np.ndarray, codes: np.ndarray, **how: int) -> dict[str, list[float]]:
    def compute(chosen: np.ndarray) -> dict[str, float]:
        return metrics.classification_metrics(probabilities[chosen], codes[chosen], TASKS, "DIAG")

    return metrics.bootstrap(len(codes), compute, **how)


def test_the_mean_auroc_is_that_of_all_metrics() -> None:
    probabilities, codes = split_of(60, missing=0.3)
    expected = metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")["auroc_mean"]
    assert metrics.auroc_mean(probabilities, codes, TASKS) == expected
    assert metrics.auroc_mean(probabilities, np.zeros_like(codes), TASKS) is None


def test_bootstrap_intervals_hold_the_value_and_narrow_with_cases() -> None:
    widths = []
    for cases in (60, 600):
        probabilities, codes = split_of(cases, missing=0.1)
        values = metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")
        intervals = intervals_of(probabilities, codes, resamples=200)
        assert set(intervals) == set(values)
        for name in ("DIAG/accuracy", "colour/recall", "auroc_mean", "DIAG/f1", "melanoma/auroc"):
            low, high = intervals[name]
            assert low < values[name] < high, name
        widths.append(intervals["auroc_mean"][1] - intervals["auroc_mean"][0])
    assert widths[1] < widths[0] / 2


def test_bootstrap_intervals_follow_their_seed() -> None:
    arguments = split_of(50, missing=0.1)
    first = intervals_of(*arguments, resamples=20, seed=1)
    assert intervals_of(*arguments, resamples=20, seed=1) == first
    assert intervals_of(*arguments, resamples=20, seed=2) != first


def test_average_precision_of_melanoma_is_scikit_learns() -> None:
    for seed in range(5):
        probabilities, codes = split_of(80, missing=0.3, seed=seed)
        probabilities = probabilities.round(1)  # scores that tie
        known = codes[:, 0] >= 0
        expected = average_precision_score(codes[known, 0] == 1, probabilities[known, 0, 1])
        found = metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")
        assert found["melanoma/average_precision"] == pytest.approx(expected)


def test_average_precision_of_a_hand_worked_table() -> None:
    # By score: melanoma, nevus, melanoma, nevus, and an unknown case that would come first.
    score = np.array([0.7, 0.9, 0.8, 0.1, 0.95])
    probabilities = np.zeros((5, 2, 3))
    probabilities[:, 0, 1], probabilities[:, 0, 0] = score, 1 - score
    probabilities[:, 1, 0] = 1.0
    codes = np.array([[1, 0], [1, 0], [0, 0], [0, 0], [-1, 0]])
    found = metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")
    assert found["melanoma/average_precision"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def test_average_precision_needs_a_melanoma() -> None:
    probabilities, codes = split_of(40, missing=0.0)
    codes[:, 0] = np.where(codes[:, 0] == 1, 0, codes[:, 0])
    assert "melanoma/average_precision" not in metrics.classification_metrics(probabilities, codes, TASKS, "DIAG")


def test_bootstrap_takes_the_percentiles_of_what_was_computed_from_resampled_cases() -> None:
    values, drawn, found = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), [], []

    def compute(chosen: np.ndarray) -> dict[str, float]:
        drawn.append(chosen.tolist())
        found.append(float(values[chosen].mean()))
        return {"mean": found[-1], "constant": 3.0}

    intervals = metrics.bootstrap(5, compute, resamples=200, seed=4)
    assert len(drawn) == 200
    assert all(len(chosen) == 5 for chosen in drawn)
    assert {case for chosen in drawn for case in chosen} == {0, 1, 2, 3, 4}
    assert any(len(set(chosen)) < 5 for chosen in drawn), "with repetition"
    low, high = intervals["mean"]
    assert intervals["constant"] == [3.0, 3.0]
    ordered = sorted(found)
    # 2.5 % of 199 steps lie between the fifth and the sixth value: 4.975.
    assert low == pytest.approx(ordered[4] + 0.975 * (ordered[5] - ordered[4]))
    assert high == pytest.approx(ordered[194] + 0.025 * (ordered[195] - ordered[194]))


def test_bootstrap_leaves_out_samples_in_which_a_metric_has_no_meaning() -> None:
    def compute(chosen: np.ndarray) -> dict[str, float]:
        return {"share of 0": float((chosen == 0).mean())} if 0 in chosen else {}

    low, high = metrics.bootstrap(4, compute, resamples=100)["share of 0"]
    assert low == 0.25
    assert 0.5 <= high <= 1
    assert metrics.bootstrap(4, lambda chosen: {}, resamples=3) == {}


def test_bootstrap_draws_a_thousand_samples_unless_told_otherwise() -> None:
    calls: list[int] = []

    def compute(chosen: np.ndarray) -> dict[str, float]:
        calls.append(len(chosen))
        return {}

    metrics.bootstrap(3, compute)
    assert calls == [3] * 1000
