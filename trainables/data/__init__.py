"""Reading data sets. `DATASETS` has a line for each format; `read` takes what a person types after `--data`."""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from spaces.errors import RequestError
from trainables.data.cases import CaseSet, PartlyUsable
from trainables.data.contents import contents_of
from trainables.data.folds import folded
from trainables.data.images import Progress
from trainables.data.inspection import Findings
from trainables.data.label_notes import label_notes, nothing_to_rank
from trainables.data.roles import ColumnRoles, parted, roles_of, with_roles, without_roles
from trainables.data.segmented import SegmentedCases
from trainables.data.source import is_utf8, local_path, portable
from trainables.errors import DataError


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
    def read(self) -> Callable[[Path, Mapping[str, Sequence[str]] | None, ColumnRoles], Cases]:
        """(path, classes of a checkpoint or None, roles of columns) → cases; raises DataError."""
        return cast("Callable[[Path, Mapping[str, Sequence[str]] | None, ColumnRoles], Cases]", _module(self.reader).read)

    @property
    def columns_of(self) -> Callable[[Path, CaseSet], Any]:
        """(path, cases read from it) → every column as text, a row a case (a pandas DataFrame)."""
        return cast("Callable[[Path, CaseSet], Any]", _module(self.reader).columns_of)

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
    "table": DataFormat(
        "table", "images", None, "a .csv, .tsv, .xlsx or .parquet file with the columns image, split and one per task"
    ),
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
    """`FORMAT:LOCATION` that means the same in another folder, with its roles and without the fold.

    Raises:  DataError: when the format is unknown or does not fit.
    """
    name, location = _name_and_location(source, formats)
    return with_roles(f"{name}:{portable(location)}", roles_of(source))


def _name_and_location(source: str, formats: Sequence[str]) -> tuple[str, str]:
    if not is_utf8(source):
        raise DataError(f"--data must have a name in UTF-8; got {source!a}")
    name, colon, location = without_roles(source).partition(":")
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
    fold = parted(source)[2]
    if fold is None:
        return None
    index, count = fold
    if not 1 <= index <= count or count < 2:
        raise DataError(f"--data must end with #fold=I/F, I from 1 to F, F 2 or more, to ask for a fold; got {source!r}")
    return index, count


def needed(source: str | None) -> str:
    """The source itself, for a task that cannot do without.

    Raises:  RequestError: when there is none.
    """
    if source is None:
        raise RequestError("a task that is trained must have data; got none (--data FORMAT:PATH)")
    return source


def read(source: str, classes: Mapping[str, Sequence[str]] | None = None) -> Cases:
    """Reads `FORMAT:PATH`, behind which may stand roles of columns (`#group=COLUMN#ignore=A,B`) and then a fold (`#fold=1/5`).

    Args:    source: as typed.
             classes: task → classes of a checkpoint that the cases must fit, None to take the data set's own.
    Raises:  DataError: with every problem found.
    """
    name, path = split_source(source)
    cases, fold = DATASETS[name].read(path, classes, roles_of(source)), fold_of(source)
    return cases if fold is None else folded(cast("CaseSet | SegmentedCases", cases), *fold)


def case_columns(
    source: str, split: str, wanted: Sequence[str], classes: Mapping[str, Sequence[str]] | None = None
) -> dict[str, tuple[str, ...]]:
    """What columns of a data set's tables say of each case of a split, labels or not; "" where a cell is empty.

    Args:    source: as typed.
             split: its name.
             wanted: columns.
             classes: task → classes of a checkpoint that the cases must fit.
    Raises:  DataError: when the data cannot be read, or have no such column.
    """
    name, path = split_source(source)
    cases = _labelled(cast("CaseSet | SegmentedCases", read(source, classes)))
    table = DATASETS[name].columns_of(path, cases)
    absent = [column for column in wanted if column not in table]
    if absent:
        raise DataError(
            f"--by must name a column of {path.name}; got {absent[0]!r} (there are {', '.join(map(str, table.columns))})"
        )
    members = cases.splits[split]
    return {column: tuple(table[column].iloc[members].fillna("").astype(str)) for column in wanted}


def split_contents(source: str, split: str, classes: Mapping[str, Sequence[str]] | None = None) -> tuple[str, ...]:
    """SHA-256 of each image file of a split, none where the data have no such split; what is wrong with labels does not matter.

    Args:    source: as typed.
             split: its name.
             classes: task → classes of a checkpoint, for data that can only be read with them.
    Raises:  DataError: when the data or a file cannot be read.
    """
    cases = _whatever_its_labels(source, classes)
    # Of all images, since these digests have been kept when they were read.
    contents = contents_of(cases.images)
    return tuple(contents[index] for index in cases.splits.get(split, ()))


def _whatever_its_labels(source: str, classes: Mapping[str, Sequence[str]] | None) -> CaseSet:
    try:
        return _labelled(cast("CaseSet | SegmentedCases", read(source)))
    except DataError as error:
        if classes is not None:
            return _labelled(cast("CaseSet | SegmentedCases", read(source, classes)))
        if isinstance(error, PartlyUsable):
            return error.cases
        raise


def inspect(source: str, cases: Cases, progress: Progress | None = None) -> Findings:
    """What opening all files shows, and whether there is anything to search for.

    Args:    source: as typed.
             cases: read from it.
             progress: called with (done, all).
    """
    found = DATASETS[_name_and_location(source, tuple(DATASETS))[0]].inspect(cases, progress)
    unranked = nothing_to_rank(_labelled(cast("CaseSet | SegmentedCases", cases))) if fold_of(source) is None else []
    return replace(found, problems=[*found.problems, *unranked])


def examine(source: str, progress: Progress | None = None) -> tuple[Cases | None, Findings]:
    """Reads a data set and opens all its files: what keeps it from being read hides nothing of what is wrong with the rest.

    Args:    source, progress: see `inspect`.
    Returns: the cases, None where they cannot be used, and all that was found.
    """
    try:
        cases = read(source)
        return cases, inspect(source, cases, progress)
    except DataError as error:
        found = Findings(problems=list(error.problems), warnings=[], notes=[], twins=[])
        if not isinstance(error, PartlyUsable) or not error.cases.images:
            return None, found
        rest = DATASETS[_name_and_location(source, tuple(DATASETS))[0]].inspect(error.cases, progress)
        problems = list(dict.fromkeys([*found.problems, *rest.problems]))
        # What labels are missing cannot be said of a part of the cases.
        return None, replace(rest, problems=problems, warnings=[])


def primary_of(cases: Cases) -> str:
    """The task that is the diagnosis, "" where the field primary_task must say."""
    return _labelled(cast("CaseSet | SegmentedCases", cases)).primary


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
