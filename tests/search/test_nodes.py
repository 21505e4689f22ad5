"""What each node is asked before a search begins."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search.execution import nodes
from trainables.errors import LocationError


def test_nodes_that_look_at_one_storage_at_once_are_not_in_each_others_way(tmp_path: Path) -> None:
    place = tmp_path.as_uri()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(nodes._see_storage, [place] * 200))
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("in the way")
    with pytest.raises(LocationError, match="must be a folder that this machine can use"):
        nodes._see_storage(f"{tmp_path.as_uri()}/a file")
    with pytest.raises(OSError, match="must be a folder that every node sees"):
        nodes._see_storage(str(tmp_path / "runs" / ".seen-by-the-driver"))
