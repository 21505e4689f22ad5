"""Training and validation cases split anew: stratified by the diagnosis, whole groups and equal pictures on one side."""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from trainables.data.cases import MISSING, CaseSet
from trainables.data.contents import contents_of
from trainables.data.segmented import SegmentedCases
from trainables.errors import DataError


def folded(cases: CaseSet | SegmentedCases, index: int, count: int) -> CaseSet | SegmentedCases:
    """`fold` by the files' own contents, which are read once per node.

    Raises:  DataError: see `fold`.
    """
    contents = contents_of(cases.images)
    if isinstance(cases, SegmentedCases):
        return replace(cases, cases=fold(cases.cases, index, count, contents))
    return fold(cases, index, count, contents)


def fold(cases: CaseSet, index: int, count: int, contents: Sequence[str]) -> CaseSet:
    """The same cases, training and validation split anew; the test split stays.

    Folds are stratified by the primary task's label and the same on every machine. They keep together the cases of a group
    and images that are byte for byte the same, and what hangs together by way of others.

    Args:    cases: whose training and validation cases are split.
             index: which fold validates, from 1.
             count: folds.
             contents: digest of each image file.
    Returns: the cases, with a note where the fold is far from even.
    Raises:  DataError: when there are too few cases, or too few that may be parted.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # a second, which a trial on the data's own split need not pay

    pool = np.sort(np.concatenate([cases.splits["train"], cases.splits["valid"]]))
    if len(pool) < 2 * count:
        raise DataError(f"--folds must leave two cases a fold or more; got {count} of {len(pool)} cases")
    groups = [cases.groups[case] if cases.groups else "" for case in pool]
    together = components(groups, [contents[case] for case in pool], [str(cases.images[case]) for case in pool])
    if together.max() + 1 < count:
        raise DataError(f"--folds must be {together.max() + 1} or less, the groups that can be parted; got {count}")
    labels, names = np.zeros(len(pool), dtype=np.int64), ["any label"]
    if cases.primary:
        known = cases.labels[pool, cases.primary_index]
        if np.bincount(known - MISSING).max() >= count:  # else no label has a case for each fold
            labels, names = known, [f"{cases.primary} {name}" for name in cases.tasks[cases.primary_index].classes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label with fewer cases than folds is in some folds only
        folds = list(StratifiedGroupKFold(count, shuffle=True, random_state=0).split(pool, labels, together))
    train, valid = folds[index - 1]
    if not len(train) or not len(valid):
        raise DataError(f"--folds must be fewer: fold {index} of {count} is empty, so unlike in size are the groups")
    splits = {**cases.splits, "train": pool[train], "valid": pool[valid]}
    return replace(cases, splits=splits, notes=(*cases.notes, *_uneven(f"fold {index} of {count}", labels, valid, count, names)))


def components(groups: Sequence[str], contents: Sequence[str], files: Sequence[str]) -> Int[np.ndarray, " cases"]:
    """What must stay together, numbered in the order of the cases: those that share a group or a picture, directly or not.

    Args:    groups: of each case, "" where none is known.
             contents: digest of each case's image file, "" where there is none.
             files: path of each case's image file.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first: dict[Hashable, int] = {}
    pairs = []
    for place, keys in enumerate(zip(groups, contents, files, strict=True)):
        for kind, key in zip(("group", "content", "file"), keys, strict=True):
            if key:
                pairs.append((first.setdefault((kind, key), place), place))
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (ends[0], ends[1])), shape=(len(files), len(files)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _uneven(
    name: str, labels: Int[np.ndarray, " pool"], valid: Int[np.ndarray, " valid"], count: int, classes: Sequence[str]
) -> tuple[str, ...]:
    """One line when a class's share of a fold is off by half of what would be even, and by more than one case."""
    pool, found = (np.bincount(some[some != MISSING], minlength=len(classes)) for some in (labels, labels[valid]))
    off = np.abs(found - pool / count)
    worst = int(off.argmax())
    even = pool[worst] / count
    if off[worst] <= max(1.0, even / 2):
        return ()
    return (
        f"{name} is uneven, since groups stay together: it validates on {found[worst]} of the {pool[worst]} cases of"
        f" {classes[worst]}, where {even:.1f} would be even",
    )
