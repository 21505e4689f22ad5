"""Classification metrics per task and over tasks. Missing labels are left out; a metric that has no meaning is absent."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from trainables import seven_point
from trainables.data.cases import MISSING, LabelTask, melanoma_class
from trainables.names import escaped
from trainables.resampling import Resampling

CALIBRATION_BINS = 10
SPECIFICITY = 0.95


def auroc(score: Float[np.ndarray, " cases"], positive: Bool[np.ndarray, " cases"]) -> float | None:
    """Area under the ROC curve by ranks (Mann–Whitney), ties counted half; None without both kinds of case."""
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return None
    # By hand, as is what follows: scikit-learn takes a second of every trial process's start.
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = ranks[place][positive].sum()
    return float((rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def average_precision(score: Float[np.ndarray, " cases"], positive: Bool[np.ndarray, " cases"]) -> float | None:
    """Sum over thresholds of the precision times what recall gains there, scikit-learn's; None without a positive case."""
    if not positive.any():
        return None
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of the cases that share a threshold
    found = np.cumsum(positive[order])[last]
    return float((np.diff(found, prepend=0) / found[-1] * found / (last + 1)).sum())


def macro_auroc(probabilities: Float[np.ndarray, "cases classes"], codes: Int[np.ndarray, " cases"]) -> float | None:
    """Mean over classes of one-against-rest AUROC; a class that no case or every case has is left out."""
    areas = [auroc(probabilities[:, code], codes == code) for code in range(probabilities.shape[1])]
    found = [area for area in areas if area is not None]
    return float(np.mean(found)) if found else None


def auroc_mean(
    probabilities: Float[np.ndarray, "cases tasks classes"], codes: Int[np.ndarray, "cases tasks"], tasks: Sequence[LabelTask]
) -> float | None:
    """Mean over tasks of `macro_auroc` over each one's labelled cases; None where no task has one."""
    columns = ((probabilities[:, index, : len(task.classes)], codes[:, index]) for index, task in enumerate(tasks))
    areas = [macro_auroc(said[labels != MISSING], labels[labels != MISSING]) for said, labels in columns]
    found = [area for area in areas if area is not None]
    return float(np.mean(found)) if found else None


def sensitivity_at_specificity(
    score: Float[np.ndarray, " cases"], positive: Bool[np.ndarray, " cases"], specificity: float = SPECIFICITY
) -> float | None:
    """Largest share of positives found by a threshold that keeps the specificity; None without both kinds of case."""
    negatives = np.sort(score[~positive])[::-1]
    if not len(negatives) or not positive.any():
        return None
    allowed = int(np.floor((1 - specificity) * len(negatives) + 1e-9))
    return float((score[positive] > negatives[allowed]).mean())


def calibration_error(probabilities: Float[np.ndarray, "cases classes"], codes: Int[np.ndarray, " cases"]) -> float:
    """Expected calibration error of the predicted class over ten equal bins of confidence.

    Source: Guo et al. 2017, Eq. 3
    Deviations: a bin holds its lower bound instead of its upper one.
    """
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == codes
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, confidence - correct, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(codes))


def confusion(
    codes: Int[np.ndarray, " cases"], probabilities: Float[np.ndarray, "cases padded"], num_classes: int
) -> list[list[int]]:
    """Cases by truth (rows) and by the most probable class (columns); missing labels are left out."""
    known = codes != MISSING
    said = probabilities[known, :num_classes].argmax(1)
    counts = np.bincount(codes[known] * num_classes + said, minlength=num_classes**2)
    return [[int(count) for count in row] for row in counts.reshape(num_classes, num_classes)]


def task_metrics(probabilities: Float[np.ndarray, "cases classes"], codes: Int[np.ndarray, " cases"]) -> dict[str, float]:
    """Accuracy, macro recall / precision / F1, macro one-against-rest AUROC and calibration error of one task.

    Source: Coppola et al. 2020, Table 2 (recall and precision are macro averages); F1 from the authors' code
    Deviations: classes that occur neither among labels nor predictions are left out of the averages, as scikit-learn does;
        a class without a case is left out of recall.

    Args:    probabilities: rows sum to 1.
             codes: class codes, none missing, at least one case.
    """
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    hits = np.bincount(codes[predicted == codes], minlength=num_classes)
    actual, guessed = np.bincount(codes, minlength=num_classes), np.bincount(predicted, minlength=num_classes)
    seen = (actual + guessed) > 0
    metrics = {
        "accuracy": float(hits.sum() / len(codes)),
        "recall": float((hits[actual > 0] / actual[actual > 0]).mean()),
        "precision": float((hits[seen] / np.maximum(guessed[seen], 1)).mean()),
        "f1": float((2 * hits[seen] / (actual + guessed)[seen]).mean()),
        "calibration_error": calibration_error(probabilities, codes),
    }
    area = macro_auroc(probabilities, codes)
    return metrics if area is None else {**metrics, "auroc": area}


def classification_metrics(
    probabilities: Float[np.ndarray, "cases tasks classes"],
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    primary: str,
) -> dict[str, float]:
    """Every metric of a split, named without the split: `PN/recall`, `auroc_mean`, `criteria/recall`, `melanoma/auroc`,
    `seven_point/...`. A task's name is `escaped`, so that ledger, Optuna and MLflow call each metric the same.

    Args:    probabilities: zero where a task has fewer classes than the largest.
             codes: class codes, -1 where missing.
             tasks: names and classes.
             primary: the task that is the diagnosis.
    """
    metrics: dict[str, float] = {}
    per_task: dict[str, list[float]] = {}
    for column, task in enumerate(tasks):
        known = codes[:, column] != MISSING
        if not known.any():
            continue
        values = task_metrics(probabilities[known, column, : len(task.classes)], codes[known, column])
        for name, value in values.items():
            metrics[f"{escaped(task.name)}/{name}"] = value
            per_task.setdefault(name, []).append(value)
    metrics |= {f"{name}_mean": float(np.mean(values)) for name, values in per_task.items()}
    metrics |= _criteria_metrics(metrics)
    metrics |= _melanoma_metrics(probabilities, codes, tasks, primary)
    for name, matrix in seven_point_confusions(probabilities, codes, tasks, primary).items():
        metrics |= {f"seven_point/{key}_{name}": value for key, value in _rates(matrix).items()}
    return metrics


def _criteria_metrics(found: Mapping[str, float]) -> dict[str, float]:
    """Means over the seven criteria, without the diagnosis (Coppola et al. 2020, Table 2, last column); nothing without all."""
    names = {key: [f"{task}/{key}" for task in seven_point.POINTS] for key in ("accuracy", "recall", "precision")}
    return {
        f"criteria/{key}": float(np.mean([found[name] for name in every]))
        for key, every in names.items()
        if all(name in found for name in every)
    }


def _melanoma_metrics(
    probabilities: Float[np.ndarray, "cases tasks classes"],
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    primary: str,
) -> dict[str, float]:
    column = [task.name for task in tasks].index(primary)
    melanoma = melanoma_class(tasks[column].classes)
    if melanoma is None:
        return {}
    known = codes[:, column] != MISSING
    score, positive = probabilities[known, column, melanoma], codes[known, column] == melanoma
    found = {
        "melanoma/auroc": auroc(score, positive),
        "melanoma/average_precision": average_precision(score, positive),
        "melanoma/sensitivity_at_95_specificity": sensitivity_at_specificity(score, positive),
    }
    return {name: value for name, value in found.items() if value is not None}


def seven_point_confusions(
    probabilities: Float[np.ndarray, "cases tasks classes"],
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    primary: str,
) -> Mapping[str, list[list[int]]]:
    """Melanoma by the checklist over the predicted criteria (τ = 1 and 3) and by the primary task ("direct").

    Source: Coppola et al. 2020, Table 3
    Deviations: none; cases without a diagnosis are left out.

    Returns: "1", "3", "direct" → [[TN, FP], [FN, TP]]; empty unless the tasks are the seven criteria and a diagnosis
        with a melanoma class.
    """
    names = [task.name for task in tasks]
    column = names.index(primary)
    melanoma = melanoma_class(tasks[column].classes)
    if melanoma is None or not set(seven_point.POINTS) <= set(names):
        return {}
    known = codes[:, column] != MISSING
    predicted = {
        task.name: [task.classes[code] for code in probabilities[known, index, : len(task.classes)].argmax(1)]
        for index, task in enumerate(tasks)
    }
    score, truth = seven_point.scores(predicted), codes[known, column] == melanoma
    inferred = {str(t): seven_point.inferred_melanoma(score, t) for t in seven_point.THRESHOLDS}
    direct = probabilities[known, column, : len(tasks[column].classes)].argmax(1) == melanoma
    return {name: seven_point.confusion(truth, guess) for name, guess in {**inferred, "direct": direct}.items()}


def annotated_seven_points(
    codes: Int[np.ndarray, "cases tasks"], tasks: Sequence[LabelTask], primary: str
) -> Mapping[str, list[list[int]]]:
    """Melanoma by the checklist over the annotated criteria, where all of them and the diagnosis are (Table 3, GT).

    Args:    codes, tasks, primary: see `classification_metrics`.
    Returns: "1", "3" → [[TN, FP], [FN, TP]]; empty where there is nothing to say.
    """
    columns = [index for index, task in enumerate(tasks) if task.name in seven_point.POINTS or task.name == primary]
    whole = codes[(codes[:, columns] != MISSING).all(1)]
    certain = np.maximum(whole, 0)[..., None] == np.arange(max(len(task.classes) for task in tasks))
    found = seven_point_confusions(certain.astype(float), whole, tasks, primary)
    return {name: matrix for name, matrix in found.items() if name != "direct"}


def _rates(matrix: list[list[int]]) -> dict[str, float]:
    (true_negative, false_positive), (false_negative, true_positive) = matrix
    negatives, positives = true_negative + false_positive, false_negative + true_positive
    rates = {"accuracy": (true_negative + true_positive) / max(negatives + positives, 1)}
    if positives:
        rates["sensitivity"] = true_positive / positives
    if negatives:
        rates["specificity"] = true_negative / negatives
    return rates


def bootstrap(
    num_cases: int,
    compute: Callable[[Int[np.ndarray, " cases"]], Mapping[str, float]],
    *,
    groups: Int[np.ndarray, " cases"] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, list[float]]:
    """95 % percentile intervals over resampled cases, or groups of them, of whatever can be computed from some of them.

    Args:    num_cases: to draw from, with repetition.
             compute: indices of cases → metrics.
             groups: code of each case's group, which are drawn whole; None where every case is its own.
             resamples: bootstrap samples.
             seed: of the resampling.
    Returns: metric → [2.5 %, 97.5 %].
    """
    generator, resampling = np.random.default_rng(seed), Resampling(num_cases, groups)
    samples: dict[str, list[float]] = {}
    for _ in range(resamples):
        for name, value in compute(resampling.draw(generator)).items():
            samples.setdefault(name, []).append(value)
    return {name: [float(q) for q in np.percentile(values, (2.5, 97.5))] for name, values in samples.items()}
