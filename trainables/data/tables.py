"""Reading the tables that people assemble by hand: text, Excel or Parquet."""

import warnings
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from trainables.data.delimited import read_delimited
from trainables.data.roles import ColumnRoles
from trainables.errors import DataError

TEXTS = (".csv", ".tsv", ".tab", ".txt")
_EXCEL = (".xlsx", ".xlsm")
#: Beside an empty cell numpy's integers would become floats, which keep 15 digits.
_INTEGERS = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}
SUFFIXES = (*TEXTS, *_EXCEL, ".parquet")
_LISTED = ".csv, .tsv, .xlsx or .parquet file"


def read_table(file: Path, notes: list[str], roles: ColumnRoles | None = None) -> pd.DataFrame:
    """A table of texts without spaces around them; an empty cell is NA, and rows of nothing but empty cells are left out.

    Args:    file: .csv, .tsv, .tab, .txt, .xlsx, .xlsm or .parquet.
             notes: gets a line for each thing that was guessed.
             roles: what the columns are, None where nothing is known; of those that are left out nothing is noted.
    Returns: the index is the line in the file, the header's being 1.
    Raises:  DataError: when the file is missing, of another kind, or cannot be parsed.
    """
    suffix = file.suffix.lower()
    if file.is_dir():
        raise DataError(f"the table must be a {_LISTED}; got the folder {file} (--data table:FILE)")
    if not file.is_file():
        raise DataError(f"the table must exist; got {file} (--data)")
    if suffix in (".xls", ".ods", ".numbers"):
        raise DataError(f"the table must be a {_LISTED}; got {file} (save it as .xlsx or .csv)")
    if suffix not in SUFFIXES:
        raise DataError(f"the table must be a {_LISTED}; got {file} (--data table:PATH)")
    if suffix in _EXCEL and find_spec("openpyxl") is None:
        raise DataError(f"openpyxl must be installed to read {file.name} (pip install 'dermtune[excel]', or save it as .csv)")
    try:
        if suffix == ".parquet":
            return _cleaned(_read_parquet(file))
        cells = read_delimited(file, notes, roles or ColumnRoles()) if suffix in TEXTS else _read_excel(file, notes)
        return _cleaned(_with_header(cells, file, notes))
    except DataError:
        raise
    except Exception as error:  # a stranger's file makes pandas, pyarrow and openpyxl raise whatever there is
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"the table must be a readable {suffix[1:]} file; got {file}: {reason}") from error


def _read_parquet(file: Path) -> pd.DataFrame:
    # Without what pandas once wrote about its own types and index, which pyarrow would believe.
    stored = parquet.read_table(file).replace_schema_metadata(None)
    stored.validate(full=True)  # texts are UTF-8, and offsets lead to them
    table: pd.DataFrame = stored.to_pandas(types_mapper=_INTEGERS.get)
    index = [name for name in table.columns if str(name).startswith("__index_level_")]
    table = table.drop(columns=index).convert_dtypes().astype("string")
    table.columns = pd.Index(_distinct([_tidy(name) for name in table.columns], file))
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table


def _read_excel(file: Path, notes: list[str]) -> pd.DataFrame:
    """The first sheet's cells, the header among them."""
    with warnings.catch_warnings(), pd.ExcelFile(file, engine="openpyxl") as book:
        warnings.simplefilter("ignore", UserWarning)  # of styles and extensions that hold no cells
        sheets = [str(name) for name in book.sheet_names]
        cells = pd.read_excel(book, sheet_name=sheets[0], header=None, dtype="string", keep_default_na=False, na_values=[""])
    if len(sheets) > 1:
        notes.append(f"{file.name} has {len(sheets)} sheets: the first, {sheets[0]}, is read")
    cells.index = pd.RangeIndex(1, len(cells) + 1)
    return cells


def _with_header(cells: pd.DataFrame, file: Path, notes: list[str]) -> pd.DataFrame:
    """The first row that is not empty becomes the header; columns without a name are left out."""
    cells = cells[~_empty(cells)]
    if not len(cells):
        raise DataError(f"the table must have a header; got an empty file ({file})")
    names = [_tidy(name) for name in cells.iloc[0].fillna("")]
    table = cells.iloc[1:]
    nameless = [place for place, name in enumerate(names) if not name]
    filled = [place + 1 for place in nameless if table.iloc[:, place].notna().any()]
    if filled:
        notes.append(f"column {', '.join(map(str, filled))} has no name and is left out")
    table = table.iloc[:, [place for place in range(len(names)) if place not in nameless]]
    table.columns = pd.Index(_distinct([name for name in names if name], file))
    return table


def _tidy(name: object) -> str:
    return " ".join(str(name).split())


def _distinct(names: list[str], file: Path) -> list[str]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"the table's columns must have different names; got {twice!r} twice ({file})")
    return names


def _empty(cells: pd.DataFrame) -> "pd.Series[bool]":
    blank: pd.Series[bool] = (cells.isna() | cells.apply(lambda column: column.str.strip().eq("").fillna(True))).all(axis=1)
    return blank


def _cleaned(table: pd.DataFrame) -> pd.DataFrame:
    stripped = table.apply(lambda column: column.str.strip()) if len(table.columns) else table
    stripped = stripped.replace("", pd.NA)
    return stripped[stripped.notna().any(axis=1)] if len(table.columns) else stripped
