"""What Esteve-Cogollos & Fernández-Torres 2020 report, and what they quote of others."""

from collections.abc import Mapping

from trainables.paper import Paper

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


PAPER = Paper(
    title="Esteve-Cogollos & Fernández-Torres 2020",
    data_format="isic2017",
    splits={"train": 2000, "valid": 150, "test": 600},
    test_melanomas=117,
    headline={"melanoma/auroc": "melanoma: AUC", "structures/map": "masks: mAP"},
    values=values,
)
