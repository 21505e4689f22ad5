"""What Coppola et al. 2020 report."""

from collections.abc import Mapping, Sequence

import numpy as np

from trainables.paper import Paper
from trainables.reproduced import Outcome, PageParts, Reproduced

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


_OF_A_TASK = ("accuracy", "recall", "precision")
_OF_CRITERIA = {
    "criteria/accuracy": "accuracy, mean of 7 criteria",
    "criteria/recall": "macro recall, mean of 7 criteria",
    "criteria/precision": "macro precision, mean of 7 criteria",
}
_RULES = {"1": "checklist, τ = 1", "3": "checklist, τ = 3", "direct": "direct"}


def page(found: Reproduced, of: PageParts) -> str:
    """Tables 2 and 3 and Fig. 4, as Markdown; see `Paper.page`."""
    measured = found.measured
    parts = ["## Table 2: the seven criteria", of.beside_paper("criteria", measured, _OF_CRITERIA)]
    rows = [(outcome.experiment, outcome.metrics) for outcome in measured]
    parts.append(of.compared("mean of 7, %", rows, {f"criteria/{m}": m for m in _OF_A_TASK}, scale=100.0, digits=1))
    parts.append("Recall and precision are macro averages.")
    for outcome in measured:
        parts += [f"### {outcome.experiment}", _by_task(outcome, found.primary, of)]
        if outcome.experiment == "binary":
            parts.append(f"{found.primary} has two classes here: melanoma and the rest.")
    parts += ["## Table 3: melanoma, inferred and direct", _seven_points(measured, of)]
    sharing = of.sharing("sharing", measured, found.primary)
    parts += ["## Figure 4: what tasks share", sharing] if sharing else []
    return "\n\n".join(parts)


def _by_task(outcome: Outcome, primary: str, of: PageParts) -> str:
    columns = [(primary if name == "DIAG" else "criteria" if name == "mean" else name) for name in COLUMNS]
    rows = [
        (
            "mean of 7" if column == "criteria" else column,
            {m: own for m in _OF_A_TASK if (own := outcome.metrics.get(f"{column}/{m}")) is not None},
        )
        for column in columns
    ]
    return of.compared("%", [row for row in rows if row[1]], {m: m for m in _OF_A_TASK}, scale=100.0, digits=1)


def _seven_points(measured: Sequence[Outcome], of: PageParts) -> str:
    """Counts by rule and experiment, averaged over seeds, the paper's beside them."""
    with_points = [outcome for outcome in measured if "seven_point" in outcome.confusions]
    if not with_points:
        return "The tasks are not the seven criteria and a diagnosis with melanoma."
    rows = []
    truth = with_points[0].confusions.get("seven_point_annotated")
    for name, matrix in (truth.matrices if truth is not None else {}).items():
        rows.append(("annotated criteria", _RULES[name], *_counts(matrix), "–", "–", _papers("annotated", name)))
    for outcome in with_points:
        for name, matrix in outcome.confusions["seven_point"].matrices.items():
            rates = [outcome.text(f"seven_point/{rate}_{name}") for rate in ("sensitivity", "specificity")]
            rows.append((outcome.experiment, _RULES[name], *_counts(matrix), *rates, _papers(outcome.experiment, name)))
    headings = ("", "melanoma by", "TN", "FP", "FN", "TP", "sensitivity", "specificity", "paper: TN, FP, FN, TP")
    return of.table(headings, rows) + (
        "\n\nCounts are means over the seeds. The paper's text has no matrix for τ = 3 and for the other experiments."
    )


def _counts(matrix: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> list[str]:
    return [f"{cell:.1f}".removesuffix(".0") for cell in np.asarray(matrix, dtype=float).flatten()]


def _papers(experiment: str, rule: str) -> str:
    matrix = TABLE_3.get(experiment, {}).get(rule)
    return "–" if matrix is None else ", ".join(str(cell) for row in matrix for cell in row)


PAPER = Paper(
    title="Coppola et al. 2020",
    data_format="derm7pt",
    splits={"train": 413, "valid": 203, "test": 395},
    test_melanomas=101,
    headline={"criteria/recall": "criteria: recall", "melanoma/auroc": "melanoma: AUC"},
    values=values,
    page=page,
)
