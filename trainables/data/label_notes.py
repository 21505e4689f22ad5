"""What follows from labels that are not there: classes that cannot be learnt, tasks that cannot be measured."""

import numpy as np

from trainables.data.cases import MISSING, CaseSet, LabelTask

_WORDS = {"train": "training", "valid": "validation", "test": "test"}


def label_notes(cases: CaseSet) -> list[str]:
    """One line for each class that is measured and never learnt, each task with fewer than two classes in a split, and each
    split of one case, with what follows for metrics."""
    notes = []
    for column, task in enumerate(cases.tasks):
        counts = {split: _counts(cases, split, column) for split in cases.splits}
        notes += _unlearnt(task, counts)
        for split, found in counts.items():
            notes += _one_sided(task, split, found)
    notes += [
        f"the {_WORDS[split]} split has one case: a metric of it says next to nothing, and intervals over it have no width"
        for split, members in cases.splits.items()
        if len(members) == 1
    ]
    return notes


def _counts(cases: CaseSet, split: str, column: int) -> list[int]:
    """Cases of each class of a task."""
    codes = cases.labels[cases.splits[split], column]
    return [int(count) for count in np.bincount(codes[codes != MISSING], minlength=len(cases.tasks[column].classes))]


def _unlearnt(task: LabelTask, counts: dict[str, list[int]]) -> list[str]:
    notes: list[str] = []
    if "train" not in counts:
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
        follows = "it learns nothing" if split == "train" else "it has no metric there, and is no part of the means"
        return [f"{task.name}: no {_WORDS[split]} case has a label: {follows}"]
    here = f"{task.name}: {_WORDS[split]} has no other label than {present[0]} ({_cases(sum(counts))})"
    if split == "train":
        return [f"{here}: there is nothing to tell apart, and the model says {present[0]} of every case"]
    return [f"{here}: it has no AUROC there and is no part of its mean, and accuracy is the share of cases called {present[0]}"]


def _cases(number: int) -> str:
    return f"{number} case{'' if number == 1 else 's'}"
