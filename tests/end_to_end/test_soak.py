"""The short version of `soak.py`: a minute and a half of searches, struck every few seconds."""

from pathlib import Path

import pytest
from soak import Soak

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_searches_that_are_struck_again_and_again_come_to_their_end_whole(tmp_path: Path, own_cache: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    seen = Soak(folder, fault_every_s=8, seed=1).run(60)
    assert seen.searches >= 2
    assert sum(seen.faults.values()) >= 4
    assert not seen.left_processes
