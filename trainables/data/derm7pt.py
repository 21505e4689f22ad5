"""The Derm7pt release: 1011 dermoscopic images, a diagnosis and the seven criteria (Kawahara et al. 2019)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from trainables.data.cases import MISSING, SPLITS, CaseSet, LabelTask, PartlyUsable
from trainables.data.groups import check_column, group_cells, group_note
from trainables.data.image_files import ImageFinder, resolved
from trainables.data.repeated import Problems, some, told
from trainables.data.roles import ColumnRoles
from trainables.data.tables import read_table
from trainables.errors import DataError

#: task → (column of meta.csv, label → raw strings). Melanoma is every string that begins with "melanoma".
GROUPS: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "DIAG": (
        "diagnosis",
        {
            "BCC": ("basal cell carcinoma",),
            "NEV": (
                "blue nevus",
                "clark nevus",
                "combined nevus",
                "congenital nevus",
                "dermal nevus",
                "recurrent nevus",
                "reed or spitz nevus",
            ),
            "MEL": (
                "melanoma",
                "melanoma (in situ)",
                "melanoma (less than 0.76 mm)",
                "melanoma (0.76 to 1.5 mm)",
                "melanoma (more than 1.5 mm)",
                "melanoma metastasis",
            ),
            "MISC": ("dermatofibroma", "lentigo", "melanosis", "miscellaneous", "vascular lesion"),
            "SK": ("seborrheic keratosis",),
        },
    ),
    "PN": ("pigment_network", {"ABS": ("absent",), "TYP": ("typical",), "ATP": ("atypical",)}),
    "BWV": ("blue_whitish_veil", {"ABS": ("absent",), "PRS": ("present",)}),
    "VS": (
        "vascular_structures",
        {
            "ABS": ("absent",),
            "REG": ("arborizing", "comma", "hairpin", "within regression", "wreath"),
            "IR": ("dotted", "linear irregular"),
        },
    ),
    "PIG": (
        "pigmentation",
        {
            "ABS": ("absent",),
            "REG": ("diffuse regular", "localized regular"),
            "IR": ("diffuse irregular", "localized irregular"),
        },
    ),
    "STR": ("streaks", {"ABS": ("absent",), "REG": ("regular",), "IR": ("irregular",)}),
    "DaG": ("dots_and_globules", {"ABS": ("absent",), "REG": ("regular",), "IR": ("irregular",)}),
    "RS": (
        "regression_structures",
        {"ABS": ("absent",), "PRS": ("blue areas", "white areas", "combinations")},
    ),
}
TASKS = tuple(LabelTask(name, tuple(groups)) for name, (_, groups) in GROUPS.items())
#: Whose a case is, in meta.csv; mostly empty.
GROUP_COLUMN = "case_id"
INDEX_FILES = {split: f"{split}_indexes.csv" for split in SPLITS}


def label_of(task: str, raw: str) -> str:
    """The paper's label for a raw string of `meta.csv` (Table 1; the grouping of Kawahara et al. 2019).

    Raises:  ValueError: when the string belongs to no label of the task.
    """
    column, groups = GROUPS[task]
    cleaned = raw.strip().lower()
    if task == "DIAG" and cleaned.startswith("melanoma"):
        return "MEL"
    for label, strings in groups.items():
        if cleaned in strings:
            return label
    raise ValueError(f"{column} must be a string of the Derm7pt release; got {raw!r}")


def read(path: Path, classes: Mapping[str, Sequence[str]] | None = None, roles: ColumnRoles | None = None) -> CaseSet:
    """Reads a Derm7pt folder: `meta/meta.csv`, `meta/{train,valid,test}_indexes.csv` and `images/`.

    Args:    path: the folder that holds `meta/` and `images/`.
             classes: of a checkpoint that the cases must fit; the release has the same ones always.
             roles: whose group is the column of meta.csv that says whose each case is; without one `case_id` where there is one.
    Raises:  DataError: with every problem found.
    """
    roles = roles or ColumnRoles()
    roles.check_only_group("derm7pt")
    if not (path / "meta" / "meta.csv").is_file():
        raise DataError(f"a Derm7pt folder must hold meta/meta.csv; got {path} (--data derm7pt:PATH)")
    if classes is not None and any(tuple(classes.get(task.name, task.classes)) != task.classes for task in TASKS):
        raise DataError(f"the checkpoint's classes must be Derm7pt's 24 labels; got {dict(classes)} (--data)")
    notes: list[str] = []
    meta = read_table(path / "meta" / "meta.csv", notes)
    columns = ["derm", *(column for column, _ in GROUPS.values())]
    absent = [column for column in columns if column not in meta]
    problems = [
        f"meta.csv must have the column {name!r}; got {', '.join(meta.columns)} ({path / 'meta/meta.csv'})" for name in absent
    ]
    if roles.group is not None:
        problems += _group_problems(roles.group, list(meta.columns))
    if absent:
        raise DataError(*problems)
    splits = {split: _read_index(path / "meta" / file, len(meta), problems) for split, file in INDEX_FILES.items()}
    labels = _read_labels(meta, problems)
    names = meta["derm"].fillna("").astype(str)
    # A case that no split names is left out, so that its image may be missing.
    used = sorted({int(index) for members in splits.values() for index in members})
    finder = ImageFinder(path / "images")
    images = [finder.find(names.iloc[i], f"meta.csv line {meta.index[i]}") for i in used]
    problems += finder.problems()
    problems += _shared_cases(splits)
    owner = roles.group or GROUP_COLUMN
    groups = group_cells(meta[owner].iloc[used]) if owner in meta else ()
    found = CaseSet(
        source=f"derm7pt:{path}",
        images=tuple(map(resolved, images)),
        names=tuple(names.iloc[i] for i in used),
        rows=tuple(int(meta.index[i]) for i in used),
        tasks=TASKS,
        labels=labels[used],
        splits={split: np.searchsorted(used, members) for split, members in splits.items()},
        primary="DIAG",
        groups=groups,
        group_column=owner,
        notes=(*notes, *finder.notes(), *(group_note(owner, groups) if groups else ())),
    )
    if problems:
        raise PartlyUsable(found.with_images(), *problems)
    return found


def columns_of(path: Path, cases: CaseSet) -> pd.DataFrame:
    """Every column of meta.csv as text, a row a case.

    Args:    path: of the release.
             cases: read from it.
    """
    return read_table(path / "meta" / "meta.csv", []).loc[list(cases.rows)]


def _group_problems(group: str, columns: Sequence[str]) -> Sequence[str]:
    try:
        check_column(group, columns, "meta.csv")
    except DataError as error:
        return error.problems
    return []


def _shared_cases(splits: Mapping[str, Int[np.ndarray, " members"]]) -> list[str]:
    """One line for each case that stands twice in the index files: a leak between splits, or a weight by accident."""
    seen: dict[int, str] = {}
    problems = Problems()
    for split, members in splits.items():
        for index in map(int, members):
            if index in seen:
                line, places = f"meta.csv line {index + 2}", f"{seen[index]} and {split}"
                many = "{} lines of meta.csv must be in one split, once; got"
                problems.add(f"{line} must be in one split, once; got {places}", many, f"line {index + 2} in {places}")
            seen[index] = split
    return problems.lines()


def _read_index(file: Path, num_cases: int, problems: list[str]) -> Int[np.ndarray, " members"]:
    empty = np.zeros(0, dtype=np.int64)
    if not file.is_file():
        problems.append(f"{file} must exist; got no such file")
        return empty
    table = read_table(file, notes=[])
    if "indexes" not in table:
        problems.append(f"{file.name} must have one column, indexes; got {', '.join(table.columns)}")
        return empty
    numbers = pd.to_numeric(table["indexes"], errors="coerce")
    bad = numbers.isna() | (numbers < 0) | (numbers >= num_cases) | (numbers % 1 != 0)
    must = f"index must be 0 to {num_cases - 1}; got"
    found = [(f"line {table.index[i]}", str(table["indexes"].iloc[i])) for i in map(int, np.flatnonzero(bad))]
    lines, names = [f"{file.name} {line}: {must} {value}" for line, value in found], [f"{v} ({line})" for line, v in found]
    problems += told(lines, names, f"{{}} lines of {file.name}: {must}")
    if not len(table):
        problems.append(f"{file.name} must name at least one case; got an empty split")
    return numbers[~bad].to_numpy(dtype=np.int64)


def _read_labels(meta: pd.DataFrame, problems: list[str]) -> Int[np.ndarray, "cases tasks"]:
    labels = np.full((len(meta), len(GROUPS)), MISSING, dtype=np.int64)
    for column, task in enumerate(TASKS):
        wrong: dict[str, list[str]] = {}
        for row, raw in enumerate(meta[GROUPS[task.name][0]].fillna("").astype(str)):
            try:
                labels[row, column] = task.classes.index(label_of(task.name, raw))
            except ValueError as error:
                wrong.setdefault(str(error), []).append(f"line {meta.index[row]}")
        problems += [f"meta.csv {some(lines)}: {error}" for error, lines in wrong.items()]
    return labels
