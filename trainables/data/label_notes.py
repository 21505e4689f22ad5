"""What follows from labels that are not there: classes that cannot be learnt, tasks that cannot be measured."""

import numpy as np

from trainables.data.cases import MISSING, CaseSet, LabelTask
from trainables.data.repeated import some

_ONE_LABEL = (
    " (an empty cell is a missing label): there is nothing to tell apart, it has no AUROC and is no part of its mean, and its"
    " accuracy, recall and F1 are 1 and raise their means"
)
_WORDS = {"train": "training", "valid": "validation", "test": "test"}


def label_notes(cases: CaseSet) -> list[str]:
    """One line for each class that is measured and never learnt, each task with fewer than two classes in a split, and each
    split of one case, with what follows for metrics."""
    notes = []
    for column, task in enumerate(cases.tasks):
        counts = {split: _counts(cases, split, column) for split in cases.splits}
        if len(task.classes) == 1:
            notes.append(f"{task.name}: no case has another label than {task.classes[0]}{_ONE_LABEL}")
            continue
        if not sum(counts.get("train", [1])):
            measured = any(sum(found) for found in counts.values())
            chance = ", and what is measured of it elsewhere is chance" if measured else ""
            notes.append(f"{task.name}: no training case has a label: it learns nothing{chance}")
        notes += _unlearnt(task, counts)
        for split, found in counts.items():
            notes += _one_sided(task, split, found)
    notes += [
        f"the {_WORDS[split]} split has one case: a metric of it says next to nothing, and intervals over it have no width"
        for split, members in cases.splits.items()
        if len(members) == 1
    ]
    return notes


def sparse_notes(cases: CaseSet) -> list[str]:
    """One line for each task with classes of one case or none in a split, but for those of which `label_notes` tells more."""
    notes = []
    for column, task in enumerate(cases.tasks):
        counts = {split: found for split in cases.splits if sum(map(bool, found := _counts(cases, split, column))) > 1}
        few = []
        for code, name in enumerate(task.classes):
            places = [f"{_WORDS[split]} {found[code]}" for split, found in counts.items() if found[code] <= 1]
            if places and ("train" not in counts or counts["train"][code]):
                few.append(f"{name} ({', '.join(places)})")
        if few:
            notes.append(
                f"{task.name}: one case or none of {some(few)}: without a case a class is no part of AUROC and recall there, and"
                " one case alone makes its share 0 or 1"
            )
    return notes


def nothing_to_rank(cases: CaseSet) -> list[str]:
    """One line when training has fewer than two labels of the primary task, by which trials are compared."""
    if not cases.primary or "train" not in cases.splits:
        return []
    task, counts = cases.tasks[cases.primary_index], _counts(cases, "train", cases.primary_index)
    present = [name for name, count in zip(task.classes, counts, strict=True) if count]
    if len(present) > 1:
        return []
    return [
        f"the primary task, {task.name}, must have two labels or more in training; got {present[0] if present else 'none'}"
        f"{' only' if present else ''}, so that there is nothing to learn and nothing to rank trials by (--set primary_task=TASK"
        " names another)"
    ]


def _counts(cases: CaseSet, split: str, column: int) -> list[int]:
    """Cases of each class of a task."""
    codes = cases.labels[cases.splits[split], column]
    return [int(count) for count in np.bincount(codes[codes != MISSING], minlength=len(cases.tasks[column].classes))]


def _unlearnt(task: LabelTask, counts: dict[str, list[int]]) -> list[str]:
    notes: list[str] = []
    if not sum(counts.get("train", [])):
        return notes
    for code, name in enumerate(task.classes):
        held = [f"{_WORDS[split]} ({_cases(found[code])})" for split, found in counts.items() if split != "train" and found[code]]
        if held and not counts["train"][code]:
            notes.append(
                f"{task.name}: class {name} is in {' and '.join(held)} but not in training: the model cannot learn it, so recall"
                " of it stays 0 and is part of the mean"
            )
    return notes


def _one_sided(task: LabelTask, split: str, counts: list[int]) -> list[str]:
    present = [name for name, count in zip(task.classes, counts, strict=True) if count]
    if len(present) > 1:
        return []
    if not present:
        follows = "it has no metric there, and is no part of the means"
        return [f"{task.name}: no {_WORDS[split]} case has a label: {follows}"] if split != "train" else []
    here = f"{task.name}: {_WORDS[split]} has no other label than {present[0]} ({_cases(sum(counts))})"
    if split == "train":
        return [f"{here}: there is nothing to tell apart, and the model says {present[0]} of every case"]
    return [f"{here}: it has no AUROC there and is no part of its mean, and accuracy is the share of cases called {present[0]}"]


def _cases(number: int) -> str:
    return f"{number} case{'' if number == 1 else 's'}"
