"""What to train: the one thing that a controller hands out."""

from collections.abc import Mapping
from dataclasses import dataclass

from search.records.events import Suggested
from spaces.fields import Value


@dataclass(frozen=True)
class Suggestion:
    """What to train now.

    Args:    trial: its id, the same in the ledger, in Tune, in Optuna and in MLflow.
             config: every field of the space.
             seed: of its training.
             fold: of the cases, None for the data's own split.
             known_epoch: the last epoch heard of, 0 for a trial that begins; states that lie further on were never heard
                 of, and are not to be gone on from.
             epochs: it ends after so many, None for the plan's.
    """

    trial: str
    config: Mapping[str, Value]
    seed: int
    fold: int | None = None
    known_epoch: int = 0
    epochs: int | None = None

    def event(self) -> Suggested:
        """What the ledger holds of it."""
        return Suggested(trial=self.trial, config=dict(self.config), seed=self.seed, fold=self.fold, epochs=self.epochs)

    @staticmethod
    def of(event: Suggested) -> "Suggestion":
        """The suggestion that was written down."""
        return Suggestion(event.trial, event.config, event.seed, event.fold, epochs=event.epochs)
