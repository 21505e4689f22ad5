"""Tasks of which a model calls every case the same: their numbers look like results and are none."""

from collections.abc import Mapping, Sequence

import numpy as np

from trainables.evaluation import CasePredictions, Confusions
from trainables.explanation import Explanation
from trainables.metrics import confusion


def constant_in_evaluation(predictions: Sequence[CasePredictions]) -> list[str]:
    """A line for each task of which every case is called the same class.

    Args:    predictions: a task each; cases without a label do not count.
    """
    matrices = {
        each.task: Confusions(each.classes, {"": confusion(each.truths, each.probabilities, len(each.classes))})
        for each in predictions
    }
    return _lines(matrices)


def constant_in_explanation(found: Explanation) -> list[str]:
    """The same of a report's confusion matrices; those of masks are left out, which are not cases."""
    tasks = {task for case in found.cases for task in case.probabilities}
    return _lines({task: confusions for task, confusions in found.confusions.items() if task in tasks})


def _lines(confusions: Mapping[str, Confusions]) -> list[str]:
    found = ((task, each.classes, np.array(matrix)) for task, each in confusions.items() for matrix in each.matrices.values())
    return [line for task, classes, counts in found if (line := _line(task, classes, counts)) is not None]


def _line(task: str, classes: Sequence[str], counts: np.ndarray) -> str | None:
    """What follows where one column has all cases; None where no column has, or where that is the truth of all."""
    num_cases, called = int(counts.sum()), np.flatnonzero(counts.sum(0))
    if len(called) != 1 or num_cases < 2:
        return None
    (column,) = called.tolist()
    name, hits = classes[column], int(counts[column, column])
    if hits == num_cases:
        return None
    start = f"{task}: all {num_cases} cases are called {name}, "
    if not hits:
        return start + "which none of them is: accuracy and the sensitivity of every class are 0"
    return (
        f"{start}so its sensitivity is 1 and its specificity 0, other classes have 0 and 1, and the accuracy,"
        f" {hits / num_cases:.2f}, is only the share of {name}"
    )
