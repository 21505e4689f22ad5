"""The 24 labels of Derm7pt: every raw string of the release against the paper's grouping (Kawahara et al. 2019)."""

import pytest

from trainables.data.derm7pt import GROUPS, TASKS, label_of

#: Task, column and labels in the paper's order; each label with its raw strings. Copied from the papers' notes, by hand.
PAPER = [
    (
        "DIAG",
        "diagnosis",
        {
            "BCC": ["basal cell carcinoma"],
            "NEV": [
                "blue nevus",
                "clark nevus",
                "combined nevus",
                "congenital nevus",
                "dermal nevus",
                "recurrent nevus",
                "reed or spitz nevus",
            ],
            "MEL": [
                "melanoma",
                "melanoma (in situ)",
                "melanoma (less than 0.76 mm)",
                "melanoma (0.76 to 1.5 mm)",
                "melanoma (more than 1.5 mm)",
                "melanoma metastasis",
            ],
            "MISC": ["dermatofibroma", "lentigo", "melanosis", "miscellaneous", "vascular lesion"],
            "SK": ["seborrheic keratosis"],
        },
    ),
    ("PN", "pigment_network", {"ABS": ["absent"], "TYP": ["typical"], "ATP": ["atypical"]}),
    ("BWV", "blue_whitish_veil", {"ABS": ["absent"], "PRS": ["present"]}),
    (
        "VS",
        "vascular_structures",
        {
            "ABS": ["absent"],
            "REG": ["arborizing", "comma", "hairpin", "within regression", "wreath"],
            "IR": ["dotted", "linear irregular"],
        },
    ),
    (
        "PIG",
        "pigmentation",
        {
            "ABS": ["absent"],
            "REG": ["diffuse regular", "localized regular"],
            "IR": ["diffuse irregular", "localized irregular"],
        },
    ),
    ("STR", "streaks", {"ABS": ["absent"], "REG": ["regular"], "IR": ["irregular"]}),
    ("DaG", "dots_and_globules", {"ABS": ["absent"], "REG": ["regular"], "IR": ["irregular"]}),
    ("RS", "regression_structures", {"ABS": ["absent"], "PRS": ["blue areas", "white areas", "combinations"]}),
]
STRINGS = [(task, raw, label) for task, _, labels in PAPER for label, raws in labels.items() for raw in raws]


@pytest.mark.parametrize(("task", "raw", "label"), STRINGS)
def test_every_raw_string_of_the_release_has_the_papers_label(task: str, raw: str, label: str) -> None:
    assert label_of(task, raw) == label


@pytest.mark.parametrize(("task", "raw", "label"), STRINGS)
def test_case_and_spaces_around_do_not_matter(task: str, raw: str, label: str) -> None:
    assert label_of(task, f"  {raw.upper()}\t") == label
    assert label_of(task, f"{raw.title()} ") == label


def test_tasks_labels_and_columns_stand_in_the_papers_order() -> None:
    assert [(task.name, task.classes) for task in TASKS] == [(task, tuple(labels)) for task, _, labels in PAPER]
    assert [column for column, _ in GROUPS.values()] == [column for _, column, _ in PAPER]


def test_there_are_eight_tasks_with_24_classes() -> None:
    assert len(TASKS) == 8
    assert sum(len(task.classes) for task in TASKS) == 24


@pytest.mark.parametrize("raw", ["melanoma (some thickness of a later release)", "Melanoma", "melanoma in situ"])
def test_every_diagnosis_that_begins_with_melanoma_is_melanoma(raw: str) -> None:
    assert label_of("DIAG", raw) == "MEL"


def test_melanosis_is_miscellaneous_and_not_melanoma() -> None:
    assert label_of("DIAG", "melanosis") == "MISC"


@pytest.mark.parametrize(
    ("task", "raw", "message"),
    [
        ("DIAG", "wart", r"^diagnosis must be a string of the Derm7pt release; got 'wart'$"),
        ("DIAG", "nevus", r"^diagnosis must be .*; got 'nevus'$"),
        ("DIAG", "", r"^diagnosis must be .*; got ''$"),
        ("PN", "melanoma", r"^pigment_network must be .*; got 'melanoma'$"),
        ("BWV", "atypical", r"^blue_whitish_veil must be .*; got 'atypical'$"),
        ("RS", "blue  areas", r"^regression_structures must be .*; got 'blue  areas'$"),
    ],
)
def test_an_unknown_string_is_refused_by_column_and_text(task: str, raw: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_of(task, raw)
