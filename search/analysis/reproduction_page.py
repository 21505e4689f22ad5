"""A reproduction as one self-contained page: the paper's tables and figures with its numbers and one's own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from search.analysis import figures
from search.analysis.common_explanations import dependence_of, spread_of
from search.analysis.narration import spread_text
from search.analysis.page import html_page, picture, table
from search.analysis.reproduction_figures import beside_paper, confusion, sharing_by_experiment
from search.analysis.uncertainty import MINIMUM_SEEDS
from search.analysis.verdict import counted
from trainables.folders import write_file
from trainables.paper import Paper
from trainables.reproduced import MeanConfusions, Measured, Outcome, Reproduced
from trainables.tasks import TASKS

#: Where sharing is looked at: the paper's figure, and all of it.
BLOCKS: Mapping[str, int | None] = {"last block": -1, "all blocks": None}
_PAPER = "paper (diff.)"


def write_reproduction(found: Reproduced, folder: Path) -> Path:
    """Writes `reproduction.json`, a PNG for each picture, and `reproduction.html` with everything in it; gives its path.

    Args:    found: to report.
             folder: of the reproduction.
    """
    paper = TASKS[found.task].paper
    write_file(folder / "reproduction.json", (json.dumps(document_of(found), indent=1) + "\n").encode())
    text, pictures = drawn_page(found, paper)
    for name, figure in pictures.items():
        (folder / f"reproduction_{name}.png").write_bytes(figures.png(figure))
    page = folder / "reproduction.html"
    drawn = {name: figures.svg(figure) for name, figure in pictures.items()}
    title = f"The experiments of {found.task if paper is None else paper.title}"
    page.write_text(html_page(title, f"{_beginning(found)}\n\n{text}\n\n{_end(found)}", drawn))
    return page


def drawn_page(found: Reproduced, paper: Paper | None) -> tuple[str, dict[str, Figure]]:
    """The paper's tables and figures as Markdown, and the pictures whose places are in it.

    Args:    found: to report.
             paper: whose page it is; without one it is empty.
    """
    parts = _Parts()
    return ("" if paper is None else paper.page(found, parts)), parts.pictures


def written(folder: Path) -> Path | None:
    """The page of a reproduction that has been reported before, None where there is none."""
    page = folder / "reproduction.html"
    return page if page.is_file() and page.with_suffix(".json").is_file() else None


def document_of(found: Reproduced) -> dict[str, Any]:
    """Every number, as JSON values."""
    own = ("name", "task", "source", "split", "num_seeds", "other_data", "note")
    return {
        **{name: getattr(found, name) for name in own},
        "unlike_paper": list(found.unlike_paper),
        "notes": list(found.notes),
        "experiments": [_outcome_document(outcome, found.primary) for outcome in found.outcomes],
    }


def _outcome_document(outcome: Outcome, primary: str) -> dict[str, Any]:
    last = spread_of(outcome.sharings, block=-1)
    dependence = {name: dependence_of(primary, outcome.sharings, block) for name, block in BLOCKS.items()}
    return {
        "experiment": outcome.experiment,
        "epochs": list(outcome.epochs),
        "failures": list(outcome.failures),
        "metrics": {name: measured.to_json() for name, measured in outcome.metrics.items()},
        "confusions": {name: matrices.to_json() for name, matrices in outcome.confusions.items()},
        "sharing_of_last_block": None if last is None else last.to_json(),
        "dependence": {name: None if found is None else found.to_json() for name, found in dependence.items()},
    }


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


class _Parts:
    """Markdown and Matplotlib for a paper's page; see `PageParts`."""

    def __init__(self) -> None:
        self.pictures: dict[str, Figure] = {}

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        """See `PageParts`."""
        return table(headings, rows)

    def compared(
        self,
        first: str,
        rows: Sequence[tuple[str, Mapping[str, Measured]]],
        metrics: Mapping[str, str],
        scale: float = 1.0,
        digits: int = 3,
    ) -> str:
        """See `PageParts`."""
        reported = {name: any(own[name].paper is not None for _, own in rows if name in own) for name in metrics}
        headings, lines = [first], [[row] for row, _ in rows]
        for name, heading in metrics.items():
            headings += [heading, _PAPER] if reported[name] else [heading]
            for line, (_, own) in zip(lines, rows, strict=True):
                measured = own.get(name)
                line.append("–" if measured is None else measured.text(scale, digits))
                if reported[name]:
                    line.append("–" if measured is None else measured.paper_text(scale, digits))
        return table(headings, lines)

    def beside_paper(self, name: str, outcomes: Sequence[Outcome], metrics: Mapping[str, str]) -> str:
        """See `PageParts`."""
        return self._placed(name, beside_paper(outcomes, metrics))

    def confusion(self, name: str, confusions: MeanConfusions, experiment: str) -> str:
        """See `PageParts`."""
        return self._placed(name, confusion(confusions, experiment))

    def sharing(self, name: str, outcomes: Sequence[Outcome], primary: str) -> str:
        """See `PageParts`."""
        figure = sharing_by_experiment(outcomes)
        return "" if figure is None else "\n\n".join([self._placed(name, figure), *_sharing(outcomes, primary)])

    def _placed(self, name: str, figure: Figure) -> str:
        self.pictures[name] = figure
        return picture(name)


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
