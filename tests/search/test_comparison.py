"""`dermtune compare`: models on the same cases, by hand, and from tables of anybody's."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search.analysis.compared_models import Model, brought_together, checkpoint_of, read_predictions
from search.analysis.comparison import THRESHOLDS, Compared, Scores, compare, net_benefit, reliability
from search.analysis.comparison_figure import comparison_figure
from search.cli.main import run
from search.errors import PlanError, SearchNotFound
from trainables.errors import DataError
from trainables.evaluation import CasePredictions

TRUTH = np.array([True, True, True, False, False, False, False, False])
FIRST = np.array([0.9, 0.8, 0.35, 0.7, 0.3, 0.2, 0.1, 0.05])


def scores(name: str, probabilities: np.ndarray) -> Scores:
    return Scores(name, probabilities, probabilities >= 0.5)


def compared(*models: Scores, groups: np.ndarray | None = None) -> Compared:
    return Compared("DIAG", "MEL", TRUTH, groups, models)


def test_every_metric_by_hand() -> None:
    found = compare(compared(scores("a", FIRST), scores("b", 1 - FIRST)), 0.8, resamples=200)
    values = {name: of_models["a"].value for name, of_models in found.metrics.items()}
    assert values["AUROC"] == pytest.approx(14 / 15), "one of fifteen pairs is the wrong way round"
    assert values["sensitivity at 80 % specificity"] == 1.0, "one of five negatives may lie above"
    assert values["accuracy"] == 6 / 8
    assert values["Brier score"] == pytest.approx(np.mean((FIRST - TRUTH) ** 2))
    bins = {0: (0.05, 0), 1: (0.1, 0), 2: (0.2, 0), 3: (0.65, 1), 7: (0.7, 0), 8: (0.8, 1), 9: (0.9, 1)}
    assert values["calibration error"] == pytest.approx(sum(abs(said - true) for said, true in bins.values()) / 8)
    (gap,) = found.differences["AUROC"]
    assert (gap.first, gap.second, gap.test) == ("a", "b", "DeLong")
    assert gap.value == pytest.approx(13 / 15)
    assert (found.num_cases, found.num_positive) == (8, 3)


def test_reliability_and_net_benefit_by_hand() -> None:
    assert reliability(TRUTH, FIRST)[-1] == (0.9, 1.0, 1)
    assert sum(cases for *_, cases in reliability(TRUTH, FIRST)) == 8
    # Three are treated from .6 on, two rightly: 2/8 - 1/8 x .6/.4.
    assert net_benefit(TRUTH, FIRST, 0.6) == pytest.approx(2 / 8 - 1.5 / 8)
    curves = compare(compared(scores("a", FIRST), scores("b", FIRST)), 0.8, resamples=50).net_benefit
    assert set(curves) == {"a", "b", "all", "none"}
    assert curves["all"][THRESHOLDS.index(0.5)] == pytest.approx(3 / 8 - 5 / 8)
    assert not any(curves["none"])


def test_a_model_is_no_better_than_itself() -> None:
    found = compare(compared(scores("a", FIRST), scores("b", FIRST)), 0.8, resamples=100)
    for pairs in found.differences.values():
        assert [(pair.value, pair.interval, pair.p) for pair in pairs] == [(0.0, None, 1.0)]


def test_three_models_are_three_pairs_whose_p_are_raised() -> None:
    rng = np.random.default_rng(2)
    truth = rng.random(120) < 0.4
    models = [scores(n, 1 / (1 + np.exp(-(g * truth + rng.normal(size=120))))) for n, g in (("a", 3.0), ("b", 1.0), ("c", 0.0))]
    found = compare(Compared("t", "c", truth, None, models), 0.9, resamples=200)
    alone = compare(Compared("t", "c", truth, None, models[1:]), 0.9, resamples=200)
    pairs = found.differences["AUROC"]
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(pair.p is not None and pair.p < 0.05 for pair in pairs)
    assert (pairs[2].p or 0) >= (alone.differences["AUROC"][0].p or 1)


def test_cases_in_groups_are_tested_as_such() -> None:
    of_whom = np.array([0, 0, 1, 2, 2, 3, 4, 5])
    found = compare(compared(scores("a", FIRST), scores("b", FIRST[::-1]), groups=of_whom), 0.8, resamples=100)
    assert {name: pairs[0].test for name, pairs in found.differences.items() if name in ("AUROC", "accuracy")} == {
        "AUROC": "Obuchowski",
        "accuracy": "Durkalski",
    }


def test_the_picture_is_drawn_of_constant_and_of_nine_models() -> None:
    many = compared(*(scores(f"model {n}", np.full(8, 0.5) if n == 0 else np.roll(FIRST, n)) for n in range(9)))
    figure = comparison_figure(many, compare(many, 0.8, resamples=20))
    assert [axes.get_title() for axes in figure.axes] == ["ROC of MEL, with its area", "Calibration", "Decision curve"]


def plain(folder: Path, name: str, probabilities: np.ndarray, truth: np.ndarray = TRUTH, **columns: object) -> str:
    table = {"case": [f"c{n}" for n in range(len(truth))], "truth": truth.astype(int), "probability": probabilities, **columns}
    pd.DataFrame(table).to_csv(folder / name, index=False)
    return str(folder / name)


def predicted(name: str, order: list[int], truths: list[int] | None = None) -> Model:
    codes = [int(TRUTH[n]) for n in order] if truths is None else truths
    said = np.stack([1 - FIRST[order], FIRST[order]], axis=1)
    cases, groups = tuple(f"c{n}" for n in order), tuple("p0" if n < 2 else "" for n in order)
    return Model(name, None, [CasePredictions("DIAG", ("NEV", "MEL"), cases, np.array(codes), said, groups)])


def test_models_are_brought_to_one_order_and_the_truth_may_come_from_any() -> None:
    first, second = predicted("a", list(range(8))), predicted("b", [7, 6, 5, 4, 3, 2, 1, 0], [-1] * 8)
    found = brought_together([first, second], None, None, "patients")
    assert (found.task, found.label, found.units) == ("DIAG", "MEL", "patients")
    assert found.positive.tolist() == TRUTH.tolist()
    assert found.models[0].probabilities.tolist() == found.models[1].probabilities.tolist() == FIRST.tolist()
    assert found.groups is not None
    assert len(set(found.groups.tolist())) == 7, "two of one patient"


def test_what_evaluate_writes_is_read_back(tmp_path: Path) -> None:
    from search.analysis.evaluating import write_predictions

    model = predicted("a", list(range(8)))
    other = CasePredictions("PN", ("x", "y", "z"), ("c0", "c1"), np.array([0, -1]), np.array([[1.0, 0, 0], [0, 0.5, 0.5]]))
    write_predictions([*model.predictions, other], tmp_path / "p.csv")
    back = read_predictions(tmp_path / "p.csv")
    assert [(each.task, each.classes, each.cases) for each in back] == [
        ("DIAG", ("NEV", "MEL"), model.predictions[0].cases),
        ("PN", ("x", "y", "z"), ("c0", "c1")),
    ]
    assert back[0].probabilities == pytest.approx(model.predictions[0].probabilities)
    assert (back[0].truths.tolist(), back[1].truths.tolist()) == (TRUTH.astype(int).tolist(), [0, -1])
    assert back[0].groups == model.predictions[0].groups


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([0, 1, 2, 3, 4, 5, 6], "^models must be of the same cases, each once; got 1 that a or b alone has$"),
        ([0, 1, 2, 3, 4, 5, 6, 6], "^models must be of the same cases, each once; got 1 that"),
    ],
)
def test_models_of_other_cases_are_refused(second: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        brought_together([predicted("a", list(range(8))), predicted("b", second)], None, None)


def test_other_truths_names_tasks_and_classes_are_refused() -> None:
    whole = list(range(8))
    with pytest.raises(DataError, match=r"^models must be told the same truth; got another one of c0 from b$"):
        brought_together([predicted("a", whole), predicted("b", whole, [0, *TRUTH[1:].astype(int).tolist()])], None, None)
    with pytest.raises(PlanError, match=r"^models must be different ones; got a, a$"):
        brought_together([predicted("a", whole), predicted("a", whole)], None, None)
    with pytest.raises(PlanError, match=r"^--task must be one of DIAG; got PN$"):
        brought_together([predicted("a", whole), predicted("b", whole)], "PN", None)
    with pytest.raises(PlanError, match=r"^--class must be one of NEV, MEL; got BCC$"):
        brought_together([predicted("a", whole), predicted("b", whole)], None, "BCC")
    with pytest.raises(DataError, match=r"^cases must be of MEL and of others; got 8 of 8$"):
        brought_together([predicted("a", whole, [1] * 8), predicted("b", whole, [1] * 8)], None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,truth,chance\nc0,1,0.5\n", "must have the columns case, truth and probability"),
        ("case,truth,probability\nc0,1,1.5\n", "probability must hold probabilities, 0 to 1; got '1.5'"),
        ("case,truth,probability\nc0,maybe,0.5\n", "truth of c0 must be 1 or 0"),
        ("", "the table must have a header; got an empty file"),
    ],
)
def test_tables_of_something_else_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "x.csv")


def test_a_table_of_probabilities_may_be_as_an_office_program_writes_it(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("\ufeffcase;truth;probability;group\nc0;1;0,75;p0\nc1;0;0,25;\n;;;\n", encoding="utf-8")
    (found,) = read_predictions(tmp_path / "x.csv")
    assert (found.cases, found.groups, found.probabilities[:, 1].tolist()) == (("c0", "c1"), ("p0", ""), [0.75, 0.25])


def test_one_melanoma_alone_has_no_test_of_areas_and_ends_nothing() -> None:
    found = compare(
        Compared("t", "c", np.arange(8) == 0, None, (scores("a", FIRST), scores("b", FIRST[::-1]))), 0.8, resamples=100
    )
    assert (found.differences["AUROC"][0].p, found.differences["AUROC"][0].value) == (None, 1.0)


def test_a_name_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SearchNotFound, match=r"^NAME must be a search in"):
        checkpoint_of("nobody", tmp_path)


def test_two_tables_are_compared_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = plain(tmp_path, "a.csv", FIRST, group=["p0", "p0", *("",) * 6]), plain(tmp_path, "b.csv", FIRST[::-1])
    picture = tmp_path / "c.png"
    assert run(("compare", first, second, "--picture", str(picture))) == 0
    shown = capsys.readouterr().out
    assert "the class: 3 of 8 cases; 95 % intervals over patients or lesions" in shown
    assert "Obuchowski" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run(("compare", first, second, "--json", "--specificity", "0.8")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metrics"]["AUROC"][first]["value"] == pytest.approx(14 / 15)
    assert document["split"] is None
    assert document["differences"]["AUROC"][0]["test"] == "Obuchowski"


def test_what_cannot_be_compared_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = plain(tmp_path, "a.csv", FIRST)
    for arguments, line in (
        ((table,), "dermtune: MODEL must be two or more; got"),
        ((table, table), "dermtune: models must be different ones; got"),
        ((table, "nobody"), "dermtune: NAME must be a search in"),
        ((table, table, "--picture", "x.jpg"), "dermtune: --picture must end in .png or .svg; got x.jpg"),
    ):
        assert run(("compare", *arguments, "--storage", str(tmp_path / "runs"))) == 2
        assert capsys.readouterr().err.startswith(line)
