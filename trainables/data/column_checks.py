"""Columns of a table that are no labels, and labels that are not what they seem."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Int

from trainables.data.cases import MISSING, LabelTask
from trainables.data.misspelling import misspelt
from trainables.data.repeated import told
from trainables.data.roles import as_option

#: More values than these are no labels in any table.
MAXIMUM_CLASSES = 50
#: So few values may be labels in a table of any size.
FEW_VALUES = 10
#: Columns of such names say whose a case is, whatever their values look like.
_OWNER = re.compile(r"patient|lesion|subject|person|proband|case_?id|(^|[ _])p?id$")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([ T].*)?|\d{1,2}[./]\d{1,2}[./](\d{4}|\d{2})")


def no_labels(table: pd.DataFrame, tasks: Sequence[str]) -> list[str]:
    """One line for each column that has nearly as many values as cases: more than 50, or more than 10 that are half as
    many as the cases that have one, or more: two images of each patient are usual.

    Args:    table: a column for each task.
             tasks: columns that would be tasks.
    """
    found = {}
    for name in tasks:
        cells = table[name].dropna()
        number = cells.nunique()
        if number > MAXIMUM_CLASSES or (number > FEW_VALUES and 2 * number >= len(cells)):
            found[name] = (number, len(cells), _kind(list(cells.unique())))
    leave = as_option(*found)
    return [
        f"column {name!r} must be labels: at most {MAXIMUM_CLASSES}, and above {FEW_VALUES} less than half as many as cases; got"
        f" {number} values in {cases} cases, {kind} ({_owner(name, kind)}--ignore {leave} leaves"
        f" {'it' if len(found) == 1 else 'them'} out)"
        for name, (number, cases, kind) in found.items()
    ]


def _owner(name: str, kind: str) -> str:
    return f"--group {as_option(name)} if it says whose a case is; else " if kind == "free text or ids" else ""


def _kind(values: Sequence[str]) -> str:
    if all(_DATE.fullmatch(value) for value in values):
        return "dates"
    numbers = pd.to_numeric(pd.Series(values, dtype="string"), errors="coerce")
    return "free text or ids" if numbers.isna().any() else "numbers"


def owners_left_out(
    table: pd.DataFrame, columns: Sequence[str], splits: Mapping[str, Int[np.ndarray, " members"]], *, is_grouped: bool = False
) -> list[str]:
    """One line for each column that nobody uses and that seems to say whose a case is, with values in several splits.

    Args:    table: all columns.
             columns: those that are neither tasks nor groups, images or splits.
             splits: name → rows.
             is_grouped: whether another column says whose a case is; then only a column called like a patient is told.
    """
    found = []
    for name in columns:
        cells = table[name].dropna()
        number, is_owner = cells.nunique(), _OWNER.search(name.lower()) is not None
        if number <= FEW_VALUES or cells.value_counts().max() > max(FEW_VALUES, len(cells) / 10):
            continue
        if not is_owner and (is_grouped or _kind(list(cells.unique())) != "free text or ids"):
            continue
        of = {split: set(table[name].iloc[members].dropna()) for split, members in splits.items()}
        shared = sorted({value for one, other in combinations(of.values(), 2) for value in one & other})
        if shared:
            found.append(
                f"column {name!r} is not used, and {len(shared)} of its {number} values stand in several splits (the first:"
                f" {shared[0]!r}): if it says whose a case is, networks are measured on patients that they were trained on"
                f" (--group {as_option(name)} looks after it)"
            )
    return found


def doubts(tasks: Sequence[LabelTask], labels: Int[np.ndarray, "cases tasks"]) -> list[str]:
    """One line for each two columns that say the same, each label that seems misspelt, and each column of numbers or dates.

    Args:    tasks: T tasks.
             labels: class codes, -1 where missing.
    """
    return [*_copies(tasks, labels), *_misspelt(tasks, labels), *_values(tasks)]


def _copies(tasks: Sequence[LabelTask], labels: Int[np.ndarray, "cases tasks"]) -> Iterator[str]:
    alike: dict[int, list[str]] = {}
    for later in range(len(tasks)):
        first = next((first for first in alike if _one_to_one(labels[:, first], labels[:, later])), later)
        alike.setdefault(first, []).append(tasks[later].name)
    for names in alike.values():
        if len(names) > 1:
            yield (
                f"{' and '.join(names)} say the same: each label of one goes with one label of the other, so that one task is"
                f" there {len(names)} times (--ignore {as_option(*names[1:])})"
            )


def _one_to_one(one: Int[np.ndarray, " cases"], other: Int[np.ndarray, " cases"]) -> bool:
    """Whether each of two codes says the other, where both are known, in most cases that have either."""
    both = (one != MISSING) & (other != MISSING)
    either = (one != MISSING) | (other != MISSING)
    if both.sum() <= either.sum() / 2:
        return False
    pairs = len(np.unique(one[both] * (other.max() + 1) + other[both]))
    return bool(1 < pairs == len(np.unique(one[both])) == len(np.unique(other[both])))


def _misspelt(tasks: Sequence[LabelTask], labels: Int[np.ndarray, "cases tasks"]) -> Iterator[str]:
    for column, task in enumerate(tasks):
        codes = labels[:, column]
        counts = [int(count) for count in np.bincount(codes[codes != MISSING], minlength=len(task.classes))]
        by_count = sorted(range(len(task.classes)), key=lambda code: (-counts[code], code))
        lines, names = [], []
        for place, code in enumerate(by_count):
            like = next((other for other in by_count[:place] if misspelt(task.classes[code], task.classes[other])), None)
            if like is not None:
                names.append(f"{task.classes[code]!r} is probably {task.classes[like]!r}")
                lines.append(
                    f"{task.name}: {names[-1]}, misspelt; as it stands they are two classes of {counts[code]} and"
                    f" {counts[like]} cases"
                )
        yield from told(lines, names, f"{task.name}: {{}} labels are probably others, misspelt")


def _values(tasks: Sequence[LabelTask]) -> Iterator[str]:
    for task in tasks:
        kind = _kind(task.classes) if task.classes else ""
        if kind == "dates" or (kind == "numbers" and len(task.classes) > FEW_VALUES):
            yield (
                f"{task.name} is {len(task.classes)} {kind}, each a class of its own without order"
                f" (--ignore {as_option(task.name)}, or group them to a few labels)"
            )
