"""Reading an ISIC 2017 folder: a hand-written one in the challenge's own names, and everything that can be wrong with one."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from isic2017_by_hand import FEATURES, Case, write_part, write_set

from trainables.data import read as read_source
from trainables.data import read_labelled, read_segmented
from trainables.data.isic2017 import read
from trainables.data.masks import inspect
from trainables.data.segmented import STRUCTURES, SegmentedCases
from trainables.errors import DataError

TRAINING, VALIDATION = "ISIC-2017_Training", "ISIC-2017_Validation"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Seven cases in a folder whose name has a space."""
    return write_set(tmp_path / "isic 2017 release")


def problems_of(release: Path) -> list[str]:
    with pytest.raises(DataError, match=r".+") as caught:
        read(release)
    return list(caught.value.problems)


def edit_features(release: Path, case: str, change: Any) -> None:
    """Replaces a training case's JSON: a dict of lists to change, or a whole text."""
    file = release / f"{TRAINING}_Part2_GroundTruth" / f"{case}_features.json"
    file.write_text(change if isinstance(change, str) else json.dumps({**json.loads(file.read_text()), **change}))


def edit_table(release: Path, old: str, new: str) -> None:
    file = release / f"{TRAINING}_Part3_GroundTruth.csv"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


def test_a_folder_reads_to_the_cases_written_in_it(release: Path) -> None:
    found = read(release)
    cases = found.cases
    numbers = (1, 2, 3, 4, 10, 11, 20)
    assert cases.names == tuple(f"ISIC_{number:07d}" for number in numbers)
    assert cases.labels.tolist() == [[1], [0], [0], [1], [0], [1], [0]]
    assert {split: members.tolist() for split, members in cases.splits.items()} == {
        "train": [0, 1, 2, 3],
        "valid": [4, 5],
        "test": [6],
    }
    assert [(task.name, task.classes) for task in cases.tasks] == [("melanoma", ("benign", "melanoma"))]
    assert (cases.primary, cases.melanoma_class) == ("melanoma", 1)
    assert cases.source == f"isic2017:{release}"
    assert cases.images[4] == release / f"{VALIDATION}_Data" / "ISIC_0000010.jpg"
    assert found.lesions[6] == release / "ISIC-2017_Test_v2_Part1_GroundTruth" / "ISIC_0000020_segmentation.png"
    assert found.superpixels[0] == release / f"{TRAINING}_Data" / "ISIC_0000001_superpixels.png"
    assert found.leaks() == []


def test_attributes_are_known_where_superpixels_and_features_are_there(release: Path) -> None:
    found = read(release)
    assert found.attributes_known.tolist() == [True, True, False, False, True, True, True]
    assert (found.superpixels[2], found.superpixels[3]) == (None, None)
    first = found.annotations[0]
    assert first is not None
    assert {name: values.tolist() for name, values in first.items()} == {
        "pigment_network": [True, False, False, False],
        "negative_network": [False] * 4,
        "milia_like_cyst": [False] * 4,
        "streaks": [True, False, True, False],
    }


def test_presence_is_of_what_is_annotated(release: Path) -> None:
    found = read(release)
    assert ("lesion", "skin", *FEATURES) == STRUCTURES
    assert found.presence.astype(int).tolist() == [
        [1, 1, 1, 0, 0, 1],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 1, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
    ]
    assert found.training_presence().tolist() == [4, 4, 1, 0, 0, 1]


def test_counts_say_what_is_unknown(release: Path) -> None:
    counts = read(release).counts()
    assert list(counts) == ["train", "valid", "test"]
    assert counts["train"] == {
        "melanoma": {"benign": 2, "melanoma": 2},
        "pigment_network": {"present": 1, "absent": 1, "(unknown)": 2},
        "negative_network": {"present": 0, "absent": 2, "(unknown)": 2},
        "milia_like_cyst": {"present": 0, "absent": 2, "(unknown)": 2},
        "streaks": {"present": 1, "absent": 1, "(unknown)": 2},
    }
    assert counts["valid"]["pigment_network"] == {"present": 1, "absent": 1}
    assert counts["test"]["melanoma"] == {"benign": 1, "melanoma": 0}


def test_the_test_part_may_be_missing(release: Path) -> None:
    for place in release.glob("ISIC-2017_Test_v2_*"):
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert list(read(release).cases.splits) == ["train", "valid"]


def test_rows_without_an_image_and_files_of_other_kinds_are_left_alone(release: Path) -> None:
    edit_table(release, "ISIC_0000002,", "ISIC_9999999,1.0,0.0\nISIC_0000002,")
    (release / f"{TRAINING}_Data" / "notes.txt").write_text("")
    assert len(read(release).cases.names) == 7


def test_byte_order_mark_and_windows_line_ends_change_nothing(release: Path) -> None:
    expected = read(release)
    for file in release.glob("*.csv"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert read(release).fingerprint("", "") == expected.fingerprint("", "")


def test_whole_numbers_are_labels_too(release: Path) -> None:
    edit_table(release, "ISIC_0000001,1.0", "ISIC_0000001,1")
    assert read(release).cases.labels[0, 0] == 1


def test_the_fingerprint_follows_labels_and_contents(release: Path) -> None:
    before = read(release)
    assert before.fingerprint("a", "b") != before.fingerprint("a", "c")
    assert before.fingerprint("a", "b") != before.fingerprint("b", "b")
    edit_table(release, "ISIC_0000002,0.0", "ISIC_0000002,1.0")
    assert read(release).fingerprint("a", "b") != before.fingerprint("a", "b")


def test_the_readers_for_tasks_take_their_own_kind(release: Path) -> None:
    source = f"isic2017:{release}"
    assert isinstance(read_source(source), SegmentedCases)
    assert len(read_segmented(source).lesions) == 7
    with pytest.raises(DataError, match=r"--data must have a format that fits the task; got 'isic2017:"):
        read_labelled(source)


def test_a_checkpoints_classes_must_be_the_challenges(release: Path) -> None:
    assert len(read(release, {"melanoma": ["benign", "melanoma"]}).lesions) == 7
    with pytest.raises(DataError, match=r"classes must be those of isic2017; got \{'DIAG': \['NEV'\]\} \(--data\)"):
        read(release, {"DIAG": ["NEV"]})


def test_a_missing_row_is_told_with_its_case(release: Path) -> None:
    edit_table(release, "ISIC_0000003,0.0,0.0\n", "")
    assert problems_of(release) == [f"ISIC_0000003: {TRAINING}_Part3_GroundTruth.csv must have its row; got none"]


def test_a_row_that_is_there_twice_is_told_with_its_case(release: Path) -> None:
    edit_table(release, "ISIC_0000003,0.0,0.0\n", "ISIC_0000003,0.0,0.0\nISIC_0000003,1.0,0.0\n")
    assert problems_of(release) == [f"{TRAINING}_Part3_GroundTruth.csv must have one row for ISIC_0000003; got several"]


@pytest.mark.parametrize("value", ["2", "0.5", "yes", "", "nan", "-1", "inf"])
def test_a_label_other_than_0_and_1_is_told_with_its_case(release: Path, value: str) -> None:
    edit_table(release, "ISIC_0000003,0.0", f"ISIC_0000003,{value}")
    (problem,) = problems_of(release)
    assert problem.startswith(f"ISIC_0000003: melanoma in {TRAINING}_Part3_GroundTruth.csv must be 0 or 1; got ")
    assert value in problem


def test_a_missing_table_is_told_once_for_its_part(release: Path) -> None:
    """One missing file is one problem, not one for each of 2000 images."""
    (release / f"{TRAINING}_Part3_GroundTruth.csv").unlink()
    problems = problems_of(release)
    assert f"{TRAINING}_Part3_GroundTruth.csv" in problems[0]
    assert "must exist" in problems[0]
    assert len(problems) == 1


@pytest.mark.parametrize("column", ["image_id", "melanoma"])
def test_a_missing_column_is_told_once_with_the_file(release: Path, column: str) -> None:
    edit_table(release, column, "other")
    problems = problems_of(release)
    assert problems[0].startswith(f"{TRAINING}_Part3_GroundTruth.csv must have the column '{column}'; got ")
    assert len(problems) == 1


def test_a_missing_keratosis_column_is_no_matter(release: Path) -> None:
    edit_table(release, "seborrheic_keratosis", "other")
    assert len(read(release).lesions) == 7


def test_a_missing_lesion_mask_is_told_with_its_case(release: Path) -> None:
    file = release / f"{VALIDATION}_Part1_GroundTruth" / "ISIC_0000010_segmentation.png"
    file.unlink()
    assert problems_of(release) == [f"ISIC_0000010: the lesion mask {file} must exist; got no such file"]


def test_features_that_are_no_json_are_told_with_their_case(release: Path) -> None:
    edit_features(release, "ISIC_0000001", "{no json")
    (problem,) = problems_of(release)
    assert problem.startswith("ISIC_0000001: ISIC_0000001_features.json must hold a list of 0 and 1 for each of pigment_network")


@pytest.mark.parametrize("text", ["[1, 0]", "3", "null", '"text"', ""])
def test_features_that_are_no_object_are_told_with_their_case(release: Path, text: str) -> None:
    edit_features(release, "ISIC_0000001", text)
    (problem,) = problems_of(release)
    assert problem.startswith("ISIC_0000001: ISIC_0000001_features.json must hold a list of 0 and 1")


def test_features_in_another_encoding_are_told_with_their_case(release: Path) -> None:
    file = release / f"{TRAINING}_Part2_GroundTruth" / "ISIC_0000001_features.json"
    file.write_bytes(b"\xff\xfe{\x00}\x00")
    (problem,) = problems_of(release)
    assert problem.startswith("ISIC_0000001: ")


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_that_is_missing_is_told_with_its_case(release: Path, feature: str) -> None:
    lists = {name: [0, 0, 0, 0] for name in FEATURES if name != feature}
    edit_features(release, "ISIC_0000002", json.dumps(lists))
    (problem,) = problems_of(release)
    assert problem.startswith("ISIC_0000002: ISIC_0000002_features.json must hold a list of 0 and 1 for each of ")
    assert problem.endswith(f"got KeyError('{feature}')")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0, 1, 0], r"streaks (3,)"),
        ([0, 1, 2, 0], "streaks (4,)"),
        ([0, 0.5, 0, 0], "streaks (4,)"),
        ([0, None, 0, 0], "streaks (4,)"),
        ([[0, 1], [0, 1]], "streaks (2, 2)"),
        (1, "streaks ()"),
        ([], "streaks (0,)"),
    ],
)
def test_a_list_that_does_not_fit_is_told_with_its_case(release: Path, values: Any, found: str) -> None:
    edit_features(release, "ISIC_0000002", {"streaks": values})
    (problem,) = problems_of(release)
    assert problem.startswith(
        "ISIC_0000002: the lists of ISIC_0000002_features.json must be of one length and hold 0 and 1; got "
    )
    assert problem.endswith(found)


@pytest.mark.parametrize("values", [["a", "b", "c", "d"], [[0, 1], [0]], {"0": 1}])
def test_lists_that_hold_no_numbers_are_told_with_their_case(release: Path, values: Any) -> None:
    edit_features(release, "ISIC_0000002", {"streaks": values})
    (problem,) = problems_of(release)
    assert problem.startswith("ISIC_0000002: ISIC_0000002_features.json must hold a list of 0 and 1")


@pytest.mark.parametrize("split", ["Training", "Validation"])
def test_a_missing_part_is_told(release: Path, split: str) -> None:
    shutil.rmtree(release / f"ISIC-2017_{split}_Data")
    assert problems_of(release) == [
        f"an ISIC 2017 folder must hold ISIC-2017_{split}_Data; got none in {release} (--data isic2017:PATH)"
    ]


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"must hold ISIC-2017_Training_Data; got none in .*\(--data isic2017:PATH\) \(and 1 more"
    ):
        read(tmp_path)


def test_a_file_instead_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(DataError, match=r"must hold ISIC-2017_Training_Data; got none in .*a file"):
        read(tmp_path / "a file")


def test_a_part_without_images_is_told(release: Path) -> None:
    for file in (release / f"{VALIDATION}_Data").iterdir():
        file.unlink()
    assert problems_of(release) == [f"{VALIDATION}_Data must hold at least one .jpg image; got none"]


def test_an_empty_test_part_is_told(release: Path) -> None:
    for file in (release / "ISIC-2017_Test_v2_Data").iterdir():
        file.unlink()
    assert problems_of(release) == ["ISIC-2017_Test_v2_Data must hold at least one .jpg image; got none"]


def test_all_problems_are_collected(release: Path) -> None:
    edit_table(release, "ISIC_0000001,1.0", "ISIC_0000001,maybe")
    edit_features(release, "ISIC_0000002", "nothing")
    (release / f"{VALIDATION}_Part1_GroundTruth" / "ISIC_0000010_segmentation.png").unlink()
    shutil.rmtree(release / "ISIC-2017_Test_v2_Data")
    (release / "ISIC-2017_Test_v2_Data").mkdir()
    with pytest.raises(DataError, match=r"ISIC_0000001: .* \(and 3 more: `dermtune data check` lists all\)$") as caught:
        read(release)
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "ISIC_0000001:",
        "ISIC_0000002:",
        "ISIC_0000010:",
        "ISIC-2017_Test_v2_Data",
    ]


def test_a_name_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    release = tmp_path / "a set"
    for split in ("Training", "Validation"):
        write_part(release, split, {"ISIC_0000001": Case(0.0, {})})
    image = next((release / "ISIC-2017_Training_Data").glob("*.jpg"))
    image.with_name(os.fsdecode(b"ISIC_\xff.jpg")).write_bytes(image.read_bytes())
    with pytest.raises(DataError, match=r"the name of every image must be UTF-8; got 'ISIC_\\udcff\.jpg'") as caught:
        read(release)
    for problem in caught.value.problems:
        problem.encode()


def test_a_case_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    both = Case(0.0, {})
    release = tmp_path / "a set"
    write_part(release, "Training", {"ISIC_0000001": both, "ISIC_0000002": both})
    write_part(release, "Validation", {"ISIC_0000002": both, "ISIC_0000003": both})
    found = read(release)
    assert found.leaks() == ["ISIC_0000002 must be in one split; got train and valid"]
    same_picture = "ISIC_0000002: image ISIC_0000002 must not be in valid; got the very picture of ISIC_0000002, in train"
    assert inspect(found).problems == [*found.leaks(), same_picture]


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg"])
def test_an_image_with_another_suffix_is_not_silently_left_out(release: Path, suffix: str) -> None:
    """Derm7pt mixes .jpg and .JPG; a training image that vanishes without a word changes the set that is trained on."""
    place = release / f"{TRAINING}_Data"
    (place / "ISIC_0000002.jpg").rename(place / f"ISIC_0000002{suffix}")
    try:
        told = list(read(release).cases.names)
    except DataError as error:
        told = [problem.split(":")[0] for problem in error.problems]
    assert "ISIC_0000002" in told


def test_dtype_and_shape_of_what_is_read(release: Path) -> None:
    found = read(release)
    assert found.presence.shape == (7, 6)
    assert found.cases.labels.dtype == np.int64
    assert all(annotation is None or {len(values) for values in annotation.values()} == {4} for annotation in found.annotations)
