"""A split drawn for a table that has none: stratified, with whole patients and equal pictures in one part."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from spaces.errors import RequestError
from trainables.data.cases import SPLITS
from trainables.data.columns import Layout, lay_out
from trainables.data.contents import contents_of
from trainables.data.delimited import GAPS
from trainables.data.folds import components
from trainables.data.groups import group_cells
from trainables.data.image_files import ImageFinder, resolved
from trainables.data.primary import likely_primary
from trainables.data.roles import ColumnRoles
from trainables.data.tables import read_table
from trainables.errors import DataError

_MISSING = "(missing)"


@dataclass(frozen=True)
class DrawnSplit:
    """A table with its split.

    Args:    table: every column as text, `split` the last of them.
             stratified_by: column whose labels are shared out evenly.
             counts: label, "(missing)" among them → split → cases.
             num_together: sets of cases that had to stay together.
             notes: how the table was read, a line each.
    """

    table: pd.DataFrame
    stratified_by: str
    counts: dict[str, dict[str, int]]
    num_together: int
    notes: tuple[str, ...]


def draw_split(path: Path, roles: ColumnRoles, *, valid: float, test: float, seed: int = 0, by: str | None = None) -> DrawnSplit:
    """Draws a split. Cases of one group and images that are byte for byte the same stay in one, as far as even shares allow.

    Args:    path: of the table.
             roles: what its columns are, where their names do not say.
             valid, test: share of the cases; above 0, at most one half, test 0 for none.
             seed: of the draw; the same one draws the same.
             by: column whose labels are shared out evenly; None for the diagnosis.
    Raises:  DataError: when the table cannot be read, has a split already, or has too few cases or groups.
             RequestError: when there are no such shares, or it is not clear what is the diagnosis.
    """
    if not (0 < valid <= 0.5 and 0 <= test <= 0.5):
        raise RequestError(f"--valid must be above 0, --test 0 or more, both at most 0.5; got {valid:g} and {test:g}")
    notes, problems = list[str](), list[str]()
    table = read_table(path, notes, roles)
    layout = lay_out(table, path, None, roles, notes, problems, has_split=False)
    if layout.split is not None:
        raise DataError(f"the table must have no split yet; got {layout.split!r}, which says of each case where it is ({path})")
    finder = ImageFinder(path.parent)
    names = () if layout.image is None else tuple(table[layout.image].fillna("").astype(str))
    images = [resolved(finder.find(name, f"line {row}")) for row, name in zip(table.index, names, strict=False)]
    problems += finder.problems()
    if problems:
        raise DataError(*problems)
    stratified = _stratified_by(layout, by, path)
    spelled = table[stratified].str.lower().isin(GAPS).fillna(False)
    labels = table[stratified].mask(spelled).fillna(_MISSING)
    codes, classes = pd.factorize(labels, sort=True)
    groups = group_cells(table[layout.owners[0]]) if layout.owners else ()
    together = components(groups or ("",) * len(images), contents_of(images), [str(image) for image in images])
    rest, split = np.arange(len(table)), np.full(len(table), "train", dtype=object)
    for name, share in (("test", test), ("valid", valid / (1 - test))):
        if share:
            drawn = _one_part(rest, codes, together, share, seed)
            split[drawn] = name
            rest = np.setdiff1d(rest, drawn)
    found = table.assign(split=split)
    counts = {
        str(label): {one: int(((labels == label).to_numpy() & (split == one)).sum()) for one in SPLITS} for label in classes
    }
    return DrawnSplit(found, stratified, counts, int(together.max()) + 1, tuple(notes + finder.notes()))


def _stratified_by(layout: Layout, by: str | None, path: Path) -> str:
    if by is not None:
        if by not in layout.tasks:
            raise RequestError(f"--by must be one of {', '.join(layout.tasks)}; got {by!r} ({path.name})")
        return by
    found = likely_primary(layout.tasks)
    if found is None:
        raise RequestError(f"--by must name the column of the diagnosis; got none ({', '.join(layout.tasks)})")
    return found


def _one_part(
    pool: Int[np.ndarray, " pool"],
    codes: Int[np.ndarray, " cases"],
    together: Int[np.ndarray, " cases"],
    share: float,
    seed: int,
) -> Int[np.ndarray, " drawn"]:
    """The fold among 1/share whose size and labels are nearest to even."""
    from sklearn.model_selection import StratifiedGroupKFold

    count, parts = max(2, round(1 / share)), len(np.unique(together[pool]))
    if parts < count:
        raise DataError(f"a split must be of enough cases that may be parted; got {parts} for a share of {share:.2g}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label with fewer cases than folds is in some of them only
        folds = list(StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(pool, codes[pool], together[pool]))
    wanted = np.bincount(codes[pool]) * share

    def unevenness(part: Int[np.ndarray, " drawn"]) -> float:
        found = np.bincount(codes[pool[part]], minlength=len(wanted))
        return float((np.abs(found - wanted) / np.sqrt(np.maximum(wanted, 1))).sum())

    return np.asarray(pool[min((part for _, part in folds if 0 < len(part) < len(pool)), key=unevenness)])
