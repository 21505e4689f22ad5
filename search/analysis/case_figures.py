"""A case in one picture: what is said of it and why, beside the truth where that is known; and a model in one."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure

from search.analysis.figures import COLOURS, plain_text, shortened
from search.analysis.trial_figures import (
    EVIDENCE_AT_MOST,
    colour_of,
    confusion_matrices,
    draw_evidence,
    draw_gazes,
    draw_map,
    heading,
    pictures_of_sharing,
)
from trainables.explanation import Explanation, Gaze, SeenCase, SevenPoints
from trainables.seven_point import THRESHOLDS
from trainables.sharing import Sharing

_POINTS_AT_MOST = 10
#: Inches of a map of evidence, at most, and of the writing above a row of them.
_MAP_WIDTH = 3.2
_MAP_TITLES = 0.5


@plain_text
def picture_of_case(case: SeenCase) -> Figure:
    """Gazes with what each shows, or every task's label with the checklist that follows from them."""
    return _looked_at(case) if case.gazes else _labelled(case)


@plain_text
def pictures_of_model(found: Explanation) -> Mapping[str, Figure]:
    """What is true of the model whatever the case: what its tasks share, and what it confuses on a split."""
    pictures = dict[str, Figure]()
    if found.sharing is not None and found.sharing.moved is not False:
        pictures |= {**pictures_of_sharing(found.sharing), "taken_and_given": taken_and_given(found.sharing)}
    if found.confusions:
        pictures["confusion"] = confusion_matrices(found)
    return pictures


def taken_and_given(sharing: Sharing) -> Figure:
    """What each task takes from the others on average and what they take from it, in percent of features."""
    figure = Figure(figsize=(6.4, 0.9 + 0.4 * len(sharing.tasks)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(sharing.tasks))
    axes.barh(places - 0.2, 100 * sharing.taken, height=0.38, color=COLOURS[0], label="takes of the others")
    axes.barh(places + 0.2, 100 * sharing.given, height=0.38, color=COLOURS[4], label="gives to the others")
    axes.set_yticks(places, [shortened(task) for task in sharing.tasks])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("features that pass the gates, mean over blocks and tasks, percent")
    axes.set_ylabel("task")
    if sharing.start is not None:
        before = float(100 * replace(sharing, blocks=sharing.start).taken.mean())
        axes.axvline(before, color="#444444", linestyle="--", linewidth=1, label="before training")
    figure.legend(frameon=False, fontsize=8, loc="outside upper center", ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _labelled(case: SeenCase) -> Figure:
    wide = case.seven_points is not None
    height, width = max(3.6, 1.2 + 0.42 * len(case.probabilities)), 12.5 if wide else 9.0
    below = min(_MAP_WIDTH, width / min(len(case.evidence), EVIDENCE_AT_MOST)) + _MAP_TITLES if case.evidence else 0.0
    figure = Figure(figsize=(width, height + below), layout="constrained")
    # One part, or two: the second is for the evidence.
    parts = figure.subfigures(1 + bool(below), 1, height_ratios=[height, below][: 1 + bool(below)], squeeze=False)[:, 0]
    grid = parts[0].subplots(1, 3 if wide else 2, width_ratios=(1.0, 1.15, 1.0) if wide else (1.0, 1.15))
    grid[0].imshow(case.image)
    grid[0].set_axis_off()
    grid[0].set_title(heading(case), fontsize=10, color=colour_of(case.is_right(case.diagnosis)))
    _labels(grid[1], case)
    if case.seven_points is not None:
        _checklist(grid[2], case, case.seven_points)
    if below:
        _evidence(parts[1], case)
    figure.suptitle(shortened(case.name, 100), fontsize=9)
    return figure


def _evidence(figure: SubFigure, case: SeenCase) -> None:
    """Where the evidence lies for each task."""
    grid = figure.subplots(1, min(len(case.evidence), EVIDENCE_AT_MOST), squeeze=False)[0]
    for axes in grid:
        axes.set_axis_off()
    left_over = draw_evidence(grid, case)
    more = f"; {left_over} more in the JSON document" if left_over else ""
    figure.suptitle(
        f"where the evidence lies: red speaks for what is said, blue against it (integrated gradients{more})", fontsize=9
    )


def _labels(axes: Axes, case: SeenCase) -> None:
    """A bar for what is said of each task; the truth stands beside it where it is another."""
    tasks = list(case.probabilities)
    for place, task in enumerate(tasks):
        said, right = case.said(task), case.is_right(task)
        probability = case.probabilities[task][said]
        axes.barh(place, probability, height=0.62, color=colour_of(right) if right is not None else COLOURS[0], alpha=0.35)
        note = f"{shortened(said, 20)} {probability:.2f}" + (
            f"   (truth: {shortened(case.truths[task], 20)})" if right is False else ""
        )
        axes.text(0.02, place, note, va="center", fontsize=9, color=colour_of(right))
    axes.set_yticks(range(len(tasks)), [shortened(task, 24) for task in tasks])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability of what is said")
    axes.set_ylabel("task")
    axes.spines[["top", "right"]].set_visible(False)


def _checklist(axes: Axes, case: SeenCase, points: SevenPoints) -> None:
    """What each criterion adds, the sum against both thresholds, and the diagnosis that is said directly."""
    for place, (name, (label, added)) in enumerate(points.criteria.items()):
        axes.barh(place, added, height=0.62, color=COLOURS[1] if added else "#dddddd", alpha=0.8)
        axes.text(added + 0.15, place, f"{label}  +{added}", va="center", fontsize=9)
        axes.text(-0.15, place, name, va="center", ha="right", fontsize=9)
    axes.set_yticks([])
    axes.set_ylim(len(points.criteria) - 0.4, -0.6)
    axes.set_xlim(0, _POINTS_AT_MOST)
    axes.set_xlabel("points of the seven-point checklist")
    axes.spines[["top", "right"]].set_visible(False)
    truth = f" (truth: {points.truth})" if points.truth is not None else ""
    inferred = ", ".join(f"{'melanoma' if points.score >= limit else 'no melanoma'} at τ = {limit}" for limit in THRESHOLDS)
    axes.set_title(f"score {points.score}{truth}:\n{inferred}\ndirectly: {heading(case)}", fontsize=9)


def _looked_at(case: SeenCase) -> Figure:
    """Above the image with its numbered gazes and the attention of each, below what each gaze's mask shows beside the truth."""
    steps, drawn = len(case.gazes), any(gaze.mask is not None for gaze in case.gazes)
    rows = 2 if drawn else 1
    figure = Figure(figsize=(2.3 * (steps + 1), 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, steps + 1, squeeze=False)
    draw_gazes(grid[0][0], case, title=heading(case))
    for number, (axes, gaze) in enumerate(zip(grid[0][1:], case.gazes, strict=True), start=1):
        draw_map(axes, case.image, gaze.attention)
        axes.set_title(f"gaze {number}: attention", fontsize=8)
    if drawn:
        grid[1][0].set_axis_off()
        grid[1][0].fill([], [], color=COLOURS[0], alpha=0.5, label="mask: probability above 0.5")
        grid[1][0].plot([], [], color=COLOURS[4], linewidth=2, linestyle="--", label="annotated")
        grid[1][0].legend(loc="center", frameon=False, fontsize=8)
        for axes, gaze in zip(grid[1][1:], case.gazes, strict=True):
            _mask(axes, case, gaze)
    figure.suptitle(shortened(case.name, 100), fontsize=9)
    return figure


def _mask(axes: Axes, case: SeenCase, gaze: Gaze) -> None:
    axes.imshow(case.image)
    axes.set_axis_off()
    if gaze.mask is None:
        return
    drawn = gaze.mask > 0.5
    axes.imshow(np.where(drawn, 1.0, np.nan), cmap=ListedColormap([COLOURS[0]]), alpha=0.35, interpolation="nearest")
    if drawn.any() and not drawn.all():
        axes.contour(drawn, levels=[0.5], colors=[COLOURS[0]], linewidths=1.6)
    if gaze.truth is not None and gaze.truth.any() and not gaze.truth.all():
        axes.contour(gaze.truth, levels=[0.5], colors=[COLOURS[4]], linewidths=1.4, linestyles="--")
    axes.set_title(f"{gaze.structure.replace('_', ' ')} {gaze.probability:.2f}\n{_overlap(gaze)}", fontsize=8)


def _overlap(gaze: Gaze) -> str:
    if gaze.truth is None:
        return "nobody annotated it"
    return f"IoU {gaze.iou:.2f}" if gaze.truth.any() and gaze.iou is not None else "annotated as absent"
