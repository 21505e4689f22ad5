"""Labelled cases as every reader gives them and every task takes them."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from spaces.errors import RequestError
from trainables import seven_point
from trainables.data.image_files import is_file
from trainables.data.repeated import some, told
from trainables.errors import DataError
from trainables.resampling import group_codes

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
             groups: whose each case is, of which patient or lesion, "" where unknown; empty where nothing is known of any.
             group_column: where that stands, for messages.
             notes: what the reader has to say of the cases, a line each.
             warnings: what the reader doubts, a line each.
    """

    source: str
    images: tuple[Path, ...]
    names: tuple[str, ...]
    rows: tuple[int, ...]
    tasks: tuple[LabelTask, ...]
    labels: Int[np.ndarray, "cases tasks"]
    splits: Mapping[str, Int[np.ndarray, " members"]]
    primary: str
    groups: tuple[str, ...] = ()
    group_column: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

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

        Raises:  RequestError: when no task has that name, or the reader had to leave the choice open.
                 DataError: when another task's metrics would be taken for those of melanoma.
        """
        if name == "auto" and self.primary:
            return _without_clash(self)
        known = [task.name for task in self.tasks]
        if name not in known:
            raise RequestError(f"primary_task must be one of {', '.join(known)}; got {name!r} (--set primary_task=)")
        return _without_clash(replace(self, primary=name))

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

    def group_codes(self, members: Int[np.ndarray, " members"]) -> Int[np.ndarray, " members"] | None:
        """A number for each of some cases' groups, a case without one being its own; None where no two share one."""
        return group_codes([self.groups[case] for case in map(int, members)]) if self.groups else None

    def groups_of(self, members: Int[np.ndarray, " members"]) -> tuple[str, ...]:
        """Names of some cases' groups, "" where unknown; empty where no two share one."""
        return () if self.group_codes(members) is None else tuple(self.groups[case] for case in map(int, members))

    def units(self, members: Int[np.ndarray, " members"]) -> str:
        """What intervals over some cases go over, in words: "cases", or the groups that they come in."""
        return "cases" if self.group_codes(members) is None else f"groups by {self.group_column}"

    def where(self, index: int) -> str:
        """How a message names a case: its line in the table, or its name where there is none."""
        return f"line {self.rows[index]}" if self.rows else self.names[index]

    def fingerprint(self, image_digest: str) -> str:
        """Names what was trained on: labels, splits, groups, classes and the images' contents.

        Args:    image_digest: digest of all image files, from the image cache.
        Returns: 16 hexadecimal digits.
        """
        description = {
            "names": self.names,
            "tasks": [(task.name, task.classes) for task in self.tasks],
            "labels": self.labels.tolist(),
            "splits": {name: members.tolist() for name, members in self.splits.items()},
            "groups": self.groups,
            "images": image_digest,
        }
        return hashlib.sha256(json.dumps(description).encode()).hexdigest()[:16]

    def with_images(self) -> "CaseSet":
        """The cases that are in a split, the first one of several, and whose image is a file; no warnings of the others."""
        split_of = {int(index): split for split, found in reversed(list(self.splits.items())) for index in found}
        kept = np.array([index for index in sorted(split_of) if is_file(self.images[index])], dtype=np.int64)
        return replace(
            self,
            images=tuple(self.images[index] for index in kept),
            names=tuple(self.names[index] for index in kept),
            rows=tuple(self.rows[index] for index in kept) if self.rows else (),
            labels=self.labels[kept],
            splits={split: np.flatnonzero([split_of[int(index)] == split for index in kept]) for split in self.splits},
            groups=tuple(self.groups[index] for index in kept) if self.groups else (),
            warnings=(),
        )

    def leaks(self) -> list[str]:
        """One line for each image and each group that stands in two splits: what is measured is not what was not trained on."""
        seen: dict[Path, tuple[str, int]] = {}
        lines, names = [], []
        for split, members in self.splits.items():
            for index in map(int, members):
                before, first = seen.setdefault(self.images[index], (split, index))
                if before != split:
                    here = f"{self.where(index)}: image {self.names[index]}"
                    lines.append(f"{here} must be in one split; got {split}, and {before} on {self.where(first)}")
                    names.append(f"{self._named(index)} in {split} and {before}")
        return told(lines, names, "{} images must be in one split; got in two") + self._shared_groups()

    def _shared_groups(self) -> list[str]:
        """One line for each group that stands in two splits."""
        places: dict[str, dict[str, list[str]]] = {}
        for split, members in self.splits.items() if self.groups else ():
            for index in map(int, members):
                places.setdefault(self.groups[index], {}).setdefault(split, []).append(self.where(index))
        torn = {group: by_split for group, by_split in places.items() if group and len(by_split) > 1}
        hint = " (--group names another column; one that differs in every case has no groups)"
        lines = [
            f"{self.group_column} {group!r} must be in one split; got it in "
            + " and in ".join(f"{split} ({some(found)})" for split, found in by_split.items())
            + hint
            for group, by_split in torn.items()
        ]
        names = [f"{group!r} in {' and '.join(by_split)}" for group, by_split in torn.items()]
        return told(lines, names, f"{{}} groups by {self.group_column} must each be in one split; got", hint)

    def twins(self, contents: Sequence[str]) -> list[str]:
        """One line for each image that is byte for byte another one in another split, whatever the files are called.

        Args:    contents: digest of each image file, "" where there is none.
        """
        found = [
            (index, first, here, there)
            for first, index, there, here in self._same(contents)
            if here != there and self.images[first] != self.images[index]  # which `leaks` tells
        ]
        lines = [
            f"{self.where(index)}: image {self.names[index]} must not be in {here}; got the very picture of"
            f" {self._named(first)}, in {there}"
            for index, first, here, there in found
        ]
        names = [f"{self._named(index)} in {here} is {self._named(first)} in {there}" for index, first, here, there in found]
        return told(lines, names, "{} images must not be the very picture of one in another split; got")

    def contradictions(self, contents: Sequence[str]) -> list[str]:
        """One line for each image that is byte for byte another one of its split, with another label.

        Args:    contents: see `twins`.
        """
        found = [
            (index, first)
            for first, index, there, here in self._same(contents)
            if here == there and not np.array_equal(self.labels[first], self.labels[index])
        ]
        lines = [
            f"{self.where(index)}: image {self.names[index]} must have the labels of {self._named(first)}, the very same"
            " picture; got others"
            for index, first in found
        ]
        names = [f"{self._named(index)} and {self._named(first)}" for index, first in found]
        return told(lines, names, "{} images must have the labels of the very same picture; got others for")

    def repeats(self, contents: Sequence[str]) -> list[str]:
        """A line when images stand in one split more than once, with the same labels.

        Args:    contents: see `twins`.
        """
        names = [
            f"{self._named(index)} is {self._named(first)}"
            for first, index, there, here in self._same(contents)
            if here == there and np.array_equal(self.labels[first], self.labels[index])
        ]
        weight = "each counts as another case in training, metrics and intervals"
        return [f"{len(names)} image{'s are' if len(names) > 1 else ' is'} in a split again: {some(names)}; {weight}"] * bool(
            names
        )

    def _same(self, contents: Sequence[str]) -> Iterator[tuple[int, int, str, str]]:
        """Every case with a picture that an earlier one has: that one, itself, and the splits of both."""
        split_of = {int(index): split for split, members in self.splits.items() for index in members}
        seen: dict[str, int] = {}
        for index in sorted(split_of):
            first = seen.setdefault(contents[index], index) if contents[index] else index
            if first != index:
                yield first, index, split_of[first], split_of[index]

    def _named(self, index: int) -> str:
        return f"{self.names[index]} ({self.where(index)})" if self.rows else self.names[index]

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Split → task → class → cases; a missing label counts as "(missing)"."""
        return {
            split: {task.name: _count(self.labels[members, column], task.classes) for column, task in enumerate(self.tasks)}
            for split, members in self.splits.items()
        }


def _without_clash(cases: CaseSet) -> CaseSet:
    """The cases themselves, unless a task's metrics would be called what those of melanoma or the checklist are called."""
    names = [task.name for task in cases.tasks]
    if "melanoma" in names and cases.primary != "melanoma" and cases.melanoma_class is not None:
        raise DataError(f"a task must not be called melanoma beside {cases.primary}, which has that class; rename the column")
    taken = [name for name in ("criteria", "seven_point") if name in names]
    if taken and set(seven_point.POINTS) <= set(names):
        raise DataError(f"a task must not be called {taken[0]} beside the seven criteria, over which it is; rename the column")
    return cases


def _count(codes: Int[np.ndarray, " members"], classes: Sequence[str]) -> dict[str, int]:
    counts = {name: int(np.sum(codes == code)) for code, name in enumerate(classes)}
    missing = int(np.sum(codes == MISSING))
    return counts | ({"(missing)": missing} if missing else {})


def melanoma_class(classes: Sequence[str]) -> int | None:
    """Position of the class called MEL or melanoma in any case, None where there is none."""
    lowered = [name.lower() for name in classes]
    return next((lowered.index(name) for name in ("mel", "melanoma") if name in lowered), None)


def class_in_question(classes: Sequence[str]) -> int | None:
    """Position of melanoma, or of the second of two classes; None where it must be said which one is meant."""
    melanoma = melanoma_class(classes)
    return 1 if melanoma is None and len(classes) == 2 else melanoma


class PartlyUsable(DataError):
    """A data set has problems, and cases without them, whose files can be looked at all the same.

    Args:    cases: those without.
             problems: see `DataError`.
    """

    def __init__(self, cases: CaseSet, *problems: str) -> None:
        super().__init__(*problems)
        self.cases = cases

    def __reduce__(self) -> tuple[type[DataError], tuple[str, ...]]:
        return DataError, tuple(self.problems)
