"""Pictures of one trial: learning curves, confusion matrices, what its tasks share, where it looks."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from search.analysis.common_explanations import SharingSpread
from search.analysis.figures import COLOURS, panels, plain_text, shortened
from search.records.plan import Plan
from search.records.trials import TrialRecord
from trainables.explanation import Explanation, SeenCase
from trainables.sharing import Sharing

_MAP = "Blues"
#: From less to more, both readable by colour-blind readers.
_CHANGE = "RdBu_r"
_EPOCHS_AT_MOST = 8
#: Tasks whose maps are drawn beside each other.
EVIDENCE_AT_MOST = 8
#: Characters beside a row of a small matrix.
_CELL = 16
#: Above this share of the scale, writing is white.
_DARK = 0.55
_DARK_CHANGE = 0.7
_DOT = {"boxstyle": "round,pad=0.25", "facecolor": COLOURS[0], "edgecolor": "white", "linewidth": 0.6}


def learning_curves(plan: Plan, trial: TrialRecord) -> Figure:
    """Every objective with the score that ranks trials, and the losses where there are some; the best epoch is dashed."""
    names = [objective.metric for objective in plan.objectives]
    losses = [name for name in ("train/loss", "valid/loss") if any(name in e.metrics for e in trial.epochs)]
    losses = [name for name in losses if name not in names]
    figure, grid = panels(len(names) + bool(losses), columns=3, width=4.2, height=3.2)
    for axes, name in zip(grid, names, strict=False):
        _curve(axes, trial, name, COLOURS[0])
        if name == names[0]:
            x = [epoch.epoch for epoch in trial.epochs]
            axes.plot(x, [epoch.score for epoch in trial.epochs], color=COLOURS[1], label="score (mean of three)")
        axes.set_ylabel(shortened(name, 48))
        axes.legend(frameon=False, fontsize=7)
    for name, colour in zip(losses, COLOURS, strict=False):
        _curve(grid[-1], trial, name, colour)
        grid[-1].set_ylabel("loss")
        grid[-1].legend(frameon=False, fontsize=7)
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if trial.best_epoch:
            axes.axvline(trial.best_epoch, color="#888888", linestyle="--", linewidth=1)
    return figure


def _curve(axes: Axes, trial: TrialRecord, name: str, colour: str) -> None:
    points = [(epoch.epoch, epoch.metrics[name]) for epoch in trial.epochs if name in epoch.metrics]
    axes.plot([x for x, _ in points], [y for _, y in points], color=colour, label=shortened(name, 48), marker=".", linewidth=1)


def confusion_matrices(found: Explanation) -> Figure:
    """Counts, a task each: rows are the truth, columns what is said; the colour is the share of the row."""
    matrices = [(task, c.classes, m) for task, c in found.confusions.items() for m in c.matrices.values()]
    largest = max(len(classes) for _, classes, _ in matrices)
    figure, grid = panels(len(matrices), columns=4, width=max(2.4, 0.75 * largest), height=max(2.2, 0.7 * largest))
    for axes, (task, classes, matrix) in zip(grid, matrices, strict=True):
        counts = np.array(matrix)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        heat(axes, shares, [[str(count) for count in row] for row in counts], classes)
        axes.set_title(shortened(task), fontsize=9)
    figure.supylabel("truth", fontsize=9)
    figure.supxlabel(f"said ({found.num_cases} cases of {found.split})", fontsize=9)
    return figure


def sharing_matrices(sharing: Sharing) -> Figure:
    """What training has changed, where the start is known, and the sharing fractions of all blocks and of each: rows take,
    columns give.

    Source: Coppola et al. 2020, Fig. 4
    Deviations: the paper shows the fractions alone, most of which were there before training.
    """
    side = max(2.8, 0.42 * len(sharing.tasks))
    titled = [("all blocks", sharing.blocks.mean(0)), *((f"block {i}", block) for i, block in enumerate(sharing.blocks, start=1))]
    changes = [] if sharing.change is None else [sharing.change]
    figure, grid = panels(len(titled) + len(changes), columns=3, width=side, height=side)
    for axes, change in zip(grid, changes, strict=False):
        heat_of_change(axes, change, sharing.tasks, float(np.abs(change).max()))
        axes.set_title("change since the start, all blocks", fontsize=9)
    for axes, (title, matrix) in zip(grid[len(changes) :], titled, strict=True):
        heat(axes, matrix, [[f"{100 * value:.0f}" for value in row] for row in matrix], sharing.tasks)
        axes.set_title(f"after training, {title}" if changes else title, fontsize=9)
    figure.supylabel("task that takes", fontsize=9)
    figure.supxlabel("task that gives; percent of its features, change in percentage points", fontsize=9)
    return figure


def sharing_over_epochs(sharing: Sharing) -> Figure:
    """Change of the sharing fractions over all blocks since the start, after some epochs, small and in order."""
    if sharing.history is None or sharing.start is None:
        raise ValueError("sharing must have a start to be drawn over epochs; got none (train the checkpoint anew)")
    changes = (sharing.history - sharing.start).mean(1)[1:]
    chosen = np.unique(np.linspace(0, len(changes) - 1, _EPOCHS_AT_MOST).round().astype(int))
    figure, grid = panels(len(chosen), columns=4, width=2.0, height=2.2)
    largest = 100 * max(float(np.abs(changes).max()), 1e-9)
    for axes, place in zip(grid, chosen, strict=True):
        picture = axes.imshow(100 * changes[place], cmap=_CHANGE, vmin=-largest, vmax=largest)
        axes.set_title(f"epoch {sharing.epochs[place + 1]}", fontsize=8)
        names = [shortened(task, _CELL) for task in sharing.tasks]
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=5.5)
        axes.set_yticks(range(len(names)), names, fontsize=5.5)
    figure.colorbar(picture, ax=grid, shrink=0.6, label="percentage points")
    figure.supylabel("task that takes", fontsize=8)
    figure.supxlabel("task that gives", fontsize=8)
    return figure


def sharing_spread(spread: SharingSpread) -> Figure:
    """Mean and deviation of several networks' changes since their start, in percentage points: rows take, columns give."""
    if spread.changes is None:
        raise ValueError("networks must have a start for their changes to be drawn; got one without (train the checkpoint anew)")
    side = max(3.6, 0.5 * len(spread.tasks))
    figure, grid = panels(2, columns=2, width=side, height=side)
    mean, deviation = spread.changes.mean(0), spread.changes.std(0, ddof=1)
    heat_of_change(grid[0], mean, spread.tasks, float(np.abs(mean).max()))
    grid[0].set_title(f"change since the start, mean of {spread.num_networks} networks", fontsize=9)
    shares = deviation / (float(deviation.max()) or 1.0)
    heat(grid[1], shares, [[f"{100 * value:.0f}" for value in row] for row in deviation], spread.tasks)
    grid[1].set_title("deviation between them", fontsize=9)
    figure.supylabel("task that takes", fontsize=9)
    figure.supxlabel("task that gives; percentage points", fontsize=9)
    return figure


def pictures_of_sharing(sharing: Sharing) -> Mapping[str, Figure]:
    """What tasks share and how that came about; nothing where training has not changed it."""
    if sharing.moved is False:
        return {}
    found = {"sharing": sharing_matrices(sharing)}
    if sharing.start is not None and len(sharing.epochs) > 2:
        found["sharing_over_epochs"] = sharing_over_epochs(sharing)
    return found


def heat_of_change(axes: Axes, change: np.ndarray, names: Sequence[str], largest: float) -> None:
    """A matrix of changes in percentage points: red for more, blue for less; nothing stands on the diagonal.

    Args:    largest: change of the darkest colour.
    """
    axes.imshow(change, cmap=_CHANGE, vmin=-(largest or 1.0), vmax=largest or 1.0)
    for row, column in np.argwhere(~np.eye(len(names), dtype=bool)).tolist():
        value = float(change[row, column])
        colour = "white" if abs(value) > _DARK_CHANGE * largest else "black"
        shown = round(100 * value)
        axes.text(column, row, f"{shown:+d}" if shown else "0", ha="center", va="center", fontsize=7, color=colour)
    _named(axes, names)


def heat(axes: Axes, shares: np.ndarray, texts: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    """A matrix with a text in each cell; the darker, the more."""
    axes.imshow(shares, cmap=_MAP, vmin=0, vmax=1)
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            colour = "white" if shares[row, column] > _DARK else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    _named(axes, names)


def _named(axes: Axes, names: Sequence[str]) -> None:
    shown = [shortened(name, _CELL) for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), shown, fontsize=7)


def attention_sequences(cases: Sequence[SeenCase]) -> Figure:
    """Each case with its numbered gazes, then the attention map of each: what it is said to show stands above it.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Fig. 7 and 8
    """
    steps = max(len(case.gazes) for case in cases)
    figure, grid = panels(len(cases) * (steps + 1), columns=steps + 1, width=1.9, height=2.1)
    for index, case in enumerate(cases):
        row = grid[index * (steps + 1) : (index + 1) * (steps + 1)]
        draw_gazes(row[0], case, title=f"{case.name}\n{heading(case)}")
        for axes, gaze in zip(row[1:], case.gazes, strict=False):
            draw_map(axes, case.image, gaze.attention)
            axes.set_title(f"{gaze.structure} {gaze.probability:.2f}" if gaze.structure else "", fontsize=7)
    return figure


def evidence_in_cases(cases: Sequence[SeenCase]) -> Figure:
    """Each case, then where in it the evidence lies for what is said of each task, the diagnosis first."""
    columns = 1 + min(EVIDENCE_AT_MOST, max(len(case.evidence) for case in cases))
    width = max(1.7, min(2.6, 10.2 / columns))
    figure, grid = panels(len(cases) * columns, columns=columns, width=width, height=width + 0.3)
    for axes in grid:
        axes.set_axis_off()
    for index, case in enumerate(cases):
        row = grid[index * columns : (index + 1) * columns]
        row[0].imshow(case.image)
        row[0].set_title(f"{shortened(case.name)}\n{heading(case)}", fontsize=6.5, color=colour_of(case.is_right(case.diagnosis)))
        draw_evidence(row[1:], case)
    return figure


def draw_evidence(grid: Sequence[Axes], case: SeenCase) -> int:
    """The image under a map of where the evidence lies, a task each, the diagnosis first; gives how many found no room."""
    tasks = sorted(case.evidence, key=lambda task: task != case.diagnosis)
    for axes, task in zip(grid, tasks, strict=False):
        evidence = case.evidence[task].evidence
        largest, size = float(np.abs(evidence).max()), case.image.shape[0]
        axes.imshow(case.image.mean(-1), cmap="gray", vmin=0, vmax=255, alpha=0.6)
        axes.imshow(
            evidence,
            cmap=_CHANGE,
            vmin=-largest,
            vmax=largest,
            alpha=np.sqrt(np.abs(evidence) / largest),
            extent=(0, size, size, 0),
            interpolation="bilinear",
        )
        axes.set_axis_off()
        axes.set_title(f"{shortened(task, 14)}: {shortened(case.said(task), 10)}", fontsize=7)
    return max(0, len(tasks) - len(grid))


def draw_map(axes: Axes, image: np.ndarray, weights: np.ndarray) -> None:
    """A map over the image: the brighter, the more."""
    size = image.shape[0]
    axes.imshow(image, alpha=0.55)
    axes.imshow(weights, cmap="inferno", alpha=0.6, extent=(0, size, size, 0), interpolation="bilinear")
    axes.set_axis_off()


def draw_gazes(axes: Axes, case: SeenCase, title: str) -> None:
    """The image with a dot where each gaze goes; gazes at one point share a dot. The title's colour says whether it is right."""
    size, colour = case.image.shape[0], colour_of(case.is_right(case.diagnosis))
    axes.imshow(case.image)
    numbers: dict[tuple[float, float], list[int]] = {}
    for number, gaze in enumerate(case.gazes, start=1):
        numbers.setdefault((gaze.x * size, gaze.y * size), []).append(number)
    axes.plot([gaze.x * size for gaze in case.gazes], [gaze.y * size for gaze in case.gazes], color="white", linewidth=1)
    for (x, y), found in numbers.items():
        text = ", ".join(map(str, found))
        if len(found) > 2 and found[-1] - found[0] == len(found) - 1:
            text = f"{found[0]}…{found[-1]}"
        axes.text(x, y, text, fontsize=6.5, ha="center", va="center", color="white", bbox=_DOT, clip_on=False)
    axes.set_title(title, fontsize=6.5, color=colour)
    axes.set_axis_off()


def heading(case: SeenCase) -> str:
    """The diagnosis that is true, where it is known, and the one that is said."""
    said = case.said(case.diagnosis)
    truth = f", truth: {shortened(case.truths[case.diagnosis])}" if case.diagnosis in case.truths else ""
    return f"said: {shortened(said)} {case.probabilities[case.diagnosis][said]:.2f}{truth}"


def colour_of(right: bool | None) -> str:
    """Green for what is right, red for what is wrong, black for what nobody knows."""
    return "black" if right is None else COLOURS[2] if right else COLOURS[1]


@plain_text
def pictures_of_trial(plan: Plan, trial: TrialRecord, found: Explanation | None) -> Mapping[str, Figure]:
    """Every picture that there is of a trial, by name.

    Args:    plan: of its search.
             trial: with at least one epoch.
             found: what its best checkpoint's pictures are drawn from, None without data.
    """
    pictures = {"learning_curves": learning_curves(plan, trial)}
    if found is not None and found.confusions:
        pictures["confusion"] = confusion_matrices(found)
    if found is not None and found.sharing is not None:
        pictures |= pictures_of_sharing(found.sharing)
    if found is not None and any(case.evidence for case in found.cases):
        pictures["evidence"] = evidence_in_cases(found.cases)
    if found is not None and any(case.gazes for case in found.cases):
        pictures["attention"] = attention_sequences(found.cases)
    return pictures
