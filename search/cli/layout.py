"""How a table is set into the width of a terminal: numbers whole, at any width; only words are wrapped."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len, chop_cells
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Rows = Sequence[Sequence[str]]
#: A number, or what a word may be broken after; digits are never parted.
_ATOM = re.compile(r"[+-]?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?%?|[^\W\d_]+(?:[^\w\s+-]+|_+)?|[^\w\s]+|_+|\s+|.", re.DOTALL)
_NUMBER = re.compile(r"\d")
#: Columns of prose are not made narrower than this, nor is a word so long broken: rather, the table is split.
_PROSE, _WORD = 10, 14
#: A longer name in the first column may be wrapped.
_LONG_NAME = 48


def laid_out(title: str, headings: Sequence[str], rows: Rows, width: int) -> Group:
    """A table in so many columns of characters.

    What does not fit is tried in this order: prose and headings wrapped; the same without rules between columns; columns in
    several parts below each other, each beginning with the first column; one row below the other, a line for each cell.

    Args:    title: above it, "" for none.
             headings, rows: as many cells each; a cell may have several lines.
             width: of the terminal, in characters.
    """
    parts: list[RenderableType] = [Text(line, style="italic") for line in wrapped(title, width)] if title else []
    columns = [_Column.of(heading, [row[i] for row in rows], first=i == 0) for i, heading in enumerate(headings)]
    for look in (_RULED, _PLAIN):
        if (widths := look.widths(columns, width)) is not None:
            return Group(*parts, look.table(columns, widths))
    split = _split(columns, width)
    if split is None:
        return Group(*parts, *(Text(line) for line in _records(headings, rows, width)))
    for part in split:
        widths = _PLAIN.widths(part, width)
        if widths is not None:
            parts += [_PLAIN.table(part, widths), Text("")]
    return Group(*parts[:-1])


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """A text in lines of at most so many characters, broken between words, where that does not do after punctuation, and never
    within a number that fits.

    Args:    indent: of all lines but the first.
    """
    return [line for given in text.split("\n") for line in _wrapped_line(given, width, indent)]


def _wrapped_line(text: str, width: int, indent: int) -> list[str]:
    lines, line = list[str](), ""
    for word in re.findall(r"\s*\S+", text):
        fits = cell_len(line + word) <= width
        # Leading blanks indent the first line and part words elsewhere.
        word = word if fits or not line else word.strip()
        alone = width - (indent if line or lines else 0)
        if fits:
            line += word
        elif cell_len(word) <= alone:
            lines, line = [*lines, line] if line else lines, " " * (indent if line or lines else 0) + word
        else:
            for atom in [piece for found in _ATOM.findall(f" {word}" if line else word) for piece in chop_cells(found, alone)]:
                if cell_len(line + atom) > width:
                    lines, line = [*lines, line.rstrip()], " " * indent + atom.strip()
                else:
                    line += atom
    return [*lines, line]


@dataclass(frozen=True)
class _Column:
    """A column and what it needs.

    Args:    heading, cells: its texts.
             numeric: whether it is flush right.
             least, full: width below which a number would be broken or prose be unreadable, and at which nothing is wrapped.
    """

    heading: str
    cells: Sequence[str]
    numeric: bool
    least: int
    full: int

    @staticmethod
    def of(heading: str, cells: Sequence[str], *, first: bool) -> "_Column":
        """The column of these texts; the first one holds names, which are to be copied."""
        numeric = all(cell[:1] in "-–+0123456789" for cell in cells) and bool(cells)
        body, full_heading = max(map(_span, cells), default=0), _span(heading)
        whole = numeric or (first and body <= _LONG_NAME)
        words = (min(cell_len(word), _WORD) for cell in cells for word in cell.split())
        kept = (cell_len(number) for cell in cells for number in numbers(cell))
        of_cells = body if whole else max([min(body, _PROSE), *words, *kept])
        of_heading = max((cell_len(atom.strip()) for atom in _ATOM.findall(heading)), default=0)
        return _Column(heading, cells, numeric, max(of_cells, of_heading), max(body, full_heading, 1))


def numbers(text: str) -> list[str]:
    """The numbers in a text, as `wrapped` keeps them whole."""
    return [atom for atom in _ATOM.findall(text) if _NUMBER.search(atom)]


def _span(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


@dataclass(frozen=True)
class _Look:
    """How a table is drawn.

    Args:    box: its rules.
             padding: blanks on both sides of a cell.
             around, between: characters of rules and blanks, in all at both ends and between two columns.
             edge: whether there is a frame.
    """

    box: box.Box
    padding: int
    around: int
    between: int
    edge: bool

    def widths(self, columns: Sequence[_Column], width: int) -> list[int] | None:
        """Widths of the columns; None where they do not fit."""
        spare = width - self.around - self.between * (len(columns) - 1) - sum(column.least for column in columns)
        if spare < 0:
            return None
        found = [column.least for column in columns]
        # Those that lack little get it all; what lacks most, prose, gets what is left.
        for index in sorted(range(len(columns)), key=lambda i: columns[i].full - columns[i].least):
            more = min(spare, columns[index].full - columns[index].least)
            found[index], spare = found[index] + more, spare - more
        return found

    def table(self, columns: Sequence[_Column], widths: Sequence[int]) -> Table:
        """The columns, each in its width."""
        table = Table(box=self.box, padding=(0, self.padding), show_edge=self.edge, pad_edge=self.edge)
        for column, width in zip(columns, widths, strict=True):
            justify = "right" if column.numeric else "left"
            heading = Text("\n".join(wrapped(column.heading, width)))
            table.add_column(heading, justify=justify, width=width, no_wrap=True, overflow="fold")  # type: ignore[arg-type]
        for row in zip(*(column.cells for column in columns), strict=True):
            table.add_row(*(Text("\n".join(wrapped(cell, width))) for cell, width in zip(row, widths, strict=True)))
        return table


_RULED = _Look(box.HEAVY_HEAD, padding=1, around=4, between=3, edge=True)
_PLAIN = _Look(box.SIMPLE_HEAD, padding=0, around=0, between=1, edge=False)


def _split(columns: Sequence[_Column], width: int) -> list[list[_Column]] | None:
    """The columns in parts that fit, each with the first column in front; None where one does not fit beside it."""
    first, *others = columns
    parts: list[list[_Column]] = []
    for column in others:
        if parts and _PLAIN.widths([*parts[-1], column], width) is not None:
            parts[-1].append(column)
        elif _PLAIN.widths([first, column], width) is not None:
            parts.append([first, column])
        else:
            return None
    return parts or None


def _records(headings: Sequence[str], rows: Rows, width: int) -> list[str]:
    """A line or more for each cell, its heading in front; a blank line between rows."""
    lines: list[str] = []
    for row in rows:
        for heading, cell in zip(headings, row, strict=True):
            lines += wrapped(f"{heading}: {cell}" if heading else cell, width, indent=2)
        lines.append("")
    return lines[:-1]
