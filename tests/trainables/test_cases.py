"""Labelled cases: grouping into melanoma and the rest, another primary task, counts, and the fingerprint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainables.data.cases import CaseSet, LabelTask, melanoma_class
from trainables.errors import DataError

OTHER_COLUMN = " (--group names another column; one that differs in every case has no groups)"


@pytest.fixture
def cases() -> CaseSet:
    """Five cases, two tasks, one label missing in each."""
    return CaseSet(
        source="table:/x.csv",
        images=tuple(Path(f"/images/{name}.png") for name in "abcde"),
        names=tuple("abcde"),
        rows=(2, 3, 4, 5, 6),
        tasks=(LabelTask("site", ("arm", "leg")), LabelTask("diagnosis", ("akiec", "Melanoma", "nevus"))),
        labels=np.array([[0, 1], [1, 2], [-1, 0], [0, -1], [1, 1]]),
        splits={"train": np.array([0, 1, 2]), "valid": np.array([3, 4])},
        primary="diagnosis",
    )


def test_counts_say_how_many_cases_each_class_has_in_each_split(cases: CaseSet) -> None:
    assert cases.counts() == {
        "train": {"site": {"arm": 1, "leg": 1, "(missing)": 1}, "diagnosis": {"akiec": 1, "Melanoma": 1, "nevus": 1}},
        "valid": {"site": {"arm": 1, "leg": 1}, "diagnosis": {"akiec": 0, "Melanoma": 1, "nevus": 0, "(missing)": 1}},
    }


def test_binary_groups_the_primary_task_and_nothing_else(cases: CaseSet) -> None:
    grouped = cases.binary()
    assert grouped.tasks == (LabelTask("site", ("arm", "leg")), LabelTask("diagnosis", ("rest", "Melanoma")))
    assert grouped.labels.tolist() == [[0, 1], [1, 0], [-1, 0], [0, -1], [1, 1]]
    assert grouped.melanoma_class == 1
    assert cases.labels.tolist() == [[0, 1], [1, 2], [-1, 0], [0, -1], [1, 1]]
    assert replace(grouped, tasks=cases.tasks, labels=cases.labels) == replace(cases)


def test_binary_of_binary_is_the_same(cases: CaseSet) -> None:
    once, twice = cases.binary(), cases.binary().binary()
    assert twice.tasks == once.tasks
    assert twice.labels.tolist() == once.labels.tolist()


def test_binary_needs_a_melanoma_class_in_the_primary_task(cases: CaseSet) -> None:
    with pytest.raises(DataError, match=r"^binary must have a melanoma class in site; got none \(--set binary=false\)$"):
        cases.with_primary("site").binary()


def test_another_primary_task_can_be_chosen(cases: CaseSet) -> None:
    assert (cases.primary_index, cases.melanoma_class) == (1, 1)
    other = cases.with_primary("site")
    assert (other.primary, other.primary_index, other.melanoma_class) == ("site", 0, None)
    assert cases.with_primary("auto") is cases


def test_an_unknown_primary_task_is_refused(cases: CaseSet) -> None:
    with pytest.raises(ValueError, match=r"^primary_task must be one of site, diagnosis; got 'age' \(--set primary_task=\)$"):
        cases.with_primary("age")


@pytest.mark.parametrize(
    ("classes", "position"),
    [
        (("BCC", "NEV", "MEL"), 2),
        (("mel", "nv"), 0),
        (("benign", "MELANOMA"), 1),
        (("melanosis", "nevus"), None),
        (("no", "yes"), None),
    ],
)
def test_melanoma_is_found_by_its_name(classes: tuple[str, ...], position: int | None) -> None:
    assert melanoma_class(classes) == position


def test_the_fingerprint_is_stable_and_does_not_depend_on_the_place(cases: CaseSet) -> None:
    moved = replace(cases, source="table:/y.csv", images=tuple(Path(f"/elsewhere/{name}") for name in cases.names))
    assert moved.fingerprint("0123") == cases.fingerprint("0123")
    assert len(cases.fingerprint("0123")) == 16
    assert int(cases.fingerprint("0123"), 16) >= 0


def test_the_fingerprint_changes_with_labels_classes_splits_and_images(cases: CaseSet) -> None:
    labels = cases.labels.copy()
    labels[0, 0] = 1
    changed = [
        cases.fingerprint("0123"),
        cases.fingerprint("4567"),
        replace(cases, labels=labels).fingerprint("0123"),
        replace(cases, tasks=(LabelTask("site", ("leg", "arm")), cases.tasks[1])).fingerprint("0123"),
        replace(cases, tasks=(LabelTask("place", ("arm", "leg")), cases.tasks[1])).fingerprint("0123"),
        replace(cases, splits={"train": np.array([0, 1]), "valid": np.array([2, 3, 4])}).fingerprint("0123"),
        replace(cases, splits={"train": np.array([0, 1, 2]), "test": np.array([3, 4])}).fingerprint("0123"),
        replace(cases, names=tuple("abcdf")).fingerprint("0123"),
        cases.binary().fingerprint("0123"),
    ]
    assert len(set(changed)) == len(changed)


@pytest.mark.parametrize(
    ("contents", "twins", "contradictions"),
    [
        ("vwxyz", [], []),
        (["", "", "", "", ""], [], []),
        ("vwxvz", ["line 5: image d must not be in valid; got the very picture of a (line 2), in train"], []),
        ("vvxyz", [], ["line 3: image b must have the labels of a (line 2), the very same picture; got others"]),
        ("vwxyv", ["line 6: image e must not be in valid; got the very picture of a (line 2), in train"], []),
    ],
)
def test_twins_are_told_where_they_leak_or_contradict_each_other(
    cases: CaseSet, contents: list[str], twins: list[str], contradictions: list[str]
) -> None:
    assert (cases.twins(contents), cases.contradictions(contents)) == (twins, contradictions)


def test_twins_with_the_same_labels_in_one_split_are_a_weight_and_no_problem(cases: CaseSet) -> None:
    cases.labels[1] = cases.labels[0]
    assert (cases.twins("vvxyz"), cases.contradictions("vvxyz")) == ([], [])


def test_one_file_that_is_named_twice_is_told_once(cases: CaseSet) -> None:
    again = replace(cases, images=(*cases.images[:3], cases.images[0], cases.images[4]))
    assert again.twins("vwxvz") == []
    assert len(again.leaks()) == 1


def test_one_file_with_two_labels_contradicts_itself(cases: CaseSet) -> None:
    again = replace(cases, images=(cases.images[0], *cases.images[:1], *cases.images[2:]))
    assert again.contradictions("vvxyz") == [
        "line 3: image b must have the labels of a (line 2), the very same picture; got others"
    ]


def test_a_group_in_two_splits_is_one_line_with_the_places(cases: CaseSet) -> None:
    shared = replace(cases, groups=("p1", "p2", "p1", "p1", "p2"), group_column="patient_id")
    assert shared.leaks() == [
        "patient_id 'p1' must be in one split; got it in train (line 2, line 4) and in valid (line 5)" + OTHER_COLUMN,
        "patient_id 'p2' must be in one split; got it in train (line 3) and in valid (line 6)" + OTHER_COLUMN,
    ]
    assert replace(shared, groups=("p1", "p2", "p1", "p3", "p4")).leaks() == []


def test_cases_without_a_group_are_not_of_one_group(cases: CaseSet) -> None:
    unknown = replace(cases, groups=("", "p2", "", "", ""), group_column="patient_id")
    assert unknown.leaks() == []
    assert unknown.group_codes(np.array([0, 2, 3, 4])) is None


def test_many_places_of_a_group_are_counted(cases: CaseSet) -> None:
    many = replace(cases, groups=("p",) * 5, group_column="g", splits={"train": np.array([0, 1, 2, 3]), "test": np.array([4])})
    assert many.leaks() == [
        "g 'p' must be in one split; got it in train (line 2, line 3, line 4 and 1 more) and in test (line 6)" + OTHER_COLUMN
    ]


def test_groups_are_numbered_among_some_cases(cases: CaseSet) -> None:
    grouped = replace(cases, groups=("b", "", "b", "a", ""), group_column="g")
    codes = grouped.group_codes(np.array([3, 0, 1, 2, 4]))
    assert codes is not None
    assert codes.tolist() == [0, 1, 2, 1, 3]
    assert grouped.group_codes(np.array([0, 1, 3])) is None, "no two of these share one"
    assert cases.group_codes(np.array([0, 1])) is None


def test_the_fingerprint_changes_with_the_groups(cases: CaseSet) -> None:
    grouped = [replace(cases, groups=groups).fingerprint("") for groups in ((), ("a", "a", "", "", ""), ("a", "", "a", "", ""))]
    assert len({*grouped, cases.fingerprint("")}) == 3
