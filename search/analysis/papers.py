"""What both papers report, to stand beside one's own numbers, and how to tell whether the data are theirs."""

from collections.abc import Mapping

from trainables.data.source import is_synthetic

#: Task of Table 2, in its order; "mean" is over the seven criteria.
GATED_COLUMNS = ("DIAG", "PN", "BWV", "VS", "PIG", "STR", "DaG", "RS", "mean")
#: Experiment → metric → percent by column. Source: Coppola et al. 2020, Table 2, test split.
GATED_TABLE_2: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "standard": {
        "accuracy": (45.8, 55.4, 85.1, 63.5, 62.5, 49.1, 48.6, 65.1, 61.3),
        "recall": (45.5, 53.2, 76.5, 49.9, 53.8, 52.4, 50.6, 67.2, 57.7),
        "precision": (40.3, 53.9, 75.7, 44.0, 53.7, 46.0, 49.8, 63.5, 55.2),
    },
    "half": {
        "accuracy": (51.4, 50.6, 75.2, 60.5, 58.5, 41.5, 53.4, 60.0, 57.1),
        "recall": (47.8, 51.2, 77.5, 48.1, 51.5, 50.3, 54.3, 64.6, 56.8),
        "precision": (40.0, 52.6, 68.2, 42.3, 50.2, 44.0, 53.2, 61.5, 53.1),
    },
    "double": {
        "accuracy": (45.8, 53.7, 71.6, 45.1, 57.0, 54.4, 53.2, 66.1, 57.3),
        "recall": (41.0, 53.5, 79.4, 42.2, 52.5, 52.6, 53.7, 66.4, 57.2),
        "precision": (37.5, 53.4, 68.4, 38.1, 51.5, 48.3, 52.8, 63.1, 53.7),
    },
    "gates-off": {
        "accuracy": (44.3, 44.8, 77.2, 47.8, 43.3, 42.8, 47.3, 56.7, 51.4),
        "recall": (38.5, 47.7, 79.8, 47.5, 46.5, 53.9, 49.0, 65.0, 55.6),
        "precision": (35.3, 49.8, 70.0, 42.0, 42.9, 46.4, 48.3, 62.4, 51.7),
    },
    "binary": {
        "accuracy": (77.2, 58.0, 79.5, 58.2, 62.0, 57.2, 54.4, 60.0, 61.3),
        "recall": (71.0, 56.4, 78.2, 51.9, 47.9, 52.6, 55.7, 65.8, 58.3),
        "precision": (70.3, 56.3, 70.5, 44.3, 52.3, 48.3, 55.2, 62.5, 55.6),
    },
}
#: Experiment → rule → [[TN, FP], [FN, TP]]. Source: Coppola et al. 2020, Table 3, whose τ = 3 is in no text of the paper.
GATED_TABLE_3: Mapping[str, Mapping[str, list[list[int]]]] = {
    "annotated": {"1": [[121, 173], [1, 100]]},
    "standard": {"1": [[108, 186], [11, 90]], "direct": [[281, 13], [76, 25]]},
    "binary": {"1": [[78, 216], [8, 93]], "direct": [[246, 48], [42, 59]]},
}
#: Variant → (AUC, average precision). Source: Esteve-Cogollos & Fernández-Torres 2020, Table 3, test split.
ATTENTIVE_TABLE_3: Mapping[str, tuple[float, float]] = {
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
ATTENTIVE_STRUCTURES: Mapping[str, float] = {
    "structures/map": 0.037,
    "structures/class_accuracy": 0.2203,
    "structures/predicted_class_pixel_auroc": 0.452,
}
#: Task → split → cases of the paper's data.
_SPLITS: Mapping[str, Mapping[str, int]] = {
    "gated": {"train": 413, "valid": 203, "test": 395},
    "attentive": {"train": 2000, "valid": 150, "test": 600},
}
#: What else tells the paper's data: their format, and melanomas of the test split.
_FORMATS = {"gated": "derm7pt", "attentive": "isic2017"}
_TEST_MELANOMAS = {"gated": 101, "attentive": 117}


def paper_values(task: str, experiment: str) -> dict[str, float]:
    """What a paper reports of an experiment on its test split: metric, named without the split → value; shares, not percent."""
    if task == "gated":
        table = GATED_TABLE_2.get(experiment, {})
        found = {
            f"{'criteria' if column == 'mean' else column}/{metric}": percent / 100
            for metric, row in table.items()
            for column, percent in zip(GATED_COLUMNS, row, strict=True)
        }
        for rule, ((true_negative, false_positive), (false_negative, true_positive)) in GATED_TABLE_3.get(experiment, {}).items():
            found[f"seven_point/sensitivity_{rule}"] = true_positive / (true_positive + false_negative)
            found[f"seven_point/specificity_{rule}"] = true_negative / (true_negative + false_positive)
        return found
    areas = dict(zip(("melanoma/auroc", "melanoma/average_precision"), ATTENTIVE_TABLE_3.get(experiment, ()), strict=False))
    return {**areas, **(ATTENTIVE_STRUCTURES if experiment == STRUCTURES_OF else {})}


def other_data(task: str, source: str | None, counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str | None:
    """Why these data are not the paper's; None where nothing tells them apart.

    Args:    task: "gated" or "attentive".
             source: `FORMAT:PATH`.
             counts: split → task → label → cases.
    """
    if source is None or is_synthetic(source):
        return "these are synthetic images, drawn by dermtune"
    sizes = {split: max((sum(labels.values()) for labels in tasks.values()), default=0) for split, tasks in counts.items()}
    wanted = _SPLITS[task]
    if not source.startswith(f"{_FORMATS[task]}:") or sizes != dict(wanted):
        have = f"{source.partition(':')[0]} " + ", ".join(f"{split} {number}" for split, number in sizes.items())
        papers = f"{_FORMATS[task]} " + ", ".join(f"{split} {number}" for split, number in wanted.items())
        return f"the paper has {papers} cases, these are {have}"
    every = [(name, number) for labels in counts["test"].values() for name, number in labels.items()]
    found = max((number for name, number in every if name.lower().startswith("mel")), default=0)
    if found != _TEST_MELANOMAS[task]:
        return f"the paper's test split has {_TEST_MELANOMAS[task]} melanomas, this one has {found}"
    return None
