"""Why a trial failed, written where it ran, so that the driver need not unpickle an exception."""

import json
from pathlib import Path

_FILE = "failure.json"


def write_failure(trial_folder: Path, error: BaseException, trace: str) -> None:
    """Leaves the error's kind, its text and its trace in the trial's folder."""
    trial_folder.mkdir(parents=True, exist_ok=True)
    document = {"kind": type(error).__name__, "message": str(error), "traceback": trace}
    (trial_folder / _FILE).write_text(json.dumps(document, indent=1) + "\n")


def failure_reason(trial_folder: Path) -> str:
    """One line: the error's kind and text, or that the process died without a word."""
    file = trial_folder / _FILE
    if not file.is_file():
        return "WorkerDied: the trial's process ended without a message (killed, out of memory or segmentation fault)"
    document = json.loads(file.read_text())
    return f"{document['kind']}: {' '.join(str(document['message']).split())}"


def failure_trace(trial_folder: Path) -> str | None:
    """The trace of a failed trial, None where there is none."""
    file = trial_folder / _FILE
    return str(json.loads(file.read_text())["traceback"]) if file.is_file() else None
