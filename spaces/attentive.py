"""Hyperparameters of the attentive network. Defaults are those of VGG_AttentiveConvLSTM_Deco_GAP_3, the paper's third variant.

Esteve-Cogollos & Fernández-Torres 2020.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spaces.case_limit import CaseLimit
from spaces.fields import Value, choice, flag, integer, path, real
from spaces.presets import Preset

_DECODER = {"decoder": (True,)}
_ATTENTION = {"attention": (True,)}
_ATTRIBUTES = ("pigment_network", "negative_network", "milia_like_cyst", "streaks")


@dataclass(frozen=True)
class AttentiveSpace:
    """What a search of the attentive network may vary, and what it holds fixed unless told otherwise."""

    attention: bool = flag(
        True, searched=False, source="Table 3", doc="whether there is an attentive ConvLSTM; without it this is VGG-16"
    )
    decoder: bool = flag(
        True, searched=False, when=_ATTENTION, source="Table 3", doc="whether gazes are drawn as masks and named as structures"
    )
    head: str = choice(
        "gap",
        ("gap", "fully_connected"),
        searched=False,
        source="Table 3",
        doc="diagnosis from global average pooling, or through VGG's three dense layers",
    )
    timesteps: int = integer(5, 2, 8, when=_ATTENTION, unit="gazes", source="Section 3.1.1, T", doc="how often the network looks")
    attention_scale: str = choice(
        "sum",
        ("sum", "mean"),
        when=_ATTENTION,
        source="Eq. 2 has sum",
        doc="attention maps sum to 1, or average to 1, which keeps the attended activations as large as the features",
    )
    diagnosis_input: str = choice(
        "attended",
        ("attended", "features"),
        when=_ATTENTION,
        source="Section 3.1.3; Deco_GAP_17 has features",
        doc="what blocks 4 and 5 see: the last attended map, or the encoder's features X′",
    )
    pooled_width: int = choice(
        0,
        (0, 64, 256),
        when={"attention": (True,), "head": ("gap",)},
        unit="units",
        source="Section 4.2, Deco_GAP_17; its size is not given",
        doc="dense layer that shrinks the pooled gazes before the diagnosis; 0 for none",
    )
    skips: bool = flag(True, when=_DECODER, source="Section 4.1", doc="average the decoder's maps with the encoder's")
    batch_norm: str = choice(
        "frozen",
        ("trained", "frozen", "frozen_statistics", "none"),
        # Fresh norms whose statistics are frozen stay the identity: one network by two names.
        without={"frozen_statistics": {"encoder_weights": ("none",)}},
        source="Section 4.1; the authors' frozen layers normalise by the batch",
        doc="batch norm in encoder, decoder and diagnosis: trained, scale and shift frozen, statistics frozen too, or none",
    )
    structure_pooling: str = choice(
        "average",
        ("average", "maximum"),
        when=_DECODER,
        source="Section 3.1.2; the authors' code has maximum",
        doc="how the structure classifier pools the decoder's maps",
    )
    balancing: str = choice(
        "minibatch",
        ("presence", "inverse_presence", "minibatch", "none", "effective_number"),
        when=_DECODER,
        source="Eq. 15 (w), Eq. 16 (w′), Section 3.2; effective_number is Cui et al. 2019",
        doc="weights of the structures' losses: w, w′, equal for those in the batch, plain mean, or class-balanced with b = .999",
    )
    structure_sampling: str = choice(
        "uniform",
        ("uniform", "rare_structures"),
        when=_DECODER,
        source="Section 5, future work; Gupta et al. 2019, repeat factors",
        doc="whether cases with rare structures are drawn more often",
    )
    diagnosis_weight: float = real(
        0.25, 0.05, 0.95, when=_DECODER, source="Eq. 14, α", doc="weight of the diagnosis loss; the structures get the rest (β)"
    )
    segmentation_share: float = real(
        0.75,
        0.1,
        0.9,
        when=_DECODER,
        source="Eq. 14, γ",
        doc="share of the masks in that loss; classes get the rest (μ)",
    )
    focal_theta: float = real(2.0, 0.0, 5.0, source="Eq. 12, θ", doc="how much the focal loss favours hard cases; 0 is plain")
    melanoma_repeats: int = integer(
        1, 1, 8, unit="times", source="-", doc="how often each melanoma stands in an epoch; others stand there once"
    )
    melanoma_weight: float = real(
        1.0, 0.25, 8.0, log=True, source="Eq. 12 has 1", doc="weight of a melanoma in the diagnosis loss, beside 1 for others"
    )
    encoder: str = choice(
        "frozen", ("frozen", "trained"), source="Section 4.1 has learning rate 0", doc="whether blocks 1 to 3 are trained"
    )
    encoder_learning_rate: float = real(
        1e-5, 1e-6, 3e-3, log=True, when={"encoder": ("trained",)}, unit="1/step", source="-", doc="Adam's rate for blocks 1 to 3"
    )
    attention_learning_rate: float = real(
        1e-2, 1e-4, 3e-2, log=True, when=_ATTENTION, unit="1/step", source="Section 4.1", doc="Adam's rate for the ConvLSTM"
    )
    branch_learning_rate: float = real(
        1e-4, 3e-5, 1e-2, log=True, unit="1/step", source="Section 4.1", doc="Adam's rate for decoder and diagnosis branch"
    )
    weight_decay: float = real(1e-6, 1e-8, 1e-3, log=True, source="Section 4.1", doc="Adam's L2 term")
    adam_beta1: float = real(0.92, 0.8, 0.99, source="Section 4.1, β1", doc="decay of Adam's mean gradient")
    adam_beta2: float = real(0.96, 0.9, 0.9999, source="Section 4.1, β2", doc="decay of Adam's mean squared gradient")
    batch_size: int = integer(
        8,
        4,
        32,
        log=True,
        cases=CaseLimit(0.25),
        unit="cases",
        source="Section 4.1",
        doc="cases in a batch; searched up to a quarter of the training cases",
    )
    decoder_first_epochs: int = choice(
        0,
        (0, 1, 2, 4),
        when=_DECODER,
        unit="epochs",
        source="Section 5, future work",
        doc="epochs in which only masks and structures are trained, before the diagnosis joins",
        delays=("melanoma/", "loss"),
    )
    generic_first_epochs: int = choice(
        0,
        (0, 1, 2, 4),
        when=_DECODER,
        unit="epochs",
        source="Section 5, future work",
        doc="epochs in which only lesion and skin are learnt, before the attributes join",
        delays=("structures/", "attributes/", "loss", *(f"{name}/" for name in _ATTRIBUTES)),
    )
    augmentation: str = choice(
        "rotations",
        ("rotations", "quarter_turns", "none"),
        source="Section 4.1",
        doc="flips with rotations by any angle, with quarter turns, or neither",
    )
    crop: str = choice(
        "centre",
        ("centre", "random"),
        source="Section 4.1",
        doc="which square of a training image the network sees; in evaluation it is the centre",
    )
    resize: str = choice(
        "stretch",
        ("stretch", "keep_aspect"),
        searched=False,
        source="Section 4.1",
        doc="images become square by stretching, or by their shorter side and cutting off the ends of the longer one",
    )
    input_normalisation: str = choice(
        "training_set",
        ("training_set", "imagenet"),
        searched=False,
        source="Section 4.1",
        doc="whose mean and deviation standardise the images; pretrained weights may want imagenet",
    )
    encoder_weights: str = path(
        "imagenet",
        ("none", "imagenet"),
        source="Section 4.1",
        doc="VGG-16's weights: none, torchvision's (downloaded once), or a file with a state dict",
    )
    width: float = choice(
        1.0,
        (0.125, 0.25, 0.5, 1.0),
        searched=False,
        source="-",
        doc="factor on all channels but those of a pretrained encoder",
    )
    crop_from_px: int = integer(
        256,
        32,
        2048,
        searched=False,
        follows="size_px",
        unit="px",
        source="Section 4.1",
        doc="side to which images are resized before a square of size_px is cut out; unless set, 8/7 of size_px",
    )
    size_px: int = integer(
        224,
        32,
        2048,
        searched=False,
        follows="crop_from_px",
        multiple_of=8,
        unit="px",
        source="Section 4.1",
        doc="side of the square that the network sees; unless set, 7/8 of crop_from_px",
    )
    patience: int = integer(
        20, 1, 10000, searched=False, unit="epochs", source="-", doc="epochs without a better one before a trial ends"
    )
    selection: str = choice(
        "metric",
        ("metric", "loss"),
        searched=False,
        source="the paper's is loss",
        doc="what decides the best epoch: the search's metric (trailing mean of three) or the validation loss",
    )


#: The paper's name of a variant (Tables 3 to 5) → the fields that make it.
VARIANTS: Mapping[str, Mapping[str, Value]] = {
    "VGG": {"attention": False, "head": "fully_connected"},
    "VGG_GAP": {"attention": False, "head": "gap"},
    "VGG_AttentiveConvLSTM": {"decoder": False, "head": "fully_connected"},
    "VGG_AttentiveConvLSTM_GAP": {"decoder": False, "head": "gap"},
    "VGG_AttentiveConvLSTM_Deco_GAP_3": {"skips": True, "batch_norm": "frozen", "balancing": "minibatch"},
    "VGG_AttentiveConvLSTM_Deco_GAP_5": {"skips": False, "batch_norm": "trained", "balancing": "inverse_presence"},
    "VGG_AttentiveConvLSTM_Deco_GAP_17": {
        "skips": False,
        "batch_norm": "trained",
        "balancing": "presence",
        "diagnosis_input": "features",
        "pooled_width": 256,
    },
}

#: Section 4.1: whether the decoder sees the encoder's maps, and what becomes of batch normalisation.
SKIPS_AND_NORMS: Mapping[str, Mapping[str, Value]] = {
    "skip + batch norm": {"skips": True, "batch_norm": "trained"},
    "skip + frozen batch norm": {"skips": True, "batch_norm": "frozen"},
    "no skip, no batch norm": {"skips": False, "batch_norm": "none"},
    "no skip + batch norm": {"skips": False, "batch_norm": "trained"},
}
#: Section 3.2: how the structures' losses are balanced.
BALANCINGS: Mapping[str, Mapping[str, Value]] = {
    "w": {"balancing": "presence"},
    "w′": {"balancing": "inverse_presence"},
    "mini-batch": {"balancing": "minibatch"},
}


def grid_name(setup: str, balancing: str) -> str:
    """The experiment of a key of `SKIPS_AND_NORMS` and one of `BALANCINGS`: the variant that it is, or one named after both."""
    fields = {**SKIPS_AND_NORMS[setup], **BALANCINGS[balancing]}
    return next((name for name, variant in VARIANTS.items() if variant == fields), f"{setup}, {balancing}")


#: Every experiment of Tables 3 to 5 by name → the fields that make it: the variants, and setups × balancings.
EXPERIMENTS: Mapping[str, Mapping[str, Value]] = {
    **VARIANTS,
    **{
        grid_name(setup, balancing): {**SKIPS_AND_NORMS[setup], **BALANCINGS[balancing]}
        for setup in SKIPS_AND_NORMS
        for balancing in BALANCINGS
    },
}
#: How the paper trains each of them, whatever a preset says.
PAPER_RULES: Mapping[str, Value] = {"selection": "loss"}

PRESETS = {
    "demo": Preset(
        fixed={"crop_from_px": 72, "size_px": 64, "width": 0.125, "encoder_weights": "none"},
        num_trials=12,
        max_epochs=12,
        synthetic_cases=400,
        synthetic_size_px=96,
        reproduced_seeds=3,
        reproduced_epochs=10,
    ),
    "paper": Preset(fixed={}, num_trials=40, max_epochs=20, synthetic_cases=2750, synthetic_size_px=256, reproduced_epochs=20),
}
