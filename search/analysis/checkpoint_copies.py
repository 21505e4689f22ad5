"""Checkpoints handed out: copies of what the ledger names, and of nothing else."""

import shutil
from pathlib import Path
from typing import Any

from search.errors import PlanError
from trainables import folders
from trainables.errors import CheckpointError


def copy_checkpoints(rows: list[dict[str, Any]], out: Path) -> list[dict[str, Any]]:
    """Copies checkpoints to `<out>/<trial>`; gives the rows with their new places.

    Args:    rows: `trial`, `checkpoint` and its `sha256` of each, as the ledger has them.
             out: made if it is not there.
    Raises:  PlanError: when a place is taken.
             CheckpointError: when a file does not match its hash, or the checkpoint is another one than the ledger names.
    """
    places = [out.resolve() / row["trial"] for row in rows]
    taken = [place for place in places if place.exists()]
    if taken:
        raise PlanError(f"--out must be a folder without {taken[0].name}; got {out}, which has one")
    for row in rows:
        folder = Path(row["checkpoint"])
        folders.verify(folder)
        if folders.digest(folder) != row["sha256"]:
            raise CheckpointError(f"{folder} must be the checkpoint that the ledger names; got another one (dermtune doctor)")
    for row, place in zip(rows, places, strict=True):
        shutil.copytree(row["checkpoint"], place)
    return [{**row, "checkpoint": str(place)} for row, place in zip(rows, places, strict=True)]
