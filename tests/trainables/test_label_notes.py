"""What follows from labels that are not there, a line each, and that it is true of the metrics."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from trainables.counted import of_all
from trainables.data.cases import CaseSet, LabelTask
from trainables.data.label_notes import label_notes, nothing_to_rank, sparse_notes
from trainables.metrics import classification_metrics

TASKS = (LabelTask("DIAG", ("NEV", "MEL", "SK")), LabelTask("PN", ("ABS", "TYP")))


def case_set(train: Sequence[Sequence[int]], valid: Sequence[Sequence[int]], test: Sequence[Sequence[int]] = ()) -> CaseSet:
    """Cases by the codes of their two tasks."""
    labels = np.array([*train, *valid, *test])
    bounds = np.cumsum([len(train), len(valid), len(test)])
    splits = dict(zip(("train", "valid", "test"), np.split(np.arange(len(labels)), bounds[:-1]), strict=True))
    names = tuple(map(str, range(len(labels))))
    return CaseSet(
        source="table:x.csv",
        images=tuple(map(Path, names)),
        names=names,
        rows=(),
        tasks=TASKS,
        labels=labels,
        splits={split: members for split, members in splits.items() if len(members)},
        primary="DIAG",
    )


ALIKE = "it has no AUROC there and is no part of its mean, and accuracy is the share of cases called"
BOTH = [[0, 0], [1, 1], [0, 1], [1, 0]]


def test_where_nothing_is_missing_nothing_is_said() -> None:
    assert label_notes(case_set(BOTH, BOTH, BOTH)) == []


@pytest.mark.parametrize(
    ("valid", "test", "where"),
    [
        ([[2, 0], [2, 1], [0, 0], [2, 0]], (), "validation (3 cases)"),
        (BOTH, [[2, 0], [0, 1]], "test (1 case)"),
        ([[2, 0], [0, 1]], [[2, 0], [0, 1], [2, 1]], "validation (1 case) and test (2 cases)"),
    ],
)
def test_a_class_that_is_measured_and_never_learnt(
    valid: Sequence[Sequence[int]], test: Sequence[Sequence[int]], where: str
) -> None:
    assert label_notes(case_set(BOTH, valid, test)) == [
        f"DIAG: class SK is in {where} but not in training: the model cannot learn it, so recall of it stays 0 and is part of the"
        " mean"
    ]


@pytest.mark.parametrize(
    ("train", "valid", "expected"),
    [
        (
            [[0, 1], [1, 1], [0, -1]],
            [[0, 1], [1, 1]],
            [
                "PN: training has no other label than TYP (2 cases): there is nothing to tell apart, and the model says TYP of"
                " every case",
                f"PN: validation has no other label than TYP (2 cases): {ALIKE} TYP",
            ],
        ),
        (
            [[0, -1], [1, -1]],
            [[0, -1], [1, -1]],
            [
                "PN: no training case has a label: it learns nothing",
                "PN: no validation case has a label: it has no metric there, and is no part of the means",
            ],
        ),
        (
            [[0, -1], [1, -1]],
            [[0, 0], [1, 1]],
            ["PN: no training case has a label: it learns nothing, and what is measured of it elsewhere is chance"],
        ),
        (
            BOTH,
            [[0, 1]],
            [
                f"DIAG: validation has no other label than NEV (1 case): {ALIKE} NEV",
                f"PN: validation has no other label than TYP (1 case): {ALIKE} TYP",
                "the validation split has one case: a metric of it says next to nothing, and intervals over it have no width",
            ],
        ),
    ],
)
def test_tasks_with_one_label_or_none_and_splits_of_one_case(
    train: Sequence[Sequence[int]], valid: Sequence[Sequence[int]], expected: list[str]
) -> None:
    assert label_notes(case_set(train, valid)) == expected


FEW = "without a case a class is no part of AUROC and recall there, and one case alone makes its share 0 or 1"


@pytest.mark.parametrize(
    ("train", "valid", "expected"),
    [
        (BOTH, BOTH, []),
        ([*BOTH, [2, 0], [2, 0]], [*BOTH, [1, 0]], [f"DIAG: one case or none of SK (validation 0): {FEW}"]),
        ([*BOTH, [2, 0]], [*BOTH, *BOTH, [2, 0], [2, 0]], [f"DIAG: one case or none of SK (training 1): {FEW}"]),
        (BOTH, [*BOTH, *BOTH, [2, 0]], []),  # of which `label_notes` tells
        ([*BOTH, *BOTH], [[0, 0], [0, 0], [1, 1], [1, 0]], [f"PN: one case or none of TYP (validation 1): {FEW}"]),
        ([*BOTH, *BOTH], [[0, 0], [1, 0], [0, 0], [1, 0]], []),
    ],
)
def test_classes_of_one_case_or_none(train: Sequence[Sequence[int]], valid: Sequence[Sequence[int]], expected: list[str]) -> None:
    assert sparse_notes(case_set(train, valid)) == expected


def test_a_primary_task_of_one_label_leaves_nothing_to_rank() -> None:
    assert nothing_to_rank(case_set(BOTH, BOTH)) == []
    ((line,), (none,)) = (nothing_to_rank(case_set([[code, 0], [code, 1]], BOTH)) for code in (1, -1))
    assert line.startswith("the primary task, DIAG, must have two labels or more in training; got MEL only, so that there is ")
    assert "; got none, so that there is nothing to learn and nothing to rank trials by (--set primary_task=TASK" in none


def test_a_split_without_training_cases_is_only_measured() -> None:
    cases = case_set(BOTH, BOTH)
    assert label_notes(CaseSet(**{**cases.__dict__, "splits": {"test": np.arange(4)}})) == []


def test_what_is_said_of_the_metrics_is_so() -> None:
    """A class that nobody says has recall 0 in the mean; a task with one label has no AUROC; one without labels no metric."""
    said = np.array([[[0.9, 0.1, 0.0], [0.3, 0.7, 0.0]], [[0.1, 0.9, 0.0], [0.4, 0.6, 0.0]], [[0.6, 0.4, 0.0], [0.9, 0.1, 0.0]]])

    def metrics_of(codes: np.ndarray) -> dict[str, float]:
        return of_all(partial(classification_metrics, said, codes, TASKS, "DIAG"), 3)

    found = metrics_of(np.array([[0, 1], [1, 1], [2, 1]]))
    assert found["DIAG/recall"] == pytest.approx(2 / 3)
    assert "PN/auroc" not in found
    assert found["auroc_mean"] == found["DIAG/auroc"]
    assert found["PN/accuracy"] == pytest.approx(2 / 3)
    unlabelled = metrics_of(np.array([[0, -1], [1, -1], [2, -1]]))
    assert not [name for name in unlabelled if name.startswith("PN/")]
    assert unlabelled["accuracy_mean"] == unlabelled["DIAG/accuracy"]
