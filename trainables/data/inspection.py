"""What `dermtune data check` finds: problems, which stop a search, and what one should know of the data."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainables.data.cases import CaseSet
from trainables.data.label_notes import label_notes, sparse_notes
from trainables.data.precision_notes import precision_notes
from trainables.data.repeated import unusable
from trainables.data.twins import PictureHash, near_twins
from trainables.errors import DataError


@dataclass(frozen=True)
class Findings:
    """What opening all files of a data set shows, a line each.

    Args:    problems: what keeps a search from beginning, or a label from meaning anything.
             warnings: what a search would do and its user may not want.
             notes: how the data were read.
             twins: images that look like others.
    """

    problems: list[str]
    warnings: list[str]
    notes: list[str]
    twins: list[str]


@dataclass(frozen=True)
class Look:
    """What was seen of one image.

    Args:    content: digest of its file, "" where it cannot be used.
             picture: of what it shows, None where that is nothing.
             problem: why it cannot be used, "" where it can.
    """

    content: str = ""
    picture: PictureHash | None = None
    problem: str = ""


def findings_of(cases: CaseSet, leaks: Sequence[str], looks: Sequence[Look]) -> Findings:
    """What is found once every image has been looked at.

    Args:    cases: labels and splits.
             leaks: what stands in two splits by name.
             looks: one for each case.
    """
    contents = [look.content for look in looks]
    broken = [look.problem for look in looks if look.problem]
    at_fault = [cases.names[index] for index, look in enumerate(looks) if look.problem]
    return Findings(
        problems=[
            *leaks,
            *unusable(broken, at_fault),
            *cases.twins(contents),
            *cases.contradictions(contents),
        ],
        warnings=[*cases.warnings, *label_notes(cases), *sparse_notes(cases), *cases.repeats(contents)],
        notes=[*cases.notes, *precision_notes(cases)],
        twins=near_twins(cases, contents, [look.picture for look in looks]),
    )


def notes_unless_leaking(cases: CaseSet, leaks: Sequence[str], contents: Sequence[str]) -> tuple[str, ...]:
    """What a search says of the data before it begins.

    Args:    cases: labels and splits.
             leaks: what stands in two splits by name.
             contents: digest of each image file.
    Raises:  DataError: with everything that stands in two splits, by name, by group or by content.
    """
    shared = [*leaks, *cases.twins(contents)]
    if shared:
        raise DataError(*shared)
    contrary = cases.contradictions(contents)
    more = f" (and {len(contrary) - 1} more: `dermtune data check` lists all)" if len(contrary) > 1 else ""
    return (*cases.notes, *cases.warnings, *label_notes(cases), *(f"{line}{more}" for line in contrary[:1]))
