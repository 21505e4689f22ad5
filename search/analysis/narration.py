"""What tasks share, in words: what training has made of it, never what was there before."""

from collections.abc import Sequence

import numpy as np

from search.analysis.common_explanations import SharingSpread
from trainables.explanation import Explanation
from trainables.sharing import MOVED, Sharing

_PAIRS = 5
#: Two tasks have two numbers, whose correlation says nothing.
_FEWEST_TASKS = 3
_NO_START = "What was shared before training is not recorded here, so nothing is said of what was learnt (train anew)."


def model_text(found: Explanation) -> str:
    """What is to be said of a model as a whole: what its tasks have learnt to share, or why there is nothing to explain."""
    told = [found.note] if found.note else []
    if found.sharing is not None:
        told.append(sharing_text(found.sharing))
    return " ".join(told)


def sharing_text(sharing: Sharing) -> str:
    """One network's change since its start in words."""
    change, start = sharing.change, sharing.start
    if change is None or start is None:
        return _NO_START
    if not sharing.moved:
        return (
            "Nothing was learnt to be shared that its start did not have: no task takes of another"
            f" {100 * MOVED:.0f} percentage points more or less than before training."
        )
    off = ~np.eye(len(sharing.tasks), dtype=bool)
    parts = [
        f"Before training a task took {100 * start.mean(0)[off].mean():.0f} % of another's features on average, now"
        f" {100 * sharing.blocks.mean(0)[off].mean():.0f} %."
    ]
    for sign, word in ((1, "More"), (-1, "Less")):
        pairs = _pairs(sharing.tasks, change, sign)
        parts.append(f"{word} than before: {', '.join(pairs)} (percentage points)." if pairs else f"None takes {word.lower()}.")
    if sharing.early is not None and len(sharing.tasks) >= _FEWEST_TASKS:
        epoch, correlation = sharing.early
        parts.append(
            f"The change after epoch {epoch} correlates {correlation:.2f} with this one: what moves so early follows the initial"
            " weights too."
        )
    parts.append("This is one network; whether another seed learns the same, `dermtune confirm` and the report say.")
    return " ".join(parts)


def _pairs(tasks: Sequence[str], change: np.ndarray, sign: int) -> list[str]:
    chosen = [tuple(pair) for pair in np.argwhere(sign * change >= MOVED).tolist() if pair[0] != pair[1]]
    chosen.sort(key=lambda pair: -sign * float(change[pair]))
    return [f"{tasks[i]} of {tasks[j]} {100 * change[i, j]:+.0f}" for i, j in chosen[:_PAIRS]]


def spread_text(spread: SharingSpread) -> str:
    """What several networks have learnt to share, and only what they agree on."""
    networks = f"the {spread.num_networks} networks"
    if spread.changes is None:
        return _NO_START
    if not spread.moved:
        return (
            f"Nothing was learnt to be shared that the start did not have: in none of {networks} does a task take of another"
            f" {100 * MOVED:.0f} percentage points more or less than before training."
        )
    if len(spread.tasks) < _FEWEST_TASKS:
        return f"Whether {networks} learnt the same cannot be told from {len(spread.tasks)} tasks: their correlation is 1 or -1."
    if spread.stability is None or spread.chance is None:
        return f"Whether {networks} learnt the same cannot be told: one of them changed everything alike."
    against = (
        f"the mean correlation of two networks' changes since their start is {spread.stability:.2f}; with their tasks renamed at"
        f" random it is below {spread.chance:.2f} in 95 % of cases"
    )
    if not spread.agreed:
        return (
            f"Nothing can be said of who takes what: {networks} do not agree more than chance would have it ({against}). What one"
            " of them shares is its own, from its initial weights or its configuration."
        )
    parts = [f"{networks[0].upper()}{networks[1:]} agree on who takes what ({against})."]
    for sign, word in ((1, "More"), (-1, "Less")):
        pairs = [f"{i} of {j} {100 * mean:+.0f} ± {100 * sd:.0f}" for i, j, mean, sd in spread.changed(sign, _PAIRS)]
        if pairs:
            parts.append(f"{word} than before training in all of them: {', '.join(pairs)} (percentage points, mean ± deviation).")
    if len(parts) == 1:
        parts.append(f"No pair moved by {100 * MOVED:.0f} percentage points on average and in one direction in all of them.")
    return " ".join(parts)
