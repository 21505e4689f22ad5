"""Folds: every case validates once, what hangs together is never parted, and what cannot be even is said."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trainables.data import fold_notes, read, read_labelled
from trainables.data.cases import CaseSet, LabelTask
from trainables.data.folds import components, fold
from trainables.errors import DataError

CLASSES = ("melanoma", "nevus")


def case_set(labels: Sequence[int], groups: Sequence[str] = (), place: str = "/here", test: int = 0) -> CaseSet:
    """As many cases as labels, the last ones for testing, the others half and half for training and validation."""
    number = len(labels)
    pool = np.arange(number - test)
    splits = {"train": pool[::2], "valid": pool[1::2]} | ({"test": np.arange(number - test, number)} if test else {})
    names = tuple(f"{index}.png" for index in range(number))
    return CaseSet(
        source="table:x.csv",
        images=tuple(Path(place) / name for name in names),
        names=names,
        rows=tuple(range(2, number + 2)),
        tasks=(LabelTask("diagnosis", CLASSES),),
        labels=np.array(labels)[:, None],
        splits=splits,
        primary="diagnosis",
        groups=tuple(groups),
        group_column="patient_id" if groups else "",
    )


def different(number: int) -> list[str]:
    """Contents of which no two are the same."""
    return [f"digest {index}" for index in range(number)]


def test_components_hang_together_by_group_and_by_content() -> None:
    """0 and 2 are of one patient, 2 and 3 are one picture, 5 is a copy of 1; 4 has no group, and neither has 6."""
    groups, contents = ["p", "q", "p", "r", "", "s", ""], ["a", "b", "c", "c", "d", "b", "e"]
    assert components(groups, contents, list("0123456")).tolist() == [0, 1, 0, 0, 2, 1, 3]
    assert components(groups[1::2], contents[1::2], list("135")).tolist() == [0, 1, 0]
    assert components([""] * 3, [""] * 3, list("abc")).tolist() == [0, 1, 2], "no content is not one content"
    assert components([""] * 3, [""] * 3, list("aba")).tolist() == [0, 1, 0], "one file named twice"


@given(st.data())
def test_folds_part_the_cases_and_never_what_hangs_together(data: st.DataObject) -> None:
    number, count = data.draw(st.integers(12, 40)), data.draw(st.integers(2, 4))
    labels = data.draw(st.lists(st.integers(-1, 1), min_size=number, max_size=number))
    groups = data.draw(st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=number, max_size=number))
    contents = data.draw(st.lists(st.integers(0, 60).map(str), min_size=number, max_size=number))
    cases = case_set(labels, groups, test=3)
    pool = sorted({*cases.splits["train"].tolist(), *cases.splits["valid"].tolist()})
    together = components([groups[n] for n in pool], [contents[n] for n in pool], [str(n) for n in pool])
    if together.max() + 1 < count:
        with pytest.raises(DataError, match=r"--folds must be \d or less, the groups that can be parted"):
            fold(cases, 1, count, contents)
        return
    folds = [fold(cases, index, count, contents) for index in range(1, count + 1)]
    for found in folds:
        train, valid = (set(found.splits[split].tolist()) for split in ("train", "valid"))
        assert not train & valid
        assert sorted(train | valid) == pool
        assert found.splits["test"].tolist() == cases.splits["test"].tolist()
        for keys in (groups, contents):
            assert not {keys[case] for case in train if keys[case]} & {keys[case] for case in valid if keys[case]}
    assert sorted(case for found in folds for case in found.splits["valid"].tolist()) == pool


def test_folds_are_the_same_wherever_the_images_lie() -> None:
    labels, groups = [0, 1] * 15, [f"p{index // 2}" for index in range(30)]
    one, other = (fold(case_set(labels, groups, place), 2, 3, different(30)) for place in ("/a", "/z/node 7"))
    assert one.splits["valid"].tolist() == other.splits["valid"].tolist()


def test_folds_are_stratified_and_have_nothing_to_say_where_groups_allow_it() -> None:
    cases = case_set([0, 1, 1] * 10, [f"p{index // 3}" for index in range(30)])
    for index in range(1, 6):
        found = fold(cases, index, 5, different(30))
        assert np.bincount(found.labels[found.splits["valid"], 0]).tolist() == [2, 4]
        assert found.notes == ()


def test_folds_that_cannot_be_even_are_made_all_the_same_and_say_so() -> None:
    """All nine melanomas are of one patient."""
    cases = case_set([0] * 9 + [1] * 21, ["p0"] * 9 + [f"p{index}" for index in range(1, 22)])
    folds = [fold(cases, index, 3, different(30)) for index in (1, 2, 3)]
    melanomas = [int((found.labels[found.splits["valid"], 0] == 0).sum()) for found in folds]
    assert sorted(melanomas) == [0, 0, 9]
    for index, (found, number) in enumerate(zip(folds, melanomas, strict=True), start=1):
        assert found.notes == (
            f"fold {index} of 3 is uneven, since groups stay together: it validates on {number} of the 9 cases of diagnosis"
            " melanoma, where 3.0 would be even",
        )


@pytest.mark.parametrize(
    ("labels", "groups", "count", "message"),
    [
        ([0, 1, 0, 1, 0], (), 3, r"--folds must leave two cases a fold or more; got 3 of 5 cases"),
        ([0, 1] * 6, ["p", "q"] * 6, 3, r"--folds must be 2 or less, the groups that can be parted; got 3"),
    ],
)
def test_what_cannot_be_parted_so_often_is_refused(labels: list[int], groups: Sequence[str], count: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fold(case_set(labels, groups), 1, count, different(len(labels)))


def test_no_label_with_a_case_for_each_fold_is_no_reason_to_fail() -> None:
    cases = case_set([0, 0, 0, 1, 1, 1, -1, -1])
    assert len(fold(cases, 1, 4, different(8)).splits["valid"]) == 2


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """24 images of six patients under a table; image 5 is a copy of image 12, of another patient."""
    folder = tmp_path / "a table"
    folder.mkdir()
    generator = np.random.default_rng(0)
    lines = ["image,split,diagnosis,patient_id"]
    for index in range(24):
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        split = "train" if index < 16 else "valid"
        lines.append(f"{index}.png,{split},{CLASSES[index % 2]},p{index // 4}")
    (folder / "5.png").write_bytes((folder / "12.png").read_bytes())
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    return folder / "cases.csv"


def test_folds_of_a_table_keep_patients_and_copies_together(table: Path) -> None:
    for index in (1, 2, 3):
        cases = read_labelled(f"table:{table}#fold={index}/3")
        for split, other in (("train", "valid"), ("valid", "train")):
            here = {cases.groups[case] for case in cases.splits[split]}
            assert not here & {cases.groups[case] for case in cases.splits[other]}
            assert ("p1" in here) == ("p3" in here), "they share a picture"


def test_what_is_to_be_known_of_folds_is_told_for_each(table: Path) -> None:
    lines = table.read_text().splitlines()
    # All melanomas are p0's: whichever fold has them for validation has none to learn from.
    moved = [
        lines[0],
        *(line.rpartition(",")[0] + (",p0" if "melanoma" in line else ",q" + line.split(".")[0]) for line in lines[1:]),
    ]
    (table.with_name("moved.csv")).write_text("\n".join(moved) + "\n")
    (table.parent / "5.png").write_bytes((table.parent / "4.png").read_bytes()[:-1] + b"!")
    notes = fold_notes(f"table:{table.with_name('moved.csv')}", 3)
    assert len([line for line in notes if "is uneven, since groups stay together" in line]) == 3
    assert len([line for line in notes if "class melanoma is in validation (12 cases) but not in training" in line]) == 1
    assert fold_notes(f"table:{table}", 2) == ()


def test_a_fold_is_read_by_what_stands_behind_the_path(table: Path) -> None:
    whole, part = read(f"table:{table}"), read_labelled(f"table:{table}#fold=2/2")
    assert isinstance(whole, CaseSet)
    assert whole.splits["valid"].tolist() != part.splits["valid"].tolist()
    with pytest.raises(DataError, match=r"--data must end with #fold=I/F"):
        read(f"table:{table}#fold=3/2")
