"""What a checkpoint says of a split, case by case: as a table, and as ROC curves."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import auc, roc_curve

from search.analysis import figures
from search.analysis.figures import COLOURS, panels, plain_text, shortened
from trainables.evaluation import CasePredictions

_STYLES = ("-", "--", ":", "-.")


def predictions_table(predictions: Sequence[CasePredictions]) -> pd.DataFrame:
    """A row for each case and task: `case`, `group` (whose it is, where that is known), `task`, `truth` (empty where unknown),
    `prediction`, and `probability/<class>` for every class that some task has (empty for those of other tasks).

    Args:    predictions: a task each.
    """
    rows = [row for of_task in predictions for row in _rows(of_task)]
    classes = dict.fromkeys(name for of_task in predictions for name in of_task.classes)
    groups = ["group"] if any(of_task.groups for of_task in predictions) else []
    return pd.DataFrame(
        rows, columns=["case", *groups, "task", "truth", "prediction", *(f"probability/{name}" for name in classes)]
    )


def _rows(of_task: CasePredictions) -> Iterator[dict[str, object]]:
    groups = of_task.groups or ("",) * len(of_task.cases)
    for case, group, code, probabilities in zip(of_task.cases, groups, of_task.truths, of_task.probabilities, strict=True):
        said = of_task.classes[int(np.argmax(probabilities))]
        named = {f"probability/{name}": float(p) for name, p in zip(of_task.classes, probabilities, strict=True)}
        truth = of_task.classes[int(code)] if code >= 0 else None
        yield {"case": case, "group": group, "task": of_task.task, "truth": truth, "prediction": said, **named}


def write_predictions(predictions: Sequence[CasePredictions], file: Path) -> None:
    """Writes `predictions_table` as CSV.

    Args:    predictions: a task each.
             file: replaced if it is there.
    """
    predictions_table(predictions).to_csv(file, index=False)


def write_curves(predictions: Sequence[CasePredictions], file: Path) -> None:
    """Draws the ROC curves.

    Args:    predictions: a task each.
             file: a name that ends in .png or .svg; replaced if it is there.
    """
    figure = roc_curves(predictions)
    file.write_bytes(figures.svg(figure).encode() if file.suffix.lower() == ".svg" else figures.png(figure))


@plain_text
def roc_curves(predictions: Sequence[CasePredictions]) -> Figure:
    """A panel a task: each class against all others, with its area; of two classes the second one only.

    Args:    predictions: a task each.
    """
    figure, grid = panels(len(predictions), columns=4, width=3.0, height=3.2)
    for axes, of_task in zip(grid, predictions, strict=True):
        axes.set_title(shortened(of_task.task), fontsize=9)
        axes.set_aspect("equal")
        _draw(axes, of_task)
    figure.supxlabel("1 − specificity", fontsize=9)
    figure.supylabel("sensitivity", fontsize=9)
    return figure


def _draw(axes: Axes, of_task: CasePredictions) -> None:
    known = of_task.truths >= 0
    truths, probabilities = of_task.truths[known], of_task.probabilities[known]
    shown = range(len(of_task.classes)) if len(of_task.classes) > 2 else range(len(of_task.classes))[1:]
    drawn = [code for code in shown if 0 < int((truths == code).sum()) < len(truths)]
    if not drawn:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no ROC curve:\nall known labels are alike", ha="center", va="center", fontsize=8)
        return
    for place, code in enumerate(drawn):
        fpr, tpr, _ = roc_curve(truths == code, probabilities[:, code])
        label = f"{shortened(of_task.classes[code], 14)} {auc(fpr, tpr):.3f} ({int((truths == code).sum())} of {len(truths)})"
        style = _STYLES[place // len(COLOURS) % len(_STYLES)]
        axes.plot(fpr, tpr, color=COLOURS[place % len(COLOURS)], linestyle=style, label=label, linewidth=1.4)
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8, zorder=0)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.tick_params(labelsize=7)
    axes.legend(frameon=False, fontsize=6.5, loc="lower right", title="area (cases)", title_fontsize=6.5)
    axes.spines[["top", "right"]].set_visible(False)
