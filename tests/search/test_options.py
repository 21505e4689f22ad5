"""What a command prints where stdout's encoding lacks a character."""

import io
import os
import sys
from pathlib import Path

import pytest
from bowl_search import PLAN

from search.cli.main import run
from search.records.folder import SearchFolder
from search.records.ledger import Ledger


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_table_is_shown_whatever_the_encoding(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash stands for a missing number, and was an error and exit status 2 in a container without a locale."""
    folder = SearchFolder(tmp_path, "bowls")
    folder.create(PLAN).release()
    Ledger(folder.ledger_file).close()
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert run(["list", "--storage", str(tmp_path)]) == 0
    sys.stdout.flush()
    assert "bowls" in written.getvalue().decode(encoding)


def test_a_file_that_has_become_a_pipe_is_written_to_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the standard streams of a forked process: Python still takes them for what can be sought."""
    read, write = os.pipe()
    file = (tmp_path / "out").open("w")
    file.write("")
    os.dup2(write, file.fileno())
    os.close(write)
    monkeypatch.setattr(sys, "stdout", file)
    assert run(["list", "--json", "--storage", str(tmp_path)]) == 0
    file.close()
    assert os.read(read, 100) == b"[]\n"
    os.close(read)
