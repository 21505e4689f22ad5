"""Reading the tables that people assemble by hand: CSV with whatever line ends and byte order mark, or Parquet."""

from pathlib import Path

import pandas as pd

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
            return pd.read_parquet(file).convert_dtypes().astype("string")
        if file.suffix.lower() == ".csv":
            # "None" and "NA" may be somebody's labels: only an empty cell is a missing one.
            return pd.read_csv(
                file, dtype="string", encoding="utf-8-sig", skipinitialspace=True, keep_default_na=False, na_values=[""]
            )
    except (ValueError, OSError) as error:  # pandas's parser errors and pyarrow's are ValueErrors
        reason = str(error).splitlines()[0]
        raise DataError(f"the table must be a readable {file.suffix[1:]} file; got {file}: {reason}") from error
    raise DataError(f"the table must be a .csv or .parquet file; got {file} (--data table:PATH)")
