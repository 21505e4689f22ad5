"""A split case by case: the table and the curves are those worked by hand."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search.analysis.evaluating import predictions_table, roc_curves, write_curves, write_predictions
from trainables.evaluation import CasePredictions

CASES = ("a.jpg", "b, c.jpg", "d.jpg", "e.jpg")
DIAGNOSIS = CasePredictions(
    "DIAG",
    ("NEV", "MEL"),
    CASES,
    np.array([0, 1, -1, 1]),
    np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.125, 0.875]]),
)
NETWORK = CasePredictions(
    "PN",
    ("ABS", "TYP", "ATP"),
    CASES,
    np.array([0, 1, 2, 1]),
    np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]),
)
ALIKE = CasePredictions("VS", ("ABS", "PRS"), CASES, np.zeros(4, dtype=np.int64), np.full((4, 2), 0.5))


def test_the_table_has_every_case_and_task_with_the_probability_of_each_class(tmp_path: Path) -> None:
    write_predictions([DIAGNOSIS, NETWORK], tmp_path / "cases.csv")
    expected = """case,task,truth,prediction,probability/NEV,probability/MEL,probability/ABS,probability/TYP,probability/ATP
a.jpg,DIAG,NEV,NEV,0.75,0.25,,,
"b, c.jpg",DIAG,MEL,NEV,0.5,0.5,,,
d.jpg,DIAG,,MEL,0.25,0.75,,,
e.jpg,DIAG,MEL,MEL,0.125,0.875,,,
a.jpg,PN,ABS,ABS,,,0.5,0.25,0.25
"b, c.jpg",PN,TYP,TYP,,,0.25,0.5,0.25
d.jpg,PN,ATP,ABS,,,0.5,0.25,0.25
e.jpg,PN,TYP,ATP,,,0.25,0.25,0.5
"""
    assert (tmp_path / "cases.csv").read_text() == expected
    read = pd.read_csv(io.StringIO(expected))
    pd.testing.assert_frame_equal(read, predictions_table([DIAGNOSIS, NETWORK]), check_dtype=False)


def test_curves_are_of_each_class_against_the_others_over_known_labels() -> None:
    diagnosis, network, alike = roc_curves([DIAGNOSIS, NETWORK, ALIKE]).axes
    labels = [[line.get_label() for line in axes.get_lines()][:-1] for axes in (diagnosis, network)]
    assert labels == [["MEL 1.000 (2 of 3)"], ["ABS 0.833 (1 of 4)", "TYP 0.750 (2 of 4)", "ATP 0.333 (1 of 4)"]]
    assert diagnosis.get_lines()[0].get_xydata().tolist()[-1] == [1.0, 1.0]
    assert "all known labels are alike" in alike.texts[0].get_text()
    assert not alike.get_lines(), "no empty axes where there is nothing to draw"


@pytest.mark.parametrize(("name", "start"), [("c.png", b"\x89PNG"), ("c.SVG", b"<svg")])
def test_curves_are_written_as_the_file_is_called(name: str, start: bytes, tmp_path: Path) -> None:
    write_curves([DIAGNOSIS], tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
