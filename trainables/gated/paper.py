"""What Coppola et al. 2020 report."""

from collections.abc import Mapping

from trainables.paper import Paper

#: Task of Table 2, in its order; "mean" is over the seven criteria.
COLUMNS = ("DIAG", "PN", "BWV", "VS", "PIG", "STR", "DaG", "RS", "mean")
#: Experiment → metric → percent by column. Source: Coppola et al. 2020, Table 2, test split.
TABLE_2: Mapping[str, Mapping[str, tuple[float, ...]]] = {
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
TABLE_3: Mapping[str, Mapping[str, list[list[int]]]] = {
    "annotated": {"1": [[121, 173], [1, 100]]},
    "standard": {"1": [[108, 186], [11, 90]], "direct": [[281, 13], [76, 25]]},
    "binary": {"1": [[78, 216], [8, 93]], "direct": [[246, 48], [42, 59]]},
}


def values(experiment: str) -> dict[str, float]:
    """Tables 2 and 3 of an experiment; see `Paper.values`."""
    found = {
        f"{'criteria' if column == 'mean' else column}/{metric}": percent / 100
        for metric, row in TABLE_2.get(experiment, {}).items()
        for column, percent in zip(COLUMNS, row, strict=True)
    }
    for rule, ((true_negative, false_positive), (false_negative, true_positive)) in TABLE_3.get(experiment, {}).items():
        found[f"seven_point/sensitivity_{rule}"] = true_positive / (true_positive + false_negative)
        found[f"seven_point/specificity_{rule}"] = true_negative / (true_negative + false_positive)
    return found


PAPER = Paper(
    title="Coppola et al. 2020",
    data_format="derm7pt",
    splits={"train": 413, "valid": 203, "test": 395},
    test_melanomas=101,
    headline={"criteria/recall": "criteria: recall", "melanoma/auroc": "melanoma: AUC"},
    values=values,
)
