"""A paper whose experiments can be trained again: what it reports, to stand beside one's own numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainables.data.source import is_synthetic
from trainables.reproduced import PageParts, Reproduced


@dataclass(frozen=True)
class Paper:
    """What a paper reports, and how to tell whether the data are its own.

    Args:    title: authors and year.
             data_format: of its data.
             splits: split → cases.
             test_melanomas: of its test split.
             headline: metric → heading, what a reproduction shows of each experiment on a screen.
             values: experiment → what the paper reports of it on its test split: metric, named without the split → value;
                 shares, not percent.
             page: the paper's tables and figures with its numbers and those of a reproduction, as Markdown.
    """

    title: str
    data_format: str
    splits: Mapping[str, int]
    test_melanomas: int
    headline: Mapping[str, str]
    values: Callable[[str], Mapping[str, float]]
    page: Callable[[Reproduced, PageParts], str]

    def other_data(self, source: str | None, counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str | None:
        """Why these data are not the paper's; None where nothing tells them apart.

        Args:    source: `FORMAT:PATH`.
                 counts: split → task → label → cases.
        """
        if source is None or is_synthetic(source):
            return "these are synthetic images, drawn by dermtune"
        sizes = {split: max((sum(labels.values()) for labels in tasks.values()), default=0) for split, tasks in counts.items()}
        if not source.startswith(f"{self.data_format}:") or sizes != dict(self.splits):
            have = f"{source.partition(':')[0]} " + ", ".join(f"{split} {number}" for split, number in sizes.items())
            papers = f"{self.data_format} " + ", ".join(f"{split} {number}" for split, number in self.splits.items())
            return f"the paper has {papers} cases, these are {have}"
        every = [(name, number) for labels in counts["test"].values() for name, number in labels.items()]
        found = max((number for name, number in every if name.lower().startswith("mel")), default=0)
        if found != self.test_melanomas:
            return f"the paper's test split has {self.test_melanomas} melanomas, this one has {found}"
        return None
