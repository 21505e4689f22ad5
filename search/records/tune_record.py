"""What became of each trial as Ray Tune saw it: its own account, beside the ledger, that `doctor` compares."""

import json
from collections.abc import Iterable
from pathlib import Path

from search.records.disk_space import append

RUNNING, TERMINATED, ERROR, LOST = "RUNNING", "TERMINATED", "ERROR", "LOST"


class TuneRecord:
    """Appends a line for each change of a trial's status.

    Args:    file: made if missing.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)

    def write(self, trial: str, status: str) -> None:
        """Takes a status; it is in the file, though not yet on the disk, when this returns."""
        append(self._file, json.dumps({"trial": trial, "status": status}).encode() + b"\n", sync=False)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def statuses(file: Path) -> dict[str, str]:
    """Each trial's last status; a line that a crash cut short is left out."""
    found: dict[str, str] = {}
    if file.is_file():
        for line in file.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            found[entry["trial"]] = entry["status"]
    return found


def mark_lost(file: Path, trials: Iterable[str]) -> None:
    """Writes down that these trials' Tune died with its driver, and they with it."""
    if file.is_file() and not file.read_bytes().endswith(b"\n"):
        with file.open("a") as lines:
            lines.write("\n")
    record = TuneRecord(file)
    for trial in trials:
        record.write(trial, LOST)
    record.close()
