"""What a confirmation found, and how it is said."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from search.analysis.means import Mean
from search.analysis.uncertainty import MINIMUM_SEEDS, Interval
from search.errors import PlanError
from search.strategy.confirmation_controller import FAILED

Finding = Literal["winner", "worse", "better", "tied", "not compared"]
#: What the configuration is called that leads where its lead is not established.
BEST_MEAN = "best mean"
#: What is said of a configuration that did on fresh seeds what it had done in the search.
AS_IN_SEARCH = "as in the search"


@dataclass(frozen=True)
class Standing:
    """How one configuration did.

    Args:    trial: of the search, whose configuration it is.
             epoch: it was trained to.
             claimed: the metric at that epoch in the search.
             values: on each fresh seed (and fold) that it ran on.
             mean: of those, None where it ran on none.
             interval: over cases and seeds, all configurations' together at 95 %; None for fewer than three seeds.
             difference: its mean less the winner's; more is better.
             difference_interval: over cases, paired, and seeds; all of them together at 95 %. None for fewer than three seeds.
             out: why it ran on no further seed, None when it ran on all.
    """

    trial: str
    epoch: int
    claimed: float
    values: tuple[float, ...]
    mean: float | None
    interval: Interval | None
    difference: float | None
    difference_interval: Interval | None
    out: str | None

    @property
    def finding(self) -> Finding:
        """What is known of it against the winner; being dropped to save time is no finding."""
        if self.difference is None:
            return "winner" if self.mean is not None else "not compared"
        if self.difference_interval is None:
            return "not compared"
        low, high = self.difference_interval
        return "worse" if high < 0 else "better" if low > 0 else "tied"


@dataclass(frozen=True)
class Verdict:
    """What a confirmation found.

    Args:    search, name: the search and its confirmation.
             task, metric, mode, source: of the search.
             num_seeds, num_folds: that each configuration was to run on.
             standings: best first.
             winner: trial of the best mean, None where none ran; whether it is better than the others, `is_established` says.
             claimed_best: trial that the search had called best.
             curse: how much worse the search's best did than it had claimed; positive is worse.
             winner_metrics: metric → mean of the winner and its interval over cases and seeds, None for fewer than three.
             test_metrics: the same on the test split, empty where there is none.
             test_note: how often the test split has been read by now, or why it was not.
             winner_run: the winner's run with the median value.
             checkpoint: of that run, where there is one.
             sampled: "cases and seeds", or "seeds" for a metric that is not measured on cases.
             units: what "cases" are, in words: the groups that they come in, where such are known.
             num_looks: how often the race looked whom to drop, which the intervals pay for.
             earlier: name of each earlier confirmation of the search that has been reported → its sentence, oldest first.
    """

    search: str
    name: str
    task: str
    metric: str
    mode: str
    source: str | None
    num_seeds: int
    num_folds: int
    standings: tuple[Standing, ...]
    winner: str | None
    claimed_best: str
    curse: float | None
    winner_metrics: Mapping[str, Mean] = field(default_factory=dict)
    test_metrics: Mapping[str, Mean] = field(default_factory=dict)
    test_note: str = ""
    winner_run: str | None = None
    checkpoint: str | None = None
    sampled: str = "cases and seeds"
    units: str = "cases"
    num_looks: int = 0
    earlier: Mapping[str, str] = field(default_factory=dict)

    def found(self, finding: Finding) -> list[str]:
        """Trials of which that is known, best first."""
        return [standing.trial for standing in self.standings if standing.finding == finding]

    @property
    def is_established(self) -> bool:
        """Whether the configuration of the best mean is better than every other one, by the intervals of the differences."""
        rivals = [standing.finding for standing in self.standings if standing.trial != self.winner]
        return self.winner is not None and bool(rivals) and set(rivals) == {"worse"}

    def word(self, standing: Standing) -> str:
        """What a configuration is called: "winner" only where it is established that it is better than every other one."""
        return BEST_MEAN if standing.finding == "winner" and not self.is_established else standing.finding

    @property
    def tied(self) -> list[str]:
        """Configurations that cannot be told from that of the best mean: the interval of their difference holds 0."""
        return self.found("tied")

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "Verdict":
        """A finding from what `to_json` gave."""
        standings = tuple(
            Standing(**{name: value for name, value in entry.items() if name != "finding"}) for entry in document["standings"]
        )
        known = {name: value for name, value in document.items() if name not in ("tied", "sentence")}
        return Verdict(**{**known, "standings": standings})

    @property
    def interval_note(self) -> str:
        """Why one configuration's interval changes with the others; nothing where there are no intervals."""
        if all(standing.interval is None for standing in self.standings):
            return ""
        return "The intervals hold all at once, at 95 %: a configuration's depends on which others it is compared with."

    @property
    def sentence(self) -> str:
        """The finding in a sentence or two."""
        if self.winner is None:
            return "No configuration could be trained again."
        if self.num_seeds < MINIMUM_SEEDS:
            return (
                f"{self.winner} has the best mean, but {counted(self.num_seeds, 'seed')} cannot say whether it is better than the"
                f" others: take three or more (dermtune confirm {self.search} --seeds 3)."
            )
        worse, tied, better, unknown = (self.found(finding) for finding in ("worse", "tied", "better", "not compared"))
        if self.is_established:
            return f"{self.winner} is better than {listed(worse)}."
        parts = []
        if tied and not (worse or better or unknown):
            parts.append(
                f"No configuration is better than another: {self.winner} has the best mean, and the interval of"
                f" {'its difference' if len(tied) == 1 else 'each difference'} to {listed(tied)} contains 0."
            )
        else:
            parts.append(f"{self.winner} has the best mean.")
            failed = {standing.trial for standing in self.standings if standing.out and standing.out.startswith(FAILED)}
            said = {
                "It is better than {}.": worse,
                "{} cannot be told from it.": tied,
                "{} did better on the seeds that it ran on, but did not run on all.": better,
                "{} could not be compared.": [trial for trial in unknown if trial in failed],
                "{} cannot be compared: every seed gave the same, which leaves no interval.": [
                    trial for trial in unknown if trial not in failed
                ],
            }
            parts += [text.format(listed(trials)) for text, trials in said.items() if trials]
        return " ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        standings = [{**asdict(standing), "finding": self.word(standing)} for standing in self.standings]
        return {**asdict(self), "standings": standings, "tied": self.tied, "sentence": self.sentence}


def read_verdict(folder: Path) -> Verdict | None:
    """The finding of a confirmation that has been reported before, None where there is none.

    Args:    folder: of the confirmation.
    Raises:  PlanError: when an earlier version has reported it, or it is damaged.
    """
    file = folder / "confirmation.json"
    try:
        return Verdict.from_json(json.loads(file.read_text())) if file.is_file() else None
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            f"a confirmation's report must be whole and of this version of dermtune; got {file}, which is not"
            " (dermtune confirm makes another)"
        ) from error


def against_claim(curse: float) -> str:
    """How a configuration did against what its search had claimed: `0.0123 worse`, `0.0123 better`, `as in the search`."""
    text = f"{abs(curse):.4f}"
    return AS_IN_SEARCH if float(text) == 0 else f"{text} {'worse' if curse > 0 else 'better'}"


def counted(number: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str]) -> str:
    """`t0001`, `t0001 and t0004`, `t0001, t0004 and t0007`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
