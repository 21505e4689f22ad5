"""Operating points: chosen once on validation, used on other cases."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.analysis.operating_point import (
    FILE,
    OperatingPoint,
    at_operating_point,
    called,
    check_rule,
    choose,
    read_operating_point,
)
from search.cli import tables
from search.cli.main import run
from search.errors import PlanError
from trainables.errors import CheckpointError
from trainables.evaluation import CasePredictions

#: Five melanomas and five others, by probability; `m` is a melanoma.
ORDER = "mmommoomoo"
SCORES = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def predictions(order: str = ORDER, scores: np.ndarray = SCORES, groups: tuple[str, ...] = ()) -> list[CasePredictions]:
    truths = np.array([{"m": 1, "o": 0, "?": -1}[kind] for kind in order])
    names = tuple(f"c{n}" for n in range(len(order)))
    return [CasePredictions("DIAG", ("NEV", "MEL"), names, truths, np.stack([1 - scores, scores], axis=1), groups)]


@pytest.mark.parametrize(
    ("rule", "threshold", "sensitivity", "specificity"),
    [
        ("specificity:0.95", 0.9, 0.4, 1.0),
        ("specificity:0.8", 0.6, 0.8, 0.8),
        ("sensitivity:0.8", 0.6, 0.8, 0.8),
        ("sensitivity:0.95", 0.3, 1.0, 0.4),
        ("youden", 0.6, 0.8, 0.8),
        ("cost:1", 0.6, 0.8, 0.8),
        ("cost:5", 0.3, 1.0, 0.4),
        ("cost:0.2", 0.9, 0.4, 1.0),
    ],
)
def test_each_rule_by_hand(rule: str, threshold: float, sensitivity: float, specificity: float) -> None:
    found = choose(predictions(), rule, "valid")
    assert (found.threshold, found.num_cases, found.num_positive, found.label) == (threshold, 10, 5, "MEL")
    assert (found.sensitivity, found.specificity) == pytest.approx((sensitivity, specificity))


def test_where_not_even_the_highest_score_keeps_the_specificity_nothing_is_called() -> None:
    found = choose(predictions("om", np.array([0.9, 0.1])), "specificity:0.95", "valid")
    assert (found.sensitivity, found.specificity) == (0.0, 1.0)


@given(st.data())
def test_a_rule_holds_on_the_cases_that_chose_by_it(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from("mo"), min_size=2, max_size=25).filter(lambda k: len(set(k)) == 2))
    scores = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(kinds), max_size=len(kinds)))) / 9
    share = data.draw(st.sampled_from([0.5, 0.8, 0.95]))
    kept = choose(predictions("".join(kinds), scores), f"specificity:{share}", "valid")
    assert kept.specificity >= share
    found = choose(predictions("".join(kinds), scores), f"sensitivity:{share}", "valid")
    assert found.sensitivity >= share
    best = choose(predictions("".join(kinds), scores), "youden", "valid")
    assert (
        best.sensitivity + best.specificity
        >= max(kept.sensitivity + kept.specificity, found.sensitivity + found.specificity) - 1e-9
    )


def test_other_cases_do_not_choose_again() -> None:
    point = choose(predictions(), "youden", "valid")
    other = predictions("moom?", np.array([0.7, 0.65, 0.2, 0.1, 0.9]))
    found = at_operating_point(point, other)["measured"]
    assert {name: each["value"] for name, each in found.items()} == {"sensitivity": 0.5, "specificity": 0.5}
    assert all(0 <= low < high <= 1 for each in found.values() for low, high in [each["interval"]])
    sure = at_operating_point(point, predictions("mmoo", np.array([0.9, 0.8, 0.1, 0.2])))["measured"]
    assert [each["interval"] for each in sure.values()] == [None, None]
    assert at_operating_point(point, predictions("??", np.array([0.9, 0.8])))["measured"] == {}


def test_patients_are_resampled_whole() -> None:
    point = choose(predictions(), "youden", "valid")
    order, scores = "mo" * 40, np.tile([0.9, 0.1, 0.2, 0.8], 20)
    alone = at_operating_point(point, predictions(order, scores))["measured"]["sensitivity"]["interval"]
    of_few = tuple(f"p{n // 20}" for n in range(80))
    grouped = at_operating_point(point, predictions(order, scores, of_few))["measured"]["sensitivity"]["interval"]
    assert grouped is None, "each of four patients has the same share"
    assert alone[1] - alone[0] > 0.2


def test_it_is_kept_beside_the_checkpoints_own_files(tmp_path: Path) -> None:
    assert read_operating_point(tmp_path) is None
    point = choose(predictions(), "cost:5", "valid")
    point.write(tmp_path)
    assert read_operating_point(tmp_path) == point
    (tmp_path / FILE).write_text('{"task": 1}')
    with pytest.raises(CheckpointError, match=r"operating_point.json must be what `best --operating-point` wrote; got"):
        read_operating_point(tmp_path)


@pytest.mark.parametrize(
    "rule", ["", "specificity", "specificity:1", "sensitivity:1.5", "cost:0", "cost:-1", "Youden", "auroc:0.9"]
)
def test_other_rules_are_refused(rule: str) -> None:
    with pytest.raises(PlanError, match=r"^--operating-point must be specificity:0\.95, sensitivity:0\.95, youden or cost:5"):
        check_rule(rule)


def test_what_has_no_diagnosis_of_two_kinds_is_refused() -> None:
    site = [CasePredictions("site", ("arm", "leg", "back"), ("c0",), np.array([0]), np.array([[1.0, 0, 0]]))]
    with pytest.raises(PlanError, match=r"^--operating-point must be of a diagnosis with melanoma, or with two classes"):
        choose(site, "youden", "valid")
    with pytest.raises(PlanError, match=r"^--operating-point must be chosen on cases of MEL and others; got one kind \(valid\)$"):
        choose(predictions("mm", np.array([0.1, 0.2])), "youden", "valid")
    point = choose(predictions(), "youden", "valid")
    with pytest.raises(CheckpointError, match=r"^operating_point.json must be of a class that the checkpoint knows; got MEL"):
        at_operating_point(point, site)


def test_an_image_is_called_at_or_above_the_threshold() -> None:
    point = OperatingPoint("DIAG", "MEL", "youden", 0.6, "valid", 10, 5, 0.8, 0.8)
    rows = [{"probabilities": {"DIAG": {"NEV": 1 - p, "MEL": p}}} for p in (0.6, 0.59)]
    assert [called(point, row)["called"] for row in rows] == [True, False]


def test_words_say_where_it_was_chosen_and_that_this_flatters() -> None:
    point = choose(predictions(), "youden", "valid")
    told = at_operating_point(point, predictions("moom", np.array([0.7, 0.65, 0.2, 0.1])))
    text = tables.measured_point_text(told, "test")
    assert text.startswith("at the operating point of valid (youden: MEL from 0.600 on): sensitivity 0.500 [")
    assert "flatters" not in text
    assert "flatters" in tables.measured_point_text(told, "valid")
    assert "have sensitivity 0.800 and specificity 0.800, which flatters" in tables.point_text(json.loads(json.dumps(told)))


def test_best_takes_no_rule_without_a_copy_to_keep_it_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = ("--storage", str(tmp_path))
    assert run(("best", "nobody", "--operating-point", "youden", *storage)) == 2
    assert "--operating-point must stand beside --out" in capsys.readouterr().err
    assert run(("best", "nobody", "--operating-point", "best", "--out", str(tmp_path / "x"), *storage)) == 2
    assert "--operating-point must be specificity:0.95" in capsys.readouterr().err
