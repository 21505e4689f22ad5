"""Labelled cases as every reader gives them and every task takes them."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from trainables import seven_point
from trainables.errors import DataError

SPLITS = ("train", "valid", "test")
MISSING = -1


@dataclass(frozen=True)
class LabelTask:
    """One classification task: its name and its classes, in the order of their codes."""

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class CaseSet:
    """Images with labels for several tasks, and the splits they belong to.

    Args:    source: `FORMAT:PATH`, as a person would type it.
             images: one absolute path per case.
             names: one short name per case, the path inside the data set.
             rows: where each case stands in its table (line 1 is the header), for messages; empty without a table.
             tasks: T tasks.
             labels: cases × T class codes, -1 where a label is missing.
             splits: split → indices of its cases.
             primary: name of the task that is the diagnosis, "" where the reader could not tell.
    """

    source: str
    images: tuple[Path, ...]
    names: tuple[str, ...]
    rows: tuple[int, ...]
    tasks: tuple[LabelTask, ...]
    labels: Int[np.ndarray, "cases tasks"]
    splits: Mapping[str, Int[np.ndarray, " members"]]
    primary: str

    @property
    def primary_index(self) -> int:
        """Position of the primary task."""
        return [task.name for task in self.tasks].index(self.primary)

    @property
    def melanoma_class(self) -> int | None:
        """Code of melanoma in the primary task, None where it has no such class."""
        return melanoma_class(self.tasks[self.primary_index].classes)

    def with_primary(self, name: str) -> "CaseSet":
        """The same cases with another primary task; "auto" keeps the reader's choice.

        Raises:  ValueError: when no task has that name, or the reader had to leave the choice open.
                 DataError: when another task's metrics would be taken for those of melanoma.
        """
        if name == "auto" and self.primary:
            return self._without_clash()
        known = [task.name for task in self.tasks]
        if name not in known:
            raise ValueError(f"primary_task must be one of {', '.join(known)}; got {name!r} (--set primary_task=)")
        return replace(self, primary=name)._without_clash()

    def _without_clash(self) -> "CaseSet":
        """The cases themselves, unless a task's metrics would be called what those of melanoma or the checklist are called."""
        names = [task.name for task in self.tasks]
        if "melanoma" in names and self.primary != "melanoma" and self.melanoma_class is not None:
            raise DataError(f"a task must not be called melanoma beside {self.primary}, which has that class; rename the column")
        taken = [name for name in ("criteria", "seven_point") if name in names]
        if taken and set(seven_point.POINTS) <= set(names):
            raise DataError(
                f"a task must not be called {taken[0]} beside the seven criteria, over which it is; rename the column"
            )
        return self

    def binary(self) -> "CaseSet":
        """Groups the primary task into melanoma and the rest (Coppola et al. 2020, experiment `binary`).

        Raises:  DataError: when the primary task has no melanoma class.
        """
        melanoma, column = self.melanoma_class, self.primary_index
        if melanoma is None:
            raise DataError(f"binary must have a melanoma class in {self.primary}; got none (--set binary=false)")
        labels = self.labels.copy()
        present = labels[:, column] != MISSING
        labels[present, column] = labels[present, column] == melanoma
        tasks = list(self.tasks)
        tasks[column] = LabelTask(self.primary, ("rest", self.tasks[column].classes[melanoma]))
        return replace(self, tasks=tuple(tasks), labels=labels)

    def folded(self, index: int, count: int) -> "CaseSet":
        """The same cases, training and validation split anew; the test split stays.

        Folds are stratified by the primary task's label, always the same, and keep an image that stands twice together.

        Args:    index: which fold validates, from 1.
                 count: folds.
        Raises:  DataError: when there are fewer cases than folds.
        """
        from sklearn.model_selection import StratifiedGroupKFold  # a second, which a trial on the data's own split need not pay

        pool = np.sort(np.concatenate([self.splits["train"], self.splits["valid"]]))
        if len(pool) < 2 * count:
            raise DataError(f"--folds must leave two cases a fold or more; got {count} of {len(pool)} cases")
        labels = self.labels[pool, self.primary_index] if self.primary else np.zeros(len(pool), dtype=int)
        images = [self.images[case] for case in pool]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a label with fewer cases than folds is in some folds only
            folds = list(StratifiedGroupKFold(count, shuffle=True, random_state=0).split(pool, labels, images))
        train, valid = folds[index - 1]
        return replace(self, splits={**self.splits, "train": pool[train], "valid": pool[valid]})

    def where(self, index: int) -> str:
        """How a message names a case: its line in the table, or its name where there is none."""
        return f"line {self.rows[index]}" if self.rows else self.names[index]

    def fingerprint(self, image_digest: str) -> str:
        """Names what was trained on: labels, splits, classes and the images' contents.

        Args:    image_digest: digest of all image files, from the image cache.
        Returns: 16 hexadecimal digits.
        """
        description = {
            "names": self.names,
            "tasks": [(task.name, task.classes) for task in self.tasks],
            "labels": self.labels.tolist(),
            "splits": {name: members.tolist() for name, members in self.splits.items()},
            "images": image_digest,
        }
        return hashlib.sha256(json.dumps(description).encode()).hexdigest()[:16]

    def leaks(self) -> list[str]:
        """One line for each image that stands in two splits: what is measured on it is not what was not trained on."""
        seen: dict[Path, tuple[str, int]] = {}
        problems = []
        for split, members in self.splits.items():
            for index in map(int, members):
                before, first = seen.setdefault(self.images[index], (split, index))
                if before != split:
                    here = f"{self.where(index)}: image {self.names[index]}"
                    problems.append(f"{here} must be in one split; got {split}, and {before} on {self.where(first)}")
        return problems

    def twins(self, contents: Sequence[str]) -> list[str]:
        """One line for each image that is byte for byte another one, in another split or with another label.

        Args:    contents: digest of each image file, "" where there is none.
        """
        seen: dict[str, int] = {}
        split_of = {int(index): split for split, members in self.splits.items() for index in members}
        problems = []
        for index in sorted(split_of):
            first = seen.setdefault(contents[index], index) if contents[index] else index
            if self.images[first] == self.images[index]:
                continue
            here = f"{self.where(index)}: image {self.names[index]}"
            there = f"{self.names[first]} ({self.where(first)})" if self.rows else self.names[first]
            if split_of[first] != split_of[index]:
                problems.append(f"{here} must not be in {split_of[index]}; got the very picture of {there}, in {split_of[first]}")
            elif not np.array_equal(self.labels[first], self.labels[index]):
                problems.append(f"{here} must have the labels of {there}, the very same picture; got others")
        return problems

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Split → task → class → cases; a missing label counts as "(missing)"."""
        return {
            split: {task.name: _count(self.labels[members, column], task.classes) for column, task in enumerate(self.tasks)}
            for split, members in self.splits.items()
        }


def _count(codes: Int[np.ndarray, " members"], classes: Sequence[str]) -> dict[str, int]:
    counts = {name: int(np.sum(codes == code)) for code, name in enumerate(classes)}
    missing = int(np.sum(codes == MISSING))
    return counts | ({"(missing)": missing} if missing else {})


def twins_note(twins: Sequence[str]) -> tuple[str, ...]:
    """What is said before a search of images that are there twice (`CaseSet.twins`); they may be meant so."""
    if not twins:
        return ()
    more = f" (and {len(twins) - 1} more: `dermtune data check` lists all)" if len(twins) > 1 else ""
    return (f"{twins[0]}{more}: what is measured may be what was trained on",)


def melanoma_class(classes: Sequence[str]) -> int | None:
    """Position of the class called MEL or melanoma in any case, None where there is none."""
    lowered = [name.lower() for name in classes]
    return next((lowered.index(name) for name in ("mel", "melanoma") if name in lowered), None)
