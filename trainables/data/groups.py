"""Which cases belong together: images of one patient or one lesion are alike, and may stand on one side of a split only."""

from collections import Counter
from collections.abc import Collection, Sequence

import pandas as pd

from trainables.errors import DataError

#: Columns that are taken for the group by themselves, the first that there is; none of them is ever a label.
GROUP_COLUMNS = ("patient_id", "lesion_id", "group")


def check_column(asked: str, columns: Collection[str], table: str, taken: Collection[str] = ()) -> None:
    """Refuses a group that no table can give.

    Args:    asked: after `--group`.
             columns: that the table has.
             table: its name, for the message.
             taken: columns that say something else.
    Raises:  DataError: when there is no such column, or it says something else.
    """
    if asked not in columns or asked in taken:
        raise DataError(
            f"--group must name a column of {table} that says whose each case is; got {asked!r} (there are {', '.join(columns)})"
        )


def group_cells(column: pd.Series) -> tuple[str, ...]:
    """A group for each row, "" where the cell is empty; none at all where every cell is."""
    found = tuple(column.astype("string").fillna("").str.strip())
    return found if any(found) else ()


def group_note(column: str, groups: Sequence[str], left_out: Sequence[str] = ()) -> tuple[str, ...]:
    """What is said of the column that is taken for the group.

    Args:    column: its name.
             groups: of every case, "" where unknown.
             left_out: other columns of `GROUP_COLUMNS`, which are no labels either.
    """
    counts = Counter(group for group in groups if group)
    if not counts:
        return (f"{column} is empty: no two cases are known to belong together",)
    alone = len(groups) - counts.total()
    others = f" (and {alone} cases without one)" if alone else ""
    also = f"; {' and '.join(left_out)}, beside it, {'is' if len(left_out) == 1 else 'are'} left out" if left_out else ""
    return (
        f"{column} says whose a case is and is no label: {counts.total()} cases of {len(counts)} groups{others}; a group stays in"
        f" one split and one fold, and intervals resample groups{also}",
    )
