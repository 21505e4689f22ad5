"""How many cases a batch may hold depends on how many there are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CaseLimit:
    """How the upper end of a field that counts cases of a batch follows the number of training cases.

    Args:    share: of the training cases that a batch may be.
             per_label: whether the field counts cases of each label, drawn with repetition, instead of cases.
    """

    share: float
    per_label: bool = False

    def high(self, default: int, num_cases: int, num_labels: int) -> int:
        """The upper end; the paper's value stays below it unless there are not so many cases at all.

        Args:    default: the paper's value.
                 num_cases: training cases.
                 num_labels: classes of all tasks together.
        """
        each = max(1, num_labels) if self.per_label else 1
        kept = default if self.per_label or default <= num_cases else 0
        return max(int(self.share * num_cases / each), kept)
