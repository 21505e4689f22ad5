"""One trial in the process that trains it: built, gone on with, kept and told of."""

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import ray

from search.execution.code_version import check_code_version
from search.execution.process_meter import ProcessMeter
from search.records.trial_folder import TrialFolder
from trainables.contract import EpochReport, Trial, TrialRequest
from trainables.data.cache import cache_root
from trainables.errors import CheckpointError
from trainables.folders import digest, read_json
from trainables.tasks import TASKS

#: Epochs are reported together, at most so far apart, so that tiny ones do not each cost a round trip.
REPORT_INTERVAL_S = 1.0
#: The key of an assignment that says which epoch the ledger has heard of last.
KNOWN_EPOCH = "known_epoch"
#: The key that asks for a state after the first report, so that the trial can move to another share of a GPU.
SAVE_FIRST = "save_first"


class WorkerProcess:
    """What all trials of a worker have in common."""

    def __init__(self) -> None:
        self._meter = ProcessMeter()
        self._node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""

    def where(self, device: str) -> dict[str, Any]:
        """Host, node, process, and device with its memory.

        Args:    device: that was asked for.
        """
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "") if device != "cpu" else ""
        found = {"host": platform.node(), "node": self._node, "pid": os.getpid(), "device": f"cuda:{gpus}" if gpus else "cpu"}
        return {**found, **_gpu()}

    def used(self) -> dict[str, float]:
        """What the process takes of its machine."""
        return self._meter.read()


class WorkerTrial:
    """A trial as a worker has it. It is built when it is first asked for, so that its faults are its own.

    Args:    assignment: see `search.execution.assignments`.
    """

    def __init__(self, assignment: dict[str, Any]) -> None:
        self.assignment = assignment
        self._trial: Trial | None = None
        self._notes: list[str] = []
        self._folder = TrialFolder(_place(assignment), assignment["home"])
        self._saved_at = time.monotonic()

    @property
    def name(self) -> str:
        """The trial's id."""
        return str(self.assignment["trial"])

    @property
    def trial(self) -> Trial:
        """The trial, where it was when a state was last kept."""
        if self._trial is None:
            self._trial = self._build()
        return self._trial

    def must_tell(self, report: EpochReport) -> bool:
        """Whether the driver must hear of this epoch before the next one."""
        return report.ended is not None or report.epoch in self.assignment["rungs"]

    def told(self, reports: Sequence[EpochReport], process: WorkerProcess, used: Mapping[str, float]) -> dict[str, Any]:
        """What the driver is told of some epochs; the best model and the state are kept where they are due.

        Args:    reports: of the epochs.
                 process: that it trains in.
                 used: what that has taken of its machine meanwhile.
        """
        last = reports[-1]
        epochs = [{**_epoch(report), **self._gpus()} for report in reports]
        epochs[-1] |= {"system": dict(used)}
        return {
            "epochs": epochs,
            "ended": last.ended,
            "checkpoint": self._save_best(reports),
            "where": process.where(self.assignment["request"]["device"]),
            "notes": [*self._notes, *self.trial.notes],
            "state": self._save_state(last),
        }

    def forget(self) -> None:
        """Removes what this node keeps of it."""
        self._folder.forget()

    def _build(self) -> Trial:
        check_code_version(self.assignment["code_version"])
        request = TrialRequest.from_json(self.assignment["request"])
        trial = TASKS[request.task].load().build(request)
        self._folder.claim()
        self._folder.drop_unheard(self.assignment[KNOWN_EPOCH])
        for state in self._folder.states():
            try:
                trial.load(state)
                break
            except CheckpointError as error:
                # The one before it, where it is still there, is as good a few epochs earlier; else it begins anew. A fresh trial,
                # since loading may have begun.
                self._notes.append(f"{state.name} cannot be used, so the trial goes on from what was saved before it ({error})")
                self._folder.discard(state.name)
                trial = TASKS[request.task].load().build(request)
        return trial

    def _save_best(self, reports: Sequence[EpochReport]) -> dict[str, Any] | None:
        if not any(report.is_best for report in reports):
            return None
        kept = reports[-1].kept
        folder = self._folder.save_best(kept, self.trial.save_best)
        found = read_json(folder, "config.json")
        return {
            "epoch": kept,
            "path": f"trials/{self.name}/{folder.name}",
            "sha256": digest(folder),
            "metrics": found.get("metrics") if found.get("epoch") == kept else None,
        }

    def _save_state(self, last: EpochReport) -> int | None:
        """Saves at every rung and every so often; gives the epoch from which the trial can go on, if it did."""
        given = self.assignment
        due = time.monotonic() - self._saved_at >= given["save_every_s"] or last.epoch in given["rungs"]
        if last.ended is not None or not (due or given[SAVE_FIRST]):
            return None
        given[SAVE_FIRST] = False
        # The best model lies beside it, saved before: a second copy of it would be a third of a state.
        self._folder.save_state(self.trial.epoch, partial(self.trial.save, with_best=False))
        self._saved_at = time.monotonic()
        return self.trial.epoch

    def _gpus(self) -> dict[str, float]:
        """The share of a GPU that an epoch took, for the search's GPU-hours."""
        share = self.assignment["request"]["gpu_share"]
        return {"gpus": share} if share else {}


def _gpu() -> dict[str, Any]:
    """Name and memory of the GPU; empty without one."""
    torch = sys.modules.get("torch")  # a task without torch need not pay for its import
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    properties = torch.cuda.get_device_properties(0)
    return {"gpu": properties.name, "gpu_mib": properties.total_memory / 2**20}


def _place(assignment: dict[str, Any]) -> Path:
    """The trial's folder: the storage's own where every node sees it, else one in this node's cache."""
    if assignment["home"] is None:
        return Path(assignment["folder"])
    return cache_root() / "trials" / f"{assignment['search']}-{assignment['trial']}-{os.getpid()}"


def _epoch(report: EpochReport) -> dict[str, Any]:
    """An epoch as the ledger has it: what it cost stands among its metrics."""
    found = {key: value for key, value in asdict(report).items() if key not in ("ended", "costs")}
    return {**found, "metrics": {**report.metrics, **report.costs}}
