"""Reading a Derm7pt folder: a hand-written one, and everything that can be wrong with one."""

from pathlib import Path

import pytest
from PIL import Image

from trainables.data import derm7pt
from trainables.data.derm7pt import TASKS, read
from trainables.data.images import load_images
from trainables.errors import DataError

HEADER = (
    "case_num,diagnosis,seven_point_score,pigment_network,streaks,pigmentation,regression_structures,"
    "dots_and_globules,blue_whitish_veil,vascular_structures,derm\n"
)
ROWS = [
    "1,basal cell carcinoma,0,absent,absent,absent,absent,absent,absent,arborizing,NEL/a.jpg\n",
    "2,Melanoma (in situ),9,atypical,irregular,diffuse irregular,blue areas,irregular,present,dotted,NEL/b.JPG\n",
    "3,clark nevus,0,typical,regular,localized regular,absent,regular,absent,absent,NEL/c.jpg\n",
    "4,melanosis,1,absent,absent,absent,combinations,absent,absent,hairpin,NEL/d.jpg\n",
    "5,seborrheic keratosis,2,atypical,absent,absent,absent,absent,absent,absent,NEL/e.jpg\n",
]
#: By hand, in the order DIAG PN BWV VS PIG STR DaG RS.
LABELS = [
    ["BCC", "ABS", "ABS", "REG", "ABS", "ABS", "ABS", "ABS"],
    ["MEL", "ATP", "PRS", "IR", "IR", "IR", "IR", "PRS"],
    ["NEV", "TYP", "ABS", "ABS", "REG", "REG", "REG", "ABS"],
    ["MISC", "ABS", "ABS", "REG", "ABS", "ABS", "ABS", "PRS"],
    ["SK", "ATP", "ABS", "ABS", "ABS", "ABS", "ABS", "ABS"],
]
IMAGES = ("NEL/a.jpg", "NEL/b.JPG", "NEL/c.jpg", "NEL/d.jpg", "NEL/e.jpg")
INDEXES = {"train": "2\n0\n", "valid": "1\n", "test": "3\n4\n"}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A Derm7pt folder with five cases, in a folder whose name has a space."""
    folder = tmp_path / "derm7pt release"
    (folder / "meta").mkdir(parents=True)
    (folder / "images" / "NEL").mkdir(parents=True)
    (folder / "meta" / "meta.csv").write_text(HEADER + "".join(ROWS))
    for split, lines in INDEXES.items():
        (folder / "meta" / f"{split}_indexes.csv").write_text("indexes\n" + lines)
    for grey, name in enumerate(IMAGES):
        Image.new("RGB", (20, 10), (40 * grey, 0, 0)).save(folder / "images" / name, format="JPEG")
    return folder


def _edit(release: Path, old: str, new: str) -> None:
    file = release / "meta" / "meta.csv"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


def _problems(release: Path) -> list[str]:
    with pytest.raises(DataError, match=r".+") as caught:
        read(release)
    return list(caught.value.problems)


def test_a_folder_reads_to_the_labels_and_splits_written_in_it(release: Path) -> None:
    cases = read(release)
    assert cases.tasks == TASKS
    assert [[task.classes[code] for task, code in zip(TASKS, row, strict=True)] for row in cases.labels] == LABELS
    assert {split: members.tolist() for split, members in cases.splits.items()} == {"train": [2, 0], "valid": [1], "test": [3, 4]}
    assert cases.primary == "DIAG"
    assert cases.names == IMAGES
    assert cases.images == tuple(release / "images" / name for name in IMAGES)
    assert cases.rows == (2, 3, 4, 5, 6)
    assert cases.source == f"derm7pt:{release}"


def test_byte_order_mark_and_windows_line_ends_change_nothing(release: Path) -> None:
    expected = read(release)
    for file in (release / "meta").iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    found = read(release)
    assert found.fingerprint("") == expected.fingerprint("")


def test_further_columns_are_left_alone(release: Path) -> None:
    file = release / "meta" / "meta.csv"
    file.write_text("".join(f"{line},x{i}\n" for i, line in enumerate(file.read_text().splitlines())))
    assert read(release).labels.shape == (5, 8)


def test_a_checkpoints_classes_must_be_the_24_labels(release: Path) -> None:
    classes = {task.name: task.classes for task in TASKS}
    assert read(release, classes).tasks == TASKS
    with pytest.raises(DataError, match=r"checkpoint's classes must be Derm7pt's 24 labels; got .*'PN': \('no', 'yes'\)"):
        read(release, classes | {"PN": ("no", "yes")})


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold meta/meta\.csv; got .*nowhere \(--data derm7pt:PATH\)$"):
        read(tmp_path / "nowhere")


def test_a_missing_table_is_told(release: Path) -> None:
    (release / "meta" / "meta.csv").unlink()
    with pytest.raises(DataError, match=r"must hold meta/meta\.csv; got .*derm7pt release"):
        read(release)


@pytest.mark.parametrize("column", ["derm", *(column for column, _ in derm7pt.GROUPS.values())])
def test_a_missing_column_is_told_with_the_file(release: Path, column: str) -> None:
    header = ",".join(f"{name}_old" if name == column else name for name in HEADER.strip().split(",")) + "\n"
    _edit(release, HEADER, header)
    with pytest.raises(DataError, match=rf"^meta\.csv must have the column '{column}'; got case_num, .*meta/meta\.csv\)$"):
        read(release)


def test_an_unknown_label_is_told_with_file_and_line(release: Path) -> None:
    _edit(release, "localized regular", "localised regular")
    assert _problems(release) == [
        "meta.csv line 4: pigmentation must be a string of the Derm7pt release; got 'localised regular'"
    ]


def test_an_empty_label_is_told_with_file_and_line(release: Path) -> None:
    _edit(release, "4,melanosis,", "4,,")
    (problem,) = _problems(release)
    assert problem.startswith("meta.csv line 5: diagnosis must be a string of the Derm7pt release; got ")


@pytest.mark.parametrize("index", ["5", "-1", "1.5", "two", "1e9", "inf"])
def test_an_index_that_is_no_row_is_told_with_file_and_line(release: Path, index: str) -> None:
    (release / "meta" / "valid_indexes.csv").write_text(f"indexes\n1\n{index}\n")
    (problem,) = _problems(release)
    assert problem == f"valid_indexes.csv line 3: index must be 0 to 4; got {index}"


def test_an_empty_split_is_told_with_the_file(release: Path) -> None:
    (release / "meta" / "test_indexes.csv").write_text("indexes\n")
    assert _problems(release) == ["test_indexes.csv must name at least one case; got an empty split"]


def test_a_missing_index_file_is_told(release: Path) -> None:
    (release / "meta" / "train_indexes.csv").unlink()
    assert _problems(release) == [f"{release / 'meta' / 'train_indexes.csv'} must exist; got no such file"]


def test_an_index_file_with_another_column_is_told(release: Path) -> None:
    (release / "meta" / "train_indexes.csv").write_text("index\n0\n")
    assert _problems(release) == ["train_indexes.csv must have one column, indexes; got index"]


def test_a_missing_image_is_told_with_its_line(release: Path) -> None:
    (release / "images" / "NEL" / "d.jpg").unlink()
    assert _problems(release) == [f"meta.csv line 5: image {release / 'images' / 'NEL' / 'd.jpg'} does not exist"]


def test_an_empty_image_cell_is_told_with_file_and_line(release: Path) -> None:
    _edit(release, "NEL/d.jpg", "")
    (problem,) = _problems(release)
    assert problem.startswith("meta.csv line 5: ")


def test_a_table_that_cannot_be_parsed_is_told(release: Path) -> None:
    file = release / "meta" / "meta.csv"
    file.write_bytes(file.read_bytes() + b'6,"unclosed')
    with pytest.raises(DataError, match=r"^every quote of the table must be closed; got one on line \d+ that is not"):
        read(release)


def test_all_problems_are_collected(release: Path) -> None:
    _edit(release, "clark nevus", "clerk nevus")
    _edit(release, "hairpin", "hair pin")
    (release / "meta" / "valid_indexes.csv").write_text("indexes\n7\n1\nx\n")
    (release / "images" / "NEL" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"line 2: .* \(and 4 more: `dermtune data check` lists all\)$") as caught:
        read(release)
    assert list(caught.value.problems) == [
        "valid_indexes.csv line 2: index must be 0 to 4; got 7",
        "valid_indexes.csv line 4: index must be 0 to 4; got x",
        "meta.csv line 4: diagnosis must be a string of the Derm7pt release; got 'clerk nevus'",
        "meta.csv line 5: vascular_structures must be a string of the Derm7pt release; got 'hair pin'",
        f"meta.csv line 2: image {release / 'images' / 'NEL' / 'a.jpg'} does not exist",
    ]


def test_an_image_that_no_split_names_may_be_missing(release: Path) -> None:
    """What the reader lets pass must load: a part of the release is a data set too."""
    (release / "meta" / "test_indexes.csv").write_text("indexes\n3\n")
    (release / "images" / "NEL" / "e.jpg").unlink()
    cases = read(release)
    pixels = load_images(cases, 8).pixels
    assert [int(pixels[index, 0].max()) for index in (0, 1, 2, 3)] == pytest.approx([0, 40, 80, 120], abs=2)
