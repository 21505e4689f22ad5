"""Reading data sets. `DATASETS` has a line for each format; `read` takes what a person types after `--data`."""

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable
from urllib.parse import quote, unquote

from trainables.data.cases import CaseSet
from trainables.data.folds import folded
from trainables.data.images import Progress
from trainables.data.inspection import Findings
from trainables.data.label_notes import label_notes
from trainables.data.segmented import SegmentedCases
from trainables.data.source import is_utf8, local_path, portable
from trainables.errors import DataError

#: Behind a path: which column says whose a case is, percent-encoded, and one of several stratified splits instead of the
#: data's own.
_BEHIND = re.compile(r"(?:#group=(?P<group>[^#/]+))?(?:#fold=(?P<index>\d+)/(?P<count>\d+))?$")


@runtime_checkable
class Cases(Protocol):
    """What every reader gives, whatever else it knows of its cases."""

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Split → task → label → cases."""


@dataclass(frozen=True)
class DataFormat:
    """One line of `DATASETS`. Its modules of `trainables.data` are imported on use: most commands read no data.

    Args:    reader: the one whose `read` reads.
             opener: the one whose `inspect` opens all files.
             writer: the one whose `write` draws a synthetic set, None where there is none.
             layout: what the path must hold, for messages.
    """

    reader: str
    opener: str
    writer: str | None
    layout: str

    @property
    def read(self) -> Callable[[Path, Mapping[str, Sequence[str]] | None, str | None], Cases]:
        """(path, classes of a checkpoint or None, column of the group or None) → cases; raises DataError."""
        return cast("Callable[[Path, Mapping[str, Sequence[str]] | None, str | None], Cases]", _module(self.reader).read)

    @property
    def inspect(self) -> Callable[[Any, Progress | None], Findings]:
        """(cases, progress) → what opening all files shows."""
        return cast("Callable[[Any, Progress | None], Findings]", _module(self.opener).inspect)

    @property
    def synthesise(self) -> Callable[[Path, int, int, int], None] | None:
        """(folder, cases, size in px, seed) → writes a synthetic set in the format's real layout; None where there is none."""
        return None if self.writer is None else cast("Callable[[Path, int, int, int], None]", _module(self.writer).write)


def _module(name: str) -> Any:
    return import_module(f"trainables.data.{name}")


DATASETS: dict[str, DataFormat] = {
    "derm7pt": DataFormat("derm7pt", "images", "derm7pt_synthetic", "a folder with meta/meta.csv and images/"),
    "table": DataFormat("table", "images", None, "a .csv or .parquet file with the columns image, split and one per task"),
    "isic2017": DataFormat("isic2017", "masks", "isic2017_synthetic", "a folder with ISIC-2017_Training_Data and its like"),
}


def split_source(
    source: str, formats: Sequence[str] = tuple(DATASETS), say: Callable[[str], None] | None = None
) -> tuple[str, Path]:
    """Format and path on this node of `FORMAT:LOCATION`; what lies behind a URI is fetched first.

    Args:    source: as typed.
             formats: those that fit the task.
             say: called with a line when something takes a while.
    Raises:  DataError: when the format is unknown or does not fit, or there is nothing.
             LocationError: when the storage cannot be read.
    """
    name, location = _name_and_location(source, formats)
    path = local_path(name, location, DATASETS[name].synthesise, say)
    if not path.exists():
        raise DataError(f"--data must name {DATASETS[name].layout}; got {path}, which does not exist")
    return name, path


def portable_source(source: str, formats: Sequence[str] = tuple(DATASETS)) -> str:
    """`FORMAT:LOCATION` that means the same in another folder, with its group and without the fold.

    Raises:  DataError: when the format is unknown or does not fit.
    """
    name, location = _name_and_location(source, formats)
    return with_group(f"{name}:{portable(location)}", group_of(source))


def with_group(source: str, column: str | None) -> str:
    """The same data, whose groups stand in another column; None leaves them where they stand.

    Args:    source: `FORMAT:PATH`, with or without what may stand behind it.
             column: of the table, any name.
    """
    if column is None:
        return source
    path, behind = _parted(source)
    fold = "" if behind["index"] is None else f"#fold={behind['index']}/{behind['count']}"
    return f"{path}#group={quote(column, safe=' ')}{fold}"


def without_group(source: str) -> str:
    """The data themselves, whatever is said of whose the cases are."""
    return _parted(source)[0]


def group_of(source: str) -> str | None:
    """The column that `FORMAT:PATH#group=COLUMN` names; None leaves it to the format."""
    group = _parted(source)[1]["group"]
    return None if group is None else unquote(group)


def _parted(source: str) -> tuple[str, re.Match[str]]:
    """`FORMAT:PATH`, and what stands behind it."""
    behind = _BEHIND.search(source)
    if behind is None:  # never: it matches the empty end
        raise ValueError(f"a source must end; got {source!r}")
    return source[: behind.start()], behind


def _name_and_location(source: str, formats: Sequence[str]) -> tuple[str, str]:
    if not is_utf8(source):
        raise DataError(f"--data must have a name in UTF-8; got {source!a}")
    name, colon, location = without_group(source).partition(":")
    if not colon or name not in DATASETS:
        raise DataError(f"--data must be FORMAT:PATH with a format of {', '.join(DATASETS)}; got {source!r}")
    if name not in formats:
        fitting = ", ".join(formats) or "none: it needs no data"
        raise DataError(f"--data must have a format that fits the task ({fitting}); got {name!r}")
    return name, location


def check_same(source: str, found: str, expected: str) -> None:
    """Refuses data that is not the driver's.

    Args:    source: `FORMAT:LOCATION`.
             found: fingerprint on this node.
             expected: the driver's, "" where it is not known.
    Raises:  DataError: when they differ.
    """
    if expected and found != expected:
        raise DataError(
            f"{source} must hold on {platform.node()} what the driver has (fingerprint {expected[:16]}); got {found[:16]}: other"
            " labels, splits, groups or images"
        )


def fold_of(source: str) -> tuple[int, int] | None:
    """Which of how many folds `FORMAT:PATH#fold=2/5` asks for: (2, 5); None for the data's own split.

    Raises:  DataError: when there is no such fold.
    """
    behind = _parted(source)[1]
    if behind["index"] is None:
        return None
    index, count = int(behind["index"]), int(behind["count"])
    if not 1 <= index <= count or count < 2:
        raise DataError(f"--data must end with #fold=I/F, I from 1 to F, F 2 or more, to ask for a fold; got {source!r}")
    return index, count


def needed(source: str | None) -> str:
    """The source itself, for a task that cannot do without.

    Raises:  ValueError: when there is none.
    """
    if source is None:
        raise ValueError("a task that is trained must have data; got none (--data FORMAT:PATH)")
    return source


def read(source: str, classes: Mapping[str, Sequence[str]] | None = None) -> Cases:
    """Reads `FORMAT:PATH`, `FORMAT:PATH#group=COLUMN`, `FORMAT:PATH#fold=1/5` or both in this order.

    Args:    source: as typed.
             classes: task → classes of a checkpoint that the cases must fit, None to take the data set's own.
    Raises:  DataError: with every problem found.
    """
    name, path = split_source(source)
    cases, fold = DATASETS[name].read(path, classes, group_of(source)), fold_of(source)
    return cases if fold is None else folded(cast("CaseSet | SegmentedCases", cases), *fold)


def fold_notes(source: str, count: int) -> tuple[str, ...]:
    """What is to be known of each fold: where it is uneven, and what follows from labels that it has not.

    Args:    source: `FORMAT:PATH`, without a fold.
             count: folds.
    Raises:  DataError: when the data cannot be read, or not be split so often.
    """
    whole = cast("CaseSet | SegmentedCases", read(source))
    known, notes = _labelled(whole).notes, list[str]()
    for index in range(1, count + 1):
        cases = _labelled(folded(whole, index, count))
        notes += cases.notes[len(known) :]
        notes += [f"fold {index} of {count}: {line}" for line in label_notes(cases)]
    return tuple(notes)


def _labelled(cases: CaseSet | SegmentedCases) -> CaseSet:
    return cases.cases if isinstance(cases, SegmentedCases) else cases


def read_labelled(source: str, classes: Mapping[str, Sequence[str]] | None = None) -> CaseSet:
    """`read` for a task that wants labels for several tasks.

    Raises:  DataError: with every problem found, or when the format has no such cases.
    """
    return cast(CaseSet, _of_kind(CaseSet, source, read(source, classes)))


def read_segmented(source: str, classes: Mapping[str, Sequence[str]] | None = None) -> SegmentedCases:
    """`read` for a task that wants masks of structures.

    Raises:  DataError: with every problem found, or when the format has no such cases.
    """
    return cast(SegmentedCases, _of_kind(SegmentedCases, source, read(source, classes)))


def _of_kind(kind: type, source: str, cases: Cases) -> Cases:
    if not isinstance(cases, kind):
        raise DataError(f"--data must have a format that fits the task; got {source!r}")
    return cases
