"""`evaluate --by`: metrics by subgroup, by hand and by simulation."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search.analysis.subgroups import by_subgroup, parted, subgroup_names
from search.cli import tables
from search.errors import PlanError
from trainables.counted import ratio
from trainables.data import DATASETS, case_columns
from trainables.data.roles import ColumnRoles, with_roles
from trainables.errors import DataError
from trainables.evaluation import Casewise
from trainables.metrics import auroc

SEX = ["f", "m"] * 6


def right(said: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy of what is said, and something of the network."""
    return {"valid/accuracy": ratio(counts @ (said == truth).astype(int), counts.sum(1)), "model/size": np.full(len(counts), 7.0)}


def cases_of(said: Sequence[int], truth: Sequence[int], groups: np.ndarray | None = None) -> Casewise:
    return Casewise("valid", len(said), partial(right, np.array(said), np.array(truth)), groups=groups)


def test_twelve_cases_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six women four are right, of six men three."""
    monkeypatch.setattr("search.analysis.subgroups.FEWEST", 6)
    said = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    found = by_subgroup(cases_of(said, [1] * 12), "sex", SEX)
    assert found.num_cases == {"f": 6, "m": 6}
    accuracy = found.metrics["valid/accuracy"]
    assert {name: each.value for name, each in accuracy.items()} == pytest.approx({"f": 4 / 6, "m": 3 / 6})
    gap = found.gaps["valid/accuracy"]
    assert (gap.highest, gap.lowest) == ("f", "m")
    assert gap.value == pytest.approx(1 / 6)
    assert gap.p is not None
    assert gap.p > 0.5
    assert "model/size" not in found.metrics, "what is the network's has no subgroups"


def test_subgroups_of_fewer_than_ten_cases_and_the_unknown_are_counted_and_not_judged() -> None:
    names = ["arm"] * 12 + ["leg"] * 12 + ["scalp"] * 9 + ["(unknown)"] * 15
    said = [1, 0] * 24
    found = by_subgroup(cases_of(said, [1] * 48), "site", names)
    assert found.too_few == ["scalp"]
    assert list(found.num_cases.items()) == [("arm", 12), ("leg", 12), ("scalp", 9), ("(unknown)", 15)]
    intervals = {name: each.interval is not None for name, each in found.metrics["valid/accuracy"].items()}
    assert intervals == {"arm": True, "leg": True, "scalp": False, "(unknown)": False}


def test_a_metric_without_meaning_in_a_subgroup_has_no_value_there() -> None:
    """All of the second subgroup are negative, so that it has no AUROC."""
    positive = np.array(([True, False] * 10) + [False] * 20)
    cases = Casewise("valid", 40, lambda counts: {"valid/auroc": auroc(np.linspace(0, 1, 40), positive, counts)})
    found = by_subgroup(cases, "site", ["a"] * 20 + ["b"] * 20)
    assert (found.metrics["valid/auroc"]["b"].value, found.gaps) == (None, {})


def simulated(rng: np.random.Generator, gap: float, in_groups: bool) -> float:
    """p of three subgroups of a hundred cases, one of which is told apart less well."""
    truth, site = rng.random(300) < 0.4, np.repeat(["a", "b", "c"], 100)
    groups = np.arange(300) // 2 if in_groups else None
    luck = rng.normal(size=150)[np.arange(300) // 2] if in_groups else rng.normal(size=300)
    score = (1.2 - gap * (site == "c")) * truth + luck
    cases = Casewise("valid", 300, lambda counts: {"valid/auroc": auroc(score, truth, counts)}, groups=groups)
    p = by_subgroup(cases, "site", list(site), resamples=200).gaps["valid/auroc"].p
    assert p is not None
    return p


@pytest.mark.parametrize("in_groups", [False, True])
def test_a_planted_gap_is_found_and_none_where_none_is(in_groups: bool) -> None:
    rng = np.random.default_rng(3)
    assert np.mean([simulated(rng, 0.0, in_groups) < 0.05 for _ in range(200)]) <= 0.09, "5 % but for simulation's own luck"
    assert np.mean([simulated(rng, 1.2, in_groups) < 0.05 for _ in range(40)]) >= 0.9, "labels that say nothing in one"


@pytest.mark.parametrize(
    ("text", "column", "edges"),
    [
        ("age", "age", ()),
        ("age:30,50", "age", (30.0, 50.0)),
        ("age:50,30.5", "age", (30.5, 50.0)),
        ("time: late", "time: late", ()),
        ("a:b:1", "a:b", (1.0,)),
    ],
)
def test_bands_stand_behind_a_column(text: str, column: str, edges: tuple[float, ...]) -> None:
    assert parted(text) == (column, edges)


def test_numbers_of_many_values_come_in_three_bands_and_few_values_as_they_are() -> None:
    ages = [str(age) for age in range(20, 80)] + [""]
    names = subgroup_names(ages)
    assert [names.count(name) for name in ("below 40", "40 to below 60", "60 and above", "(unknown)")] == [20, 20, 20, 1]
    assert subgroup_names(ages, (50,))[29:31] == ("below 50", "50 and above")
    assert subgroup_names(["1", "2", "", "1"]) == ("1", "2", "(unknown)", "1")
    assert subgroup_names(["arm", "7", ""]) == ("arm", "7", "(unknown)")
    with pytest.raises(PlanError, match=r"^--by with edges must name a column of numbers; got 'arm'$"):
        subgroup_names(["7", "arm"], (5,))


def test_bands_stand_in_their_order() -> None:
    names = subgroup_names([str(n) for n in range(5, 125)], (30, 100))
    found = by_subgroup(cases_of([1, 0] * 60, [1] * 120), "age", names)
    assert list(found.num_cases) == ["below 30", "30 to below 100", "100 and above"]


def test_columns_are_told_of_the_cases_of_a_split_whether_they_are_labels_or_not(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(6):
        Image.fromarray(np.full((8, 8, 3), number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    table = pd.DataFrame(
        {
            "image": [f"{n}.png" for n in range(6)],
            "split": ["train", "valid"] * 3,
            "diagnosis": ["x", "y", "y", "x", "x", "y"],
            "age": ["31", "45", "", "", "50", "60"],
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    source = with_roles(f"table:{tmp_path / 't.csv'}", ColumnRoles(ignore=("age",)))
    assert case_columns(source, "valid", ["age", "diagnosis"]) == {"age": ("45", "", "60"), "diagnosis": ("y", "x", "y")}
    with pytest.raises(DataError, match=r"^--by must name a column of t.csv; got 'sex' \(there are image, split,"):
        case_columns(source, "valid", ["sex"])


def test_columns_of_derm7pts_and_of_the_challenges_metadata_are_known(tmp_path: Path) -> None:
    for name in ("derm7pt", "isic2017"):
        synthesise = DATASETS[name].synthesise
        assert synthesise is not None
        synthesise(tmp_path / name, 30, 32, 0)
    meta = pd.read_csv(tmp_path / "derm7pt" / "meta" / "meta.csv")
    order = pd.read_csv(tmp_path / "derm7pt" / "meta" / "valid_indexes.csv")["indexes"]
    found = case_columns(f"derm7pt:{tmp_path / 'derm7pt'}", "valid", ["sex", "level_of_diagnostic_difficulty"])
    assert found["sex"] == tuple(meta["sex"].iloc[order])
    images = sorted(path.stem for path in (tmp_path / "isic2017" / "ISIC-2017_Validation_Data").glob("*.jpg"))
    metadata = pd.DataFrame({"image_id": images[::-1], "age_approximate": range(len(images)), "sex": "female"})
    metadata.to_csv(tmp_path / "isic2017" / "ISIC-2017_Validation_Data_metadata.csv", index=False)
    found = case_columns(f"isic2017:{tmp_path / 'isic2017'}", "valid", ["age_approximate", "melanoma"])
    assert found["age_approximate"] == tuple(str(age) for age in range(len(images)))[::-1]
    assert set(found["melanoma"]) <= {"0", "1", "0.0", "1.0"}
    assert case_columns(f"isic2017:{tmp_path / 'isic2017'}", "train", ["sex"]) == {"sex": ("",) * 18}, "a part without a table"


def test_a_table_shows_subgroups_their_gap_and_who_is_too_few(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["arm"] * 12 + ["leg"] * 12 + ["scalp"] * 3
    found = by_subgroup(cases_of([1] * 11 + [0] * 4 + [1] * 9 + [1, 0, 1], [1] * 27), "site", names)
    tables.show_subgroups([found], ["valid/accuracy"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "valid/accuracy: arm is 0.167 above leg; all alike: p = 0." in shown
    assert "too few cases to say anything: scalp" in shown
    tables.show_subgroups([], ["valid/accuracy"])
    assert capsys.readouterr().out == ""
    with pytest.raises(PlanError, match=r"^--metric must be one of a split's metrics; got 'accuracy' \(did you mean"):
        tables.show_subgroups([found], ["accuracy"])
