"""Which columns of a stranger's table say where the image is, which split it belongs to, whose it is, and what its labels are."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trainables.data.groups import GROUP_COLUMNS, check_column
from trainables.data.image_files import SUFFIXES
from trainables.data.roles import ColumnRoles, as_option, option_of
from trainables.data.split_names import SPLIT_OF
from trainables.errors import DataError

_LIKE_IMAGE = (
    "image_id",
    "img_id",
    "image_name",
    "image_path",
    "filename",
    "file_name",
    "filepath",
    "file",
    "path",
    "img",
    "isic_id",
)
_LIKE_SPLIT = ("set", "subset", "partition", "fold", "dataset", "phase", "split_name")
_FIRST = 20


@dataclass(frozen=True)
class Layout:
    """What each column of a table is.

    Args:    image, split: columns of that meaning; where none has its name, the one that seems to be meant, or None.
             owners: columns that say whose a case is, the first of which is the group.
             tasks: columns of labels, in the table's order.
    """

    image: str | None
    split: str | None
    owners: tuple[str, ...]
    tasks: tuple[str, ...]


def lay_out(
    table: pd.DataFrame,
    path: Path,
    classes: Mapping[str, Sequence[str]] | None,
    roles: ColumnRoles,
    notes: list[str],
    problems: list[str],
    *,
    has_split: bool = True,
) -> Layout:
    """Tells the columns apart, as far as that goes.

    Args:    table: all columns.
             path: of the table, for messages.
             classes: task → classes of a checkpoint, whose tasks are to be found whatever the roles say; None for any.
             roles: what the user says of the columns.
             notes: gets a line for each thing that was guessed.
             problems: gets a line for each column that is missing, and each role that names none.
             has_split: whether there must be a split.
    Raises:  DataError: when the table has no row.
    """
    names = [str(name) for name in table.columns]
    problems += _role_problems(roles, names, path)
    image = roles.image if roles.image in names else None if roles.image else _named("image", names, notes)
    split = roles.split if roles.split in names else None if roles.split else _named("split", names, notes)
    absent = [f"'image' ({_image_hint(table, names)})"] * (image is None and roles.image is None)
    absent += [f"'split' ({_split_hint(table, names, path)})"] * (split is None and roles.split is None and has_split)
    problems += [f"the table must have a column {column}; got {', '.join(names)} ({path})" for column in absent]
    problems += _use_problems(roles, image, split)
    image, split = image or _meant_as_image(table, names), split or _meant_as_split(table, names)
    chosen: Collection[str] = roles.columns if classes is None else classes
    left = [name for name in names if name not in roles.ignore or name in (classes or ())]
    known = [found for column in GROUP_COLUMNS for found in left if found.lower() == column and found not in chosen]
    owners = [name for name in known if name not in (image, split)]
    if roles.group is not None:
        try:
            check_column(roles.group, left, path.name, [name for name in (image, split) if name is not None])
            owners = [roles.group, *(name for name in owners if name != roles.group)]
        except DataError as error:
            problems += error.problems
    if table.empty:
        raise DataError(*problems, f"the table must have a row for each case; got none ({path})")
    others = (image, split, *owners)
    wanted = list(classes) if classes is not None else [n for n in left if (n in chosen if chosen else n not in others)]
    tasks = [name for name in wanted if name in left]
    tasks = tasks if classes is not None else _without_empty(table, tasks, notes)
    missing = [name for name in wanted if name not in left]
    if not tasks or missing:
        which = f" for {missing[0]}" if missing else ""
        problems.append(f"the table must have a column for each task; got none{which} ({path})")
    return Layout(image, split, tuple(owners), tuple(tasks))


def _role_problems(roles: ColumnRoles, names: Collection[str], path: Path) -> list[str]:
    """One line for each role that names no column, and each that contradicts another."""
    found = [
        f"{option_of(role)} must name columns of {path.name}; got {column!r} (there are {', '.join(names)})"
        for role, columns in roles.given().items()
        for column in columns
        if column not in names and role != "group"
    ]
    return found + [
        f"--ignore must name no column that is used; got {name!r}, which --columns or --group names"
        for name in roles.ignore
        if name in (*roles.columns, roles.group)
    ]


def _use_problems(roles: ColumnRoles, image: str | None, split: str | None) -> list[str]:
    """One line for each column that is used as image or split and is to be a task or to be ignored."""
    return [
        f"--{option} must name columns that can be tasks; got {column!r}, which is the {use}"
        for option, columns in (("columns", roles.columns), ("ignore", roles.ignore))
        for column, use in ((image, "image"), (split, "split"))
        if column in columns
    ]


def _meant_as_image(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next(iter(_like_image(table, names)), None)


def _meant_as_split(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((name for name in names if _names_splits(table[name])), None)


def _like_image(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if _names_files(table[name])] + _like(_LIKE_IMAGE, names)


def _image_hint(table: pd.DataFrame, names: Sequence[str]) -> str:
    like = _like_image(table, names)
    return f"--image {as_option(like[0])} takes that one" if like else "--image COLUMN names another"


def _split_hint(table: pd.DataFrame, names: Sequence[str], path: Path) -> str:
    meant = _meant_as_split(table, names)
    if meant is not None:
        return f"--split-column {as_option(meant)} takes that one"
    like = _like(_LIKE_SPLIT, names)
    other = f"{as_option(like[0])} if it says train, valid or test" if like else "COLUMN names another"
    return f"--split-column {other}; `dermtune data split {shlex.quote(f'table:{path.name}')}` draws one"


def _like(known: Sequence[str], names: Sequence[str]) -> list[str]:
    return [name for name in names if name.lower().replace(" ", "_") in known]


def _names_files(column: "pd.Series[str]") -> bool:
    cells = column.dropna().head(_FIRST).str.lower()
    return len(cells) > 0 and bool(cells.str.endswith(SUFFIXES).all())


def _names_splits(column: "pd.Series[str]") -> bool:
    cells = column.dropna().str.lower()
    return bool(len(cells)) and bool(cells.isin(list(SPLIT_OF)).all())


def _named(wanted: str, names: Sequence[str], notes: list[str]) -> str | None:
    """The column of that name, or the only one whose name differs in capitals only."""
    if wanted in names:
        return wanted
    alike = [name for name in names if name.lower() == wanted]
    if len(alike) != 1:
        return None
    notes.append(f"column {alike[0]} is read as {wanted}")
    return alike[0]


def _without_empty(table: pd.DataFrame, tasks: Sequence[str], notes: list[str]) -> list[str]:
    empty = [name for name in tasks if not table[name].notna().any()]
    if empty:
        notes.append(f"{', '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty and no task")
    return [name for name in tasks if name not in empty]
