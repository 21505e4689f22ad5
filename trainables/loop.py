"""The training loop. It knows a learner, not an architecture."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from trainables import checkpoints
from trainables.contract import EpochReport, Rehearsal, TrialRequest
from trainables.costs import costs_of
from trainables.errors import CheckpointError, TrialDiverged
from trainables.folders import read_json
from trainables.selection import BestEpoch
from trainables.snapshots import Snapshots, below
from trainables.trace import Trace
from trainables.versions import versions

Batch = Any
#: A checkpoint's file of what the model showed of itself up to then.
TRACE = "trace"
#: Batches by which an epoch is estimated; a validation that is expected to be shorter is measured whole.
_REHEARSED, _SHORT_S = 3, 3.0


@runtime_checkable
class Optimizer(Protocol):
    """What moves the weights (see `trainables.adam.Adam`)."""

    def zero_grad(self) -> None:
        """Forgets all gradients."""

    def step(self) -> None:
        """Moves every parameter that has a gradient."""

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes over what `state` gave."""


@runtime_checkable
class Learner(Protocol):
    """One configuration joined with one model and one data set: what differs between tasks."""

    batches_per_epoch: int
    numpy_generators: Mapping[str, np.random.Generator]
    torch_generators: Mapping[str, torch.Generator]

    @property
    def optimizer(self) -> Optimizer:
        """What moves the model's weights."""

    @property
    def notes(self) -> Sequence[str]:
        """What it does otherwise than its paper, a line each."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def begin(self, epoch: int) -> None:
        """Called before an epoch's first batch.

        Args:    epoch: 1 for the first.
        """

    @property
    def valid_batches(self) -> float:
        """Training batches that the validation split would fill."""

    def draw_batch(self) -> Batch:
        """The next training batch, on the learner's device."""

    def loss(self, batch: Batch) -> Tensor:
        """Its training loss, a scalar with a gradient."""

    def validate(self) -> dict[str, float]:
        """Metrics of the validation split by their full names."""

    def shown(self) -> Mapping[str, Tensor]:
        """What the model shows of itself whatever the case, small tensors by name; traced over the epochs."""

    def diagnose(self) -> Any:
        """What the model says of the first validation case; its cost is timed."""

    def description(self) -> dict[str, Any]:
        """What `config.json` says beyond the request: classes, data set, fingerprint."""


class TrainedTrial:
    """A trial that trains a learner epoch by epoch (see `trainables.contract.Trial`).

    Args:    learner: the task's part.
             request: what the trial was asked to be.
    """

    def __init__(self, learner: Learner, request: TrialRequest) -> None:
        self.learner, self.request, self.best = learner, request, BestEpoch.of(request)
        self._epoch = 0
        self._snapshots, self._trace = Snapshots(), Trace()
        self._trace.add(0, learner.shown())
        self._costs: dict[str, float] = {}

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self._epoch

    @property
    def notes(self) -> Sequence[str]:
        """What the learner does otherwise than its paper."""
        return self.learner.notes

    def step(self) -> EpochReport:
        """Trains one epoch and validates.

        Raises:  TrialDiverged: when the loss or a metric is not finite.
        """
        start = time.perf_counter()
        train_loss = self._train_epoch()
        return self.close_epoch(train_loss, self.learner.validate, lambda: time.perf_counter() - start)

    def close_epoch(
        self, train_loss: float, validate: Callable[[], dict[str, float]], spent_s: Callable[[], float]
    ) -> EpochReport:
        """Validates an epoch that was trained, and takes note of it.

        Args:    train_loss: mean over its batches.
                 validate: metrics of the validation split by their full names.
                 spent_s: seconds of the epoch so far.
        Raises:  TrialDiverged: when the loss or a metric is not finite.
        """
        self._epoch += 1
        if not np.isfinite(train_loss):
            raise TrialDiverged(f"train/loss must be finite; got {train_loss} at epoch {self._epoch}")
        metrics = {"train/loss": train_loss, **validate()}
        self._trace.add(self._epoch, self.learner.shown())
        score, is_best = self.best.observe(self._epoch, metrics)
        seconds = spent_s()
        if not self._costs:
            self._costs = costs_of(self.learner.model, self.learner.diagnose, next(self.learner.model.parameters()).device)
        self._snapshots.take(self._epoch, self.best, self.learner.model, self._trace, metrics)
        return EpochReport(
            epoch=self._epoch,
            metrics=metrics,
            score=score,
            seconds=seconds,
            is_best=is_best,
            ended=self._ended(),
            costs=self._costs,
            window=self.best.window,
            kept=self.best.kept,
        )

    def rehearse(self) -> Rehearsal:
        """How long epochs would take, from a few batches as training draws them, and from one validation where that is short."""
        learner, trained = self.learner, list[float]()
        learner.model.train()
        for _ in range(_REHEARSED + 1):
            # Each time from the beginning of a pass, whose last batch may be a small one.
            learner.begin(self.request.max_epochs)
            start = time.perf_counter()
            batch = learner.draw_batch()
            float(self._train_batch(batch))
            trained.append(time.perf_counter() - start)
        start = time.perf_counter()
        with torch.no_grad():
            float(learner.loss(batch))
        validation_s = (time.perf_counter() - start) * learner.valid_batches
        if validation_s < _SHORT_S:
            start = time.perf_counter()
            learner.validate()
            validation_s = time.perf_counter() - start
        batch_s = median(trained[1:])
        return Rehearsal(batch_s * learner.batches_per_epoch + validation_s, max(0.0, trained[0] - batch_s))

    def _train_batch(self, batch: Batch) -> Tensor:
        loss = self.learner.loss(batch)
        self.learner.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.learner.optimizer.step()
        return loss.detach()

    def begin_epoch(self) -> None:
        """Makes ready for the next epoch's batches."""
        self.learner.model.train()
        self.learner.begin(self._epoch + 1)

    def _train_epoch(self) -> float:
        self.begin_epoch()
        total = torch.zeros(())
        for _ in range(self.learner.batches_per_epoch):
            loss = self._train_batch(self.learner.draw_batch())
            total = total.to(loss.device) + loss
        # One wait for the device an epoch, not one a batch.
        return float(total) / self.learner.batches_per_epoch

    def _ended(self) -> str | None:
        if self._epoch >= self.request.max_epochs:
            return "max_epochs"
        return "patience" if self.best.out_of_patience(self._epoch) else None

    def save_best(self, folder: Path) -> None:
        """Writes the model of the epoch that is kept.

        Raises:  ValueError: when there is none yet.
        """
        if self.best.kept not in self._snapshots:
            raise ValueError(
                f"a trial must have validated once before its best model can be saved; got epoch {self._epoch} (one that goes on"
                " from a state without its best model must find a better one first)"
            )
        kept = self._snapshots[self.best.kept]
        traced = {TRACE: kept.trace} if kept.trace else {}
        document = self._document(self.best.kept, kept.metrics)
        checkpoints.write(folder, tensors={"model": kept.weights, **traced}, documents={"config": document})

    def save(self, folder: Path, *, with_best: bool = True) -> None:
        """Writes weights, optimiser, random states, epochs that may be kept, and counters (see `trainables.contract.Trial`)."""
        # What may yet be kept is written in any case: a later mean may choose the epoch that is the best now once more.
        known = set(self.best.candidates(self._epoch)) | ({self.best.kept} if with_best else set())
        state = {
            **{f"optimizer.{name}": value for name, value in self.learner.optimizer.state().items()},
            **{f"snapshots.{name}": value for name, value in self._snapshots.tensors(known - {self._epoch}).items()},
            **{f"trace.{name}": value for name, value in self._trace.tensors().items()},
            **{f"generator.{name}": g.get_state() for name, g in self.learner.torch_generators.items()},
        }
        counters = {
            "epoch": self._epoch,
            "best": self.best.state(),
            "snapshots": self._snapshots.metrics(known),
            "generators": {name: g.bit_generator.state for name, g in self.learner.numpy_generators.items()},
        }
        checkpoints.write(
            folder,
            tensors={"model": self.learner.model.state_dict(), "state": state},
            documents={"config": self._document(self._epoch, {}), "state": counters},
        )

    def load(self, folder: Path) -> None:
        """Takes over what `save` wrote.

        Raises:  CheckpointError: when the folder is damaged or belongs to another configuration.
        """
        found, own = read_json(folder, "config.json"), self._document(0, {})
        for name in ("config", "seed", "objective", *self.learner.description()):
            if found.get(name) != own[name]:
                raise CheckpointError(f"a trial must go on with its own {name}; got another one in {folder}")
        counters, state = read_json(folder, "state.json"), checkpoints.read(folder, "state")
        if "snapshots" not in counters:
            raise CheckpointError(f"a state must be of this version of dermtune; got one of an earlier version in {folder}")
        self.learner.model.load_state_dict(checkpoints.read(folder, "model"))
        self.learner.optimizer.restore(below(state, "optimizer."))
        for name, torch_generator in self.learner.torch_generators.items():
            torch_generator.set_state(state[f"generator.{name}"])
        for name, generator in self.learner.numpy_generators.items():
            generator.bit_generator.state = counters["generators"][name]
        self._epoch = counters["epoch"]
        self._trace.restore(below(state, "trace."))
        self._snapshots.restore(counters["snapshots"], below(state, "snapshots."), self._epoch, self.learner.model, self._trace)
        self.best.restore(counters["best"])

    def _document(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, Any]:
        request = self.request
        return {
            "task": request.task,
            "config": dict(request.config),
            "source": request.source,
            "seed": request.seed,
            "objective": {"metric": request.objective.metric, "mode": request.objective.mode},
            "epoch": epoch,
            "split": "valid",
            "metrics": dict(metrics),
            "num_threads": request.num_threads,
            "device": next(self.learner.model.parameters()).device.type,
            "versions": versions(),
            "notes": list(self.learner.notes),
            **self.learner.description(),
        }
