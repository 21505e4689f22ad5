"""Draws docs/images/search.svg from a finished search: python docs/images/draw_search.py STORAGE NAME."""

import os
import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

from search.analysis.leaderboard import open_search
from search.cli import standings, tables
from search.execution.result import SearchResult

WIDTH = 118


def main(storage: Path, name: str) -> None:
    """Shows the search's result on a recording console and saves what it saw."""
    found = open_search(storage, name)
    target = Path(__file__).resolve().with_name("search.svg")
    os.chdir(storage.resolve().parent)
    result = SearchResult(found.plan, found.folder, found.state, {}, "all trials", "1")
    console = Console(record=True, width=WIDTH, highlight=False, file=StringIO(), force_terminal=True)
    tables.out = standings.out = console
    console.print("$ make demo", style="bold")
    standings.show_result(result, Path("runs").resolve())
    picture = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="dermtune search gated"), flags=re.DOTALL)
    target.write_text(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
