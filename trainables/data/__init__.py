"""Reading data sets. `DATASETS` has a line for each format; `read` takes what a person types after `--data`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.data import derm7pt, derm7pt_synthetic, table
from trainables.data.cases import CaseSet
from trainables.errors import DataError


@dataclass(frozen=True)
class DataFormat:
    """One line of `DATASETS`.

    Args:    read: (path, classes of a checkpoint or None) → cases; raises DataError.
             synthesise: (folder, cases, size in px, seed) → writes a synthetic set in the format's real layout, or None.
             layout: what the path must hold, for messages.
    """

    read: Callable[[Path, Mapping[str, Sequence[str]] | None], CaseSet]
    synthesise: Callable[[Path, int, int, int], None] | None
    layout: str


DATASETS: dict[str, DataFormat] = {
    "derm7pt": DataFormat(derm7pt.read, derm7pt_synthetic.write, "a folder with meta/meta.csv and images/"),
    "table": DataFormat(table.read, None, "a .csv or .parquet file with the columns image, split and one per task"),
}


def split_source(source: str, formats: Sequence[str] = tuple(DATASETS)) -> tuple[str, Path]:
    """Format and absolute path of `FORMAT:PATH`.

    Args:    source: as typed.
             formats: those that fit the task.
    Raises:  DataError: when the format is unknown or does not fit, or the path does not exist.
    """
    name, colon, location = source.partition(":")
    if not colon or name not in DATASETS:
        raise DataError(f"--data must be FORMAT:PATH with a format of {', '.join(DATASETS)}; got {source!r}")
    if name not in formats:
        fitting = ", ".join(formats) or "none: it needs no data"
        raise DataError(f"--data must have a format that fits the task ({fitting}); got {name!r}")
    path = Path(location).expanduser().resolve()
    if not path.exists():
        raise DataError(f"--data must name {DATASETS[name].layout}; got {path}, which does not exist")
    return name, path


def read(source: str, classes: Mapping[str, Sequence[str]] | None = None) -> CaseSet:
    """Reads `FORMAT:PATH`.

    Args:    source: as typed.
             classes: task → classes of a checkpoint that the cases must fit, None to take the data set's own.
    Raises:  DataError: with every problem found.
    """
    name, path = split_source(source)
    return DATASETS[name].read(path, classes)
