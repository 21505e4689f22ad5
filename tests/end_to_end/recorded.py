"""One finished search of each task, with its data, report, models and MLflow store, for all tests that only read.

It is called `small`. A test that changes something does so in a copy (`Recorded.copy`), whose artifacts in
MLflow are still those of the original.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import Here
from filelock import FileLock

#: Raised by `make acceptance`. MLflow's page compares five trials.
NUM_TRIALS = os.environ.get("DERMTUNE_TEST_PAGE_TRIALS", "6")
DATA = {
    "gated": ("derm7pt", "--cases", "60", "--size", "96"),
    "attentive": ("isic2017", "--cases", "60", "--size", "48", "--seed", "11"),
}
SETTINGS = {
    "bowl": ("--max-epochs", "9"),
    "gated": (
        *("--max-epochs", "4", "--set", "size_px=96", "--set", "batches_per_epoch=2", "--set", "gates=learned"),
        *("--set", "width=0.5"),
    ),
    "attentive": (
        *("--max-epochs", "3", "--set", "encoder_weights=none", "--set", "width=0.125", "--set", "crop_from_px=36"),
        *("--set", "size_px=32", "--metric", "valid/melanoma/auroc:max", "--metric", "valid/structures/iou_mean:max"),
    ),
}


@dataclass(frozen=True)
class Recorded:
    """A finished search called `small`.

    Args:    task: of the search.
             data: what it was run on, as `--data` has it; "" for none.
             here: commands in its folder.
             json: what `dermtune search --json` said.
             err: what it printed besides.
    """

    task: str
    data: str
    here: Here
    json: dict[str, Any]
    err: str

    @property
    def folder(self) -> Path:
        """Of the command line: `runs/` is in it, and `a set` where the task has data."""
        return self.here.folder

    @property
    def uri(self) -> str:
        """MLflow's store."""
        return f"sqlite:///{self.folder / 'runs' / 'mlflow.db'}"

    def copy(self, folder: Path) -> Here:
        """Commands in a copy, which may be changed."""
        shutil.copytree(self.folder / "runs", folder / "runs")
        return Here(folder, self.here.environment)


def record(task: str, place: Path, ready: Callable[[], None]) -> Recorded:
    """Runs the search, unless some test process has.

    Args:    task: of the search.
             place: that all test processes of this session share.
             ready: makes sure that Ray runs here.
    """
    folder = place / f"recorded {task}"
    here, kept = Here(folder, {"DERMTUNE_CACHE": str(place / "recorded cache")}), folder / "search.json"
    data_format = DATA[task][0] if task in DATA else ""
    data = f"{data_format}:{folder / 'a set'}" if data_format else ""
    with FileLock(place / f"{task}.lock"):
        if not kept.is_file():
            folder.mkdir(parents=True)
            ready()
            if data:
                assert here.run("data", "synth", data_format, "a set", *DATA[task][1:]).status == 0
            given = ("--data", data) if data else ()
            search = here.run("search", task, *given, "--name", "small", "--trials", NUM_TRIALS, *SETTINGS[task], "--json")
            assert search.status == 0, search.err
            kept.write_text(json.dumps({"json": search.json, "err": search.err}))
    found = json.loads(kept.read_text())
    return Recorded(task, data, here, found["json"], found["err"])
