"""The trial contract: what a search asks of anything that it tries."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from spaces.fields import Value
from trainables.errors import TrialDiverged

Mode = Literal["max", "min"]
SCORE_WINDOW = 3
#: Metrics of what a diagnosis costs; see `trainables.costs`.
COSTS = NUM_PARAMETERS, LATENCY_MS = "model/num_parameters", "model/latency_ms"
#: What CUDA itself takes on a GPU for each process, beyond what torch reserves.
GPU_CONTEXT_MIB = 600.0


@dataclass(frozen=True)
class Objective:
    """A metric and whether more of it is better.

    Args:    metric: as in a report, `valid/auroc_mean`.
             mode: "max" or "min".
    """

    metric: str
    mode: Mode

    @property
    def sign(self) -> int:
        """1 when more is better, else -1."""
        return 1 if self.mode == "max" else -1


@dataclass(frozen=True)
class TrialRequest:
    """All that a trial is built from; the same request gives the same trial in any process.

    Args:    task: a key of `TASKS`.
             config: every hyperparameter of the task's space, None where inactive.
             source: `FORMAT:LOCATION`, None for a task without data.
             seed: of the initial weights, the batches, the augmentation and the dropout.
             objective: what decides the best epoch.
             max_epochs: where a trial ends by itself.
             device: a torch device, "auto" for CUDA where there is one.
             num_threads: of the CPU; it decides the order of sums, and with it a result's last bits.
             only_last_epoch: whether the last epoch is the best one whatever it scores: nothing is chosen.
             fingerprint: of the data that the driver has, "" to take what is there.
             gpu_share: of a GPU's memory that it may take, 0 for no limit.
             batch_parts: in which each training batch passes, to take less memory: the same arithmetic, rounded otherwise.
             delay: epochs at the beginning in which the objective is not trained; none of them can be the best while one after
                 them is there, and no mean reaches back into them.
    """

    task: str
    config: Mapping[str, Value]
    source: str | None
    seed: int
    objective: Objective
    max_epochs: int
    device: str = "auto"
    num_threads: int = 1
    only_last_epoch: bool = False
    fingerprint: str = ""
    gpu_share: float = 0.0
    batch_parts: int = 1
    delay: int = 0

    def to_json(self) -> dict[str, Any]:
        """The request as JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "TrialRequest":
        """A request from what `to_json` gave."""
        return TrialRequest(**{**document, "objective": Objective(**document["objective"])})


def parts_note(batch_parts: int) -> list[str]:
    """What is said of a trial whose batches pass in parts."""
    return [f"every batch passes in {batch_parts} parts, for want of memory"] if batch_parts > 1 else []


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave.

    Args:    epoch: 1 for the first.
             metrics: name → value, all finite.
             score: trailing mean of the objective over up to three validations; what trials are ranked by.
             seconds: wall time of the epoch, validation included.
             is_best: whether its score is the trial's best so far.
             ended: why the trial is over after it ("max_epochs", "patience"), None when it goes on.
             costs: what a diagnosis costs with this model (`trainables.costs`); measured, so never the same twice.
             window: validations that the score is the mean of; 0 while the objective is not trained yet.
             kept: epoch whose model the trial keeps now: of the validations in the best score the one of the best value.
    """

    epoch: int
    metrics: Mapping[str, float]
    score: float
    seconds: float
    is_best: bool
    ended: str | None
    costs: Mapping[str, float] = field(default_factory=dict)
    window: int = SCORE_WINDOW
    kept: int = 0


@dataclass(frozen=True)
class Rehearsal:
    """How long epochs take, measured on as little of one as tells.

    Args:    epoch_s: an epoch once everything is warm, validation included.
             cold_s: what the first epoch of a process takes beyond that.
    """

    epoch_s: float
    cold_s: float = 0.0


@dataclass(frozen=True)
class Prepared:
    """What is known of the data before the first trial.

    Args:    fingerprint: of labels, splits, groups and image contents; "" where a task has no data.
             metrics: full names of what a trial will report.
             num_train, num_valid, num_test: cases.
             num_labels: classes of all tasks together.
             notes: what the user should know of the data, a line each.
             primary: the task that is the diagnosis, as metrics' names have it; "" where there is none.
    """

    fingerprint: str
    metrics: tuple[str, ...]
    num_train: int = 0
    num_valid: int = 0
    num_test: int = 0
    num_labels: int = 0
    notes: tuple[str, ...] = ()
    primary: str = ""

    @property
    def num_cases(self) -> dict[str, int]:
        """Split → cases; empty where a task has no data."""
        found = {"train": self.num_train, "valid": self.num_valid, "test": self.num_test}
        return found if any(found.values()) else {}


@runtime_checkable
class Predictor(Protocol):
    """A checkpoint's model, ready to say what it sees in images."""

    @property
    def explanation(self) -> Mapping[str, Any]:
        """What the model shows of itself without an image, as JSON values; empty where there is nothing."""

    def predict(self, images: Sequence[Path | bytes]) -> list[dict[str, Any]]:
        """Labels, probabilities and what explains them, one JSON object an image.

        Args:    images: files, or what is in them.
        Raises:  DataError: when an image does not decode.
        """


@runtime_checkable
class Trial(Protocol):
    """A trial that can be stepped, saved, loaded and continued bit for bit on the CPU."""

    @property
    def epoch(self) -> int:
        """Epochs done."""

    @property
    def notes(self) -> Sequence[str]:
        """What this trial does otherwise than its paper or than one would expect, a line each."""

    def rehearse(self) -> Rehearsal:
        """How long epochs would take, from as little of one as tells; the trial is of no use afterwards."""

    def step(self) -> EpochReport:
        """Runs one epoch and validates.

        Raises:  TrialDiverged: when a loss or metric is not finite.
        """

    def save(self, folder: Path, *, with_best: bool = True) -> None:
        """Writes all that continuing needs, atomically, into a folder that does not exist yet.

        Args:    folder: of the state.
                 with_best: whether the best model is written along. Without, `save_best` must have saved it, and a trial that
                     goes on from the state has one to save only after a better epoch.
        """

    def load(self, folder: Path) -> None:
        """Takes over what `save` wrote; the next `step` is the one that would have followed.

        Raises:  CheckpointError: when the folder is damaged.
        """

    def save_best(self, folder: Path) -> None:
        """Writes the model of the epoch that is kept, atomically, into a folder that does not exist yet."""


def step_or_diverged(trial: Trial) -> EpochReport | TrialDiverged:
    """A trial's next epoch, or why there is none."""
    try:
        return trial.step()
    except TrialDiverged as error:
        return error
