"""Why a trial failed, in its folder beside the driver's other records."""

import json
from pathlib import Path

from search.records.disk_space import once_there_is_room
from trainables.folders import write_file

_FILE = "failure.json"


def write_failure(trial_folder: Path, reason: str, trace: str) -> None:
    """Leaves the reason and the trace in the trial's folder, as soon as the disk has room for them."""

    def write() -> None:
        trial_folder.mkdir(parents=True, exist_ok=True)
        write_file(trial_folder / _FILE, (json.dumps({"reason": reason, "traceback": trace}, indent=1) + "\n").encode())

    once_there_is_room(write, trial_folder)


def failure_trace(trial_folder: Path) -> str | None:
    """The trace of a trial's last failure, None where there is none."""
    file = trial_folder / _FILE
    return str(json.loads(file.read_text())["traceback"]) if file.is_file() else None
