"""What Esteve-Cogollos & Fernández-Torres 2020 report, and what they quote of others."""

from collections.abc import Mapping, Sequence

from spaces.attentive import BALANCINGS, SKIPS_AND_NORMS, grid_name
from trainables.paper import Paper
from trainables.reproduced import Outcome, PageParts, Reproduced

#: Variant → (AUC, average precision). Source: Esteve-Cogollos & Fernández-Torres 2020, Table 3, test split.
TABLE_3: Mapping[str, tuple[float, float]] = {
    "VGG": (0.8212, 0.5892),
    "VGG_GAP": (0.8661, 0.6579),
    "VGG_AttentiveConvLSTM": (0.8341, 0.5460),
    "VGG_AttentiveConvLSTM_GAP": (0.8477, 0.6216),
    "VGG_AttentiveConvLSTM_Deco_GAP_3": (0.8291, 0.5648),
    "VGG_AttentiveConvLSTM_Deco_GAP_5": (0.8256, 0.5576),
    "VGG_AttentiveConvLSTM_Deco_GAP_17": (0.8473, 0.5947),
}
#: The best of others in Table 4 (AUC of the diagnosis) and Table 5 (AUC of the attributes).
OTHERS_DIAGNOSIS: Mapping[str, float] = {"ISIC 2017's best": 0.911, "DermaKNet": 0.896}
OTHERS_ATTRIBUTES: Mapping[str, float] = {"Kawahara and Hamarneh": 0.895, "LIN": 0.833}
STRUCTURES_OF = "VGG_AttentiveConvLSTM_Deco_GAP_3"
#: Metric → value of that variant. Source: Section 4.3 and Table 5.
STRUCTURES: Mapping[str, float] = {
    "structures/map": 0.037,
    "structures/class_accuracy": 0.2203,
    "structures/predicted_class_pixel_auroc": 0.452,
}


def values(experiment: str) -> dict[str, float]:
    """Tables 3 and 5 of an experiment; see `Paper.values`."""
    areas = dict(zip(("melanoma/auroc", "melanoma/average_precision"), TABLE_3.get(experiment, ()), strict=False))
    return {**areas, **(STRUCTURES if experiment == STRUCTURES_OF else {})}


_OF_MELANOMA = {"melanoma/auroc": "AUC of melanoma", "melanoma/average_precision": "average precision of melanoma"}
_OF_STRUCTURES = {
    "structures/map": "mAP at IoU .5, .6, .7, .8",
    "structures/class_accuracy": "class accuracy",
    "structures/predicted_class_pixel_auroc": "AUC of pixels (class as predicted)",
    "attributes/superpixel_auroc_mean": "attribute AUC (superpixels)",
}
_DEFINITIONS = (
    "Ours are by the paper's definitions. Beside its mAP stands `structures/map`, by the rule of its reference [42]: a structure"
    " counts when exactly one mask said to be it overlaps it above the threshold. Beside its class accuracy stands that of all"
    " masks, each paired with the structure that it overlaps most. Beside its attribute AUC stands"
    " `structures/predicted_class_pixel_auroc`: the pixels of every mask, of all six classes, against the truth of the class that"
    " was predicted for it. The others' AUC are taken for the challenge's own, over superpixels."
)
_OF_GAZES = {
    "gazes/structure_agreement": "point where they claim to, beyond chance",
    "gazes/pointing_accuracy": "point at the lesion, beyond chance",
    "gazes/repeated": "repeated",
    "gazes/attention_entropy": "entropy of attention",
}


def page(found: Reproduced, of: PageParts) -> str:
    """Tables 3 to 5 and Fig. 6, as Markdown; see `Paper.page`."""
    variants = [outcome for name in TABLE_3 if (outcome := found.outcome(name)) is not None]
    measured, parts = found.measured, list[str]()
    if variants:
        picture = of.beside_paper("diagnosis", variants, _OF_MELANOMA)
        rows = [(outcome.experiment, outcome.metrics) for outcome in variants]
        parts += ["## Table 3: the diagnosis", picture, of.compared("variant", rows, _OF_MELANOMA)]
        others = [(name, f"{area:.3f}") for name, area in OTHERS_DIAGNOSIS.items()]
        ours = [(o.experiment, o.text("melanoma/auroc")) for o in variants if "Deco" in o.experiment]
        parts += [
            "## Table 4: beside others",
            of.table(("model", "AUC"), [*others, *ours]),
            "The others' are as the paper quotes them.",
        ]
    parts += ["## Skips, batch normalisation and balancing", *_grid(found, of)]
    drawn = [outcome for outcome in measured if "structures/map" in outcome.metrics]
    if drawn:
        parts += [
            "## Table 5: structures",
            _structures(drawn, of),
            _DEFINITIONS,
        ]
        shown = found.outcome(STRUCTURES_OF) or drawn[0]
        if "structures" in shown.confusions:
            picture = of.confusion("structures", shown.confusions["structures"], shown.experiment)
            parts += ["## Figure 6: which structures are taken for which", picture]
    looking = [(o.experiment, o.metrics) for o in measured if any(name in o.metrics for name in _OF_GAZES)]
    if looking:
        parts += ["## Gazes", of.compared("share of gazes that", looking, _OF_GAZES)]
    return "\n\n".join(parts)


def _structures(drawn: Sequence[Outcome], of: PageParts) -> str:
    """Every experiment with masks, the paper's own row, and what the paper quotes of others."""
    rows = [(outcome.experiment, *(outcome.text(name) for name in _OF_STRUCTURES)) for outcome in drawn]
    papers = [f"{STRUCTURES[name]:.3f}" if name in STRUCTURES else "–" for name in _OF_STRUCTURES]
    others = [(f"{name} (as the paper quotes it)", "–", "–", "–", f"{area:.3f}") for name, area in OTHERS_ATTRIBUTES.items()]
    return of.table(("experiment", *_OF_STRUCTURES.values()), [*rows, (f"the paper: {STRUCTURES_OF}", *papers), *others])


def _grid(found: Reproduced, of: PageParts) -> list[str]:
    """A table a metric: setups by balancings, each cell the experiment's mean and interval."""
    parts = []
    for metric, heading in {"melanoma/auroc": "AUC of melanoma", "structures/map": "mAP"}.items():
        rows = []
        for setup in SKIPS_AND_NORMS:
            outcomes = [found.outcome(grid_name(setup, balancing)) for balancing in BALANCINGS]
            rows.append((setup, *("–" if o is None else o.text(metric) for o in outcomes)))
        if any(cell != "–" for row in rows for cell in row[1:]):
            parts.append(of.table((heading, *BALANCINGS), rows))
    return parts or ["None of these experiments was asked for."]


PAPER = Paper(
    title="Esteve-Cogollos & Fernández-Torres 2020",
    data_format="isic2017",
    splits={"train": 2000, "valid": 150, "test": 600},
    test_melanomas=117,
    headline={"melanoma/auroc": "melanoma: AUC", "structures/map": "masks: mAP"},
    values=values,
    page=page,
)
