"""Hyperparameters of the gated multi-task network. Defaults are the paper's (Coppola et al. 2020)."""

from collections.abc import Mapping
from dataclasses import dataclass

from spaces.case_limit import CaseLimit
from spaces.fields import Value, choice, flag, integer, real, text
from spaces.presets import Preset


@dataclass(frozen=True)
class GatedSpace:
    """What a search of the gated network may vary, and what it holds fixed unless told otherwise."""

    gates: str = choice(
        "learned",
        ("learned", "off", "open"),
        searched=False,
        source="Section 5; open: -",
        doc="learned; or, to compare, off: independent networks, one per task; open: every task takes all of every other's maps",
    )
    gamma_g: float = real(
        3.0, 0.3, 30.0, log=True, when={"gates": ("learned",)}, source="Eq. 7", doc="slope of the gates' sigmoid"
    )
    learning_rate: float = real(
        1e-3, 1e-4, 3e-2, log=True, unit="1/step", source="Section 5", doc="Adam's rate for kernels and biases"
    )
    gate_learning_rate: float = real(
        0.1,
        0.001,
        1.0,
        log=True,
        when={"gates": ("learned",)},
        searched=False,
        unit="1/step",
        source="Section 5 (100 × 1e-3)",
        doc="Adam's rate for the gates; under Adam only its product with gamma_g matters, so gamma_g alone is searched",
    )
    l2: float = real(1e-4, 1e-6, 1e-2, log=True, source="Eq. 10", doc="weight of ‖θ‖²/2 over the kernels")
    gates_l1: float = real(
        0.0,
        0.0,
        0.1,
        when={"gates": ("learned",)},
        searched=False,
        source="Section 5 has none",
        doc="weight of the sum of the other tasks' gates in the training loss; above 0 a gate must earn being open",
    )
    focal_beta: float = real(2.0, 0.0, 5.0, source="Eq. 9", doc="how much the focal loss favours hard cases; 0 is plain")
    primary_task_weight: float = real(
        1.0, 0.2, 5.0, log=True, source="Eq. 10 has 1", doc="loss weight of the primary task against each other task"
    )
    sampling: str = choice(
        "balanced",
        ("balanced", "uniform"),
        shapes=True,
        source="Section 4.2",
        doc="k cases of every label, or cases as they come",
    )
    k: int = integer(
        6,
        2,
        12,
        when={"sampling": ("balanced",)},
        shapes=True,
        cases=CaseLimit(1.0, per_label=True),
        unit="cases/label",
        source="Section 5",
        doc="draws per label; searched up to as many draws as there are training cases",
    )
    batch_size: int = integer(
        144,
        8,
        512,
        log=True,
        when={"sampling": ("uniform",)},
        shapes=True,
        cases=CaseLimit(0.25),
        unit="cases",
        source="24 k",
        doc="cases in a batch; searched up to a quarter of the training cases",
    )
    label_weights: str = choice(
        "batch",
        ("batch", "inverse_frequency", "effective_number", "none"),
        source="Eq. 8",
        doc="label weights from the batch, from the training set (one over frequency or over effective number), or none",
    )
    width: float = choice(
        1.0, (0.5, 1.0, 2.0), shapes=True, source="Section 5", doc="factor on all filters: half, standard, double"
    )
    batch_norm: bool = flag(True, source="Section 4.1", doc="normalise the concatenated maps")
    batch_norm_momentum: float = real(
        0.1,
        0.01,
        0.5,
        log=True,
        when={"batch_norm": (True,)},
        source="Section 5",
        doc="weight of the newest batch in the running statistics (TensorFlow's 0.90 is 0.10)",
    )
    dropout: float = real(0.3, 0.0, 0.6, source="Section 5", doc="rate before both dense layers")
    input_normalisation: str = choice(
        "none",
        ("none", "training_set"),
        source="Section 5: [0, 1]",
        doc="leave the images in [0, 1], or standardise them by the training set's mean and deviation",
    )
    augmentation: float = real(
        1.0, 0.0, 1.5, source="Section 5", doc="strength of rotation, shift, shear and zoom; 0 is none, flips included"
    )
    augmentation_sizes: str = choice(
        "published",
        ("published", "wide"),
        source="the authors' code",
        doc="at strength 1: shear of 0.1° and zoom of 10 %, or a shear of 10° and no zoom; both turn by 90° and shift by 10 %",
    )
    batches_per_epoch: int = integer(
        5,
        1,
        1000,
        searched=False,
        shapes=True,
        unit="batches",
        source="Section 5",
        doc="training iterations between validations",
    )
    patience: int = integer(
        50,
        1,
        10000,
        searched=False,
        unit="epochs",
        source="Section 5",
        doc="epochs without a better one before a trial ends",
    )
    selection: str = choice(
        "metric",
        ("metric", "loss"),
        searched=False,
        source="the paper's is loss",
        doc="what decides the best epoch: the search's metric (trailing mean of three) or the validation loss",
    )
    size_px: int = integer(
        256, 91, 2048, searched=False, shapes=True, unit="px", source="Section 5", doc="side of the square that the network sees"
    )
    primary_task: str = text("auto", shapes=True, source="-", doc="the task that is the diagnosis; auto: DIAG or `diagnosis`")
    binary: bool = flag(
        False,
        searched=False,
        shapes=True,
        source="Section 5, `binary`",
        doc="group the primary task into melanoma and the rest",
    )
    precision: str = choice(
        "float32",
        ("float32", "float64"),
        searched=False,
        shapes=True,
        source="-",
        doc="of weights and sums; float64 shows whether two ways of computing differ in more than rounding",
    )


#: The paper's name of an experiment (Table 2) → the fields that make it.
EXPERIMENTS: Mapping[str, Mapping[str, Value]] = {
    "standard": {},
    "half": {"width": 0.5},
    "double": {"width": 2.0},
    # On double's filters, so that independent networks have as many parameters (the authors' code).
    "gates-off": {"gates": "off", "width": 2.0},
    "binary": {"binary": True},
}
#: How the paper trains each of them, whatever a preset says.
PAPER_RULES: Mapping[str, Value] = {"selection": "loss", "patience": 50}

PRESETS = {
    "demo": Preset(
        fixed={"size_px": 96, "patience": 12},
        num_trials=12,
        max_epochs=18,
        synthetic_cases=600,
        synthetic_size_px=96,
        reproduced_epochs=75,
    ),
    "paper": Preset(fixed={}, num_trials=60, max_epochs=200, synthetic_cases=1011, synthetic_size_px=256, reproduced_epochs=1000),
}
