"""Reading a table of one's own: CSV and Parquet, classes found on the training split, every problem with its line."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trainables.data.cases import LabelTask
from trainables.data.table import MAXIMUM_CLASSES, read
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


def test_classes_are_those_of_the_training_split_and_sorted(write: Write) -> None:
    lines = ["img/a.png,train,z,nevus", "img/b.png,train,B,melanoma", "img/c.png,train,a,nevus", "img/a.png,valid,a,nevus"]
    assert read(write(lines)).tasks[0].classes == ("B", "a", "z")


def test_a_label_that_training_does_not_know_is_told_with_its_line(write: Write) -> None:
    lines = [*LINES[:3], "img/a.png,valid,leg,nevus", "img/b.png,test,arm,wart"]
    assert _problems(write(lines)) == [
        "line 5: site must be one of arm, trunk (the training split's labels); got 'leg'",
        "line 6: diagnosis must be one of akiec, melanoma, nevus (the training split's labels); got 'wart'",
    ]


@pytest.mark.parametrize("column", ["image", "split"])
def test_a_table_without_image_or_split_is_refused(write: Write, column: str) -> None:
    with pytest.raises(DataError, match=rf"^the table must have a column '{column}'; got .*cases\.csv\)$"):
        read(write(header=HEADER.replace(column, "other")))


def test_a_table_without_a_task_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"^the table must have a column for each task; got none \(.*cases\.csv\)$"):
        read(write(["img/a.png,train", "img/b.png,valid"], "image,split"))


def test_an_unknown_split_is_told_with_its_line(write: Write) -> None:
    (problem,) = _problems(write([*LINES, "img/c.png,validation,arm,nevus"]))
    assert problem == "line 7: split must be train, valid, test; got 'validation'"


def test_an_empty_split_cell_is_told_with_its_line(write: Write) -> None:
    (problem,) = _problems(write([*LINES, "img/c.png,,arm,nevus"]))
    assert problem.startswith("line 7: split must be train, valid, test; got ")


def test_a_table_needs_training_and_validation_cases(write: Write) -> None:
    assert _problems(write(LINES[:3])) == ["the split 'valid' must have at least one case; got none"]
    problems = _problems(write(LINES[3:]))
    assert "the split 'train' must have at least one case; got none" in problems


def test_a_column_with_one_class_is_refused(write: Write) -> None:
    lines = [line.replace("trunk", "arm") for line in LINES]
    assert _problems(write(lines)) == [
        f"column 'site' must have 2 to {MAXIMUM_CLASSES} classes on the training split; got 1"
        " (leave a column that is no task out of the table)"
    ]


def test_a_column_with_a_class_for_every_case_is_refused_once(write: Write) -> None:
    lines = [f"img/a.png,train,p{i},{'nevus' if i % 2 else 'melanoma'}" for i in range(MAXIMUM_CLASSES + 1)]
    (problem,) = _problems(write([*lines, "img/a.png,valid,new,nevus"]))
    assert problem.startswith(f"column 'site' must have 2 to {MAXIMUM_CLASSES} classes on the training split; got 51 ")
    assert problem.endswith("(leave a column that is no task out of the table, or name it by --group if it says whose a case is)")


def test_missing_images_are_told_with_their_lines(write: Write) -> None:
    file = write([LINES[0].replace("a.png", "x.png"), *LINES[1:], ",train,arm,nevus"])
    first, second = _problems(file)
    assert first == f"line 2: image {file.parent / 'img' / 'x.png'} does not exist"
    assert second.startswith("line 7: image ")


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
    with pytest.raises(DataError, match=r"^line 4: diagnosis must be one of melanoma, nevus .*; got 'akiec'$"):
        read(write(), {"diagnosis": ["melanoma", "nevus"]})


def test_a_column_of_the_given_classes_that_is_absent_is_told(write: Write) -> None:
    with pytest.raises(DataError, match=r"must have a column for each task; got none for age \(.*cases\.csv\)$"):
        read(write(), {"diagnosis": ["melanoma", "nevus"], "age": ["old", "young"]})


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("cases.xlsx", b"PK", r"^the table must be a \.csv or \.parquet file; got .*cases\.xlsx"),
        ("cases.parquet", b"no parquet", r"^the table must be a readable parquet file; got .*cases\.parquet: [^\n]+$"),
        ("empty.csv", b"", r"^the table must be a readable csv file; got .*empty\.csv: [^\n]+$"),
        (
            "latin.csv",
            "image,split,größe\n".encode("latin-1"),
            r"^the table must be a readable csv file; got .*latin\.csv: [^\n]+$",
        ),
        (
            "ragged.csv",
            b"image,split,a\n1,2,3\n1,2,3,4,5\n",
            r"^the table must be a readable csv file; got .*ragged\.csv: [^\n]+$",
        ),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, contents: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_rows_with_more_cells_than_the_header_are_no_table(write: Write) -> None:
    """Pandas would take the first cell of each for the row's name, and every column for the one beside it."""
    with pytest.raises(DataError, match=r"the table must be a readable csv file; got .*cases\.csv: .*[Ll]ength of header"):
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
