"""An analytic trial with a known optimum and no torch, through which search code is tested in seconds."""

import math
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spaces.fields import Value
from trainables.contract import EpochReport, Predictor, Prepared, Rehearsal, TrialRequest, parts_note, step_or_diverged
from trainables.data.images import Progress
from trainables.errors import DataError, OutOfMemory, TrialDiverged
from trainables.evaluation import CasePredictions, Casewise, Evaluation
from trainables.explanation import Explanation
from trainables.folders import encode_json, read_json, write_folder
from trainables.selection import BestEpoch

LOWEST = (0.3, -0.7)


def floor_of(config: Mapping[str, Value]) -> float:
    """The value that a configuration's trial sinks to: 0 is the lowest of the round bowl, -0.01 of the tilted one."""
    x, y = float(config["x"] or 0), float(config["y"] or 0)
    value = (x - LOWEST[0]) ** 2 + (y - LOWEST[1]) ** 2
    if config["shape"] == "tilted":
        value += (float(config["tilt"] or 0) - 0.5) ** 2 - 0.01
    return value


class BowlTrial:
    """Sinks from 3 above its floor to it, `rate` of the way each epoch (see `trainables.contract.Trial`).

    Args:    request: its config is a `BowlSpace`.
    """

    def __init__(self, request: TrialRequest) -> None:
        self.request, self._epoch = request, 0
        self._config = request.config
        self.notes = parts_note(request.batch_parts)
        only = request.max_epochs if request.only_last_epoch else None
        self.best = BestEpoch(request.objective, selection="metric", patience=request.max_epochs, only=only, delay=request.delay)
        self._generator = np.random.default_rng(request.seed)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self._epoch

    def rehearse(self) -> Rehearsal:
        """Its epochs are all alike."""
        return Rehearsal(self.step().seconds)

    def step(self) -> EpochReport:
        """One epoch: the height above the floor shrinks by the rate.

        Raises:  TrialDiverged: with fault="nan", at the third epoch.
                 RuntimeError: with fault="raise" or "raise_tilted", at the third epoch.
                 OutOfMemory: with fault="out_of_memory" and less than half of a GPU, at the third epoch.
                 MemoryError: with fault="too_large" and batches in less than four parts, at the third epoch.
        """
        start = time.perf_counter()
        time.sleep(float(self._config["seconds_per_epoch"] or 0))
        self._epoch += 1
        fault = self._config["fault"] if self._epoch == 3 else "none"
        if fault == "raise" or (fault == "raise_tilted" and self._config["shape"] == "tilted"):
            raise RuntimeError(f"the bowl broke, as fault={fault} asked")
        if fault == "out_of_memory" and self.request.gpu_share < 0.5:
            raise OutOfMemory(f"the bowl must have half of a GPU; got {self.request.gpu_share:g}")
        if fault == "too_large" and self.request.batch_parts < 4:
            np.empty(2**60, dtype=np.uint8)  # an exabyte
        if fault == "hang":
            time.sleep(3600)
        sunk = max(0, self._epoch - int(self._config["idle_epochs"] or 0))
        height = 3 * (1 - float(self._config["rate"] or 0)) ** sunk
        noise = float(self._config["noise"] or 0) * self._generator.normal()
        value = math.nan if fault == "nan" else floor_of(self._config) + height + noise
        metrics = {"valid/height": value, **{name: value + index for index, name in enumerate(_further(self._config))}}
        score, is_best = self.best.observe(self._epoch, metrics)
        return EpochReport(
            epoch=self._epoch,
            metrics=metrics,
            score=score,
            seconds=time.perf_counter() - start,
            is_best=is_best,
            ended="max_epochs" if self._epoch >= self.request.max_epochs else None,
            window=self.best.window,
            kept=self.best.kept,
        )

    def save(self, folder: Path, *, with_best: bool = True) -> None:
        """Writes `state.json`; a bowl's best model is but a number."""
        state = {"epoch": self._epoch, "best": self.best.state(), "generator": self._generator.bit_generator.state}
        write_folder(folder, {"state.json": encode_json(state)})

    def load(self, folder: Path) -> None:
        """Takes over what `save` wrote.

        Raises:  CheckpointError: when there is nothing to read.
        """
        state = read_json(folder, "state.json")
        self._epoch = state["epoch"]
        self.best.restore(state["best"])
        self._generator.bit_generator.state = state["generator"]

    def save_best(self, folder: Path) -> None:
        """Writes `config.json` and its hash."""
        document = {"task": "bowl", "config": dict(self._config), "epoch": self.best.kept, "value": self.best.value}
        write_folder(folder, {"config.json": encode_json(document)})


def fusion_key(trial: BowlTrial) -> Hashable:
    """What fused bowls have in common."""
    return trial.request.config["shape"]


def step_together(trials: Sequence[BowlTrial]) -> list[EpochReport | TrialDiverged]:
    """Each bowl's own step, one after another: there is nothing to be saved.

    Raises:  RuntimeError, OutOfMemory, MemoryError: as one of them does (see `BowlTrial.step`).
    """
    return [step_or_diverged(trial) for trial in trials]


def prepare(config: Mapping[str, Value], source: str | None, progress: Progress | None = None) -> Prepared:
    """There is nothing to read."""
    return Prepared(fingerprint="", metrics=("valid/height", *_further(config)))


def _further(config: Mapping[str, Value]) -> list[str]:
    return [f"valid/further_{index}" for index in range(1, int(config.get("num_metrics") or 1))]


def build(request: TrialRequest) -> BowlTrial:
    """A bowl at epoch 0."""
    return BowlTrial(request)


def load_model(folder: Path) -> dict[str, Any]:
    """The checkpoint's `config.json`: all that a bowl has learnt."""
    return read_json(folder, "config.json")


def evaluate(folder: Path, source: str, split: str) -> Evaluation:
    """A bowl has no data.

    Raises:  DataError: always.
    """
    raise DataError(f"evaluate must be given a checkpoint of a task with data; got a bowl ({folder})")


def predict_cases(folder: Path, source: str, split: str) -> tuple[CasePredictions, ...]:
    """A bowl has no cases.

    Raises:  DataError: always.
    """
    raise DataError(f"a task without data has no cases; got a bowl ({folder})")


def casewise(folder: Path, source: str, split: str) -> Casewise:
    """A bowl has no cases.

    Raises:  DataError: always.
    """
    raise DataError(f"a task without data has no cases; got a bowl ({folder})")


def predictor(folder: Path) -> Predictor:
    """A bowl sees nothing.

    Raises:  DataError: always.
    """
    raise DataError(f"predict must be given a checkpoint of a task with data; got a bowl ({folder})")


def explain(folder: Path, source: str, split: str, num_cases: int) -> Explanation:
    """A bowl has nothing to explain.

    Raises:  DataError: always.
    """
    raise DataError(f"explain must be given a checkpoint of a task with data; got a bowl ({folder})")


def explain_model(folder: Path) -> Explanation:
    """A bowl has nothing to show.

    Raises:  DataError: always.
    """
    raise DataError(f"explain must be given a checkpoint of a task with data; got a bowl ({folder})")


def explain_images(folder: Path, images: Sequence[Path]) -> Explanation:
    """A bowl sees nothing.

    Raises:  DataError: always.
    """
    raise DataError(f"explain must be given a checkpoint of a task with data; got a bowl ({folder})")
