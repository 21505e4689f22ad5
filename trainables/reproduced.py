"""What came of a paper's experiments, and what a page of it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from trainables.sharing import Sharing


@dataclass(frozen=True)
class Measured:
    """A metric of an experiment.

    Args:    mean: over its runs.
             interval: 95 %, over cases and seeds, of this number by itself; None for fewer than three seeds.
             paper: what the paper reports, None where it reports nothing.
    """

    mean: float
    interval: tuple[float, float] | None
    paper: float | None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.paper is None else self.mean - self.paper

    def to_json(self) -> dict[str, Any]:
        """All four numbers."""
        return {
            "mean": self.mean,
            "interval": self.interval and list(self.interval),
            "paper": self.paper,
            "difference": self.difference,
        }

    def text(self, scale: float = 1.0, digits: int = 3) -> str:
        """Ours with its interval.

        Args:    scale, digits: of every number.
        """
        ours = f"{scale * self.mean:.{digits}f}"
        if self.interval is None:
            return ours
        low, high = (scale * edge for edge in self.interval)
        return f"{ours} [{low:.{digits}f}, {high:.{digits}f}]"

    def paper_text(self, scale: float = 1.0, digits: int = 3) -> str:
        """The paper's, and by how much ours differs."""
        if self.paper is None or self.difference is None:
            return "–"
        return f"{scale * self.paper:.{digits}f} ({scale * self.difference:+.{digits}f})"


@dataclass(frozen=True)
class MeanConfusions:
    """Confusion matrices with cells averaged over runs.

    Args:    classes: names of rows and columns.
             matrices: name → cases by truth (rows) and by what was said (columns).
    """

    classes: tuple[str, ...]
    matrices: Mapping[str, Float[np.ndarray, "classes classes"]]

    def to_json(self) -> dict[str, Any]:
        """Every cell."""
        return {"classes": list(self.classes), **{name: matrix.tolist() for name, matrix in self.matrices.items()}}


@dataclass(frozen=True)
class Outcome:
    """What came of one experiment.

    Args:    experiment: the paper's name.
             epochs: best epoch of each run that ended well.
             failures: why the others did not, a line each.
             metrics: name without the split → what was measured.
             confusions: by name.
             sharings: of each run with learnt gates.
    """

    experiment: str
    epochs: tuple[int, ...] = ()
    failures: tuple[str, ...] = ()
    metrics: Mapping[str, Measured] = field(default_factory=dict)
    confusions: Mapping[str, MeanConfusions] = field(default_factory=dict)
    sharings: tuple[Sharing, ...] = ()

    def text(self, metric: str) -> str:
        """A metric with its interval, a dash where it was not measured."""
        found = self.metrics.get(metric)
        return "–" if found is None else found.text()


@dataclass(frozen=True)
class Reproduced:
    """What came of all.

    Args:    name: of the reproduction.
             task, source: what was trained on what.
             split: that was measured on.
             primary: name of the task that is the diagnosis.
             num_seeds: runs of each experiment.
             outcomes: in the paper's order.
             other_data: why the data are not the paper's, None where they are.
             note: how often the test split has been read by now, or why it was not.
             unlike_paper: what else was not as in the paper: size, settings, an end before the paper's rules would have it.
             notes: what is to be known of the data, and what the networks do otherwise than the paper's, a line each.
    """

    name: str
    task: str
    source: str
    split: str
    primary: str
    num_seeds: int
    outcomes: tuple[Outcome, ...]
    other_data: str | None
    note: str
    unlike_paper: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def outcome(self, experiment: str) -> Outcome | None:
        """What came of an experiment; None where it was not asked for, or no run ended well."""
        found = [outcome for outcome in self.measured if outcome.experiment == experiment]
        return found[0] if found else None

    @property
    def measured(self) -> tuple[Outcome, ...]:
        """What came of those of which a run ended well."""
        return tuple(outcome for outcome in self.outcomes if outcome.metrics)


@runtime_checkable
class PageParts(Protocol):
    """What the page of a reproduction is put together from; each gives Markdown, with the place of a picture in it."""

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        """A table of texts."""

    def compared(
        self,
        first: str,
        rows: Sequence[tuple[str, Mapping[str, Measured]]],
        metrics: Mapping[str, str],
        scale: float = 1.0,
        digits: int = 3,
    ) -> str:
        """A table with a second column for a metric that the paper reports of any row.

        Args:    first: heading of the names.
                 rows: name and metrics.
                 metrics: name → heading.
                 scale, digits: of every number.
        """

    def beside_paper(self, name: str, outcomes: Sequence[Outcome], metrics: Mapping[str, str]) -> str:
        """A picture: a panel a metric, a row an experiment, the paper's number beside the interval of ours.

        Args:    name: of the picture.
                 outcomes: those that were measured.
                 metrics: name → what is written below its panel.
        """

    def confusion(self, name: str, confusions: MeanConfusions, experiment: str) -> str:
        """A picture of a confusion matrix."""

    def sharing(self, name: str, outcomes: Sequence[Outcome], primary: str) -> str:
        """A picture of what the tasks of each experiment share, and what the primary one takes; empty without gates."""
