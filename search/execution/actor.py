"""The trial contract as a Tune trainable: one process that trains one trial after another."""

import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray import tune

from search.execution.code_version import check_code_version
from search.execution.failures import broken
from search.execution.process_meter import ProcessMeter
from search.records.trial_folder import TrialFolder
from trainables.contract import EpochReport, Trial, TrialRequest
from trainables.data.cache import cache_root
from trainables.errors import CheckpointError
from trainables.folders import digest
from trainables.tasks import TASKS

#: Epochs are reported together, at most so far apart, so that tiny ones do not each cost a round trip.
REPORT_INTERVAL_S = 1.0
#: The key of an assignment that says which epoch the ledger has heard of last.
KNOWN_EPOCH = "known_epoch"
#: The key that asks for a state after the first report, so that the trial can move to another share of a GPU.
SAVE_FIRST = "save_first"


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """Runs the trial that its config describes; `reset_config` gives it the next one."""

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the assignment; the trial is built by the first step, so that its faults are the trial's own."""
        self._meter = ProcessMeter()
        self._node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
        self._assign(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next assignment; nothing of the trial before is kept but imported code and mapped data."""
        self._assign(new_config)
        return True

    def _assign(self, config: dict[str, Any]) -> None:
        self._leave()
        self._assignment = config
        self._trial: Trial | None = None
        self._notes: list[str] = []
        self._folder = TrialFolder(_place(config), config["home"])
        self._saved_at = time.monotonic()

    def cleanup(self) -> None:
        """The process ends."""
        self._leave()

    def _leave(self) -> None:
        """Removes what this node keeps of the trial before."""
        folder: TrialFolder | None = getattr(self, "_folder", None)
        if folder is not None:
            folder.forget()

    def step(self) -> dict[str, Any]:
        """Runs epochs until something must be said; one report carries them all."""
        try:
            return self._step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver is to be told
            # The message must reach the driver without unpickling anything that a trial made.
            raise broken(error) from None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: states lie in the trial's folder, which every node reaches; Tune's own checkpoints are not asked for."""

    def load_checkpoint(self, checkpoint: str) -> None:
        """Nothing: the first step goes on from the newest state in the trial's folder."""

    def _step(self) -> dict[str, Any]:
        trial = self._trial = self._trial or self._build()
        rungs, start = self._assignment["rungs"], time.monotonic()
        reports: list[EpochReport] = []
        while True:
            reports.append(trial.step())
            last = reports[-1]
            if last.ended or last.epoch in rungs or time.monotonic() - start >= REPORT_INTERVAL_S:
                break
        epochs = [{**_epoch(report), **self._gpus()} for report in reports]
        epochs[-1] |= {"system": self._meter.read()}
        return {
            "epochs": epochs,
            "ended": last.ended,
            "checkpoint": self._save_best(trial, reports),
            "where": self._where(),
            "notes": [*self._notes, *trial.notes],
            "state": self._save_state(trial, last),
        }

    def _build(self) -> Trial:
        check_code_version(self._assignment["code_version"])
        request = TrialRequest.from_json(self._assignment["request"])
        trial = TASKS[request.task].load().build(request)
        self._folder.claim()
        self._folder.drop_unheard(self._assignment[KNOWN_EPOCH])
        for state in self._folder.states():
            try:
                trial.load(state)
                break
            except CheckpointError as error:
                # The one before it is as good, a few epochs earlier. A fresh trial, since loading may have begun.
                self._notes.append(f"{state.name} cannot be used, so the trial goes on from what was saved before it ({error})")
                trial = TASKS[request.task].load().build(request)
        return trial

    def _save_best(self, trial: Trial, reports: list[EpochReport]) -> dict[str, Any] | None:
        best = max((report.epoch for report in reports if report.is_best), default=None)
        if best is None:
            return None
        folder = self._folder.save_best(best, trial.save_best)
        return {"epoch": best, "path": f"trials/{self._assignment['trial']}/{folder.name}", "sha256": digest(folder)}

    def _save_state(self, trial: Trial, last: EpochReport) -> int | None:
        """Saves at every rung and every so often; gives the epoch from which the trial can go on, if it did."""
        due = time.monotonic() - self._saved_at >= self._assignment["save_every_s"] or last.epoch in self._assignment["rungs"]
        if last.ended is not None or not (due or self._assignment[SAVE_FIRST]):
            return None
        self._folder.save_state(trial.epoch, trial.save)
        self._saved_at = time.monotonic()
        return trial.epoch

    def _gpus(self) -> dict[str, float]:
        """The share of a GPU that an epoch took, for the search's GPU-hours."""
        share = self._assignment["request"]["gpu_share"]
        return {"gpus": share} if share else {}

    def _where(self) -> dict[str, Any]:
        """Host, node, process, and device with its memory."""
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "") if self._assignment["request"]["device"] != "cpu" else ""
        found = {"host": platform.node(), "node": self._node, "pid": os.getpid(), "device": f"cuda:{gpus}" if gpus else "cpu"}
        return {**found, **_gpu_mib()}


def _gpu_mib() -> dict[str, float]:
    """Memory of the GPU; empty without one."""
    torch = sys.modules.get("torch")  # a task without torch need not pay for its import
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    return {"gpu_mib": torch.cuda.get_device_properties(0).total_memory / 2**20}


def _place(assignment: dict[str, Any]) -> Path:
    """The trial's folder: the storage's own where every node sees it, else one in this node's cache."""
    if assignment["home"] is None:
        return Path(assignment["folder"])
    return cache_root() / "trials" / f"{assignment['search']}-{assignment['trial']}-{os.getpid()}"


def _epoch(report: EpochReport) -> dict[str, Any]:
    """An epoch as the ledger has it: what it cost stands among its metrics."""
    found = {key: value for key, value in asdict(report).items() if key not in ("ended", "costs")}
    return {**found, "metrics": {**report.metrics, **report.costs}}
