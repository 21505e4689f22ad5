"""Classification metrics per task and over tasks, of several resamples at once (`trainables.counted`). Missing labels are left
out; a metric that has no meaning in a resample is NaN."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from trainables import seven_point
from trainables.counted import mean_of, numbers, ratio, sums
from trainables.data.cases import MISSING, LabelTask, melanoma_class
from trainables.names import escaped

CALIBRATION_BINS = 10
SPECIFICITY = 0.95


def auroc(
    score: Float[np.ndarray, " cases"], positive: Bool[np.ndarray, " cases"], counts: Int[np.ndarray, "resamples cases"]
) -> Float[np.ndarray, " resamples"]:
    """Area under the ROC curve by ranks (Mann–Whitney), ties counted half; NaN without both kinds of case."""
    return np.asarray(_aurocs(score[:, None], positive[:, None], counts)[0])


def _aurocs(
    scores: Float[np.ndarray, "cases columns"],
    positive: Bool[np.ndarray, "cases columns"],
    counts: Int[np.ndarray, "resamples cases"],
) -> Float[np.ndarray, "columns resamples"]:
    """`auroc` of each column, at once."""
    # By hand, as is what follows: scikit-learn takes a second of every trial process's start.
    order, columns = np.argsort(scores.T, axis=1), np.arange(scores.shape[1])
    ranked, found = (values.T[columns[:, None], order] for values in (scores, positive))
    # Column after column: the places between its cases, from before the first to after the last.
    shape = len(columns), len(scores) + 1
    hit, starts = np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)
    hit[:, :-1] = found
    starts[:, 1:-1] = ranked[:, 1:] != ranked[:, :-1]  # of the cases that share a score
    places, edges = np.flatnonzero(hit), np.flatnonzero(starts)
    group = np.searchsorted(edges, places, side="right")
    negatives = np.zeros((len(counts), *shape), dtype=np.int64)  # counted up to each place
    np.cumsum(np.where(found, 0, counts[:, order]), axis=2, out=negatives[..., 1:])
    below, up_to = (negatives.reshape(len(counts), -1)[:, edges[each]] for each in (group - 1, group))
    twice = numbers(counts[:, order[found]] * (below + up_to), (places // shape[1])[:, None] == columns)
    num_negative = negatives[..., -1]
    return ratio(twice, 2 * (counts.sum(1)[:, None] - num_negative) * num_negative).T


def average_precision(
    score: Float[np.ndarray, " cases"], positive: Bool[np.ndarray, " cases"], counts: Int[np.ndarray, "resamples cases"]
) -> Float[np.ndarray, " resamples"]:
    """Sum over thresholds of the precision times what recall gains there, scikit-learn's; NaN without a positive case."""
    order = np.argsort(-score, kind="stable")
    ranked, weights = -score[order], counts[:, order]
    hit = positive[order]
    last = np.searchsorted(ranked, ranked[hit], side="right") - 1  # of the cases that share a positive's threshold
    called, found = np.cumsum(weights, axis=1)[:, last], np.cumsum(weights * hit, axis=1)[:, last]
    gained = np.einsum("rc,rc->r", weights[:, hit].astype(float), found / np.maximum(called, 1))
    return ratio(gained, weights[:, hit].sum(1))


def macro_auroc(
    probabilities: Float[np.ndarray, "cases classes"],
    codes: Int[np.ndarray, " cases"],
    counts: Int[np.ndarray, "resamples cases"],
) -> Float[np.ndarray, " resamples"]:
    """Mean over classes of one-against-rest AUROC; a class that no case or every case has is left out."""
    return mean_of(_aurocs(probabilities, codes[:, None] == np.arange(probabilities.shape[1]), counts))


def auroc_mean(
    probabilities: Float[np.ndarray, "cases tasks classes"],
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    counts: Int[np.ndarray, "resamples cases"],
) -> Float[np.ndarray, " resamples"]:
    """Mean over tasks of `macro_auroc` over each one's labelled cases; NaN where no task has one."""
    areas = [np.full(len(counts), np.nan)]
    for index, (task, known) in enumerate(zip(tasks, (codes != MISSING).T, strict=True)):
        if known.any():
            areas.append(macro_auroc(probabilities[known, index, : len(task.classes)], codes[known, index], counts[:, known]))
    return mean_of(np.array(areas[1:] or areas))


def sensitivity_at_specificity(
    score: Float[np.ndarray, " cases"],
    positive: Bool[np.ndarray, " cases"],
    counts: Int[np.ndarray, "resamples cases"],
    specificity: float = SPECIFICITY,
) -> Float[np.ndarray, " resamples"]:
    """Largest share of positives found by a threshold that keeps the specificity; NaN without both kinds of case."""
    order = np.flatnonzero(~positive)
    order = order[np.argsort(-score[order])]
    negatives, weights = counts[:, order], counts[:, positive]
    allowed = np.floor((1 - specificity) * negatives.sum(1) + 1e-9).astype(np.int64)
    # The negative beyond those that may lie above the threshold; where there is no negative, none.
    highest = (np.cumsum(negatives, axis=1) <= allowed[:, None]).sum(1)
    threshold = np.append(score[order], np.inf)[highest]
    found = (weights * (score[positive] > threshold[:, None])).sum(1)
    return np.where(negatives.any(1), ratio(found, weights.sum(1)), np.nan)


def calibration_error(
    probabilities: Float[np.ndarray, "cases classes"],
    codes: Int[np.ndarray, " cases"],
    counts: Int[np.ndarray, "resamples cases"],
) -> Float[np.ndarray, " resamples"]:
    """Expected calibration error of the predicted class over ten equal bins of confidence; NaN without a case.

    Source: Guo et al. 2017, Eq. 3
    Deviations: a bin holds its lower bound instead of its upper one.
    """
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == codes
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = sums(counts, ((confidence - correct) * (bins == np.arange(CALIBRATION_BINS)[:, None])).T)
    return ratio(np.abs(gaps).sum(1), counts.sum(1))


def confusion(
    codes: Int[np.ndarray, " cases"], probabilities: Float[np.ndarray, "cases padded"], num_classes: int
) -> list[list[int]]:
    """Cases by truth (rows) and by the most probable class (columns); missing labels are left out."""
    known = codes != MISSING
    said = probabilities[known, :num_classes].argmax(1)
    counts = np.bincount(codes[known] * num_classes + said, minlength=num_classes**2)
    return [[int(count) for count in row] for row in counts.reshape(num_classes, num_classes)]


def task_metrics(
    probabilities: Float[np.ndarray, "cases classes"],
    codes: Int[np.ndarray, " cases"],
    counts: Int[np.ndarray, "resamples cases"],
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Accuracy, macro recall / precision / F1, macro one-against-rest AUROC and calibration error of one task.

    Source: Coppola et al. 2020, Table 2 (recall and precision are macro averages); F1 from the authors' code
    Deviations: classes that occur neither among labels nor predictions are left out of the averages, as scikit-learn does;
        a class without a case is left out of recall.

    Args:    probabilities: rows sum to 1.
             codes: class codes, none missing.
             counts: how often each case counts.
    """
    classes = np.arange(probabilities.shape[1])
    truth, said = codes[:, None] == classes, probabilities.argmax(1)[:, None] == classes
    table = numbers(counts, np.concatenate([truth & said, truth, said], axis=1))
    hits, actual, guessed = table.reshape(len(counts), 3, -1).transpose(1, 2, 0)
    # The precision of a class that occurs and is never predicted is 0, which is what its hits are by any divisor.
    shares = ratio(np.array([hits, hits, 2 * hits]), np.array([actual, np.where(guessed > 0, guessed, actual), actual + guessed]))
    recall, precision, f1 = mean_of(shares.swapaxes(0, 1))
    return {
        "accuracy": ratio(hits.sum(0), counts.sum(1)),
        "recall": recall,
        "precision": precision,
        "f1": f1,
        "calibration_error": calibration_error(probabilities, codes, counts),
        "auroc": macro_auroc(probabilities, codes, counts),
    }


def classification_metrics(
    probabilities: Float[np.ndarray, "cases tasks classes"],
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    primary: str,
    counts: Int[np.ndarray, "resamples cases"],
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Every metric of a split, named without the split: `PN/recall`, `auroc_mean`, `criteria/recall`, `melanoma/auroc`,
    `seven_point/...`. A task's name is `escaped`, so that ledger, Optuna and MLflow call each metric the same.

    Args:    probabilities: zero where a task has fewer classes than the largest.
             codes: class codes, -1 where missing.
             tasks: names and classes.
             primary: the task that is the diagnosis.
             counts: how often each case counts.
    Returns: metrics of tasks that have a label, whatever the counts.
    """
    found: dict[str, dict[str, Float[np.ndarray, " resamples"]]] = {}
    for column, (task, known) in enumerate(zip(tasks, (codes != MISSING).T, strict=True)):
        if known.any():
            said = probabilities[known, column, : len(task.classes)]
            found[escaped(task.name)] = task_metrics(said, codes[known, column], counts[:, known])
    metrics = {f"{task}/{name}": value for task, values in found.items() for name, value in values.items()}
    if found:
        names = [f"{name}_mean" for name in next(iter(found.values()))]
        metrics |= dict(zip(names, mean_of(np.array([list(values.values()) for values in found.values()])), strict=True))
    metrics |= _criteria_metrics(metrics)
    metrics |= _melanoma_metrics(probabilities, codes, tasks, primary, counts)
    for name, matrix in seven_point_confusions(probabilities, codes, tasks, primary, counts).items():
        metrics |= {f"seven_point/{key}_{name}": value for key, value in _rates(matrix).items()}
    return metrics


def _criteria_metrics(found: Mapping[str, Float[np.ndarray, " resamples"]]) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Means over the seven criteria, without the diagnosis (Coppola et al. 2020, Table 2, last column); nothing without all."""
    names = {key: [f"{task}/{key}" for task in seven_point.POINTS] for key in ("accuracy", "recall", "precision")}
    return {
        f"criteria/{key}": np.array([found[name] for name in every]).mean(0)
        for key, every in names.items()
        if all(name in found for name in every)
    }


def _melanoma_metrics(
    probabilities: Float[np.ndarray, "cases tasks classes"],
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    primary: str,
    counts: Int[np.ndarray, "resamples cases"],
) -> dict[str, Float[np.ndarray, " resamples"]]:
    column = [task.name for task in tasks].index(primary)
    melanoma = melanoma_class(tasks[column].classes)
    if melanoma is None:
        return {}
    known = codes[:, column] != MISSING
    score, positive, weights = probabilities[known, column, melanoma], codes[known, column] == melanoma, counts[:, known]
    return {
        "melanoma/auroc": auroc(score, positive, weights),
        "melanoma/average_precision": average_precision(score, positive, weights),
        "melanoma/sensitivity_at_95_specificity": sensitivity_at_specificity(score, positive, weights),
    }


def seven_point_confusions(
    probabilities: Float[np.ndarray, "cases tasks classes"],
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    primary: str,
    counts: Int[np.ndarray, "resamples cases"],
) -> Mapping[str, Int[np.ndarray, "resamples 2 2"]]:
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
    codes_said = [probabilities[known, index, : len(task.classes)].argmax(1) for index, task in enumerate(tasks)]
    said = {task.name: np.array(task.classes)[most] for task, most in zip(tasks, codes_said, strict=True)}
    score, truth = seven_point.scores(said), codes[known, column] == melanoma
    guesses = {str(t): seven_point.inferred_melanoma(score, t) for t in seven_point.THRESHOLDS}
    guesses["direct"] = said[primary] == tasks[column].classes[melanoma]
    return {name: seven_point.confusion(truth, guess, counts[:, known]) for name, guess in guesses.items()}


def annotated_seven_points(
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    primary: str,
    counts: Int[np.ndarray, "resamples cases"],
) -> Mapping[str, Int[np.ndarray, "resamples 2 2"]]:
    """Melanoma by the checklist over the annotated criteria, where all of them and the diagnosis are (Table 3, GT).

    Args:    codes, tasks, primary, counts: see `classification_metrics`.
    Returns: "1", "3" → [[TN, FP], [FN, TP]]; empty where there is nothing to say.
    """
    columns = [index for index, task in enumerate(tasks) if task.name in seven_point.POINTS or task.name == primary]
    whole = (codes[:, columns] != MISSING).all(1)
    certain = np.maximum(codes[whole], 0)[..., None] == np.arange(max(len(task.classes) for task in tasks))
    found = seven_point_confusions(certain.astype(float), codes[whole], tasks, primary, counts[:, whole])
    return {name: matrix for name, matrix in found.items() if name != "direct"}


def _rates(matrix: Int[np.ndarray, "resamples 2 2"]) -> dict[str, Float[np.ndarray, " resamples"]]:
    (true_negative, false_positive), (false_negative, true_positive) = matrix.transpose(1, 2, 0)
    right = np.array([true_negative + true_positive, true_positive, true_negative])
    of = np.array([matrix.sum((1, 2)), false_negative + true_positive, true_negative + false_positive])
    return dict(zip(("accuracy", "sensitivity", "specificity"), ratio(right, of), strict=True))
