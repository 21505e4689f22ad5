"""The trial contract as a Tune trainable: one process that trains one trial after another."""

import os
import platform
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import tune

from search.execution.code_version import check_code_version
from search.execution.process_meter import ProcessMeter
from search.records.checkpoint_store import best_folder, drop_older_states, drop_unheard, state_folder, states
from search.records.failure import write_failure
from trainables.contract import EpochReport, Trial, TrialRequest
from trainables.errors import CheckpointError
from trainables.folders import digest
from trainables.tasks import TASKS

#: Epochs are reported together, at most so far apart, so that tiny ones do not each cost a round trip.
REPORT_INTERVAL_S = 1.0
#: The key of an assignment that says which epoch the ledger has heard of last.
KNOWN_EPOCH = "known_epoch"
#: A trial can go on from a state at most so old, and from every rung.
STATE_INTERVAL_S = 30.0


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """Runs the trial that its config describes; `reset_config` gives it the next one."""

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the assignment; the trial is built by the first step, so that its faults are the trial's own."""
        self._meter = ProcessMeter()
        self._assign(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next assignment; nothing of the trial before is kept but imported code and mapped data."""
        self._assign(new_config)
        return True

    def _assign(self, config: dict[str, Any]) -> None:
        self._assignment = config
        self._trial: Trial | None = None
        self._folder = Path(config["folder"])
        self._saved_at = time.monotonic()

    def step(self) -> dict[str, Any]:
        """Runs epochs until something must be said; one report carries them all."""
        try:
            return self._step()
        except Exception as error:
            # The message must reach the driver without unpickling anything that a trial made.
            write_failure(self._folder, error, traceback.format_exc())
            raise

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Makes sure that the trial's folder has its present state; Tune asks for it when it pauses a trial."""
        trial = self._trial = self._trial or self._build()
        self._write_state(trial)
        (Path(checkpoint_dir) / "where").write_text(str(self._folder))

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
        epochs = [_epoch(report) for report in reports]
        epochs[-1]["system"] = self._meter.read()
        return {
            "epochs": epochs,
            "ended": last.ended,
            "checkpoint": self._save_best(trial, reports),
            "where": self._where(),
            "notes": list(trial.notes),
            "state": self._save_state(trial, at_rung=last.epoch in rungs, ended=last.ended is not None),
        }

    def _build(self) -> Trial:
        check_code_version(self._assignment["code_version"])
        request = TrialRequest.from_json(self._assignment["request"])
        trial = TASKS[request.task].load().build(request)
        drop_unheard(self._folder, self._assignment[KNOWN_EPOCH])
        for state in states(self._folder):
            try:
                trial.load(state)
                break
            except CheckpointError:
                # Damaged: the one before it is as good, a few epochs earlier. A fresh trial, since loading may have begun.
                trial = TASKS[request.task].load().build(request)
        return trial

    def _save_best(self, trial: Trial, reports: list[EpochReport]) -> dict[str, Any] | None:
        best = max((report.epoch for report in reports if report.is_best), default=None)
        if best is None:
            return None
        folder = best_folder(self._folder, best)
        if not folder.exists():
            trial.save_best(folder)
        return {"epoch": best, "path": str(folder.relative_to(self._folder.parents[1])), "sha256": digest(folder)}

    def _save_state(self, trial: Trial, *, at_rung: bool, ended: bool) -> int | None:
        due = time.monotonic() - self._saved_at >= STATE_INTERVAL_S
        if ended or not (due or at_rung):
            return None
        self._write_state(trial)
        return trial.epoch

    def _write_state(self, trial: Trial) -> None:
        folder = state_folder(self._folder, trial.epoch)
        if trial.epoch and not folder.exists():
            trial.save(folder)
            drop_older_states(self._folder)
        self._saved_at = time.monotonic()

    def _where(self) -> dict[str, Any]:
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "") if self._assignment["request"]["device"] != "cpu" else ""
        return {"host": platform.node(), "pid": os.getpid(), "device": f"cuda:{gpus}" if gpus else "cpu"}


def _epoch(report: EpochReport) -> dict[str, Any]:
    """An epoch as the ledger has it: what it cost stands among its metrics."""
    found = {key: value for key, value in asdict(report).items() if key not in ("ended", "costs")}
    return {**found, "metrics": {**report.metrics, **report.costs}}
