"""One trial of a search, as its ledger tells it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from search.records.constraints import Constraint
from search.records.events import Checkpointed, EpochResult, Retried
from spaces.fields import Value
from trainables.contract import Objective

State = Literal["suggested", "running", "paused", "finished", "stopped", "failed", "interrupted"]
ENDED: tuple[State, ...] = ("finished", "stopped", "failed")


@dataclass
class TrialRecord:
    """One trial.

    Args:    trial: its id.
             config: its hyperparameters.
             seed: of its training.
             state: where it is; "stopped" is by the scheduler or a budget, "finished" by itself.
             reason: why it ended, None while it goes on.
             epochs: that were validated, in order.
             score, score_epoch: its best score and the epoch at whose end it stood; None and 0 before the first.
             best_window: validations that this score is the mean of, the last of them that epoch's.
             best_epoch, value: the epoch that its checkpoint is of, and the objective there.
             best_metrics: all metrics of that epoch.
             checkpoint: its best checkpoint's folder, relative to the search's, None when there is none (any more).
             sha256: of that checkpoint.
             where: host, device and process it ran in.
             notes: what it does otherwise than its paper, a line each.
             fold: of the cases that it trains on, None for the data's own split.
             checkpoint_epoch: of the newest checkpoint written down, 0 before the first.
             retries: what it was started again for, in order.
             gpus: its share of a GPU if not that of the others, None where no failure has changed it.
             batch_parts: in which its batches pass.
             suspects: first and number of the trials among which alone it trains, None where nobody is suspected.
             max_epochs: after which it ends by itself, None for the plan's.
             suggested, ended: when (UTC, ISO 8601); a trial is suggested when there is a slot for it.
             suggested_s, heard_s: when it was suggested and last heard of, by the search's own clock.
    """

    trial: str
    config: Mapping[str, Value]
    seed: int
    state: State = "suggested"
    reason: str | None = None
    epochs: list[EpochResult] = field(default_factory=list)
    best_epoch: int = 0
    score_epoch: int = 0
    best_window: int = 0
    value: float | None = None
    score: float | None = None
    best_metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str | None = None
    sha256: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    fold: int | None = None
    checkpoint_epoch: int = 0
    retries: list[Retried] = field(default_factory=list)
    gpus: float | None = None
    batch_parts: int = 1
    suspects: tuple[str, int] | None = None
    max_epochs: int | None = None
    suggested: str = ""
    ended: str | None = None
    suggested_s: float = 0.0
    heard_s: float = 0.0

    @property
    def last_epoch(self) -> int:
        """Validated last, 0 before the first."""
        return self.epochs[-1].epoch if self.epochs else 0

    def add_epoch(self, epoch: EpochResult) -> None:
        """Takes a validated epoch."""
        self.epochs.append(epoch)
        if epoch.is_best:
            self.best_metrics = next(found.metrics for found in reversed(self.epochs) if found.epoch == epoch.kept_epoch)
            self.best_epoch, self.score_epoch, self.score = epoch.kept_epoch, epoch.epoch, epoch.score
            self.best_window = epoch.window

    @staticmethod
    def beside(epochs: Sequence[EpochResult], checkpoint: Checkpointed) -> Checkpointed:
        """A checkpoint with those metrics only in which it differs from what was reported of its epoch.

        Trained again after a crash, an epoch may be rounded otherwise, and what `evaluate` gives back is what counts.

        Args:    epochs: reported so far.
                 checkpoint: with all metrics of its epoch where the task records them.
        """
        known: Mapping[str, float] = next((e.metrics for e in reversed(epochs) if e.epoch == checkpoint.epoch), {})
        metrics = {name: value for name, value in (checkpoint.metrics or {}).items() if known.get(name) != value}
        return replace(checkpoint, metrics=metrics or None)

    def keep(self, checkpoint: Checkpointed) -> None:
        """Takes the checkpoint that is kept from now on."""
        self.checkpoint, self.sha256, self.checkpoint_epoch = checkpoint.path, checkpoint.sha256, checkpoint.epoch
        if checkpoint.metrics:
            self.best_metrics = {**self.best_metrics, **checkpoint.metrics}

    def retry(self, event: Retried) -> None:
        """Takes that it was started again."""
        self.retries.append(event)
        # Smaller parts, or other company, are no larger share.
        if event.kind == "memory" and event.suspects is None and event.batch_parts == self.batch_parts:
            self.gpus = event.gpus_per_trial or self.gpus
        self.batch_parts, self.suspects = event.batch_parts, event.suspects or self.suspects

    def excess(self, constraints: Sequence[Constraint]) -> float:
        """How far its best epoch is beyond all limits together; 0 when it keeps them."""
        return math.fsum(max(0.0, constraint.excess(self.best_metrics)) for constraint in constraints)

    def scores(self, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
        """Every objective where the score is best, as a trailing mean like `score`; None where one was not reported.

        Args:    objectives: the one that ranks first.
        """
        if self.score is None:
            return None
        found = [self.score, *(self.mean_at_best(objective.metric) for objective in objectives[1:])]
        known = tuple(score for score in found if score is not None)
        return known if len(known) == len(found) else None

    def values(self, objectives: Sequence[Objective]) -> dict[str, float]:
        """Every objective that was reported, by its metric, at the checkpoint's epoch: what `evaluate` gives back."""
        return {o.metric: self.best_metrics[o.metric] for o in objectives if o.metric in self.best_metrics}

    def mean_at_best(self, metric: str) -> float | None:
        """A metric's trailing mean over the validations of the best score; None where it was not reported."""
        first = self.score_epoch - max(self.best_window, 1)
        window = [e.metrics for e in self.epochs if first < e.epoch <= self.score_epoch]
        values = [metrics[metric] for metrics in window if metric in metrics]
        return math.fsum(values) / len(values) if values else None

    @property
    def train_s(self) -> float:
        """Seconds of its epochs."""
        return sum(epoch.seconds for epoch in self.epochs)

    def gpu_s(self, planned: float) -> float:
        """Seconds of whole GPUs that its epochs took.

        Args:    planned: share of a GPU where an epoch does not say its own.
        """
        return sum(epoch.seconds * (planned if epoch.gpus is None else epoch.gpus) for epoch in self.epochs)
