"""Whose a case is: found in each format, another column on request, and what is no group refused."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from isic2017_by_hand import Case, write_part
from PIL import Image

from trainables.data import derm7pt, isic2017, read_labelled, table
from trainables.data.cases import CaseSet
from trainables.data.derm7pt_synthetic import write
from trainables.data.roles import ColumnRoles
from trainables.errors import DataError

SPLITS = ("train", "train", "valid", "valid")

OTHER_COLUMN = " (--group names another column; one that differs in every case has no groups)"


def write_table(folder: Path, columns: dict[str, Sequence[str]]) -> Path:
    """Four cases with a diagnosis, and further columns."""
    folder.mkdir(exist_ok=True)
    for index in range(4):
        Image.new("RGB", (4, 4), (60 * index, 0, 0)).save(folder / f"{index}.png")
    every = {"image": [f"{i}.png" for i in range(4)], "split": SPLITS, "diagnosis": ["m", "n", "m", "n"], **columns}
    lines = [",".join(every), *(",".join(column[row] for column in every.values()) for row in range(4))]
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder / "cases.csv"


@pytest.mark.parametrize(
    ("columns", "asked", "group", "tasks", "left_out"),
    [
        (("site",), None, "", ["diagnosis", "site"], ""),
        (("patient_id",), None, "patient_id", ["diagnosis"], ""),
        (("group", "site"), None, "group", ["diagnosis", "site"], ""),
        (("group", "lesion_id"), None, "lesion_id", ["diagnosis"], "; group, beside it, is left out"),
        (
            ("group", "lesion_id", "patient_id"),
            None,
            "patient_id",
            ["diagnosis"],
            "; lesion_id and group, beside it, are left out",
        ),
        (("patient_id", "lesion_id"), "lesion_id", "lesion_id", ["diagnosis"], "; patient_id, beside it, is left out"),
        (("who", "site"), "who", "who", ["diagnosis", "site"], ""),
    ],
)
def test_a_tables_group_is_the_first_column_of_its_name_or_the_one_asked_for(
    tmp_path: Path, columns: Sequence[str], asked: str | None, group: str, tasks: list[str], left_out: str
) -> None:
    cells = {name: ["a", "b", "", "c"] if name == group else ["x", "y", "x", "y"] for name in columns}
    found = table.read(write_table(tmp_path / "a table", cells), roles=ColumnRoles(asked))
    assert ([task.name for task in found.tasks], found.group_column) == (tasks, group)
    assert found.groups == (("a", "b", "", "c") if group else ())
    told = (
        f"{group} says whose a case is and is no label: 3 cases of 3 groups (and 1 cases without one); a group stays in one split"
        f" and one fold, and intervals resample groups{left_out}"
    )
    assert found.notes == ((told,) if group else ())


def test_the_column_travels_in_the_source(tmp_path: Path) -> None:
    file = write_table(tmp_path / "a table", {"Patient #": ["a", "b", "a", "b"], "patient_id": ["1", "2", "3", "4"]})
    found = read_labelled(f"table:{file}#group=Patient %23")
    assert (found.group_column, found.groups) == ("Patient #", ("a", "b", "a", "b"))
    assert found.fingerprint("") != read_labelled(f"table:{file}").fingerprint("")


@pytest.mark.parametrize("column", ["who", "image", "split"])
def test_a_column_that_is_no_group_is_refused(tmp_path: Path, column: str) -> None:
    expected = f"--group must name a column of cases.csv that says whose each case is; got '{column}' (there are image, split, "
    with pytest.raises(DataError, match=re.escape(expected)):
        table.read(write_table(tmp_path / "a table", {"site": ["x", "y", "x", "y"]}), roles=ColumnRoles(column))


def test_a_checkpoints_task_that_is_called_group_stays_a_task(tmp_path: Path) -> None:
    file = write_table(tmp_path / "a table", {"group": ["x", "y", "x", "y"]})
    found = table.read(file, {"diagnosis": ["m", "n"], "group": ["x", "y"]})
    assert ([task.name for task in found.tasks], found.groups) == (["diagnosis", "group"], ())


def test_a_column_without_any_entry_groups_nothing_and_is_no_label(tmp_path: Path) -> None:
    found = table.read(write_table(tmp_path / "a table", {"patient_id": ["", " ", "", ""]}))
    assert (found.groups, [task.name for task in found.tasks]) == ((), ["diagnosis"])
    assert found.notes == ("patient_id is empty: no two cases are known to belong together",)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A synthetic Derm7pt folder, whose case_id is empty."""
    write(tmp_path / "a release", 40, 32, 0)
    return tmp_path / "a release"


def _set(release: Path, values: dict[int, str], column: str) -> CaseSet:
    """Reads the release with some cells of meta.csv changed, by case; the column is made if it is not there."""
    import pandas as pd

    file = release / "meta" / "meta.csv"
    meta = pd.read_csv(file, dtype=str, keep_default_na=False)
    meta[column] = [values.get(row, "") for row in range(len(meta))]
    meta.to_csv(file, index=False)
    return derm7pt.read(release, roles=ColumnRoles(None if column == "case_id" else column))


def test_derm7pts_group_is_its_case_id_where_there_is_one(release: Path) -> None:
    assert (derm7pt.read(release).groups, derm7pt.read(release).notes) == ((), ())
    members = {split: [int(i) for i in found] for split, found in derm7pt.read(release).splits.items()}
    one, two = members["train"][:2]
    found = _set(release, {one: "p 1", two: " p 1 "}, "case_id")
    assert [found.groups[case] for case in (one, two)] == ["p 1", "p 1"]
    assert set(found.groups) == {"p 1", ""}
    assert found.leaks() == []
    assert found.notes[0].startswith(
        "case_id says whose a case is and is no label: 2 cases of 1 groups (and 38 cases without one)"
    )
    both = _set(release, {one: "p1", members["test"][0]: "p1"}, "case_id")
    lines = f"train (line {one + 2}) and in test (line {members['test'][0] + 2})"
    assert both.leaks() == [f"case_id 'p1' must be in one split; got it in {lines}{OTHER_COLUMN}"]


def test_derm7pt_takes_another_column_of_meta_csv(release: Path) -> None:
    found = _set(release, {0: "x", 1: "x"}, "patient")
    assert (found.group_column, found.groups[:3]) == ("patient", ("x", "x", ""))
    with pytest.raises(DataError, match=r"--group must name a column of meta\.csv .*; got 'nobody'"):
        derm7pt.read(release, roles=ColumnRoles("nobody"))


def test_isic_2017_has_no_groups_but_those_that_were_added_to_part_3(tmp_path: Path) -> None:
    release = tmp_path / "a set"
    for part, names in (("Training", ("ISIC_1", "ISIC_2")), ("Validation", ("ISIC_3", "ISIC_4"))):
        write_part(release, part, {name: Case(0.0, {}) for name in names})
    assert isic2017.read(release).groups == ()
    with pytest.raises(
        DataError, match=r"--group must name a column of ISIC-2017_Training_Part3_GroundTruth\.csv .*got 'lesion'"
    ):
        isic2017.read(release, roles=ColumnRoles("lesion"))
    for part, cells in (("Training", "ab"), ("Validation", "bb")):
        file = release / f"ISIC-2017_{part}_Part3_GroundTruth.csv"
        header, *rows = file.read_text().splitlines()
        file.write_text("\n".join([f"{header},lesion", *(f"{row},{cell}" for row, cell in zip(rows, cells, strict=True))]) + "\n")
    found = isic2017.read(release, roles=ColumnRoles("lesion"))
    assert found.groups == found.cases.groups == ("a", "b", "b", "b")
    assert found.leaks() == [
        "lesion 'b' must be in one split; got it in train (ISIC_2) and in valid (ISIC_3, ISIC_4)" + OTHER_COLUMN
    ]
