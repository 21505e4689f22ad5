"""One fault of many cases is one line."""

import re
from collections.abc import Sequence

#: So many of a kind are told one by one.
FEW = 3


def told(lines: Sequence[str], names: Sequence[str], many: str, hint: str = "") -> list[str]:
    """The lines while they are few, else one with their number and the first names.

    Args:    lines: one for each case of one kind of problem.
             names: what to call each of them, as many.
             many: the sentence for all; its first `{}` is their number.
             hint: what to do, behind the names.
    """
    if len(lines) <= FEW:
        return list(lines)
    return [f"{many.replace('{}', str(len(lines)), 1)}: {some(names)}{hint}"]


class Problems:
    """Problems of many cases, by kind; a kind of many is one line."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[tuple[str, str]]] = {}

    def add(self, line: str, many: str = "", name: str = "") -> None:
        """Notes one.

        Args:    line: of its own.
                 many, name: see `told`; without them it is of no kind.
        """
        self._kinds.setdefault(many or line, []).append((line, name))

    def lines(self) -> list[str]:
        """Each kind in the order of its first problem."""
        found = []
        for many, entries in self._kinds.items():
            found += told([line for line, _ in entries], [name for _, name in entries], many)
        return found


def unusable(problems: Sequence[str], names: Sequence[str]) -> list[str]:
    """What is said of files that cannot be used: many with one fault are one line, with the first one's words.

    Args:    problems: one for each case, which may begin with its name.
             names: of these cases.
    """
    kinds: dict[str, list[int]] = {}
    for index, (problem, name) in enumerate(zip(problems, names, strict=True)):
        # Names of files and numbers differ from case to case.
        kinds.setdefault(re.sub(r"\S*(/|\d)\S*", "", problem.replace(name, "")), []).append(index)
    found: list[tuple[int, str]] = []
    for indices in kinds.values():
        lines, of = [problems[i] for i in indices], [names[i] for i in indices]
        many = told(lines, of, "the files of {} cases must be usable; got none for", f" (the first: {lines[0]})")
        found += zip(indices, many, strict=False)
    return [line for _, line in sorted(found)]


def some(names: Sequence[str], most: int = FEW) -> str:
    """The first few, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
