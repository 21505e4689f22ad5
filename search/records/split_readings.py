"""How often the test split was read: every reading spends a little of what it is worth."""

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainables import folders
from trainables.data import portable_source, split_contents
from trainables.data.roles import without_roles
from trainables.errors import DataError, LocationError

_log = logging.getLogger("dermtune")


def record_reading(storage: Path, checkpoint: Path, source: str) -> int:
    """Notes one reading of the test split.

    Args:    storage: folder of all searches.
             checkpoint: that was evaluated; its classes say what of the data is read.
             source: `FORMAT:PATH`.
    Returns: readings of this test split so far, this one included (see `num_readings`).
    Raises:  DataError: when the data cannot be read.
    """
    images = _short(split_contents(source, "test", folders.read_json(checkpoint, "config.json")["classes"]))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"time": now, "checkpoint": folders.digest(checkpoint), "source": portable_source(source), "images": sorted(images)}
    storage.mkdir(parents=True, exist_ok=True)
    # In one write, so that lines of two commands at once do not mix.
    with _file(storage).open("ab", buffering=0) as lines:
        lines.write((json.dumps(line) + "\n").encode())
    return sum(not images.isdisjoint(known["images"]) for known in _lines(storage))


def num_readings(storage: Path, source: str) -> int:
    """Readings of a test split so far: those that had any of its images, whatever file named them and where they lay.

    Args:    storage: folder of all searches.
             source: `FORMAT:PATH`; where the data are not on this machine those are counted that named them alike.
    """
    lines = _lines(storage)
    if not lines:
        return 0
    try:
        images = _short(split_contents(source, "test"))
    except (DataError, LocationError):
        name = without_roles(source)
        return sum(without_roles(known["source"]) == name for known in lines)
    return sum(not images.isdisjoint(known["images"]) for known in lines)


def _lines(storage: Path) -> list[Mapping[str, Any]]:
    """What has been noted; of what cannot be read is said how much there is."""
    file, found, damaged = _file(storage), list[Mapping[str, Any]](), 0
    for line in file.read_text(errors="replace").splitlines() if file.is_file() else []:
        try:
            known = json.loads(line)
            found.append({"source": str(known["source"]), "images": [str(image) for image in known["images"]]})
        except (ValueError, KeyError, TypeError):
            damaged += 1
    if damaged:
        _log.warning("%s: %d readings cannot be read and are not counted", file, damaged)
    return found


def _short(images: Iterable[str]) -> set[str]:
    """Twelve digits of each digest: enough to tell millions of images apart in a file that stays small."""
    return {digest[:12] for digest in images}


def _file(storage: Path) -> Path:
    return storage / "test_readings.jsonl"
