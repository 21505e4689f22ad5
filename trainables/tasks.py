"""The table of tasks: a space, its presets, and the module that trains it. Modules are imported when they are used."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from spaces import attentive, bowl, gated
from spaces.errors import RequestError
from spaces.fields import Value, fields_of
from spaces.presets import Preset
from trainables.attentive.paper import PAPER as ATTENTIVE_PAPER
from trainables.contract import EpochReport, Objective, Predictor, Prepared, Trial, TrialRequest
from trainables.data.images import Progress
from trainables.errors import TrialDiverged
from trainables.evaluation import CasePredictions, Casewise, Evaluation
from trainables.explanation import Explanation
from trainables.gated.paper import PAPER as GATED_PAPER
from trainables.paper import Paper


@runtime_checkable
class TaskModule(Protocol):
    """What a task's module in `trainables/` offers."""

    def prepare(self, config: Mapping[str, Value], source: str | None, progress: Progress | None = None) -> Prepared:
        """Reads and checks the data."""

    def build(self, request: TrialRequest) -> Trial:
        """A trial at epoch 0."""

    def load_model(self, folder: Path) -> Any:
        """A checkpoint's model, ready to predict."""

    def evaluate(self, folder: Path, source: str, split: str) -> Evaluation:
        """A checkpoint's metrics on a split."""

    def predict_cases(self, folder: Path, source: str, split: str) -> tuple[CasePredictions, ...]:
        """What a checkpoint says of every case of a split, a task each."""

    def casewise(self, folder: Path, source: str, split: str) -> Casewise:
        """What a checkpoint says of every case of a split, ready to be measured on any of them."""

    def predictor(self, folder: Path) -> Predictor:
        """A checkpoint that says what it sees in single images."""

    def explain(self, folder: Path, source: str, split: str, num_cases: int) -> Explanation:
        """What a checkpoint's pictures are drawn from."""

    def explain_model(self, folder: Path) -> Explanation:
        """What a checkpoint shows of itself, whatever the case."""

    def explain_images(self, folder: Path, images: Sequence[Path]) -> Explanation:
        """The same of images of which nothing is known."""


@runtime_checkable
class FusedModule(Protocol):
    """What trains several trials of a task as one program."""

    def fusion_key(self, trial: Any) -> Hashable:
        """What trials must have in common to be stepped together."""

    def step_together(self, trials: Sequence[Any]) -> list[EpochReport | TrialDiverged]:
        """What each trial's own `step` gives, to rounding."""


@dataclass(frozen=True)
class Task:
    """One line of `TASKS`.

    Args:    space: the dataclass of its hyperparameters.
             presets: "demo" and "paper".
             formats: data formats that fit, none for a task without data.
             synthetic: the format in which data are made when none are given, None for a task without data.
             objective: what a search optimises unless told otherwise.
             explanation: what its explanations are judged by beside that, None where it explains nothing.
             moving: metrics that move with hyperparameters → fields that must be fixed for them to be an objective.
             module: where it is trained; imported on use, so that listing a search needs no torch.
             paper: whose experiments can be trained again.
             experiments: the paper's name → the fields that make it, none for a task without a paper.
             paper_rules: fields as the paper has them for all of those, whatever a preset says.
             fused: module that steps several of its trials as one program; "" where that does not pay.
             whole_batches: field → values with which a case's result hangs on its whole batch, so that none passes in parts.
    """

    space: type
    presets: Mapping[str, Preset]
    formats: tuple[str, ...]
    synthetic: str | None
    objective: Objective
    module: str
    paper: Paper | None = None
    experiments: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    paper_rules: Mapping[str, Value] = field(default_factory=dict)
    explanation: Objective | None = None
    moving: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fused: str = ""
    whole_batches: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def splits_batches(self, config: Mapping[str, Value]) -> bool:
        """Whether a configuration's batches can pass in parts, to take less memory.

        Args:    config: every hyperparameter.
        """
        return not any(config.get(name) in values for name, values in self.whole_batches.items())

    @property
    def shapes(self) -> tuple[str, ...]:
        """Fields that trials of one program have in common."""
        return tuple(name for name, found in fields_of(self.space).items() if found.shapes)

    @property
    def paper_values(self) -> dict[str, Value]:
        """Every field as the paper has it, the rules by which it chooses an epoch among them."""
        return {**{name: found.default for name, found in fields_of(self.space).items()}, **self.paper_rules}

    def load_fused(self) -> FusedModule:
        """The module that steps several trials as one program.

        Raises:  RequestError: when there is none.
        """
        if not self.fused:
            raise RequestError(f"trials as one program must be of a task that has them; got {self.module} (--fuse-trials off)")
        return cast(FusedModule, import_module(self.fused))

    def load(self) -> TaskModule:
        """The task's module."""
        return cast(TaskModule, import_module(self.module))


#: What Eq. 14 is weighted by.
_ATTENTIVE_LOSS = ("diagnosis_weight", "segmentation_share", "focal_theta", "balancing", "melanoma_weight")

TASKS: dict[str, Task] = {
    "gated": Task(
        space=gated.GatedSpace,
        presets=gated.PRESETS,
        formats=("derm7pt", "table"),
        synthetic="derm7pt",
        objective=Objective("valid/auroc_mean", "max"),
        explanation=Objective("valid/gates/contribution", "max"),
        module="trainables.gated.task",
        fused="trainables.gated.fused",
        paper=GATED_PAPER,
        experiments=gated.EXPERIMENTS,
        paper_rules=gated.PAPER_RULES,
        moving={
            "valid/loss": ("focal_beta", "primary_task_weight"),
            "train/loss": ("focal_beta", "primary_task_weight", "label_weights", "sampling", "gates_l1"),
            # They are absent where the gates are off or open, and a steep sigmoid decides whatever it is fed.
            "model/gate_decisiveness": ("gates", "gamma_g", "gate_learning_rate"),
            "model/gate_sharing": ("gates",),
            "valid/gates/contribution": ("gates",),
        },
    ),
    "attentive": Task(
        space=attentive.AttentiveSpace,
        presets=attentive.PRESETS,
        formats=("isic2017",),
        synthetic="isic2017",
        objective=Objective("valid/melanoma/auroc", "max"),
        explanation=Objective("valid/gazes/structure_agreement", "max"),
        module="trainables.attentive.task",
        whole_batches={"batch_norm": ("trained", "frozen")},
        paper=ATTENTIVE_PAPER,
        experiments=attentive.EXPERIMENTS,
        paper_rules=attentive.PAPER_RULES,
        moving={
            "valid/loss": _ATTENTIVE_LOSS,
            "train/loss": (*_ATTENTIVE_LOSS, "melanoma_repeats", "structure_sampling"),
            # They are absent where nothing is looked at, or said of it.
            "valid/gazes/structure_agreement": ("attention", "decoder"),
            **dict.fromkeys(
                (f"valid/gazes/{name}" for name in ("pointing_accuracy", "attention_entropy", "repeated")), ("attention",)
            ),
        },
    ),
    "bowl": Task(
        space=bowl.BowlSpace,
        presets=bowl.PRESETS,
        formats=(),
        synthetic=None,
        objective=Objective("valid/height", "min"),
        module="trainables.bowl",
        fused="trainables.bowl",
    ),
}
