"""Splits drawn for tables that have none."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spaces.errors import RequestError
from trainables.data import table
from trainables.data.primary import likely_primary
from trainables.data.roles import ColumnRoles
from trainables.data.splitting import DrawnSplit, draw_split
from trainables.errors import DataError


def table_of(folder: Path, rows: Sequence[str], header: str = "image,patient_id,diagnosis,site", pictures: int = 0) -> Path:
    """A table of these rows beside images `0.png`, `1.png`, ...; the last `pictures` of them are copies of the first ones."""
    folder.mkdir(exist_ok=True)
    for number in range(len(rows)):
        shade = number if number < len(rows) - pictures else number - (len(rows) - pictures)
        Image.fromarray(np.full((8, 8, 3), shade, dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "cases.csv").write_text("\n".join([header, *rows, ""]))
    return folder / "cases.csv"


def rows(number: int, cases_of_a_patient: int = 2) -> list[str]:
    """One case in four is a melanoma, whoever has it."""
    labels = ["melanoma" if (n // cases_of_a_patient) % 4 == 0 else "nevus" for n in range(number)]
    return [f"{n}.png,p{n // cases_of_a_patient},{label},{'arm' if n % 2 else 'leg'}" for n, label in enumerate(labels)]


def drawn(file: Path, valid: float = 0.2, test: float = 0.2, **how: object) -> DrawnSplit:
    return draw_split(file, ColumnRoles(), valid=valid, test=test, **how)  # type: ignore[arg-type]


def test_labels_are_shared_out_evenly_and_patients_stay_in_one_split(tmp_path: Path) -> None:
    found = drawn(table_of(tmp_path / "set", rows(80)))
    assert found.stratified_by == "diagnosis"
    assert found.counts == {
        "melanoma": {"train": 12, "valid": 4, "test": 4},
        "nevus": {"train": 36, "valid": 12, "test": 12},
    }
    of_patient = found.table.groupby("patient_id")["split"].nunique()
    assert (len(of_patient), of_patient.max(), found.num_together) == (40, 1, 40)
    assert list(found.table.columns) == ["image", "patient_id", "diagnosis", "site", "split"]


def test_what_is_drawn_is_read_as_a_table_with_a_split(tmp_path: Path) -> None:
    file = table_of(tmp_path / "set", rows(40))
    written = file.with_name("with.csv")
    drawn(file).table.to_csv(written, index=False)
    cases = table.read(written)
    assert {split: len(members) for split, members in cases.splits.items()} == {"train": 24, "valid": 8, "test": 8}
    assert [task.name for task in cases.tasks] == ["diagnosis", "site"]


def test_one_picture_under_two_names_is_in_one_split(tmp_path: Path) -> None:
    """Cases 50 to 59 are copies of 0 to 9, so that their patients hang together with those of 0 to 9."""
    found = drawn(table_of(tmp_path / "set", rows(60), pictures=10))
    splits = list(found.table["split"])
    assert splits[50:] == splits[:10]
    assert found.num_together == 25


def test_a_seed_draws_the_same_and_another_one_something_else(tmp_path: Path) -> None:
    file = table_of(tmp_path / "set", rows(60))
    first, second, other = (list(drawn(file, seed=seed).table["split"]) for seed in (0, 0, 1))
    assert first == second != other
    assert Counter(first) == Counter(other)


def test_without_a_test_split_all_others_are_training_and_validation(tmp_path: Path) -> None:
    found = drawn(table_of(tmp_path / "set", rows(40)), valid=0.25, test=0.0)
    assert Counter(found.table["split"]) == {"train": 30, "valid": 10}


def test_a_missing_label_is_shared_out_like_any_other(tmp_path: Path) -> None:
    cells = [row.replace("nevus", ("", "NA")[n % 2]) if n % 8 in (2, 3) else row for n, row in enumerate(rows(80))]
    found = drawn(table_of(tmp_path / "set", cells))
    assert found.counts["(missing)"] == {"train": 12, "valid": 4, "test": 4}


@pytest.mark.parametrize(
    ("header", "by", "message"),
    [
        ("image,patient_id,diagnosis,split", None, r"^the table must have no split yet; got 'split', which says of each case"),
        (
            "image,patient_id,diagnosis,site",
            "patient_id",
            r"^--by must be one of diagnosis, site; got 'patient_id' \(",
        ),
        ("image,patient_id,colour,site", None, r"^--by must name the column of the diagnosis; got none \(colour, site\)$"),
    ],
)
def test_what_cannot_be_split_is_refused(tmp_path: Path, header: str, by: str | None, message: str) -> None:
    named = {"arm": "train", "leg": "valid"} if "split" in header else {}
    cells = [row[:-3] + named.get(row[-3:], row[-3:]) for row in rows(20)]
    with pytest.raises((DataError, RequestError), match=message):
        drawn(table_of(tmp_path / "set", cells, header), by=by)


def test_too_few_patients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^a split must be of enough cases that may be parted; got 3 for a share of 0\.2$"):
        drawn(table_of(tmp_path / "set", rows(30, cases_of_a_patient=10)))


@pytest.mark.parametrize(("valid", "test"), [(0.0, 0.2), (0.6, 0.2), (0.2, -0.1), (0.2, 0.7)])
def test_shares_that_leave_nothing_are_refused(tmp_path: Path, valid: float, test: float) -> None:
    with pytest.raises(RequestError, match=r"^--valid must be above 0, --test 0 or more, both at most 0\.5; got"):
        drawn(tmp_path / "none.csv", valid, test)


@pytest.mark.parametrize(
    ("tasks", "likely"),
    [
        (["site", "Diagnose"], "Diagnose"),
        (["dx", "diagnosis"], "diagnosis"),
        (["label", "DX"], "DX"),
        (["site"], "site"),
        (["site", "age"], None),
    ],
)
def test_the_diagnosis_is_guessed_from_what_people_call_it(tasks: list[str], likely: str | None) -> None:
    assert likely_primary(tasks) == likely
