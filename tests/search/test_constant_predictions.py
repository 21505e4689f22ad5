"""Tasks of which every case is called the same are pointed out, on the terminal and in the report, and no others."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bowl_events import begun, plan_of, state_after

from search.analysis.constant_predictions import constant_in_evaluation, constant_in_explanation
from search.analysis.leaderboard import RecordedSearch
from search.analysis.report import report_page
from search.cli import tables
from search.records.folder import SearchFolder
from trainables.evaluation import CasePredictions, Confusions, Evaluation
from trainables.explanation import Explanation, SeenCase

CLASSES = ("NEV", "MEL", "BCC")
LINE = (
    "DIAG: all 4 cases are called NEV, so its sensitivity is 1 and its specificity 0, other classes have 0 and 1, and the"
    " accuracy, 0.75, is only the share of NEV"
)


def predictions(truths: Sequence[int], said: Sequence[int], task: str = "DIAG") -> CasePredictions:
    """Cases with these labels, each called so with a probability of 0.5 or more."""
    probabilities = 0.5 * np.eye(3)[list(said)] + 1 / 6
    names = tuple(f"{number}.jpg" for number in range(len(truths)))
    return CasePredictions(task, CLASSES, names, np.array(truths), probabilities)


@pytest.mark.parametrize(
    ("truths", "said", "lines"),
    [
        ((0, 0, 1, 0), (0, 0, 0, 0), [LINE]),
        ((0, 0, 1, 0, -1), (0, 0, 0, 0, 2), [LINE]),  # a case without a label does not count
        ((0, 0, 1, 0), (0, 0, 0, 1), []),
        ((0, 0, 0, 0), (0, 0, 0, 0), []),  # that is what they are
        ((1, -1, -1), (0, 0, 0), []),  # one case is called one class by any model
        (
            (1, 2, 1),
            (0, 0, 0),
            ["DIAG: all 3 cases are called NEV, which none of them is: accuracy and the sensitivity of every class are 0"],
        ),
        ((-1, -1), (0, 0), []),
    ],
)
def test_a_line_says_what_follows_where_every_case_is_called_the_same(
    truths: Sequence[int], said: Sequence[int], lines: list[str]
) -> None:
    assert constant_in_evaluation([predictions(truths, said), predictions((0, 1), (0, 1), "PN")]) == lines


def test_an_evaluation_shows_the_line_once_for_each_task(capsys: pytest.CaptureFixture[str]) -> None:
    constant = [predictions((0, 0, 1, 0), (0, 0, 0, 0), task) for task in ("DIAG", "VS")]
    found = Evaluation("valid", 4, {"valid/DIAG/accuracy": 0.75}, {"valid/DIAG/accuracy": [0.5, 1.0]}, {}, tuple(constant))
    tables.show_evaluation(Path("winner"), found)
    shown = capsys.readouterr().out
    assert [shown.count(LINE), shown.count(LINE.replace("DIAG", "VS"))] == [1, 1]
    tables.show_evaluation(Path("winner"), replace(found, predictions=(predictions((0, 1), (0, 1)),)))
    assert "are called" not in capsys.readouterr().out


def test_an_evaluation_says_of_how_many_cases_each_task_knows_the_label(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = (predictions((0, 1, -1, -1), (0, 1, 0, 0), "DIAG"), predictions((0, 1, 1, -1), (0, 1, 0, 0), "VS"))
    found = Evaluation("valid", 4, {"valid/DIAG/accuracy": 1.0}, {"valid/DIAG/accuracy": [0.5, 1.0]}, {}, tasks)
    tables.show_evaluation(Path("winner"), found)
    assert "of 4 cases those with a label count (DIAG 2, VS 3)" in " ".join(capsys.readouterr().out.split())
    assert found.to_json()["labelled"] == {"DIAG": 2, "VS": 3}
    tables.show_evaluation(Path("winner"), replace(found, num_cases=2, predictions=(predictions((0, 1), (0, 1)),)))
    assert "labels are missing" not in capsys.readouterr().out


def test_what_every_resample_gives_alike_has_no_interval_and_it_is_said_why(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"test/melanoma/auroc": 1.0, "test/DIAG/accuracy": 0.8, "model/gate_sharing": 0.35}
    tables.show_evaluation(Path("winner"), Evaluation("test", 4, metrics, {"test/DIAG/accuracy": [0.5, 1.0]}))
    shown = " ".join(capsys.readouterr().out.split())
    assert "0.5000 to 1.0000" in shown
    assert "no interval: nearly every resample of these cases gives the same value" in shown
    assert shown.endswith("how sure it is (test/melanoma/auroc)"), "what is of the network has nothing to do with cases"


def test_the_report_shows_the_line_below_the_confusions_of_its_trial(tmp_path: Path) -> None:
    case = SeenCase("0.jpg", np.zeros((2, 2, 3), np.uint8), "DIAG", {"DIAG": dict.fromkeys(CLASSES, 1 / 3)})
    counts = [[3, 0, 0], [1, 0, 0], [0, 0, 0]]
    confusions = {"DIAG": Confusions(CLASSES, {"valid": counts}), "structures": Confusions(CLASSES, {"valid": counts})}
    lines = constant_in_explanation(Explanation("valid", 4, confusions, cases=(case,)))
    assert lines == [LINE], "masks are no cases"
    plan = plan_of()
    state = state_after(plan, [*begun("t0", 0.0), *begun("t1", 1.0)])
    pictures = {"learning_curves": "<i>curves</i>", "confusion": "<i>matrix</i>"}
    found = RecordedSearch(SearchFolder(tmp_path, plan.name), plan, state)
    page = report_page(found, {}, {"t0": pictures, "t1": pictures}, constant={"t1": lines})
    assert page.count(LINE) == 1
    assert page.rindex("<i>matrix</i>") < page.index(LINE)
