"""Pictures of a reproduction: its numbers beside the paper's, what tasks share, which structures are taken for which."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from search.analysis.common_explanations import spread_of
from search.analysis.figures import COLOURS, nothing, panels, plain_text
from search.analysis.trial_figures import heat
from trainables.reproduced import MeanConfusions, Measured, Outcome


@plain_text
def beside_paper(outcomes: Sequence[Outcome], metrics: Mapping[str, str]) -> Figure:
    """A panel a metric, a row an experiment: the mean and its interval, and what the paper reports.

    Args:    outcomes: those that were measured.
             metrics: name → what is written below its panel.
    """
    figure, grid = panels(len(metrics), columns=3, width=4.4, height=1.3 + 0.34 * len(outcomes))
    named = False
    for axes, (name, label) in zip(grid, metrics.items(), strict=True):
        rows = [outcome.metrics.get(name) for outcome in outcomes]
        if not any(rows):
            nothing(axes, f"{label}:\nnothing to draw, no run has it")
            continue
        _rows(axes, rows)
        axes.set_yticks(range(len(outcomes)), [] if named else [outcome.experiment for outcome in outcomes])
        named = True
        axes.set_ylim(len(outcomes) - 0.5, -0.5)
        axes.set_xlabel(label)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    known = any(measured.interval for outcome in outcomes for measured in outcome.metrics.values())
    label = "here, 95 % interval" if known else "here (no interval)"
    entries = [Line2D([], [], marker="o", linewidth=1.5 if known else 0, color=COLOURS[0], label=label)]
    if any(measured.paper is not None for outcome in outcomes for n, measured in outcome.metrics.items() if n in metrics):
        paper = "the paper, on its own data"
        entries.append(Line2D([], [], marker="D", linewidth=0, color=COLOURS[1], fillstyle="none", label=paper))
    if named:
        figure.legend(handles=entries, loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    return figure


def _rows(axes: Axes, rows: Sequence[Measured | None]) -> None:
    for place, measured in enumerate(rows):
        if measured is None:
            continue
        if measured.interval is not None:
            axes.plot(measured.interval, [place, place], color=COLOURS[0], linewidth=2, solid_capstyle="butt")
        axes.plot(measured.mean, place, "o", color=COLOURS[0])
        if measured.paper is not None:
            axes.plot(measured.paper, place, "D", color=COLOURS[1], fillstyle="none")


@plain_text
def sharing_by_experiment(outcomes: Sequence[Outcome]) -> Figure | None:
    """Sharing fractions of the last block in percent, averaged over seeds: rows take, columns give. None without gates.

    Source: Coppola et al. 2020, Fig. 4
    """
    found = [(outcome.experiment, spread) for outcome in outcomes if (spread := spread_of(outcome.sharings, block=-1))]
    if not found:
        return None
    side = max(3.2, 0.46 * len(found[0][1].tasks))
    figure, grid = panels(len(found), columns=2, width=side, height=side)
    for axes, (name, spread) in zip(grid, found, strict=True):
        heat(axes, spread.mean, [[f"{100 * value:.0f}" for value in row] for row in spread.mean], spread.tasks)
        axes.set_title(name, fontsize=9)
    figure.supylabel("task that takes", fontsize=9)
    figure.supxlabel("task that gives; percent of its features, last block", fontsize=9)
    return figure


@plain_text
def confusion(confusions: MeanConfusions, experiment: str) -> Figure:
    """Which structures are taken for which: a row sums to 1, or to 0 where no mask overlaps its structure most.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Fig. 6
    """
    (matrix,) = confusions.matrices.values()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-12)
    names = [name.replace("_", " ") for name in confusions.classes]
    figure, (axes,) = panels(1, columns=1, width=5.2, height=4.8)
    heat(axes, shares, [[f"{value:.2f}" for value in row] for row in shares], names)
    axes.set_title(experiment, fontsize=9)
    axes.set_ylabel("structure that a mask overlaps most")
    axes.set_xlabel("structure that it is said to be; share of the row")
    return figure
