"""A table of one's own: text, Excel or Parquet with `image`, `split`, a column for each task, and whose a case is if known."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from trainables.data.cases import MISSING, SPLITS, CaseSet, LabelTask, PartlyUsable
from trainables.data.column_checks import doubts, no_labels, owners_left_out
from trainables.data.columns import Layout, lay_out
from trainables.data.delimited import GAPS
from trainables.data.groups import group_cells, group_note
from trainables.data.image_files import ImageFinder, resolved
from trainables.data.label_notes import nothing_to_rank
from trainables.data.misspelling import misspelt
from trainables.data.primary import certain_primary
from trainables.data.repeated import some, told
from trainables.data.roles import ColumnRoles
from trainables.data.split_names import SPLIT_OF
from trainables.data.tables import TEXTS, read_table
from trainables.errors import DataError

#: A missing label, spelled out, in any case; "none" and "unknown" may be labels.
_ALL_AS_ONE = {"train": "", "valid": " (call some of the training cases valid, all of a patient's)"}


def read(path: Path, classes: Mapping[str, Sequence[str]] | None = None, roles: ColumnRoles | None = None) -> CaseSet:
    """Reads a table; image paths are relative to its folder and stay in it, an empty cell is a missing label.

    Args:    path: the file, of a kind that `read_table` reads.
             classes: task → classes of a checkpoint that the cases must fit; None discovers them, those of the training split
                 and what others have beside them.
             roles: what the columns are, where their names do not say.
    Raises:  DataError: with every problem found.
    """
    notes: list[str] = []
    problems: list[str] = []
    roles = roles or ColumnRoles()
    table = read_table(path, notes, roles)
    layout = lay_out(table, path, classes, roles, notes, problems)
    if path.suffix.lower() in TEXTS:
        _check_breaks(table, [name for name in (layout.image, layout.split, *layout.tasks) if name is not None], problems)
    table = _with_gaps(table, layout.image, layout.tasks, notes)
    needed = () if classes is not None else ("train", "valid")
    torn = list[str]()
    splits = {} if layout.split is None else _read_splits(table[layout.split], torn, notes, needed)
    tasks, unfit = _tasks(table, layout, classes, splits)
    problems += torn + unfit
    finder = ImageFinder(path.parent)
    names = () if layout.image is None else tuple(table[layout.image].fillna("").astype(str))
    images = [finder.find(name, f"line {row}") for row, name in zip(table.index, names, strict=False)]
    problems += finder.problems()
    if layout.image is None or layout.split is None:
        raise DataError(*problems)
    groups = group_cells(table[layout.owners[0]]) if layout.owners else ()
    unused = [name for name in map(str, table.columns) if name not in (layout.image, layout.split, *layout.owners, *layout.tasks)]
    notes += finder.notes()
    if layout.owners:
        notes += group_note(layout.owners[0], groups or ("",) * len(table), layout.owners[1:])
    labels = _read_labels(table, tasks)
    doubted = classes is None and not problems
    found = CaseSet(
        source=f"table:{path}",
        images=tuple(map(resolved, images)),
        names=names,
        rows=tuple(map(int, table.index)),
        tasks=tasks,
        labels=labels,
        splits=splits,
        primary=certain_primary(layout.tasks),
        groups=groups,
        group_column=layout.owners[0] if layout.owners else "",
        notes=tuple(notes),
        warnings=(*owners_left_out(table, unused, splits, is_grouped=groups is not None), *doubts(tasks, labels))
        if doubted
        else (),
    )
    if problems:
        unranked = nothing_to_rank(found) if found.primary in [task.name for task in tasks] and not torn else []
        raise PartlyUsable(found.with_images(), *problems, *unranked)
    return found


def columns_of(path: Path, cases: CaseSet) -> pd.DataFrame:
    """Every column of the table as text, a row a case.

    Args:    path: of the table.
             cases: read from it.
    """
    return read_table(path, []).loc[list(cases.rows)]


def _tasks(
    table: pd.DataFrame,
    layout: Layout,
    classes: Mapping[str, Sequence[str]] | None,
    splits: Mapping[str, Int[np.ndarray, " members"]],
) -> tuple[tuple[LabelTask, ...], list[str]]:
    """Tasks whose columns hold labels, and what is wrong with labels."""
    if classes is not None:
        tasks = tuple(LabelTask(name, tuple(classes[name])) for name in layout.tasks)
        return tasks, _unknown_labels(table, tasks)
    unfit = no_labels(table, layout.tasks) if layout.image is not None else []
    fit = [name for name in layout.tasks if not unfit or not no_labels(table, [name])]
    tasks = tuple(_discover(table[name], splits) for name in fit)
    return tasks, unfit + _misspelt_elsewhere(table, tasks, splits)


def _check_breaks(table: pd.DataFrame, columns: Sequence[str], problems: Sequence[str]) -> None:
    """Raises:  DataError: with these problems, too, when a cell holds a line break, as it does between two stray quotes."""
    broken = [(row, name) for name in columns for row in table.index[table[name].str.contains(r"[\r\n]").fillna(False)]]
    if broken:
        row, name = min(broken)
        more = f"; {len(broken)} such cells" if len(broken) > 1 else ""
        raise DataError(
            *problems,
            f"line {row}: {name} must stand on one line; got a cell in quotes that goes on in the next line, so that a quote is"
            f" probably missing{more}",
        )


def _with_gaps(table: pd.DataFrame, image: str | None, tasks: Sequence[str], notes: list[str]) -> pd.DataFrame:
    """The table with missing labels that are spelled out made empty."""
    found, counts = table.copy(), []
    for name in table.columns:
        gaps = table[name].str.lower().isin(GAPS).fillna(False)
        if name != image and gaps.any():
            found.loc[gaps, name] = pd.NA
            if name in tasks:
                spelled = ", ".join(f"{gap!r}, {count}" for gap, count in table[name][gaps].value_counts().items())
                counts.append(f"{name} ({spelled})")
    if counts:
        notes.append(f"spelled out gaps are read as missing labels in {', '.join(counts)}")
    return found


def _read_splits(
    column: "pd.Series[str]", problems: list[str], notes: list[str], needed: Sequence[str]
) -> dict[str, Int[np.ndarray, " members"]]:
    names = column.str.lower().map(SPLIT_OF)
    wrong: dict[str, list[int]] = {}
    for row in map(int, np.flatnonzero(names.isna())):
        wrong.setdefault(repr(column.iloc[row]), []).append(int(column.index[row]))
    for value, lines in wrong.items():
        more = f" (and {len(lines) - 1} more lines)" if len(lines) > 1 else ""
        problems.append(f"line {lines[0]}: split must be {', '.join(SPLITS)}; got {value}{more}")
    others = {split: [str(v) for v in column[names == split].unique() if v != split] for split in SPLITS}
    guessed = [f"{', '.join(values)} as {split}" for split, values in others.items() if values]
    if guessed:
        notes.append(f"split: {'; '.join(guessed)}")
    splits = {split: np.flatnonzero((names == split).fillna(False)).astype(np.int64) for split in SPLITS}
    problems += [
        f"the split {split!r} must have at least one case; got none{_ALL_AS_ONE[split]}"
        for split in needed
        if not len(splits[split])
    ]
    return {split: members for split, members in splits.items() if len(members)}


def _discover(column: "pd.Series[str]", splits: Mapping[str, Int[np.ndarray, " members"]]) -> LabelTask:
    """A column's labels: of all splits, since one that is only measured counts in metrics too."""
    members = np.concatenate(list(splits.values())) if splits else np.zeros(0, dtype=np.int64)
    return LabelTask(str(column.name), tuple(sorted(set(column.iloc[members].dropna()))))


def _misspelt_elsewhere(
    table: pd.DataFrame, tasks: Sequence[LabelTask], splits: Mapping[str, Int[np.ndarray, " members"]]
) -> list[str]:
    """One line for each label that training lacks and has in another spelling."""
    problems = []
    for task in tasks:
        column = table[task.name]
        trained = sorted(set(column.iloc[splits["train"]].dropna())) if "train" in splits else []
        for label in (name for name in task.classes if name not in trained):
            like = next((known for known in trained if misspelt(label, known)), None)
            if like is not None:
                lines = [f"line {row}" for row in column.index[(column == label).fillna(False)]]
                problems.append(
                    f"{some(lines)}: {task.name} must be spelt as in training, {like!r}; got {label!r}, which training has not"
                )
    return problems


def _unknown_labels(table: pd.DataFrame, tasks: Sequence[LabelTask]) -> list[str]:
    """What the classes of a checkpoint do not have, by task."""
    problems = []
    for task in tasks:
        cells = table[task.name].dropna()
        unknown = cells[~cells.isin(task.classes)]
        must = f"{task.name} must be one of {', '.join(task.classes)} (the checkpoint's classes)"
        problems += told(
            [f"line {row}: {must}; got {value!r}" for row, value in unknown.items()],
            [f"{value!r} (line {row})" for row, value in unknown.items()],
            f"{{}} cells of {must}; got",
        )
    return problems


def _read_labels(table: pd.DataFrame, tasks: Sequence[LabelTask]) -> Int[np.ndarray, "cases tasks"]:
    labels = np.full((len(table), len(tasks)), MISSING, dtype=np.int64)
    for column, task in enumerate(tasks):
        codes = {name: code for code, name in enumerate(task.classes)}
        labels[:, column] = [codes.get(value, MISSING) if isinstance(value, str) else MISSING for value in table[task.name]]
    return labels
