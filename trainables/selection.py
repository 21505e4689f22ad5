"""Which epoch of a trial is its best, and when to stop waiting for a better one."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from spaces.fields import number
from trainables.contract import SCORE_WINDOW, Objective, TrialRequest
from trainables.errors import TrialDiverged

Selection = Literal["metric", "loss"]
LOSS = "valid/loss"


def rank_key(epoch: int, score: float, sign: int) -> tuple[int, float]:
    """Orders (epoch, score) pairs: a mean over fewer than three validations never beats one over three.

    Args:    epoch: 1 for the first, so it is also how many validations there were.
             score: trailing mean.
             sign: 1 when more is better, else -1.
    """
    return min(epoch, SCORE_WINDOW), sign * score


@dataclass
class BestEpoch:
    """Follows a trial's validations.

    Args:    objective: what trials are ranked by.
             selection: "metric": the best epoch has the best trailing mean of the objective; "loss": the lowest
                 validation loss (the paper's rule).
             patience: epochs without a better one before the trial ends.
             only: the one epoch that can be the best, None for any.
    """

    objective: Objective
    selection: Selection
    patience: int
    only: int | None = None
    epoch: int = 0
    value: float = math.nan
    score: float = math.nan
    loss: float = math.inf
    recent: list[float] = field(default_factory=list)

    @staticmethod
    def of(request: TrialRequest) -> "BestEpoch":
        """As the fields `selection` and `patience` of a request's configuration say."""
        selection: Selection = "loss" if request.config["selection"] == "loss" else "metric"
        patience = int(number(request.config, "patience"))
        return BestEpoch(request.objective, selection, patience, request.max_epochs if request.only_last_epoch else None)

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> tuple[float, bool]:
        """Takes an epoch's metrics; gives its score and whether it is the best so far.

        Raises:  TrialDiverged: when a metric is not finite.
                 ValueError: when the objective is not among the metrics.
        """
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise TrialDiverged(f"{bad[0]} must be finite; got {metrics[bad[0]]} at epoch {epoch}")
        if self.selection == "loss" and LOSS not in metrics:
            raise ValueError(f"selection must be metric for trials that report no {LOSS}; got loss (--set selection=)")
        if self.objective.metric not in metrics:
            raise ValueError(
                f"--metric must be one that the trials report ({', '.join(sorted(metrics))}); got {self.objective.metric!r}"
            )
        value = metrics[self.objective.metric]
        self.recent = [*self.recent, value][-SCORE_WINDOW:]
        score = math.fsum(self.recent) / len(self.recent)
        if self.only is not None:
            better = epoch == self.only
        elif self.selection == "loss":
            better = metrics[LOSS] < self.loss
        else:
            sign = self.objective.sign
            better = self.epoch == 0 or rank_key(epoch, score, sign) > rank_key(self.epoch, self.score, sign)
        if better:
            self.epoch, self.value, self.score = epoch, value, score
            self.loss = metrics.get(LOSS, math.inf)
        return score, better

    def out_of_patience(self, epoch: int) -> bool:
        """Whether the trial has waited too long for a better epoch."""
        return self.only is None and epoch - self.epoch >= self.patience

    def state(self) -> dict[str, Any]:
        """What `restore` takes, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name in _STATE}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state."""
        for name in _STATE:
            setattr(self, name, state[name])


_STATE = ("epoch", "value", "score", "loss", "recent")
