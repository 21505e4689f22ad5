"""A reproduction as one self-contained page: the papers' tables and figures with their numbers and one's own."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from search.analysis import figures
from search.analysis.common_explanations import dependence_of, spread_of
from search.analysis.narration import spread_text
from search.analysis.page import html_page, picture, table
from search.analysis.reproduction import BLOCKS, Measured, Outcome, Reproduced
from search.analysis.reproduction_figures import beside_paper, sharing_by_experiment, structure_confusion
from search.analysis.uncertainty import MINIMUM_SEEDS
from search.analysis.verdict import counted
from spaces.attentive import BALANCINGS, SKIPS_AND_NORMS, grid_name
from trainables.attentive import paper as esteve
from trainables.folders import write_file
from trainables.gated import paper as coppola
from trainables.tasks import TASKS

_OF_A_TASK = ("accuracy", "recall", "precision")
_OF_CRITERIA = {
    "criteria/accuracy": "accuracy, mean of 7 criteria",
    "criteria/recall": "macro recall, mean of 7 criteria",
    "criteria/precision": "macro precision, mean of 7 criteria",
}
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
_PAPER = "paper (diff.)"
_RULES = {"1": "checklist, τ = 1", "3": "checklist, τ = 3", "direct": "direct"}


def write_reproduction(found: Reproduced, folder: Path) -> Path:
    """Writes `reproduction.json`, a PNG for each picture, and `reproduction.html` with everything in it; gives its path.

    Args:    found: to report.
             folder: of the reproduction.
    """
    write_file(folder / "reproduction.json", (json.dumps(found.to_json(), indent=1) + "\n").encode())
    text, pictures = PAGES[found.task](found)
    for name, figure in pictures.items():
        (folder / f"reproduction_{name}.png").write_bytes(figures.png(figure))
    page = folder / "reproduction.html"
    paper = TASKS[found.task].paper
    title = found.task if paper is None else paper.title
    drawn = {name: figures.svg(figure) for name, figure in pictures.items()}
    page.write_text(html_page(f"The experiments of {title}", f"{_beginning(found)}\n\n{text}\n\n{_end(found)}", drawn))
    return page


def written(folder: Path) -> Path | None:
    """The page of a reproduction that has been reported before, None where there is none."""
    page = folder / "reproduction.html"
    return page if page.is_file() and page.with_suffix(".json").is_file() else None


def _beginning(found: Reproduced) -> str:
    parts = []
    if found.other_data is not None:
        parts.append(
            f"**These are not the paper's data: {found.other_data}. The paper's numbers stand beside ours for their order of"
            " size; a difference says nothing of either.**"
        )
    intervals = (
        "Intervals: 95 %, each by itself, over cases and seeds, as in multi-reader multi-case studies with seeds for readers"
        " (Dorfman, Berbaum, Metz 1992; Hillis 2007)."
        if found.num_seeds >= MINIMUM_SEEDS
        else "No intervals: how much a metric varies over seeds cannot be known from fewer than three (`--seeds 3`)."
    )
    parts.append(
        f"Every experiment was trained on {counted(found.num_seeds, 'seed')}, by the paper's own rules: nothing was pruned, and"
        f" the epoch of the least validation loss was kept. Data: {found.source}; measured on the {found.split} split."
        f" {intervals} Differences are ours less the paper's."
    )
    if found.unlike_paper:
        parts.append(f"Not as in the paper: {'; '.join(found.unlike_paper)}.")
    return "\n\n".join(parts)


def _end(found: Reproduced) -> str:
    failures = [f"- {outcome.experiment}: {line}" for outcome in found.outcomes for line in outcome.failures]
    epochs = [(o.experiment, ", ".join(map(str, o.epochs)) or "none ended well") for o in found.outcomes]
    parts = ["## The runs", table(("experiment", "epoch of the least validation loss, by seed"), epochs)]
    parts += ["Failed:", "\n".join(failures)] if failures else []
    parts += ["Of the data and the networks:", "\n".join(f"- {note}" for note in found.notes)] if found.notes else []
    return "\n\n".join([*parts, found.note])


def _cell(measured: Measured | None, scale: float = 1.0, digits: int = 3) -> tuple[str, str]:
    """Ours with its interval; the paper's with the difference."""
    if measured is None:
        return "–", "–"
    ours = f"{scale * measured.mean:.{digits}f}"
    if measured.interval is not None:
        low, high = (scale * edge for edge in measured.interval)
        ours += f" [{low:.{digits}f}, {high:.{digits}f}]"
    if measured.paper is None or measured.difference is None:
        return ours, "–"
    return ours, f"{scale * measured.paper:.{digits}f} ({scale * measured.difference:+.{digits}f})"


def _compared(
    first: str,
    rows: Sequence[tuple[str, Mapping[str, Measured]]],
    metrics: Mapping[str, str],
    scale: float = 1.0,
    digits: int = 3,
) -> str:
    """A table with a second column for a metric that the paper reports of any row.

    Args:    first: heading of the names.
             rows: name and metrics.
             metrics: name → heading.
             scale, digits: of every number.
    """
    reported = {name: any(own[name].paper is not None for _, own in rows if name in own) for name in metrics}
    headings = [first]
    for name, heading in metrics.items():
        headings += [heading, _PAPER] if reported[name] else [heading]
    lines = [
        [row, *(cell for name in metrics for cell in _cell(own.get(name), scale, digits)[: 2 if reported[name] else 1])]
        for row, own in rows
    ]
    return table(headings, lines)


def gated_page(found: Reproduced) -> tuple[str, dict[str, Figure]]:
    """Table 2 and 3 and Fig. 4 of Coppola et al. 2020, as Markdown and pictures."""
    measured = [outcome for outcome in found.outcomes if outcome.metrics]
    pictures, parts = {"criteria": beside_paper(measured, _OF_CRITERIA)}, ["## Table 2: the seven criteria", picture("criteria")]
    rows = [(outcome.experiment, outcome.metrics) for outcome in measured]
    parts.append(_compared("mean of 7, %", rows, {f"criteria/{m}": m for m in _OF_A_TASK}, scale=100, digits=1))
    parts.append("Recall and precision are macro averages.")
    for outcome in measured:
        parts += [f"### {outcome.experiment}", _by_task(outcome, found.primary)]
        if outcome.experiment == "binary":
            parts.append(f"{found.primary} has two classes here: melanoma and the rest.")
    parts += ["## Table 3: melanoma, inferred and direct", _seven_points(measured)]
    sharing = sharing_by_experiment(measured)
    if sharing is not None:
        pictures["sharing"] = sharing
        parts += ["## Figure 4: what tasks share", picture("sharing"), *_sharing(measured, found.primary)]
    return "\n\n".join(parts), pictures


def _by_task(outcome: Outcome, primary: str) -> str:
    columns = [(primary if name == "DIAG" else "criteria" if name == "mean" else name) for name in coppola.COLUMNS]
    rows = [
        (
            "mean of 7" if column == "criteria" else column,
            {m: own for m in _OF_A_TASK if (own := outcome.metrics.get(f"{column}/{m}")) is not None},
        )
        for column in columns
    ]
    return _compared("%", [row for row in rows if row[1]], {m: m for m in _OF_A_TASK}, scale=100, digits=1)


def _seven_points(measured: Sequence[Outcome]) -> str:
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
            rates = [_cell(outcome.metrics.get(f"seven_point/{rate}_{name}"))[0] for rate in ("sensitivity", "specificity")]
            rows.append((outcome.experiment, _RULES[name], *_counts(matrix), *rates, _papers(outcome.experiment, name)))
    headings = ("", "melanoma by", "TN", "FP", "FN", "TP", "sensitivity", "specificity", "paper: TN, FP, FN, TP")
    return table(headings, rows) + (
        "\n\nCounts are means over the seeds. The paper's text has no matrix for τ = 3 and for the other experiments."
    )


def _counts(matrix: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> list[str]:
    return [f"{cell:.1f}".removesuffix(".0") for cell in np.asarray(matrix, dtype=float).flatten()]


def _papers(experiment: str, rule: str) -> str:
    matrix = coppola.TABLE_3.get(experiment, {}).get(rule)
    return "–" if matrix is None else ", ".join(str(cell) for row in matrix for cell in row)


def _sharing(measured: Sequence[Outcome], primary: str) -> list[str]:
    """What the experiments' networks share in words, and whether the diagnosis takes more than the criteria do."""
    parts, rows = [], []
    for outcome in measured:
        spread = spread_of(outcome.sharings, block=-1)
        if spread is not None and spread.num_networks > 1:
            parts.append(f"**{outcome.experiment}**, last block: {spread_text(spread)}")
        for where, block in BLOCKS.items():
            dependence = dependence_of(primary, outcome.sharings, block)
            if dependence is None:
                continue
            edges = "" if dependence.interval is None else " [{:+.1f}, {:+.1f}]".format(*(100 * e for e in dependence.interval))
            verdict = {None: "not known from fewer than three networks", True: "more", False: "cannot be told"}[dependence.found]
            if dependence.interval is not None and dependence.interval[1] < 0:
                verdict = "less"
            means = [f"{100 * np.mean(values):.1f}" for values in (dependence.taken, dependence.others)]
            rows.append((outcome.experiment, where, *means, f"{100 * dependence.difference:+.1f}{edges}", verdict))
    headings = (
        "percent",
        "of",
        f"{primary} takes of the criteria",
        "criteria take of each other",
        "difference [95 %]",
        f"{primary} takes",
    )
    return [*parts, table(headings, rows), "The interval is Student's over the seeds: no case enters a gate's value."]


def attentive_page(found: Reproduced) -> tuple[str, dict[str, Figure]]:
    """Tables 3 to 5 and Fig. 6 of Esteve-Cogollos & Fernández-Torres 2020, as Markdown and pictures."""
    variants = [outcome for name in esteve.TABLE_3 if (outcome := found.outcome(name)) is not None]
    measured = [outcome for outcome in found.outcomes if outcome.metrics]
    pictures, parts = dict[str, Figure](), list[str]()
    if variants:
        pictures["diagnosis"] = beside_paper(variants, _OF_MELANOMA)
        rows = [(outcome.experiment, outcome.metrics) for outcome in variants]
        parts += ["## Table 3: the diagnosis", picture("diagnosis"), _compared("variant", rows, _OF_MELANOMA)]
        others = [(name, f"{area:.3f}") for name, area in esteve.OTHERS_DIAGNOSIS.items()]
        ours = [(o.experiment, _cell(o.metrics.get("melanoma/auroc"))[0]) for o in variants if "Deco" in o.experiment]
        parts += [
            "## Table 4: beside others",
            table(("model", "AUC"), [*others, *ours]),
            "The others' are as the paper quotes them.",
        ]
    parts += ["## Skips, batch normalisation and balancing", *_grid(found)]
    drawn = [outcome for outcome in measured if "structures/map" in outcome.metrics]
    if drawn:
        parts += [
            "## Table 5: structures",
            _structures(drawn),
            _DEFINITIONS,
        ]
        shown = found.outcome(esteve.STRUCTURES_OF) or drawn[0]
        if "structures" in shown.confusions:
            pictures["structures"] = structure_confusion(shown.confusions["structures"], shown.experiment)
            parts += ["## Figure 6: which structures are taken for which", picture("structures")]
    looking = [(o.experiment, o.metrics) for o in measured if any(name in o.metrics for name in _OF_GAZES)]
    if looking:
        parts += ["## Gazes", _compared("share of gazes that", looking, _OF_GAZES)]
    return "\n\n".join(parts), pictures


def _structures(drawn: Sequence[Outcome]) -> str:
    """Every experiment with masks, the paper's own row, and what the paper quotes of others."""
    rows = [(outcome.experiment, *(_cell(outcome.metrics.get(name))[0] for name in _OF_STRUCTURES)) for outcome in drawn]
    papers = [f"{esteve.STRUCTURES[name]:.3f}" if name in esteve.STRUCTURES else "–" for name in _OF_STRUCTURES]
    others = [
        (f"{name} (as the paper quotes it)", "–", "–", "–", f"{area:.3f}") for name, area in esteve.OTHERS_ATTRIBUTES.items()
    ]
    return table(("experiment", *_OF_STRUCTURES.values()), [*rows, (f"the paper: {esteve.STRUCTURES_OF}", *papers), *others])


def _grid(found: Reproduced) -> list[str]:
    """A table a metric: setups by balancings, each cell the experiment's mean and interval."""
    parts = []
    for metric, heading in {"melanoma/auroc": "AUC of melanoma", "structures/map": "mAP"}.items():
        rows = []
        for setup in SKIPS_AND_NORMS:
            outcomes = [found.outcome(grid_name(setup, balancing)) for balancing in BALANCINGS]
            rows.append((setup, *(_cell(None if o is None else o.metrics.get(metric))[0] for o in outcomes)))
        if any(cell != "–" for row in rows for cell in row[1:]):
            parts.append(table((heading, *BALANCINGS), rows))
    return parts or ["None of these experiments was asked for."]


#: Task → its page.
PAGES: Mapping[str, Callable[[Reproduced], tuple[str, dict[str, Figure]]]] = {"gated": gated_page, "attentive": attentive_page}
