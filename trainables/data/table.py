"""A table of one's own: a CSV or Parquet file with `image`, `split`, one column per task, and whose each case is if known."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from trainables.data.cases import MISSING, SPLITS, CaseSet, LabelTask
from trainables.data.groups import GROUP_COLUMNS, check_column, group_cells, group_note
from trainables.data.tables import find_image, read_table
from trainables.errors import DataError

MAXIMUM_CLASSES = 50
_GAPS = ("NA", "N/A", "NaN", "nan", "null", "NULL", "<NA>")


def read(path: Path, classes: Mapping[str, Sequence[str]] | None = None, group: str | None = None) -> CaseSet:
    """Reads a table; image paths are relative to its folder and stay in it, an empty cell is a missing label.

    Args:    path: the CSV or Parquet file.
             classes: task → classes of a checkpoint that the cases must fit; None discovers them on the training split.
             group: column that says whose each case is; None takes the first of `GROUP_COLUMNS` that there is.
    Raises:  DataError: with every problem found.
    """
    table = read_table(path)
    for column in ("image", "split"):
        if column not in table:
            found = ", ".join(map(str, table.columns))
            hint = "; columns must be parted by commas" if ";" in found or "\t" in found else ""
            raise DataError(f"the table must have a column {column!r}; got {found} ({path}{hint})")
    owners = [name for name in GROUP_COLUMNS if name in table and name not in (classes or ())]
    if group is not None:
        check_column(group, [str(name) for name in table.columns], path.name)
        owners = [group, *(name for name in owners if name != group)]
    others = ("image", "split", *owners)
    columns = list(classes) if classes is not None else [str(name) for name in table.columns if name not in others]
    absent = [name for name in columns if name not in table]
    if not columns or absent:
        raise DataError(f"the table must have a column for each task; got none{' for ' + absent[0] if absent else ''} ({path})")
    table["split"] = table["split"].str.strip()
    problems: list[str] = []
    splits = _read_splits(table, problems, needed=() if classes is not None else ("train", "valid"))
    problems += _spelled_out_gaps(table, columns)
    tasks = tuple(
        LabelTask(name, tuple(classes[name]) if classes is not None else _discover(table, name, problems)) for name in columns
    )
    labels = _read_labels(table, tasks, problems)
    names = table["image"].fillna("").astype(str)
    groups = group_cells(table[owners[0]]) if owners else ()
    images = [find_image(path.parent, name, f"line {row}", problems) for row, name in enumerate(names, start=2)]
    if problems:
        raise DataError(*problems)
    return CaseSet(
        source=f"table:{path}",
        images=tuple(image.resolve() for image in images),
        names=tuple(names),
        rows=tuple(range(2, len(table) + 2)),
        tasks=tasks,
        labels=labels,
        splits=splits,
        primary=_primary(columns),
        groups=groups,
        group_column=owners[0] if owners else "",
        notes=group_note(owners[0], groups or ("",) * len(table), owners[1:]) if owners else (),
    )


def _primary(columns: Sequence[str]) -> str:
    """`diagnosis`, or the only task there is; "" leaves the choice to the field primary_task."""
    if "diagnosis" in columns:
        return "diagnosis"
    return columns[0] if len(columns) == 1 else ""


def _read_splits(table: pd.DataFrame, problems: list[str], needed: Sequence[str]) -> dict[str, Int[np.ndarray, " members"]]:
    names = table["split"]
    wrong: dict[str, list[int]] = {}
    for row in np.flatnonzero(~names.isin(SPLITS).fillna(False)):
        wrong.setdefault(repr(names.iloc[row]), []).append(int(row) + 2)
    for value, lines in wrong.items():
        more = f" (and {len(lines) - 1} more lines)" if len(lines) > 1 else ""
        problems.append(f"line {lines[0]}: split must be {', '.join(SPLITS)}; got {value}{more}")
    splits = {split: np.flatnonzero((names == split).fillna(False)).astype(np.int64) for split in SPLITS}
    problems += [f"the split {split!r} must have at least one case; got none" for split in needed if not len(splits[split])]
    return {split: members for split, members in splits.items() if len(members)}


def _spelled_out_gaps(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """One line for each column in which a missing label seems to be spelled out, which would make it a class."""
    problems = []
    for name in columns:
        rows = np.flatnonzero(table[name].str.strip().isin(_GAPS).fillna(False))
        if len(rows):
            got = f"{table[name].iloc[rows[0]]!r} on line {rows[0] + 2}" + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")
            problems.append(f"column {name!r} must leave a missing label's cell empty; got {got}")
    return problems


def _discover(table: pd.DataFrame, name: str, problems: list[str]) -> tuple[str, ...]:
    found = sorted({str(value).strip() for value in table.loc[table["split"] == "train", name].dropna()})
    if not 2 <= len(found) <= MAXIMUM_CLASSES:
        owner = ", or name it by --group if it says whose a case is" if len(found) > MAXIMUM_CLASSES else ""
        problems.append(
            f"column {name!r} must have 2 to {MAXIMUM_CLASSES} classes on the training split; got {len(found)}"
            f" (leave a column that is no task out of the table{owner})"
        )
    return tuple(found)


def _read_labels(table: pd.DataFrame, tasks: Sequence[LabelTask], problems: list[str]) -> Int[np.ndarray, "cases tasks"]:
    labels = np.full((len(table), len(tasks)), MISSING, dtype=np.int64)
    for column, task in enumerate(tasks):
        codes = {name: code for code, name in enumerate(task.classes)}
        for row, value in enumerate(table[task.name]):
            if pd.isna(value):
                continue
            text = str(value).strip()
            if text in codes:
                labels[row, column] = codes[text]
            elif len(task.classes) <= MAXIMUM_CLASSES:
                problems.append(
                    f"line {row + 2}: {task.name} must be one of {', '.join(task.classes)}"
                    f" (the training split's labels); got {text!r}"
                )
    return labels
