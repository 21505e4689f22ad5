"""Which epoch of a trial is its best, and when to stop waiting for a better one."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from spaces.errors import RequestError
from spaces.fields import number
from trainables.contract import SCORE_WINDOW, Objective, TrialRequest
from trainables.errors import TrialDiverged

Selection = Literal["metric", "loss"]
LOSS = "valid/loss"


def rank_key(window: int, score: float, sign: int) -> tuple[int, float]:
    """Orders scores: a mean over fewer validations never beats one over more, up to three.

    Args:    window: validations that the score is the mean of, 0 for one from before the objective was trained.
             score: trailing mean.
             sign: 1 when more is better, else -1.
    """
    return window, sign * score


def window_of(epoch: Mapping[str, Any]) -> int:
    """Validations that a reported epoch's score is the mean of."""
    return int(epoch.get("window", min(epoch["epoch"], SCORE_WINDOW)))


@dataclass
class BestEpoch:
    """Follows a trial's validations.

    Args:    objective: what trials are ranked by.
             selection: "metric": the best epoch has the best trailing mean of the objective, and of the epochs in that mean the
                 one of the best value is kept, which is therefore no worse than the mean; "loss": the lowest validation loss
                 (the paper's rule).
             patience: epochs without a better one before the trial ends.
             only: the one epoch that can be the best, None for any.
             delay: epochs at the beginning in which the objective is not trained: the first after them is the first that counts.
    """

    objective: Objective
    selection: Selection
    patience: int
    only: int | None = None
    delay: int = 0
    epoch: int = 0
    kept: int = 0
    value: float = math.nan
    score: float = math.nan
    loss: float = math.inf
    best_window: int = 0
    window: int = 0
    recent: list[float] = field(default_factory=list)

    @staticmethod
    def of(request: TrialRequest) -> "BestEpoch":
        """As the fields `selection` and `patience` of a request's configuration say."""
        selection: Selection = "loss" if request.config["selection"] == "loss" else "metric"
        patience = int(number(request.config, "patience"))
        only = request.max_epochs if request.only_last_epoch else None
        return BestEpoch(request.objective, selection, patience, only, request.delay)

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> tuple[float, bool]:
        """Takes an epoch's metrics; gives its score and whether it is the best so far.

        Raises:  TrialDiverged: when a metric is not finite.
                 RequestError: when the objective is not among the metrics.
        """
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise TrialDiverged(f"{bad[0]} must be finite; got {metrics[bad[0]]} at epoch {epoch}")
        if self.selection == "loss" and LOSS not in metrics:
            raise RequestError(f"selection must be metric for trials that report no {LOSS}; got loss (--set selection=)")
        if self.objective.metric not in metrics:
            raise RequestError(
                f"--metric must be one that the trials report ({', '.join(sorted(metrics))}); got {self.objective.metric!r}"
            )
        if epoch == self.delay + 1:
            self.recent = []
        value = metrics[self.objective.metric]
        self.recent = [*self.recent, value][-SCORE_WINDOW:]
        score = math.fsum(self.recent) / len(self.recent)
        self.window = len(self.recent) if epoch > self.delay else 0
        begins = self.epoch == 0 or (self.window > 0 and self.best_window == 0)
        if self.only is not None:
            better = epoch == self.only
        elif self.selection == "loss":
            better = begins or metrics[LOSS] < self.loss
        else:
            sign = self.objective.sign
            better = begins or rank_key(self.window, score, sign) > rank_key(self.best_window, self.score, sign)
        if better:
            self.epoch, self.score, self.best_window = epoch, score, self.window
            self.kept, self.value = self._highest(epoch)
            self.loss = metrics.get(LOSS, math.inf)
        return score, better

    def _highest(self, epoch: int) -> tuple[int, float]:
        """The epoch that is kept when this one is the best, and its value; of equals the last."""
        if not self._by_mean:
            return epoch, self.recent[-1]
        last = len(self.recent) - 1
        index = max(range(last + 1), key=lambda i: (self.objective.sign * self.recent[i], i))
        return epoch - last + index, self.recent[index]

    def candidates(self, epoch: int) -> list[int]:
        """The epochs up to the last observed that may yet be kept: those that no later one equals or beats."""
        if not self._by_mean:
            return []
        last = [self.objective.sign * value for value in self.recent[1 - SCORE_WINDOW :]]
        first = epoch - len(last) + 1
        return [first + i for i, value in enumerate(last) if all(later < value for later in last[i + 1 :])]

    @property
    def _by_mean(self) -> bool:
        return self.selection == "metric" and self.only is None

    def out_of_patience(self, epoch: int) -> bool:
        """Whether the trial has waited too long for a better epoch."""
        return self.only is None and epoch > self.delay and epoch - self.epoch >= self.patience

    def state(self) -> dict[str, Any]:
        """What `restore` takes, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name in _STATE}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state."""
        for name in _STATE:
            setattr(self, name, state[name])


_STATE = ("epoch", "kept", "value", "score", "loss", "best_window", "window", "recent")
