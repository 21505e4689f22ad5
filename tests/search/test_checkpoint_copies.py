"""A checkpoint is handed out as the ledger names it, whole."""

from pathlib import Path
from typing import Any

import pytest

from search.analysis.checkpoint_copies import copy_checkpoints
from search.errors import PlanError
from trainables.errors import CheckpointError
from trainables.folders import digest, write_folder


def row_of(folder: Path, trial: str = "t0001", weights: bytes = b"weights") -> dict[str, Any]:
    write_folder(folder, {"config.json": b"{}", "weights.safetensors": weights})
    return {"trial": trial, "checkpoint": str(folder), "sha256": digest(folder), "value": 0.5}


def test_the_copies_are_whole_and_the_rows_say_where_they_are(tmp_path: Path) -> None:
    rows = [row_of(tmp_path / trial, trial) for trial in ("t0001", "t0004")]
    found = copy_checkpoints(rows, tmp_path / "the winners")
    assert found == [{**row, "checkpoint": str(tmp_path / "the winners" / row["trial"])} for row in rows]
    assert [digest(Path(row["checkpoint"])) for row in found] == [row["sha256"] for row in rows]


@pytest.mark.parametrize("what", ["a file was changed", "another checkpoint"])
def test_what_is_not_the_checkpoint_of_the_ledger_is_not_handed_out(what: str, tmp_path: Path) -> None:
    """Of what came from a bucket only sizes were compared."""
    good, row = row_of(tmp_path / "good", "t0000"), row_of(tmp_path / "best")
    if what == "a file was changed":
        (tmp_path / "best" / "weights.safetensors").write_bytes(b"weighed")
        match = "must match its hash"
    else:
        row = {**row_of(tmp_path / "other", weights=b"others"), "sha256": row["sha256"]}
        match = "must be the checkpoint that the ledger names"
    with pytest.raises(CheckpointError, match=match):
        copy_checkpoints([good, row], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out" / "t0001").mkdir(parents=True)
    with pytest.raises(PlanError, match=r"--out must be a folder without t0001; got .*out, which has one"):
        copy_checkpoints([row_of(tmp_path / "best")], tmp_path / "out")
