"""The pages that reproductions end in, from numbers made by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from search.analysis.reproduction_figures import beside_paper
from search.analysis.reproduction_page import drawn_page, write_reproduction, written
from spaces.attentive import EXPERIMENTS
from trainables import tasks
from trainables.data.segmented import STRUCTURES
from trainables.gated.paper import COLUMNS
from trainables.reproduced import MeanConfusions, Measured, Outcome, Reproduced
from trainables.sharing import Sharing

TASKS = ("DIAG", "PN", "BWV", "VS", "PIG", "STR", "DaG", "RS")


def measured(experiment: str, task: str = "gated", mean: float = 0.5) -> dict[str, Measured]:
    paper = tasks.TASKS[task].paper
    papers = {} if paper is None else paper.values(experiment)
    names = [f"{'criteria' if c == 'mean' else c}/{m}" for c in COLUMNS for m in ("accuracy", "recall", "precision")]
    names += [f"seven_point/{rate}_{rule}" for rate in ("sensitivity", "specificity") for rule in ("1", "3", "direct")]
    if task == "attentive":
        names = ["melanoma/auroc", "melanoma/average_precision", "structures/map", "gazes/pointing_accuracy"]
    return {name: Measured(mean, (mean - 0.1, mean + 0.2), papers.get(name)) for name in names}


def sharing(taken: float) -> Sharing:
    """The diagnosis takes so much of every criterion, criteria a tenth of each other."""
    block = np.full((8, 8), 0.1)
    block[0, 1:] = taken
    np.fill_diagonal(block, 1.0)
    blocks, start = np.stack([block, block]), np.full((2, 8, 8), 0.5)
    start[:, np.eye(8, dtype=bool)] = 1.0
    return Sharing(TASKS, blocks, (0, 3), np.stack([start, blocks]))


def gated(other: str | None = "these are synthetic images, drawn by dermtune") -> Reproduced:
    points = {rule: np.array([[108.5, 185.5], [11.0, 90.0]]) for rule in ("1", "3", "direct")}
    annotated = {rule: np.array([[121.0, 173.0], [1.0, 100.0]]) for rule in ("1", "3")}
    outcomes = tuple(
        Outcome(
            name,
            epochs=(9, 12),
            metrics=measured(name),
            confusions={
                "seven_point": MeanConfusions(("benign", "melanoma"), points),
                "seven_point_annotated": MeanConfusions(("benign", "melanoma"), annotated),
            },
            sharings=() if name == "gates-off" else (sharing(0.4), sharing(0.5), sharing(0.45)),
        )
        for name in ("standard", "gates-off", "binary")
    )
    failed = Outcome("half", failures=("t0001: diverged",))
    return Reproduced("mine", "gated", "derm7pt:x", "test", "DIAG", 3, (*outcomes, failed), other, "Read 6 times.")


def page_of(found: Reproduced) -> tuple[str, dict[str, Figure]]:
    return drawn_page(found, tasks.TASKS[found.task].paper)


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the table that follows a heading."""
    lines = text[text.index(heading) :].splitlines()[1:]
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    found = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return [found[0], *found[2:]]


def test_table_2_has_ours_with_its_interval_and_the_papers_with_the_difference() -> None:
    text, pictures = page_of(gated())
    (headings, standard, *_) = rows(text, "## Table 2")
    assert headings == [
        "mean of 7, %",
        *("accuracy", "paper (diff.)", "recall", "paper (diff.)", "precision", "paper (diff.)"),
    ]
    assert standard[:3] == ["standard", "50.0 [40.0, 70.0]", "61.3 (-11.3)"]
    by_task = rows(text, "### binary")
    ours = "50.0 [40.0, 70.0]"
    assert by_task[1] == ["DIAG", ours, "77.2 (-27.2)", ours, "71.0 (-21.0)", ours, "70.3 (-20.3)"]
    assert [row[0] for row in by_task[1:]] == [*TASKS, "mean of 7"]
    assert "DIAG has two classes here" in text
    assert set(pictures) == {"criteria", "sharing"}


def test_table_3_has_every_rule_beside_the_papers_counts() -> None:
    table = rows(page_of(gated())[0], "## Table 3")
    assert table[1] == ["annotated criteria", "checklist, τ = 1", "121", "173", "1", "100", "–", "–", "121, 173, 1, 100"]
    standard = {row[1]: row for row in table if row[0] == "standard"}
    assert list(standard) == ["checklist, τ = 1", "checklist, τ = 3", "direct"]
    assert standard["checklist, τ = 1"][2:] == [
        *("108.5", "185.5", "11", "90", "0.500 [0.400, 0.700]", "0.500 [0.400, 0.700]", "108, 186, 11, 90")
    ]
    assert standard["checklist, τ = 3"][-1] == "–", "the paper's text has no such matrix"


def test_whether_the_diagnosis_takes_more_is_said_with_an_interval() -> None:
    text, _ = page_of(gated())
    table = rows(text, "## Figure 4")
    # Differences of .3, .4 and .35: their standard error is .05/√3, Student's t with two degrees of freedom 4.303.
    assert table[1] == ["standard", "last block", "45.0", "10.0", "+35.0 [+22.6, +47.4]", "more"]
    assert [row[:2] for row in table[1:]] == [
        [name, of] for name in ("standard", "binary") for of in ("last block", "all blocks")
    ]
    assert "networks agree on who takes what (the mean correlation of two networks' changes since their start is 1.00" in text


def test_data_that_are_not_the_papers_are_named_before_anything_else(tmp_path: Path) -> None:
    page = write_reproduction(gated(), tmp_path)
    assert written(tmp_path) == page
    text = page.read_text()
    assert text.index("These are not the paper's data: these are synthetic images") < text.index(
        "Every experiment was trained on"
    )
    assert "half: t0001: diverged" in text
    own = write_reproduction(gated(other=None), tmp_path).read_text()
    assert "not the paper's data" not in own
    assert "Not as in the paper" not in own
    small = replace(gated(), unlike_paper=("size_px is 96, the paper's 256",), notes=("one image twice",))
    small_page = write_reproduction(small, tmp_path).read_text()
    assert "Not as in the paper: size_px is 96, the paper's 256." in small_page.replace("’", "'")
    assert "one image twice" in small_page
    document = json.loads((tmp_path / "reproduction.json").read_text())
    found = {row["experiment"]: row for row in document["experiments"]}
    recall = found["standard"]["metrics"]["BWV/recall"]
    assert recall == {"mean": 0.5, "interval": [0.4, 0.7], "paper": 0.765, "difference": pytest.approx(-0.265)}
    assert found["standard"]["dependence"]["last block"]["difference"] == pytest.approx(0.35)
    assert found["gates-off"]["sharing_of_last_block"] is None
    assert found["half"]["metrics"] == {}


def test_the_attentive_tables_have_every_variant_and_every_cell_of_the_grid(tmp_path: Path) -> None:
    confusion = MeanConfusions(STRUCTURES, {"confusion": np.arange(36.0).reshape(6, 6)})
    outcomes = tuple(
        Outcome(name, (3,), metrics=measured(name, "attentive"), confusions={"structures": confusion} if "Deco" in name else {})
        for name in EXPERIMENTS
    )
    found = Reproduced("mine", "attentive", "isic2017:x", "test", "melanoma", 1, outcomes, None, "Read 17 times.")
    text, pictures = page_of(found)
    table = rows(text, "## Table 3")
    assert len(table) == 8
    assert table[2] == ["VGG_GAP", "0.500 [0.400, 0.700]", "0.866 (-0.366)", "0.500 [0.400, 0.700]", "0.658 (-0.158)"]
    assert rows(text, "## Table 4")[1] == ["ISIC 2017's best", "0.911"]
    grid = rows(text, "## Skips")
    assert grid[0] == ["AUC of melanoma", "w", "w′", "mini-batch"]
    assert len(grid) == 5
    assert all(cell == "0.500 [0.400, 0.700]" for row in grid[1:] for cell in row[1:])
    structures = {row[0]: row for row in rows(text, "## Table 5")}
    assert structures["VGG_AttentiveConvLSTM_Deco_GAP_3"][1:3] == ["0.500 [0.400, 0.700]", "–"]
    assert structures["the paper: VGG_AttentiveConvLSTM_Deco_GAP_3"][1:] == ["0.037", "0.220", "0.452", "–"]
    headings = rows(text, "## Table 5")[0]
    assert headings[1:4] == ["mAP at IoU .5, .6, .7, .8", "class accuracy", "AUC of pixels (class as predicted)"]
    assert "a structure counts when exactly one mask said to be it overlaps it above the threshold" in text
    assert "the pixels of every mask, of all six classes, against the truth of the class that was predicted for it" in text
    assert structures["LIN (as the paper quotes it)"][4] == "0.833"
    assert set(pictures) == {"diagnosis", "structures"}
    page = write_reproduction(found, tmp_path).read_text()
    assert "No intervals: how much a metric varies over seeds cannot be known from fewer than three" in page


def test_a_panel_of_what_no_run_has_says_so() -> None:
    found = measured("VGG_GAP", "attentive")
    known = {"melanoma/auroc": replace(found["melanoma/auroc"], interval=None)}
    figure = beside_paper(
        [Outcome("VGG_GAP", (3,), metrics=known), Outcome("VGG", (2,))], {"melanoma/auroc": "AUC", "structures/map": "mAP"}
    )
    told = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert told == [[], ["mAP:\nnothing to draw, no run has it"]]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["here (no interval)", "the paper, on its own data"]
