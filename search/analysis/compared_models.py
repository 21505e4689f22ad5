"""The models of a comparison: checkpoints, searches, and tables of probabilities from anywhere, brought to the same cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from search.analysis.comparison import Compared, Scores
from search.analysis.confirmed import latest_confirmation, median_run
from search.analysis.leaderboard import best_rows, open_search
from search.errors import PlanError, SearchNotFound
from trainables.data.cases import class_in_question
from trainables.data.primary import likely_primary
from trainables.data.tables import read_table
from trainables.errors import DataError
from trainables.evaluation import CasePredictions
from trainables.folders import SUMS, task_of
from trainables.resampling import group_codes
from trainables.tasks import TASKS

_PROBABILITY = "probability/"
_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True)
class Model:
    """What one model says.

    Args:    name: as it is called in the comparison.
             checkpoint: that said it, None for a table.
             predictions: a task each; a table with one column of probabilities has a task called "".
    """

    name: str
    checkpoint: Path | None
    predictions: Sequence[CasePredictions]


def checkpoint_of(text: str, storage: Path) -> tuple[Path, str, str | None]:
    """A model's checkpoint, by which name it goes, and on what it was searched for, None for a checkpoint's folder.

    Args:    text: a checkpoint's folder, or the name of a search: the run that `best --confirmed` gives, else the best trial's.
             storage: of the search.
    Raises:  SearchNotFound: when it is neither.
    """
    if (Path(text) / SUMS).is_file():
        return Path(text), text, None
    try:
        confirmation = latest_confirmation(storage, text)
        record = confirmation.trial(median_run(confirmation))
        folder, source = confirmation.folder.fetched(str(record.checkpoint)), confirmation.plan.source
        return folder, f"{text} ({record.trial}, confirmed)", source
    except SearchNotFound:
        found = open_search(storage, text)
        (row,) = best_rows(found, 1)
        return Path(row["checkpoint"]), f"{text} ({row['trial']}, not confirmed)", found.plan.source


def predictions_of(checkpoint: Path, source: str, split: str) -> tuple[CasePredictions, ...]:
    """What a checkpoint says of every case of a split."""
    return TASKS[task_of(checkpoint, TASKS)].load().predict_cases(checkpoint, source, split)


def read_predictions(file: Path) -> list[CasePredictions]:
    """A table of probabilities, of any kind that `read_table` reads.

    It is as `evaluate --predictions` writes it, or has `case`, `truth` and `probability` of the class.
    A column `group` says whose each case is.

    Raises:  DataError: when the table is of neither kind, or holds what is no probability.
    """
    table = read_table(file, []).fillna("")
    columns = [name for name in table.columns if name.startswith(_PROBABILITY)]
    if columns and {"case", "task", "truth"} <= set(table.columns):
        return [_of_task(file, str(task), rows, columns) for task, rows in table.groupby("task", sort=False)]
    if not {"case", "truth", "probability"} <= set(table.columns):
        raise DataError(
            f"{file} must have the columns case, truth and probability, or be what `evaluate --predictions` writes; got"
            f" {', '.join(table.columns)}"
        )
    second = _numbers(file, table["probability"])
    truths = [_truth(file, case, cell) for case, cell in zip(table["case"], table["truth"], strict=True)]
    probabilities = np.stack([1 - second, second], axis=1)
    return [CasePredictions("", ("no", "yes"), tuple(table["case"]), np.array(truths), probabilities, _groups(table))]


def _of_task(file: Path, task: str, rows: pd.DataFrame, columns: Sequence[str]) -> CasePredictions:
    own = [name for name in columns if (rows[name] != "").any()]
    classes = tuple(name.removeprefix(_PROBABILITY) for name in own)
    probabilities = np.stack([_numbers(file, rows[name]) for name in own], axis=1)
    codes = {name: code for code, name in enumerate(classes)}
    return CasePredictions(
        task,
        classes,
        tuple(rows["case"]),
        np.array([codes.get(cell, -1) for cell in rows["truth"]]),
        probabilities,
        _groups(rows),
    )


def _groups(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(rows["group"]) if "group" in rows.columns else ()


def _numbers(file: Path, column: "pd.Series[str]") -> Float[np.ndarray, " cases"]:
    found = pd.to_numeric(column.str.replace(",", "."), errors="coerce").to_numpy(dtype=float)
    if not np.all((found >= 0) & (found <= 1)):
        wrong = column.iloc[int(np.argmin((found >= 0) & (found <= 1)))]
        raise DataError(f"{file}: {column.name} must hold probabilities, 0 to 1; got {wrong!r}")
    return found


def _truth(file: Path, case: str, cell: str) -> int:
    if cell == "":
        return -1
    if cell.lower() not in (*_YES, *_NO):
        raise DataError(f"{file}: truth of {case} must be 1 or 0, or empty where it is not known; got {cell!r}")
    return int(cell.lower() in _YES)


def brought_together(models: Sequence[Model], task: str | None, label: str | None, units: str = "cases") -> Compared:
    """The models on the cases whose label is known.

    Args:    models: two or more, of different names.
             task: that is compared; None for the diagnosis.
             label: whose probabilities are compared; None for melanoma, or the second of two classes.
             units: what is resampled, in words, where cases come in groups.
    Raises:  PlanError: when it is not clear what is to be compared.
             DataError: when the models are not of the same cases, or tell different truths.
    """
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise PlanError(f"models must be different ones; got {', '.join(names)}")
    task, label = _question(models, task, label)
    chosen = [_of(model, task, label) for model in models]
    first = chosen[0]
    truth = dict.fromkeys(first.cases, -1)
    for name, each in zip(names, chosen, strict=True):
        if set(each.cases) != set(first.cases) or len(set(each.cases)) < len(each.cases):
            missing = len(set(first.cases) ^ set(each.cases))
            raise DataError(f"models must be of the same cases, each once; got {missing} that {names[0]} or {name} alone has")
        for case, code in zip(each.cases, _is_label(each, label), strict=True):
            if code >= 0 and truth[case] >= 0 and truth[case] != code:
                raise DataError(f"models must be told the same truth; got another one of {case} from {name}")
            truth[case] = max(truth[case], code)
    order = [case for case in first.cases if truth[case] >= 0]
    positive = np.array([truth[case] == 1 for case in order], dtype=bool)
    if not positive.any() or positive.all():
        raise DataError(f"cases must be of {label} and of others; got {int(positive.sum())} of {len(positive)}")
    scores = [_scores(name, each, label, order) for name, each in zip(names, chosen, strict=True)]
    grouped = next((each for each in chosen if each.groups), None)
    of_whom = {} if grouped is None else dict(zip(grouped.cases, grouped.groups, strict=True))
    groups = group_codes([of_whom[case] for case in order]) if of_whom else None
    return Compared(task or "truth", label, positive, groups, scores, units if groups is not None else "cases")


def _question(models: Sequence[Model], task: str | None, label: str | None) -> tuple[str, str]:
    named = [each for model in models for each in model.predictions if each.task]
    tasks = list(dict.fromkeys(each.task for each in named))
    if not tasks:
        return "", label or "yes"
    found = task or (tasks[0] if len(tasks) == 1 else likely_primary(tasks))
    if found not in tasks:
        raise PlanError(f"--task must be one of {', '.join(tasks)}; got {found}")
    classes = next(each.classes for each in named if each.task == found)
    if label is None and (code := class_in_question(classes)) is not None:
        label = classes[code]
    if label not in classes:
        raise PlanError(f"--class must be one of {', '.join(classes)}; got {label}")
    return found, label


def _of(model: Model, task: str, label: str) -> CasePredictions:
    found = [each for each in model.predictions if each.task in (task, "")]
    if not found or (found[0].task and label not in found[0].classes):
        raise DataError(f"{model.name} must say something of {task}, class {label}; got tasks {_listed(model)}")
    return found[0]


def _listed(model: Model) -> str:
    return ", ".join(each.task for each in model.predictions)


def _is_label(each: CasePredictions, label: str) -> list[int]:
    code = _column(each, label)
    return [-1 if truth < 0 else int(truth == code) for truth in each.truths]


def _column(each: CasePredictions, label: str) -> int:
    return each.classes.index(label) if each.task else 1


def _scores(name: str, each: CasePredictions, label: str, order: Sequence[str]) -> Scores:
    places = {case: place for place, case in enumerate(each.cases)}
    rows = [places[case] for case in order]
    said: Bool[np.ndarray, " cases"] = each.probabilities[rows].argmax(1) == _column(each, label)
    return Scores(name, each.probabilities[rows, _column(each, label)].astype(float), said)
