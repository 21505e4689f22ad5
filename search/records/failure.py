"""Why a trial failed, in its folder beside the driver's other records."""

import json
from pathlib import Path

_FILE = "failure.json"


def write_failure(trial_folder: Path, reason: str, trace: str) -> None:
    """Leaves the reason and the trace in the trial's folder."""
    trial_folder.mkdir(parents=True, exist_ok=True)
    (trial_folder / _FILE).write_text(json.dumps({"reason": reason, "traceback": trace}, indent=1) + "\n")


def failure_trace(trial_folder: Path) -> str | None:
    """The trace of a trial's last failure, None where there is none."""
    file = trial_folder / _FILE
    return str(json.loads(file.read_text())["traceback"]) if file.is_file() else None
