"""`docs/deviations.md` has a row for each place that does otherwise than its source, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("models", "trainables", "spaces", "search")
PAGE = REPOSITORY / "docs" / "deviations.md"
COLUMNS = ("where", "deviates from", "in what", "why", "measured effect")


def documented(text: str, module: str) -> Iterator[tuple[str, str]]:
    """The dotted name and docstring of a module and of everything in it that has one."""

    def within(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, ast.get_docstring(node) or ""
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            yield from within(child, f"{name}.{child.name}" if named else name)

    yield from within(ast.parse(text), module)


def deviating(text: str, module: str) -> list[str]:
    """Names of a module whose docstring's `Deviations:` does not begin with "none"."""
    found = []
    for name, docstring in documented(text, module):
        said = [line.strip().removeprefix("Deviations:").strip() for line in docstring.splitlines() if "Deviations:" in line]
        found += [name] if any(not re.match(r"none\b", line) for line in said) else []
    return found


def all_deviating() -> list[str]:
    """Of every module."""
    files = [file for room in ROOMS for file in sorted((REPOSITORY / room).rglob("*.py"))]
    modules = {file: ".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in files}
    return [name for file, module in modules.items() for name in deviating(file.read_text(), module)]


def rows() -> list[list[str]]:
    """Cells of the page's table, its heading left out."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    start = next(index for index, line in enumerate(cells) if line[0] == "where")
    assert tuple(cells[start]) == COLUMNS
    return [line for line in cells[start + 2 :] if line[0].startswith("`")]


def test_what_deviates_is_found_wherever_it_stands() -> None:
    text = '''
"""A module.

Deviations: as a whole.
"""
def exact():
    """Deviations: none."""
def nearly():
    """One line.

    Source: somewhere
    Deviations: none at width 1.
    """
def nonesuch():
    """Deviations: nonetheless something."""
class Thing:
    """Deviations: none; it only looks so."""
    async def method(self):
        """One line.

        Deviations:
            on the next line.
        """
        def inner():
            """Deviations: inside."""
'''
    assert deviating(text, "room.module") == [
        "room.module",
        "room.module.nonesuch",
        "room.module.Thing.method",
        "room.module.Thing.method.inner",
    ]


def test_every_place_that_deviates_has_a_row() -> None:
    listed = [row[0].strip("`") for row in rows()]
    missing = sorted(set(all_deviating()) - set(listed))
    assert not missing, f"no row in {PAGE.name}"


def test_every_row_is_of_a_place_that_deviates() -> None:
    listed = [row[0].strip("`") for row in rows()]
    assert len(listed) == len(set(listed))
    gone = sorted(set(listed) - set(all_deviating()))
    assert not gone, f"{PAGE.name} names what does not exist or deviates no more"


def test_every_row_says_what_why_and_how_much() -> None:
    found = rows()
    assert len(found) >= 20
    for row in found:
        assert len(row) == len(COLUMNS), row[0]
        assert all(row), row[0]


def test_the_page_is_linked() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        assert "(docs/deviations.md)" in (REPOSITORY / name).read_text(), name
