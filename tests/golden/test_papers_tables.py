"""The papers' tables as they stand in the code: their own arithmetic holds."""

from collections.abc import Mapping

import numpy as np
import pytest

from spaces import attentive, gated
from trainables.attentive.paper import TABLE_3 as ATTENTIVE_TABLE_3
from trainables.data.source import synthetic_location
from trainables.gated.paper import COLUMNS as GATED_COLUMNS
from trainables.gated.paper import TABLE_2 as GATED_TABLE_2
from trainables.gated.paper import TABLE_3 as GATED_TABLE_3
from trainables.paper import Paper
from trainables.tasks import TASKS


def paper_values(task: str, experiment: str) -> Mapping[str, float]:
    return paper_of(task).values(experiment)


def other_data(task: str, source: str, counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str | None:
    return paper_of(task).other_data(source, counts)


def paper_of(task: str) -> Paper:
    found = TASKS[task].paper
    assert found is not None
    return found


DERM7PT = {"train": 413, "valid": 203, "test": 395}


@pytest.mark.parametrize("experiment", GATED_TABLE_2)
@pytest.mark.parametrize("metric", ["accuracy", "recall", "precision"])
def test_the_last_column_is_the_mean_of_the_criteria(experiment: str, metric: str) -> None:
    *columns, mean = GATED_TABLE_2[experiment][metric]
    # Both are rounded to a tenth; one sum of the paper's is a little further off than that allows.
    assert np.mean(columns[1:]) == pytest.approx(mean, abs=0.11)


def test_binarys_direct_matrix_gives_its_row_of_table_2() -> None:
    (true_negative, false_positive), (false_negative, true_positive) = GATED_TABLE_3["binary"]["direct"]
    total = true_negative + false_positive + false_negative + true_positive
    recall = (true_negative / (true_negative + false_positive) + true_positive / (true_positive + false_negative)) / 2
    precision = (true_negative / (true_negative + false_negative) + true_positive / (true_positive + false_positive)) / 2
    row = GATED_TABLE_2["binary"]
    assert 100 * (true_negative + true_positive) / total == pytest.approx(row["accuracy"][0], abs=0.05)
    assert 100 * recall == pytest.approx(row["recall"][0], abs=0.05)
    assert 100 * precision == pytest.approx(row["precision"][0], abs=0.05)


@pytest.mark.parametrize(("experiment", "rule"), [(name, rule) for name, rules in GATED_TABLE_3.items() for rule in rules])
def test_every_matrix_is_over_the_test_split(experiment: str, rule: str) -> None:
    assert np.sum(GATED_TABLE_3[experiment][rule]) == DERM7PT["test"]
    assert np.sum(GATED_TABLE_3[experiment][rule], axis=1).tolist() == [294, 101]


def test_every_experiment_of_the_tables_can_be_trained() -> None:
    assert set(GATED_TABLE_2) == set(gated.EXPERIMENTS)
    assert set(ATTENTIVE_TABLE_3) == set(attentive.VARIANTS) <= set(attentive.EXPERIMENTS)


def test_the_papers_values_by_the_names_of_metrics() -> None:
    standard = paper_values("gated", "standard")
    assert standard["BWV/recall"] == pytest.approx(0.765)
    assert standard["criteria/precision"] == pytest.approx(0.552)
    assert standard["seven_point/sensitivity_1"] == pytest.approx(90 / 101)
    assert standard["seven_point/specificity_direct"] == pytest.approx(281 / 294)
    assert "seven_point/sensitivity_3" not in standard
    assert len([name for name in standard if not name.startswith("seven_point/")]) == 3 * len(GATED_COLUMNS)
    assert paper_values("attentive", "VGG_GAP") == {"melanoma/auroc": 0.8661, "melanoma/average_precision": 0.6579}
    third = paper_values("attentive", "VGG_AttentiveConvLSTM_Deco_GAP_3")
    assert third["structures/map"] == 0.037
    assert third["structures/class_accuracy"] == 0.2203
    assert third["structures/predicted_class_pixel_auroc"] == 0.452
    assert not [name for name in third if name.startswith("attributes/")], "the others are not the paper's definition"
    assert paper_values("attentive", "skip + batch norm, w") == {}


def counts(melanomas: int = 101, **sizes: int) -> dict[str, dict[str, dict[str, int]]]:
    found = {**DERM7PT, **sizes}
    return {split: {"DIAG": {"NEV": size - melanomas, "MEL": melanomas}, "PN": {"ABS": size}} for split, size in found.items()}


def test_data_that_are_not_the_papers_are_told_apart() -> None:
    assert other_data("gated", "derm7pt:/data/release_v0", counts()) is None
    drawn = f"derm7pt:{synthetic_location(1011, 256)}"
    assert other_data("gated", drawn, counts()) == "these are synthetic images, drawn by dermtune"
    few = other_data("gated", "derm7pt:/data/some", counts(train=40))
    assert few == "the paper has derm7pt train 413, valid 203, test 395 cases, these are derm7pt train 40, valid 203, test 395"
    assert "these are table train 413" in (other_data("gated", "table:/data/release.csv", counts()) or "")
    other = other_data("gated", "derm7pt:/data/release_v0", counts(melanomas=99))
    assert other == "the paper's test split has 101 melanomas, this one has 99"
