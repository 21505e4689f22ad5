"""The seven-point checklist and the numbers of the paper's Tables 2 and 3."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from trainables import metrics, seven_point
from trainables.counted import of_all, once_each
from trainables.data.derm7pt import TASKS

CRITERIA = {task.name: task.classes for task in TASKS if task.name != "DIAG"}
MAJOR = {"PN": "ATP", "BWV": "PRS", "VS": "IR"}
MINOR = {"STR": "IR", "PIG": "IR", "DaG": "IR", "RS": "PRS"}
#: The test split's own labels by score: what Table 3's column GT says of them. (melanoma, score, cases)
GROUND_TRUTH = [
    (False, 0, 121),
    (False, 1, 70),
    (False, 2, 49),
    (False, 3, 30),
    (False, 5, 24),
    (True, 0, 1),
    (True, 2, 5),
    (True, 3, 45),
    (True, 10, 50),
]
SCORING = {0: (), 1: ("STR",), 2: ("PN",), 3: ("BWV", "DaG"), 5: ("PN", "VS", "RS"), 10: (*MAJOR, *MINOR)}


def lesion(*scoring: str) -> dict[str, str]:
    """Labels of a case in which only the named criteria score."""
    return {name: ({**MAJOR, **MINOR}[name] if name in scoring else classes[0]) for name, classes in CRITERIA.items()}


def columns(cases: list[dict[str, str]]) -> dict[str, list[str]]:
    return {name: [case[name] for case in cases] for name in CRITERIA}


def ground_truth() -> tuple[list[dict[str, str]], np.ndarray[Any, Any]]:
    cases = [lesion(*SCORING[score]) for _, score, count in GROUND_TRUTH for _ in range(count)]
    return cases, np.array([melanoma for melanoma, _, count in GROUND_TRUTH for _ in range(count)])


def confusion(truth: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> Any:
    return seven_point.confusion(truth, predicted, once_each(len(truth)))[0].tolist()


@pytest.mark.parametrize("name", CRITERIA)
def test_one_label_of_each_criterion_scores_two_points_if_major_and_one_if_minor(name: str) -> None:
    for label in CRITERIA[name]:
        expected = 2 if MAJOR.get(name) == label else 1 if MINOR.get(name) == label else 0
        found = seven_point.scores(columns([{**lesion(), name: label}]))
        assert found.tolist() == [expected], label


def test_the_worst_case_has_ten_points_and_the_mildest_none() -> None:
    assert seven_point.scores(columns([lesion(*MAJOR, *MINOR), lesion()])).tolist() == [10, 0]


@pytest.mark.parametrize(
    ("threshold", "expected"), [(1, [False, True, True, True, True]), (3, [False, False, False, True, True])]
)
def test_a_score_of_the_threshold_itself_is_melanoma(threshold: int, expected: list[bool]) -> None:
    assert seven_point.inferred_melanoma(np.array([0, 1, 2, 3, 4]), threshold).tolist() == expected


def test_thresholds_are_the_papers() -> None:
    assert seven_point.THRESHOLDS == (1, 3)


def test_a_missing_criterion_is_named() -> None:
    labels = columns([lesion()])
    del labels["VS"], labels["BWV"]
    with pytest.raises(ValueError, match=r"labels must hold all seven criteria; got none for BWV, VS"):
        seven_point.scores(labels)


def test_confusion_has_truth_in_rows_and_prediction_in_columns() -> None:
    truth = np.array([False, False, False, True, True, True, True, True, True, True])
    predicted = np.array([False, True, True, False, False, False, True, True, True, True])
    assert confusion(truth, predicted) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("threshold", "matrix"), [(1, [[121, 173], [1, 100]]), (3, [[240, 54], [6, 95]])])
def test_true_labels_give_table_3s_column_gt(threshold: int, matrix: list[list[int]]) -> None:
    cases, melanoma = ground_truth()
    score = seven_point.scores(columns(cases))
    assert score.tolist() == [score for _, score, count in GROUND_TRUTH for _ in range(count)]
    assert confusion(melanoma, seven_point.inferred_melanoma(score, threshold)) == matrix


def test_predictions_equal_to_the_truth_give_the_same_matrices_through_the_metrics() -> None:
    cases, melanoma = ground_truth()
    probabilities, codes = np.zeros((len(cases), len(TASKS), 5)), np.zeros((len(cases), len(TASKS)), dtype=np.int64)
    for row, (case, is_melanoma) in enumerate(zip(cases, melanoma, strict=True)):
        labels = {**case, "DIAG": "MEL" if is_melanoma else "NEV"}
        codes[row] = [task.classes.index(labels[task.name]) for task in TASKS]
        probabilities[row, range(len(TASKS)), codes[row]] = 1
    once = once_each(len(cases))
    found = metrics.seven_point_confusions(probabilities, codes, TASKS, "DIAG", once)
    assert {name: matrix[0].tolist() for name, matrix in found.items()} == {
        "1": [[121, 173], [1, 100]],
        "3": [[240, 54], [6, 95]],
        "direct": [[294, 0], [0, 101]],
    }
    named = metrics.classification_metrics(probabilities, codes, TASKS, "DIAG", once)
    assert named["seven_point/sensitivity_1"] == pytest.approx(100 / 101)
    assert named["seven_point/specificity_1"] == pytest.approx(121 / 294)
    assert named["seven_point/accuracy_3"] == pytest.approx((240 + 95) / 395)
    # A case without a diagnosis counts in none of them.
    codes[:121, 0] = -1
    found = metrics.seven_point_confusions(probabilities, codes, TASKS, "DIAG", once)
    assert found["1"][0].tolist() == [[0, 173], [1, 100]]
    codes[:, 0] = -1
    nothing = of_all(partial(metrics.classification_metrics, probabilities, codes, TASKS, "DIAG"), len(cases))
    assert not [name for name in nothing if name.startswith("seven_point/")]


def test_the_papers_direct_block_gives_the_papers_rates_as_macro_averages() -> None:
    block = [[246, 48], [42, 59]]
    truth = np.repeat([0, 0, 1, 1], [246, 48, 42, 59])
    predicted = np.repeat([0, 1, 0, 1], [246, 48, 42, 59])
    assert confusion(truth == 1, predicted == 1) == block
    found = of_all(partial(metrics.task_metrics, np.eye(2)[predicted], truth), len(truth))
    assert round(100 * found["accuracy"], 1) == 77.2
    assert round(100 * found["recall"], 1) == 71.0
    assert round(100 * found["precision"], 1) == 70.3
