"""Reading a table of one's own: CSV and Parquet, classes found on the training split, every problem with its line."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trainables.data.cases import LabelTask
from trainables.data.column_checks import MAXIMUM_CLASSES
from trainables.data.label_notes import label_notes, nothing_to_rank
from trainables.data.roles import ColumnRoles
from trainables.data.table import read
from trainables.errors import DataError

HEADER = "image,split,site,diagnosis"
LINES = [
    "img/a.png,train,trunk,nevus",
    "img/b.png,train,arm,melanoma",
    "img/c.png,train,,akiec",
    "img/a.png,valid,arm,nevus",
    "img/b.png,test,trunk,",
]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a CSV beside three small images and gives its path."""
    folder = tmp_path / "my table"
    (folder / "img").mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (4, 4), "red").save(folder / "img" / f"{name}.png")

    def _write(lines: Sequence[str] = LINES, header: str = HEADER, ends: str = "\n", mark: bytes = b"") -> Path:
        file = folder / "cases.csv"
        file.write_bytes(mark + ends.join([header, *lines, ""]).encode())
        return file

    return _write


def _problems(file: Path) -> list[str]:
    with pytest.raises(DataError, match=r".+") as caught:
        read(file)
    return list(caught.value.problems)


def test_a_csv_reads_to_what_is_written_in_it(write: Write) -> None:
    file = write()
    cases = read(file)
    assert cases.tasks == (LabelTask("site", ("arm", "trunk")), LabelTask("diagnosis", ("akiec", "melanoma", "nevus")))
    assert cases.labels.tolist() == [[1, 2], [0, 1], [-1, 0], [0, 2], [1, -1]]
    assert {split: members.tolist() for split, members in cases.splits.items()} == {
        "train": [0, 1, 2],
        "valid": [3],
        "test": [4],
    }
    assert cases.names == ("img/a.png", "img/b.png", "img/c.png", "img/a.png", "img/b.png")
    assert cases.images == tuple(file.parent / name for name in cases.names)
    assert cases.rows == (2, 3, 4, 5, 6)
    assert cases.source == f"table:{file}"


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_and_line_ends_change_nothing(write: Write, ends: str, mark: bytes) -> None:
    expected = read(write()).fingerprint("")
    assert read(write(ends=ends, mark=mark)).fingerprint("") == expected


def test_parquet_reads_like_csv(write: Write) -> None:
    expected = read(file := write())
    pd.read_csv(file).to_parquet(parquet := file.with_suffix(".parquet"))
    found = read(parquet)
    assert (found.tasks, found.names, found.primary) == (expected.tasks, expected.names, expected.primary)
    assert found.labels.tolist() == expected.labels.tolist()
    assert {k: v.tolist() for k, v in found.splits.items()} == {k: v.tolist() for k, v in expected.splits.items()}


def test_whole_numbers_are_the_same_labels_in_csv_and_parquet(write: Write) -> None:
    lines = ["img/a.png,train,0", "img/b.png,train,1", "img/c.png,train,", "img/a.png,valid,1"]
    expected = read(file := write(lines, "image,split,grade"))
    pd.read_csv(file).to_parquet(parquet := file.with_suffix(".parquet"))
    found = read(parquet)
    assert found.tasks == expected.tasks == (LabelTask("grade", ("0", "1")),)
    assert found.labels.tolist() == expected.labels.tolist() == [[0], [1], [-1], [1]]


def test_absolute_image_paths_in_the_tables_folder_are_taken_as_they_are(write: Write) -> None:
    image = write(LINES).parent / "elsewhere.png"
    Image.new("RGB", (4, 4)).save(image)
    assert read(write([f"{image},train,trunk,nevus", *LINES[1:]])).images[0] == image


@pytest.mark.parametrize("name", ["../outside.png", "a/../../outside.png", "/etc/hostname", "/"])
def test_an_image_outside_the_tables_folder_is_told_with_its_line(write: Write, name: str) -> None:
    Image.new("RGB", (4, 4)).save(write(LINES).parent.parent / "outside.png")
    with pytest.raises(DataError, match=rf"line 2: image must lie in .*; got '{re.escape(name)}'"):
        read(write([f"{name},train,trunk,nevus", *LINES[1:]]))


def test_a_folder_of_images_may_be_linked_into_the_tables_folder(write: Write, tmp_path: Path) -> None:
    (tmp_path / "far away").mkdir()
    Image.new("RGB", (4, 4)).save(image := tmp_path / "far away" / "one.png")
    (write(LINES).parent / "linked").symlink_to(image.parent)
    assert read(write(["linked/one.png,train,trunk,nevus", *LINES[1:]])).images[0] == image


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "nul\0byte.png", "\N{SNOWMAN}.png"])
def test_a_name_that_no_file_has_is_told_with_its_line(write: Write, name: str) -> None:
    with pytest.raises(DataError, match=r"line 2: image .* does not exist"):
        read(write([f"{name},train,trunk,nevus", *LINES[1:]]))


def test_a_parquets_index_is_no_task(write: Write) -> None:
    csv = write(LINES)
    table = pd.read_csv(csv, dtype="string")
    table.index = pd.Index([f"case {number}" for number in range(len(table))])
    table.to_parquet(csv.with_suffix(".parquet"))
    assert [task.name for task in read(csv.with_suffix(".parquet")).tasks] == ["site", "diagnosis"]


def test_spaces_around_cells_do_not_matter(write: Write) -> None:
    lines = [line.replace(",", " , ") for line in LINES]
    expected = read(write())
    found = read(write([line.replace("png ,", "png,") for line in lines]))
    assert found.tasks == expected.tasks
    assert found.labels.tolist() == expected.labels.tolist()
    assert {k: v.tolist() for k, v in found.splits.items()} == {k: v.tolist() for k, v in expected.splits.items()}


def test_a_missing_test_split_is_allowed(write: Write) -> None:
    assert list(read(write(LINES[:4])).splits) == ["train", "valid"]


def test_classes_are_sorted(write: Write) -> None:
    lines = ["img/a.png,train,z,nevus", "img/b.png,train,B,melanoma", "img/c.png,train,a,nevus", "img/a.png,valid,a,nevus"]
    assert read(write(lines)).tasks[0].classes == ("B", "a", "z")


def test_a_label_that_training_has_not_is_a_class_and_told(write: Write) -> None:
    lines = [*LINES[:3], "img/a.png,valid,leg,nevus", "img/b.png,test,arm,wart"]
    cases = read(write(lines))
    assert [task.classes for task in cases.tasks] == [("arm", "leg", "trunk"), ("akiec", "melanoma", "nevus", "wart")]
    cannot = "but not in training: the model cannot learn it, so recall of it stays 0 and is part of the mean"
    assert label_notes(cases)[:2] == [
        f"site: class leg is in validation (1 case) {cannot}",
        "site: validation has no other label than leg (1 case): it has no AUROC there and is no part of its mean, and accuracy is"
        " the share of cases called leg",
    ]
    assert f"diagnosis: class wart is in test (1 case) {cannot}" in label_notes(cases)


@pytest.mark.parametrize("label", ["Nevus", "nevvus", "newus", "neuvs"])
def test_a_label_that_training_has_in_another_spelling_is_refused(write: Write, label: str) -> None:
    lines = [*LINES[:3], f"img/a.png,valid,arm,{label}", f"img/b.png,test,arm,{label}"]
    (problem,) = _problems(write(lines))
    assert problem == f"line 5, line 6: diagnosis must be spelt as in training, 'nevus'; got {label!r}, which training has not"


@pytest.mark.parametrize("column", ["image", "split"])
def test_a_table_without_image_or_split_is_refused(write: Write, column: str) -> None:
    with pytest.raises(DataError, match=rf"^the table must have a column '{column}' \(.*\); got .*cases\.csv\)$"):
        read(write(header=HEADER.replace(column, "other")))


def test_a_table_without_image_and_split_is_told_both_and_what_looks_like_them(write: Write) -> None:
    found = "got file, set, site, diagnosis ("
    first, second = _problems(write(header="file,set,site,diagnosis"))
    assert first.startswith(f"the table must have a column 'image' (--image file takes that one); {found}")
    assert second.startswith(f"the table must have a column 'split' (--split-column set takes that one); {found}")


def test_a_table_without_a_split_is_told_what_may_be_one_and_what_draws_one(write: Write) -> None:
    (problem,) = _problems(write(["img/a.png,1,x", "img/b.png,2,y"], "image,fold,diagnosis"))
    hint = "--split-column fold if it says train, valid or test; `dermtune data split table:cases.csv` draws one"
    assert problem.startswith(f"the table must have a column 'split' ({hint}); got image, fold, diagnosis (")


def test_a_table_without_a_task_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"^the table must have a column for each task; got none \(.*cases\.csv\)$"):
        read(write(["img/a.png,train", "img/b.png,valid"], "image,split"))


def test_an_unknown_split_is_told_with_its_line(write: Write) -> None:
    (problem,) = _problems(write([*LINES, "img/c.png,fold 1,arm,nevus"]))
    assert problem == "line 7: split must be train, valid, test; got 'fold 1'"


def test_splits_are_known_by_what_people_call_them(write: Write) -> None:
    names = {"train": "Train", "valid": "val", "test": "TEST"}
    lines = [line.replace(f",{split},", f",{names[split]},") for line in LINES for split in names if f",{split}," in line]
    found = read(write([*lines, "img/c.png,dev,arm,nevus", "img/c.png,training,arm,nevus"]))
    assert {k: v.tolist() for k, v in found.splits.items()} == {"train": [0, 1, 2, 6], "valid": [3, 5], "test": [4]}
    assert found.notes == ("split: Train, training as train; val, dev as valid; TEST as test",)


def test_an_empty_split_cell_is_told_with_its_line(write: Write) -> None:
    (problem,) = _problems(write([*LINES, "img/c.png,,arm,nevus"]))
    assert problem.startswith("line 7: split must be train, valid, test; got ")


def test_a_table_needs_training_and_validation_cases(write: Write) -> None:
    assert _problems(write(LINES[:3])) == [
        "the split 'valid' must have at least one case; got none (call some of the training cases valid, all of a patient's)"
    ]
    problems = _problems(write(LINES[3:]))
    assert "the split 'train' must have at least one case; got none" in problems


def test_a_column_with_one_class_is_read_and_told(write: Write) -> None:
    cases = read(write([line.replace("trunk", "arm") for line in LINES]))
    assert cases.tasks[0] == LabelTask("site", ("arm",))
    assert label_notes(cases)[0] == (
        "site: no case has another label than arm (an empty cell is a missing label): there is nothing to tell apart, it has no"
        " AUROC and is no part of its mean, and its accuracy, recall and F1 are 1 and raise their means"
    )
    assert nothing_to_rank(cases) == []
    (line,) = nothing_to_rank(cases.with_primary("site"))
    assert line.startswith("the primary task, site, must have two labels or more in training; got arm only, so that there is ")


def test_an_empty_column_is_no_task(write: Write) -> None:
    cases = read(write([f"{line}," for line in LINES], header=f"{HEADER},remarks"))
    assert [task.name for task in cases.tasks] == ["site", "diagnosis"]
    assert cases.notes == ("remarks is empty and no task",)


@pytest.mark.parametrize(
    ("value", "num_cases", "what"),
    [
        (
            "note {}",
            MAXIMUM_CLASSES + 1,
            "free text or ids (--group site if it says whose a case is; else --ignore site leaves it out)",
        ),
        ("note {}", 11, "free text or ids (--group site if it says whose a case is; else --ignore site leaves it out)"),
        ("{}", 60, "numbers (--ignore site leaves it out)"),
        ("0.{}", 40, "numbers (--ignore site leaves it out)"),
        ("2024-03-{}", 31, "dates (--ignore site leaves it out)"),
        ("{}.03.24", 31, "dates (--ignore site leaves it out)"),
    ],
)
def test_a_column_with_nearly_as_many_values_as_cases_is_refused_once(
    write: Write, value: str, num_cases: int, what: str
) -> None:
    lines = [f"img/a.png,train,{value.format(i + 1)},{'nevus' if i % 2 else 'melanoma'}" for i in range(num_cases - 1)]
    (problem,) = _problems(write([*lines, f"img/a.png,valid,{value.format(num_cases)},nevus"]))
    assert problem == (
        f"column 'site' must be labels: at most 50, and above 10 less than half as many as cases; got {num_cases} values in"
        f" {num_cases} cases, {what}"
    )


def test_a_patients_column_of_another_name_with_two_images_each_is_no_label(write: Write) -> None:
    lines = [f"img/a.png,{'train' if i < 20 else 'valid'},P{i // 2:03d},{'nevus' if i % 2 else 'melanoma'}" for i in range(24)]
    (problem,) = _problems(write(lines, "image,split,PatNr,diagnosis"))
    assert "got 12 values in 24 cases, free text or ids (--group PatNr if it says whose a case is; else --ignore PatNr" in problem


def test_ten_values_are_labels_in_a_table_of_any_size(write: Write) -> None:
    lines = [f"img/a.png,train,site {i},{'nevus' if i % 2 else 'melanoma'}" for i in range(9)]
    assert len(read(write([*lines, "img/a.png,valid,site 9,nevus"])).tasks[0].classes) == 10


def test_missing_images_are_told_with_their_lines(write: Write) -> None:
    file = write([LINES[0].replace("a.png", "x.png"), *LINES[1:], ",train,arm,nevus"])
    assert _problems(file) == [
        f"line 2: image {file.parent / 'img' / 'x.png'} does not exist",
        "line 7: image must name a file; got an empty cell",
    ]


def test_two_hundred_missing_images_are_one_line(write: Write) -> None:
    file = write([*LINES, *(f"img/x{i}.png,train,arm,nevus" for i in range(200))])
    assert _problems(file) == [
        f"200 images do not exist in {file.parent}: img/x0.png (line 7), img/x1.png (line 8), img/x2.png (line 9) and 197 more"
    ]


@pytest.mark.parametrize(
    ("header", "primary"),
    [
        ("image,split,site,diagnosis", "diagnosis"),
        ("image,split,site,other", ""),
        ("image,split,site", "site"),
        ("diagnosis,split,site,image", "diagnosis"),
    ],
)
def test_the_primary_task_is_the_diagnosis_or_the_only_one(write: Write, header: str, primary: str) -> None:
    columns = header.split(",")
    cells = {"image": "img/a.png", "split": "", "site": "", "diagnosis": "", "other": ""}
    rows = [("train", "x", "y"), ("train", "y", "x"), ("valid", "x", "x")]
    lines = [
        ",".join((cells | {"split": split, "site": one, "diagnosis": two, "other": two})[name] for name in columns)
        for split, one, two in rows
    ]
    assert read(write(lines, header)).primary == primary


def test_given_classes_decide_codes_and_need_no_training_split(write: Write) -> None:
    classes = {"diagnosis": ["wart", "nevus", "melanoma", "akiec"]}
    cases = read(write(LINES[3:]), classes)
    assert cases.tasks == (LabelTask("diagnosis", ("wart", "nevus", "melanoma", "akiec")),)
    assert cases.labels.tolist() == [[1], [-1]]
    assert list(cases.splits) == ["valid", "test"]
    assert cases.primary == "diagnosis"


def test_a_label_outside_the_given_classes_is_told_with_its_line(write: Write) -> None:
    with pytest.raises(
        DataError, match=r"^line 4: diagnosis must be one of melanoma, nevus \(the checkpoint's classes\); got 'akiec'$"
    ):
        read(write(), {"diagnosis": ["melanoma", "nevus"]})


def test_a_column_of_the_given_classes_that_is_absent_is_told(write: Write) -> None:
    with pytest.raises(DataError, match=r"must have a column for each task; got none for age \(.*cases\.csv\)"):
        read(write(), {"diagnosis": ["melanoma", "nevus"], "age": ["old", "young"]})


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        (
            "cases.ods",
            b"PK",
            r"^the table must be a \.csv, \.tsv, \.xlsx or \.parquet file; got .*ods \(save it as \.xlsx or \.csv\)$",
        ),
        ("cases.json", b"[]", r"^the table must be a \.csv, \.tsv, \.xlsx or \.parquet file; got .*cases\.json"),
        ("cases.parquet", b"no parquet", r"^the table must be a readable parquet file; got .*cases\.parquet: [^\n]+$"),
        ("empty.csv", b"", r"^the table must have a header; got an empty file \(.*empty\.csv\)$"),
        (
            "ragged.csv",
            b"image,split,a\n1,2,3\n1,2,3,4,5\n",
            r"^every line of the table must have the header's 3 cells; got 5 on line 3 \(.*ragged\.csv; a cell with commas ",
        ),
        ("twice.csv", b"image,split,a, a\n", r"^the table's columns must have different names; got 'a' twice \(.*twice\.csv\)$"),
        ("blank.csv", b"\n,,\n,\n", r"^the table must have a header; got an empty file \(.*blank\.csv\)$"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, contents: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_rows_with_more_cells_than_the_header_are_no_table(write: Write) -> None:
    """Pandas would take the first cell of each for the row's name, and every column for the one beside it."""
    with pytest.raises(DataError, match=r"^every line of the table must have the header's 4 cells; got 5 on line 2 \("):
        read(write([f"{line},more" for line in LINES]))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^the table must exist; got .*none\.csv \(--data\)$"):
        read(tmp_path / "none.csv")


def test_splits_of_one_table_never_overlap(write: Write) -> None:
    members = np.concatenate(list(read(write()).splits.values()))
    assert sorted(members.tolist()) == [0, 1, 2, 3, 4]


def test_the_shared_table_reads(shared_data: Path) -> None:
    cases = read(shared_data / "isic2017_tasks.csv")
    assert [task.name for task in cases.tasks] == ["diagnosis", "sex", "age_band"]
    counts = cases.counts()
    assert counts["train"]["diagnosis"] == {"melanoma": 64, "nevus": 192}
    assert counts["train"]["sex"]["(missing)"] > 50
    assert (cases.primary, cases.melanoma_class) == ("diagnosis", 0)


@pytest.mark.parametrize(
    ("roles", "tasks", "owner"),
    [
        (ColumnRoles(), ["site", "diagnosis"], "Patient_ID"),
        (ColumnRoles(ignore=("site",)), ["diagnosis"], "Patient_ID"),
        (ColumnRoles(columns=("diagnosis", "site")), ["site", "diagnosis"], "Patient_ID"),
        (ColumnRoles(ignore=("Patient_ID",)), ["site", "diagnosis"], ""),
        (ColumnRoles(columns=("diagnosis", "Patient_ID")), ["diagnosis", "Patient_ID"], ""),
        (ColumnRoles(group="site"), ["diagnosis"], "site"),
    ],
)
def test_roles_say_which_columns_are_tasks(write: Write, roles: ColumnRoles, tasks: list[str], owner: str) -> None:
    lines = [f"{line},{'p' if row < 3 else 'q'}" for row, line in enumerate(LINES)]
    cases = read(write(lines, header=f"{HEADER},Patient_ID"), roles=roles)
    assert ([task.name for task in cases.tasks], cases.group_column) == (tasks, owner)


def test_another_column_may_name_the_images(write: Write) -> None:
    file = write([line.replace("img/", "").replace(".png", "") for line in LINES], header=HEADER.replace("image", "lesion"))
    cases = read(file, roles=ColumnRoles(image="lesion"))
    assert cases.images == tuple(file.parent / "img" / f"{name}.png" for name in ("a", "b", "c", "a", "b"))
    assert cases.notes == (
        f"image names that are no paths as they stand are looked up in {file.parent} (5: a is read as img/a.png)",
    )


@pytest.mark.parametrize(("gap", "missing"), [("NA", True), ("n/a", True), ("NaN", True), ("None", False), ("unknown", False)])
def test_a_gap_that_is_spelled_out_is_a_missing_label(write: Write, gap: str, missing: bool) -> None:
    cases = read(write([*LINES, f"img/c.png,train,{gap},nevus"]))
    told = f"spelled out gaps are read as missing labels in site ({gap!r}, 1)"
    assert cases.notes == ((told,) if missing else ())
    assert cases.tasks[0].classes == (("arm", "trunk") if missing else tuple(sorted(("arm", "trunk", gap))))


def test_a_name_with_any_line_end_in_it_is_told_in_one_line(write: Write) -> None:
    file = write([LINES[0].replace("img/a", "img\x0b\u2028a"), *LINES[1:]])
    assert _problems(file) == [f"line 2: image {file.parent}/img  a.png does not exist"]


@pytest.mark.parametrize(
    ("lines", "column"),
    [
        (['img/a.png,train,"arm', 'img/b.png,train,leg"'], "diagnosis"),
        (['"img/a.png,train,arm', 'img/b.png",train,leg'], "image"),
        (['img/a.png,"train,arm', 'img/b.png,train",leg'], "split"),
    ],
)
def test_rows_between_two_stray_quotes_are_one_problem(write: Write, lines: list[str], column: str) -> None:
    first = ['img/c.png,train,"arm"', "img/c.png,valid,arm"]
    (problem,) = _problems(write([*first, *lines, "img/c.png,valid,leg"], header="image,split,diagnosis"))
    assert problem == (
        f"line 4: {column} must stand on one line; got a cell in quotes that goes on in the next line, so that a quote is"
        " probably missing"
    )


def test_only_what_is_used_as_image_cannot_be_ignored(write: Write) -> None:
    lines = [f"https://host/{i},img/{'abc'[i % 3]}.png,{'valid' if i > 8 else 'train'},{'xy'[i % 2]}" for i in range(12)]
    file = write(lines, header="image,filename,split,dx")
    cases = read(file, roles=ColumnRoles(image="filename", ignore=("image",)))
    assert [task.name for task in cases.tasks] == ["dx"]
    for option, column, use in (("ignore", "filename", "image"), ("columns", "split", "split")):
        roles = ColumnRoles(image="filename", **{option: (column,)})
        with pytest.raises(
            DataError, match=rf"^--{option} must name columns that can be tasks; got '{column}', which is the {use}"
        ):
            read(file, roles=roles)
