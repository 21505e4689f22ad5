"""Text tables as people have them: any encoding, separator and decimal mark that office programs write."""

import codecs
import csv
import io
import re
from pathlib import Path

import pandas as pd

from trainables.data.column_checks import FEW_VALUES
from trainables.data.roles import ColumnRoles
from trainables.errors import DataError

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: As much of the text as a header can need.
_HEADER = 1 << 16
_EXCELS_OWN = re.compile(r"sep=(?P<separator>[,;\t|])\r?\n")
_BLANK = re.compile(r"(?:[ \t]*\r?\n)+")
_UNCLOSED = "unexpected end of data"
#: What stands for a label that is missing, in lower case.
GAPS = ("na", "n/a", "nan", "null", "<na>", "#n/a")
_NUMBER = r"[+-]?\d+(?:,\d+)?"


def read_delimited(file: Path, notes: list[str], roles: ColumnRoles) -> pd.DataFrame:
    """All cells as texts, the header among them; the index is the line in the file.

    Args:    file: the text.
             notes: gets a line for each thing that was guessed.
             roles: what the columns are; of those that are left out nothing is noted.
    Raises:  DataError: when a line has more cells than the header, or a quote is opened and never closed.
    """
    text = _decoded(file, notes)
    marked = _EXCELS_OWN.match(text)
    text, first = (text[marked.end() :], 2) if marked else (text, 1)
    if blank := _BLANK.match(text):  # pandas takes the number of cells from the first line
        text, first = text[blank.end() :], first + blank[0].count("\n")
    separator = marked["separator"] if marked else _separator(text)
    if separator != ",":
        notes.append(f"{file.name} is read as a table with {_SEPARATORS[separator]} between columns")
    lines, rows = _rows(text, separator, first, file)
    header = next((row for row in rows if any(map(str.strip, row))), [])
    if not header:
        raise DataError(f"the table must have a header; got an empty file ({file})")
    long = [(line, row) for line, row in zip(lines, rows, strict=True) if len(row) > len(header) and any(map(str.strip, row))]
    if long:
        more = f"and {len(long) - 1} more lines; " if len(long) > 1 else ""
        raise DataError(
            f"every line of the table must have the header's {len(header)} cells; got {len(long[0][1])} on line {long[0][0]}"
            f" ({more}{file}; a cell with {_SEPARATORS[separator]} in it must stand in double quotes)"
        )
    notes += _doubts(lines, rows, header, separator)
    width = len(header)
    # "None" may be somebody's label: only an empty cell is a missing one.
    cells = [[cell or None for cell in row[:width]] + [None] * (width - len(row)) for row in rows]
    table = pd.DataFrame(cells, index=pd.Index(lines, dtype="int64"), columns=range(width), dtype="string")
    return table if separator == "," else _with_decimal_points(table, notes, roles)


def _rows(text: str, separator: str, first: int, file: Path) -> tuple[list[int], list[list[str]]]:
    """Each row's cells and the line on which it begins: one with a line break in quotes is longer than a line."""
    physical = list(io.StringIO(text, newline=""))
    reader = csv.reader(physical, delimiter=separator, skipinitialspace=True)
    begins, rows = [0], []
    try:
        for row in reader:
            rows.append(row)
            begins.append(reader.line_num)
        closed = not rows or _is_closed(physical[begins[-2] :], separator)
    except csv.Error as error:
        if "field limit" not in str(error):
            raise
        rows, closed = [*rows, []], False
    if not closed:
        raise DataError(
            f"every quote of the table must be closed; got one on line {first + begins[len(rows) - 1]} that is not ({file})"
        )
    return [first + begin for begin in begins[:-1]], rows


def _is_closed(row: list[str], separator: str) -> bool:
    """Whether the last row ends by itself: unless it is strict, csv takes the end of the file for a missing quote."""
    try:
        list(csv.reader(row, delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        return _UNCLOSED not in str(error)
    return True


def _doubts(lines: list[int], rows: list[list[str]], header: list[str], separator: str) -> list[str]:
    """What is said of rows that are too short and of cells that hold whole rows."""
    named = max((place + 1 for place, name in enumerate(header) if name.strip()), default=0)
    short = [line for line, row in zip(lines, rows, strict=True) if len(row) < named and any(map(str.strip, row))]
    notes = []
    if short:
        have = "1 line has" if len(short) == 1 else f"{len(short)} lines have"
        notes.append(f"{have} fewer cells than the heading, and what is missing is empty (the first: line {short[0]})")
    swallowed = [
        line
        for line, row in zip(lines, rows, strict=True)
        if any(len(cell) > 1 and _holds_row(cell, separator, len(header)) for cell in row)
    ]
    if swallowed:
        hold = "1 cell in quotes holds" if len(swallowed) == 1 else f"{len(swallowed)} cells in quotes hold"
        notes.append(
            f"{hold} lines that look like rows, which are not read as rows: a quote is probably missing"
            f" (the first: line {swallowed[0]})"
        )
    return notes


def _holds_row(cell: str, separator: str, width: int) -> bool:
    return width > 1 and any(line.count(separator) >= width - 1 for line in cell.splitlines()[1:])


def _decoded(file: Path, notes: list[str]) -> str:
    raw = file.read_bytes()
    if raw.startswith(_UTF16):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.append(f"{file.name} is no UTF-8, and is read as Windows-1252 (Latin-1)")
    raw = raw.removeprefix(codecs.BOM_UTF8)  # of a file that two programs have written
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _separator(text: str) -> str:
    """What stands most often in the header, outside quotes. csv.Sniffer and pandas' `sep=None`, which uses it, take a comma
    within one name for the separator of a header with semicolons."""
    header = re.sub(r'"[^"]*"', "", text[:_HEADER]).lstrip("\r\n").splitlines()[:1]
    counts = {separator: header[0].count(separator) if header else 0 for separator in _SEPARATORS}
    return max(counts, key=counts.__getitem__)


def _with_decimal_points(table: pd.DataFrame, notes: list[str], roles: ColumnRoles) -> pd.DataFrame:
    """Columns of many numbers, some with a comma, where commas do not part columns; a few, such as 1,2 and 1,3, are labels."""
    changed = []
    for column in table:
        cells = table[column].iloc[1:].str.strip()
        known = cells[~cells.str.lower().isin(GAPS)].dropna()
        if known.nunique() > FEW_VALUES and known.str.fullmatch(_NUMBER).all() and known.str.contains(",").any():
            table[column] = pd.concat([table[column].iloc[:1], cells.str.replace(",", ".", regex=False)])
            changed.append(" ".join(str(table[column].iloc[0]).split()))
    changed = [name for name in changed if not roles.leaves_out(name)]
    if changed:
        notes.append(f"decimal commas are read as points in {', '.join(changed)}")
    return table
