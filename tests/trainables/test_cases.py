"""Labelled cases: grouping into melanoma and the rest, another primary task, counts, and the fingerprint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainables.data.cases import CaseSet, LabelTask, melanoma_class
from trainables.errors import DataError


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
    ("contents", "expected"),
    [
        ("vwxyz", []),
        (["", "", "", "", ""], []),
        ("vwxvz", ["line 5: image d must not be in valid; got the very picture of a (line 2), in train"]),
        ("vvxyz", ["line 3: image b must have the labels of a (line 2), the very same picture; got others"]),
        ("vwxyv", ["line 6: image e must not be in valid; got the very picture of a (line 2), in train"]),
    ],
)
def test_twins_are_told_where_they_leak_or_contradict_each_other(
    cases: CaseSet, contents: list[str], expected: list[str]
) -> None:
    assert cases.twins(contents) == expected


def test_twins_with_the_same_labels_in_one_split_are_a_weight_and_no_problem(cases: CaseSet) -> None:
    cases.labels[1] = cases.labels[0]
    assert cases.twins("vvxyz") == []


def test_one_file_that_is_named_twice_is_no_twin(cases: CaseSet) -> None:
    again = replace(cases, images=(*cases.images[:3], cases.images[0], cases.images[4]))
    assert again.twins("vwxvz") == []
    assert len(again.leaks()) == 1
