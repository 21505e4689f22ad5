"""Reading the tables that people assemble by hand: CSV with whatever line ends and byte order mark, or Parquet."""

import os
import warnings
from pathlib import Path

import pandas as pd
from pyarrow import parquet

from trainables.errors import DataError


def read_table(file: Path) -> pd.DataFrame:
    """A table with text columns; an empty cell is NaN.

    Raises:  DataError: when the file is missing, of another kind, or cannot be parsed.
    """
    if file.is_dir():
        raise DataError(f"the table must be a .csv or .parquet file; got the folder {file} (--data table:FILE)")
    if not file.is_file():
        raise DataError(f"the table must exist; got {file} (--data)")
    try:
        if file.suffix.lower() == ".parquet":
            return _read_parquet(file)
        if file.suffix.lower() == ".csv":
            return _read_csv(file)
    except Exception as error:  # a stranger's file makes pandas and pyarrow raise whatever there is
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"the table must be a readable {file.suffix[1:]} file; got {file}: {reason}") from error
    raise DataError(f"the table must be a .csv or .parquet file; got {file} (--data table:PATH)")


def _read_parquet(file: Path) -> pd.DataFrame:
    # Without what pandas once wrote about its own types and index, which pyarrow would believe.
    stored = parquet.read_table(file).replace_schema_metadata(None)
    stored.validate(full=True)  # texts are UTF-8, and offsets lead to them
    table: pd.DataFrame = stored.to_pandas()
    index = [name for name in table.columns if str(name).startswith("__index_level_")]
    return table.drop(columns=index).convert_dtypes().astype("string")


def _read_csv(file: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Rows with more cells than the header: pandas would take the first columns for names of rows, or drop the last ones.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        # "None" and "NA" may be somebody's labels: only an empty cell is a missing one.
        return pd.read_csv(
            file,
            dtype="string",
            encoding="utf-8-sig",
            skipinitialspace=True,
            keep_default_na=False,
            na_values=[""],
            index_col=False,
        )


def find_image(folder: Path, name: str, place: str, problems: list[str]) -> Path:
    """The image that a table names, which must lie in the data set's folder: other nodes have that folder and no other.

    Args:    folder: of the data set.
             name: as written in the table, relative to the folder or absolute.
             place: where it is written, for the message.
             problems: gets a line when there is no such image.
    Returns: its path, whether it is there or not.
    """
    image = folder / name
    # By its name and not by where links lead: those in the folder are its owner's.
    inside = Path(os.path.abspath(image)).is_relative_to(os.path.abspath(folder))  # noqa: PTH100
    try:
        exists = inside and image.is_file()
    except OSError:  # a name that no file can have
        exists = False
    if not inside:
        problems.append(
            f"{place}: image must lie in {folder}; got {name!r} (move the table above its images or link them into its folder)"
        )
    elif not exists:
        problems.append(f"{place}: image {image} does not exist")
    return image
