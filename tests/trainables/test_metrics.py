"""Every metric against scikit-learn on random data, or against a table worked by hand."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from trainables import counted, metrics
from trainables.bootstrap import bootstrap
from trainables.counted import once_each
from trainables.data.cases import LabelTask

Case = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
TASKS = (LabelTask("DIAG", ("NEV", "MEL", "MISC")), LabelTask("colour", ("no", "yes")))


def once(metric: Callable[..., Any], cases: np.ndarray, *more: Any, **settings: Any) -> Any:
    """A metric of all cases, or metrics by name; None, or absent, where it has no meaning."""
    found = metric(cases, *more, counts=once_each(len(cases)), **settings)
    if isinstance(found, dict):
        return {name: value for name, (value,) in found.items() if not np.isnan(value)}
    return None if np.isnan(found[0]) else found[0]


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
    found, predicted = once(metrics.task_metrics, probabilities, codes), probabilities.argmax(1)
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
        found = once(metrics.auroc, score, positive)
        if positive.all() or not positive.any():
            assert found is None
        else:
            areas.append(roc_auc_score(positive, score))
            assert found == pytest.approx(areas[-1])
    if areas:
        assert once(metrics.task_metrics, probabilities, codes)["auroc"] == pytest.approx(np.mean(areas))
    else:
        assert "auroc" not in once(metrics.task_metrics, probabilities, codes)


def test_macro_auroc_is_scikit_learns_one_against_rest() -> None:
    generator = np.random.default_rng(0)
    probabilities, codes = generator.dirichlet(np.ones(4), 200), generator.integers(0, 4, 200)
    expected = roc_auc_score(codes, probabilities, multi_class="ovr", average="macro")
    assert once(metrics.macro_auroc, probabilities, codes) == pytest.approx(expected)


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
    assert once(metrics.sensitivity_at_specificity, score, positive, specificity=specificity) == pytest.approx(expected)


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_sensitivity_needs_both_kinds_of_case(positive: list[bool]) -> None:
    assert once(metrics.sensitivity_at_specificity, np.array([0.1, 0.9]), np.array(positive)) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60), st.sampled_from([0.5, 0.8, 0.95]))
def test_sensitivity_at_specificity_is_the_best_of_all_thresholds(cases: list[tuple[int, bool]], specificity: float) -> None:
    score, positive = np.array([float(value) for value, _ in cases]), np.array([flag for _, flag in cases])
    found = once(metrics.sensitivity_at_specificity, score, positive, specificity=specificity)
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
    found = once(metrics.calibration_error, probabilities, np.array([0, 1, 0, 0, 0]))
    assert found == pytest.approx((0.90 + 1.05) / 5)


def test_calibration_error_of_certain_predictions_is_their_share_of_errors() -> None:
    certain = np.eye(2)[[0, 0, 1, 1]]
    assert once(metrics.calibration_error, certain, np.array([0, 0, 1, 1])) == 0
    assert once(metrics.calibration_error, certain, np.array([0, 1, 1, 1])) == pytest.approx(1 / 4)


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
    found = once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")
    for column, task in enumerate(TASKS):
        known = codes[:, column] >= 0
        assert 0 < known.sum() < 120
        alone = once(metrics.task_metrics, probabilities[known, column, : len(task.classes)], codes[known, column])
        assert {name: found[f"{task.name}/{name}"] for name in alone} == alone
    known = codes[:, 0] >= 0
    melanoma = roc_auc_score(codes[known, 0] == 1, probabilities[known, 0, 1])
    assert found["melanoma/auroc"] == pytest.approx(melanoma)


def test_means_are_over_the_tasks_that_have_the_metric() -> None:
    probabilities, codes = split_of(60, missing=0.1)
    found = once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")
    for name in ("accuracy", "recall", "precision", "f1", "calibration_error", "auroc"):
        assert found[f"{name}_mean"] == pytest.approx((found[f"DIAG/{name}"] + found[f"colour/{name}"]) / 2)
    codes[:, 1] = np.where(codes[:, 1] >= 0, 0, -1)  # one class left: no AUROC
    found = once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")
    assert "colour/auroc" not in found
    assert found["auroc_mean"] == found["DIAG/auroc"]
    assert found["accuracy_mean"] == pytest.approx((found["DIAG/accuracy"] + found["colour/accuracy"]) / 2)


def test_a_task_without_any_label_reports_nothing() -> None:
    probabilities, codes = split_of(40, missing=0.0)
    codes[:, 1] = -1
    found = once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")
    assert not [name for name in found if name.startswith("colour/")]
    codes[:, 0] = -1
    assert once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG") == {}


def test_melanoma_is_reported_only_where_the_diagnosis_has_such_a_class() -> None:
    probabilities, codes = split_of(40, missing=0.0)
    assert "melanoma/auroc" in once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")
    found = once(metrics.classification_metrics, probabilities, codes, TASKS, "colour")
    assert not [name for name in found if name.startswith(("melanoma/", "seven_point/"))]


def intervals_of(probabilities: np.ndarray, codes: np.ndarray, **how: int) -> dict[str, list[float]]:
    return bootstrap(len(codes), partial(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG"), **how)


def test_the_mean_auroc_is_that_of_all_metrics() -> None:
    probabilities, codes = split_of(60, missing=0.3)
    expected = once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")["auroc_mean"]
    assert once(metrics.auroc_mean, probabilities, codes, TASKS) == expected
    assert once(metrics.auroc_mean, probabilities, np.zeros_like(codes), TASKS) is None


def test_bootstrap_intervals_hold_the_value_and_narrow_with_cases() -> None:
    widths = []
    for cases in (60, 600):
        probabilities, codes = split_of(cases, missing=0.1)
        values = once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")
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
        found = once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")
        assert found["melanoma/average_precision"] == pytest.approx(expected)


def test_average_precision_of_a_hand_worked_table() -> None:
    # By score: melanoma, nevus, melanoma, nevus, and an unknown case that would come first.
    score = np.array([0.7, 0.9, 0.8, 0.1, 0.95])
    probabilities = np.zeros((5, 2, 3))
    probabilities[:, 0, 1], probabilities[:, 0, 0] = score, 1 - score
    probabilities[:, 1, 0] = 1.0
    codes = np.array([[1, 0], [1, 0], [0, 0], [0, 0], [-1, 0]])
    found = once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")
    assert found["melanoma/average_precision"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def test_average_precision_needs_a_melanoma() -> None:
    probabilities, codes = split_of(40, missing=0.0)
    codes[:, 0] = np.where(codes[:, 0] == 1, 0, codes[:, 0])
    assert "melanoma/average_precision" not in once(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_case_that_counts_twice_is_that_case_twice(seed: int) -> None:
    """Rows of counts, at once, against the cases repeated as often; scores tie, labels are missing, classes are not drawn."""
    generator = np.random.default_rng(seed)
    probabilities, codes = split_of(12, missing=0.2, seed=seed)
    counts = generator.integers(0, 3, (6, 12)) * (generator.random((6, 12)) < 0.6)
    counts[0], counts[1] = 0, np.eye(12)[3]
    for sharpness in (1, 10):
        said = probabilities.round(1) if sharpness == 1 else probabilities
        found = metrics.classification_metrics(said, codes, TASKS, "DIAG", counts)
        for row, times in enumerate(counts):
            chosen = np.repeat(np.arange(12), times)
            expected = once(metrics.classification_metrics, said[chosen], codes[chosen], TASKS, "DIAG")
            given_here = {name: values[row] for name, values in found.items() if not np.isnan(values[row])}
            assert given_here == pytest.approx(expected)


@pytest.mark.parametrize("groups", [None, np.arange(60) // 4])
def test_bootstrap_is_a_loop_over_the_cases_that_are_drawn(groups: np.ndarray | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop that it was: one resample after another, each measured for itself."""
    monkeypatch.setattr(counted, "_MOST_ROWS", 16)  # several chunks, the last one smaller
    probabilities, codes = split_of(60, missing=0.2)
    generator, samples = np.random.default_rng(5), defaultdict(list)
    for _ in range(40):
        if groups is None:
            chosen = generator.integers(0, 60, 60)
        else:
            chosen = np.concatenate([np.flatnonzero(groups == group) for group in generator.integers(0, 15, 15)])
        for name, value in once(metrics.classification_metrics, probabilities[chosen], codes[chosen], TASKS, "DIAG").items():
            samples[name].append(value)
    compute = partial(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG")
    found = bootstrap(60, compute, groups=groups, resamples=40, seed=5)
    assert set(found) == set(samples)
    for name, values in samples.items():
        assert found[name] == pytest.approx(np.percentile(values, (2.5, 97.5))), name


def test_bootstrap_takes_the_percentiles_of_what_was_computed_from_resampled_cases() -> None:
    values, drawn = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), []

    def compute(counts: np.ndarray) -> dict[str, np.ndarray]:
        drawn.extend(counts.tolist())
        return {"mean": counts @ values / 5, "constant": np.full(len(counts), 3.0)}

    intervals = bootstrap(5, compute, resamples=200, seed=4)
    assert len(drawn) == 200
    assert {sum(times) for times in drawn} == {5}
    assert np.all(np.sum(drawn, axis=0) > 0)
    assert any(max(times) > 1 for times in drawn), "with repetition"
    low, high = intervals["mean"]
    assert "constant" not in intervals, "an interval without a width would say that it is certain"
    ordered = sorted((np.array(drawn) @ values / 5).tolist())
    # 2.5 % of 199 steps lie between the fifth and the sixth value: 4.975.
    assert low == pytest.approx(ordered[4] + 0.975 * (ordered[5] - ordered[4]))
    assert high == pytest.approx(ordered[194] + 0.025 * (ordered[195] - ordered[194]))


def test_bootstrap_leaves_out_samples_in_which_a_metric_has_no_meaning() -> None:
    def compute(counts: np.ndarray) -> dict[str, np.ndarray]:
        share = counts[:, 0] / 4
        return {"share of 0": np.where(share > 0, share, np.nan), "never": np.full(len(counts), np.nan)}

    found = bootstrap(4, compute, resamples=100)
    low, high = found.pop("share of 0")
    assert low == 0.25
    assert 0.5 <= high <= 1
    assert found == {}


def test_bootstrap_draws_a_thousand_samples_unless_told_otherwise() -> None:
    sizes: list[tuple[int, ...]] = []

    def compute(counts: np.ndarray) -> dict[str, np.ndarray]:
        sizes.append(counts.shape)
        return {}

    bootstrap(3, compute)
    assert sum(rows for rows, _ in sizes) == 1000
    assert {cases for _, cases in sizes} == {3}
