"""From which probability on a case is called melanoma: chosen once, on validation, and kept beside the checkpoint."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from search.errors import PlanError
from trainables.bootstrap import bootstrap
from trainables.counted import of_all, ratio
from trainables.data.cases import class_in_question
from trainables.data.primary import likely_primary
from trainables.errors import CheckpointError
from trainables.evaluation import CasePredictions
from trainables.folders import write_file
from trainables.resampling import group_codes

FILE = "operating_point.json"
_RULE = re.compile(r"(?P<kind>specificity|sensitivity|cost):(?P<number>\d+(?:\.\d+)?)")
RULES = "specificity:0.95, sensitivity:0.95, youden or cost:5 (a missed case costs five false alarms)"


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it did where it was chosen.

    Args:    task, label: whose probability it is of.
             rule: by which it was chosen.
             threshold: a case at or above it is called so.
             split: on which it was chosen.
             num_cases, num_positive: there, and of the class.
             sensitivity, specificity: there; chosen on these cases, they flatter.
    """

    task: str
    label: str
    rule: str
    threshold: float
    split: str
    num_cases: int
    num_positive: int
    sensitivity: float
    specificity: float

    def write(self, checkpoint: Path) -> None:
        """Keeps it beside a checkpoint's own files, which stay as the ledger names them."""
        write_file(checkpoint / FILE, (json.dumps(asdict(self), indent=1) + "\n").encode())


def read_operating_point(checkpoint: Path) -> OperatingPoint | None:
    """What was kept beside a checkpoint, None where nothing was.

    Raises:  CheckpointError: when the file is damaged.
    """
    try:
        return OperatingPoint(**json.loads((checkpoint / FILE).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{checkpoint / FILE} must be what `best --operating-point` wrote; got {error}") from error


def check_rule(rule: str) -> None:
    """Raises:  PlanError: when there is no such rule."""
    found = _RULE.fullmatch(rule)
    share = found is not None and found["kind"] != "cost"
    if rule != "youden" and (found is None or (share and not 0 < float(found["number"]) < 1) or not float(found["number"])):
        raise PlanError(f"--operating-point must be {RULES}; got {rule!r}")


def choose(predictions: Sequence[CasePredictions], rule: str, split: str) -> OperatingPoint:
    """The threshold of melanoma in the diagnosis, or of the second of its two classes.

    Args:    predictions: a task each.
             rule: see `RULES`.
             split: that they are of.
    Raises:  PlanError: when there is no such rule, no such class, or one kind of case is missing.
    """
    check_rule(rule)
    found = likely_primary([each.task for each in predictions])
    each = next((one for one in predictions if one.task == found), None)
    code = None if each is None else class_in_question(each.classes)
    if each is None or code is None:
        raise PlanError("--operating-point must be of a diagnosis with melanoma, or with two classes; got tasks without one")
    known = each.truths >= 0
    scores, positive = each.probabilities[known, code].astype(float), each.truths[known] == code
    if not positive.any() or positive.all():
        raise PlanError(f"--operating-point must be chosen on cases of {each.classes[code]} and others; got one kind ({split})")
    threshold = _threshold(scores, positive, rule)
    called = scores >= threshold
    return OperatingPoint(
        each.task,
        each.classes[code],
        rule,
        threshold,
        split,
        len(positive),
        int(positive.sum()),
        float(called[positive].mean()),
        float((~called[~positive]).mean()),
    )


def _threshold(scores: Float[np.ndarray, " cases"], positive: Bool[np.ndarray, " cases"], rule: str) -> float:
    """The highest score that does best by the rule; of several that do, the one with most specificity."""
    candidates = np.unique(scores)[::-1]
    sensitivity = np.array([(scores[positive] >= candidate).mean() for candidate in candidates])
    specificity = np.array([(scores[~positive] < candidate).mean() for candidate in candidates])
    kind, _, number = rule.partition(":")
    if kind == "specificity":
        kept = np.flatnonzero(specificity >= float(number) - 1e-12)
        # Where not even the highest score keeps it, nothing is called so.
        return float(candidates[kept[-1]]) if len(kept) else float(np.nextafter(candidates[0], np.inf))
    if kind == "sensitivity":
        return float(candidates[np.flatnonzero(sensitivity >= float(number) - 1e-12)[0]])
    weight = 1.0 if kind == "youden" else float(number) * positive.sum() / (~positive).sum()
    return float(candidates[int(np.argmax(weight * sensitivity + specificity))])


def at_operating_point(point: OperatingPoint, predictions: Sequence[CasePredictions]) -> dict[str, Any]:
    """Sensitivity and specificity on other cases at a threshold that they did not choose, with 95 % bootstrap intervals,
    over groups where cases come in such.

    Args:    point: chosen before.
             predictions: a task each, one of which is the point's.
    Returns: JSON values; an interval is None where nearly every resample gives the same.
    Raises:  CheckpointError: when nothing is said of the point's class.
    """
    each = next((one for one in predictions if one.task == point.task and point.label in one.classes), None)
    if each is None:
        raise CheckpointError(f"{FILE} must be of a class that the checkpoint knows; got {point.label} in {point.task}")
    known = each.truths >= 0
    code = each.classes.index(point.label)
    positive, called = each.truths[known] == code, each.probabilities[known, code] >= point.threshold

    def measure(counts: Int[np.ndarray, "resamples cases"]) -> dict[str, Float[np.ndarray, " resamples"]]:
        return {
            "sensitivity": ratio(counts @ (called & positive).astype(int), counts @ positive.astype(int)),
            "specificity": ratio(counts @ (~called & ~positive).astype(int), counts @ (~positive).astype(int)),
        }

    if not known.any():
        return {**asdict(point), "measured": {}}
    groups = group_codes([group for group, one in zip(each.groups, known, strict=True) if one]) if each.groups else None
    values, intervals = of_all(measure, len(positive)), bootstrap(len(positive), measure, groups=groups)
    return {**asdict(point), "measured": {n: {"value": value, "interval": intervals.get(n)} for n, value in values.items()}}


def called(point: OperatingPoint, row: dict[str, Any]) -> dict[str, Any]:
    """What a prediction of one image is at the operating point, as JSON values."""
    probability = row["probabilities"][point.task][point.label]
    return {
        "label": point.label,
        "called": bool(probability >= point.threshold),
        "probability": probability,
        "threshold": point.threshold,
        "rule": point.rule,
    }
