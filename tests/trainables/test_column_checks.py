"""Labels that are not what they seem: copies, misspellings, numbers and dates."""

import numpy as np
import pandas as pd
import pytest

from trainables.data.cases import LabelTask
from trainables.data.column_checks import doubts, owners_left_out
from trainables.data.misspelling import misspelt


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Melanoma", "melanoma", True),
        ("basal cell", "basal_cell", True),
        ("sebk", "seb k", True),
        ("nevus", "naevus", True),
        ("melanoma", "melanom", True),
        ("melanoma", "melanmoa", True),
        ("melanoma", "nevus", False),
        ("melanoma in situ", "melanoma in sito", False),
        ("melanoma in situ", "melanuma in situ", True),
        ("BCC", "SCC", False),
        ("typical", "atypical", False),
        ("regular", "irregular", False),
        ("grade II", "grade III", False),
        ("grade 1", "grade 2", False),
        ("type A", "type B", False),
        ("male", "female", False),
        ("benign", "benign nevus", False),
        ("10000", "10001", False),
        ("-1", "1", False),
        ("grade -1", "grade 1", False),
        ("HER2", "HER2-", False),
        ("HER2", "her2 -", False),
        ("1-2", "12", False),
        ("1 2", "12", False),
        ("grade 1-2", "grade 1_2", True),
        ("T-1", "t1", True),
        ("nevus_", "nevus", True),
    ],
)
def test_labels_that_are_probably_one(one: str, other: str, expected: bool) -> None:
    assert misspelt(one, other) is misspelt(other, one) is expected
    assert not misspelt(one, one)


def test_columns_that_say_the_same_are_told_once_each() -> None:
    tasks = [LabelTask(name, ("x", "y")) for name in ("dx", "copy", "other", "again")]
    labels = np.array([[0, 1, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 1, -1]])
    assert doubts(tasks, labels) == [
        "dx and copy and again say the same: each label of one goes with one label of the other, so that one task is there 3"
        " times (--ignore copy,again)"
    ]


def test_columns_that_are_seldom_known_together_say_nothing_of_each_other() -> None:
    tasks = [LabelTask(name, ("x", "y")) for name in ("one", "other")]
    assert doubts(tasks, np.array([[0, 0], [1, 1], [0, -1], [-1, 1], [1, -1]])) == []


def test_the_rarer_of_two_labels_is_the_misspelt_one() -> None:
    labels = np.array([[0], [1], [1], [2], [1]])
    many = LabelTask("dx", ("nevus", "Nevus", "NEVUS", "nevuss", "n-evus", "nevsu"))
    assert doubts([many], np.array([[0], [0], [1], [2], [3], [4], [5]])) == [
        "dx: 5 labels are probably others, misspelt: 'Nevus' is probably 'nevus', 'NEVUS' is probably 'nevus', 'nevuss' is"
        " probably 'nevus' and 2 more"
    ]
    assert doubts([LabelTask("dx", ("Nevus", "nevus", "other"))], labels) == [
        "dx: 'Nevus' is probably 'nevus', misspelt; as it stands they are two classes of 1 and 3 cases"
    ]


@pytest.mark.parametrize(
    ("classes", "kind"),
    [
        (tuple(map(str, range(20, 31))), "11 numbers"),
        (tuple(f"{n}.5" for n in range(11)), "11 numbers"),
        (("2019-01-02", "2020-03-04"), "2 dates"),
        (tuple(map(str, range(10))), ""),
        (("1", "2", "x"), ""),
    ],
)
def test_numbers_and_dates_as_labels(classes: tuple[str, ...], kind: str) -> None:
    told = f"age is {kind}, each a class of its own without order (--ignore age, or group them to a few labels)"
    assert doubts([LabelTask("age", classes)], np.zeros((3, 1), dtype=np.int64)) == ([told] if kind else [])


def test_a_column_of_owners_that_nobody_uses_is_told_when_it_stands_in_several_splits() -> None:
    rows = range(60)
    table = pd.DataFrame(
        {
            "Patient": [f"P{row // 2:03d}" for row in rows],
            "number": [str(row // 2) for row in rows],
            "lesion_id": [str(row) for row in rows],
            "site": [("arm", "leg", "face")[row % 3] for row in rows],
        }
    )
    # Of P000 one image is in either split; of the others both are in one.
    splits = {"train": np.array([0, *range(2, 40)]), "valid": np.array([1, *range(40, 60)])}
    (line,) = owners_left_out(table, ["Patient", "lesion_id", "site"], splits)
    assert line == (
        "column 'Patient' is not used, and 1 of its 30 values stand in several splits (the first: 'P000'): if it says whose a"
        " case is, networks are measured on patients that they were trained on (--group Patient looks after it)"
    )
    assert owners_left_out(table, ["number", "lesion_id", "site"], splits) == [], "ages and sites are in every split"
    noted = table.rename(columns={"Patient": "remark"})
    assert owners_left_out(noted, ["remark"], splits) != []
    assert owners_left_out(noted, ["remark"], splits, is_grouped=True) == [], "it is known whose each case is"
    assert owners_left_out(table, ["Patient"], splits, is_grouped=True) == [line]
