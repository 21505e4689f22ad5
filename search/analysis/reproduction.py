"""A paper's experiments as they came out here: means over seeds on the test split, beside what the paper reports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from search.analysis.common_explanations import dependence_of, spread_of
from search.analysis.leaderboard import RecordedSearch
from search.analysis.means import Mean, RunMetrics, means_over_runs, run_metrics
from search.analysis.uncertainty import Interval
from search.errors import PlanError
from search.records.split_readings import record_reading
from search.records.trials import TrialRecord
from spaces.fields import fields_of, format_value
from trainables.contract import Confusions
from trainables.data import read
from trainables.sharing import Sharing
from trainables.tasks import TASKS, TaskModule

#: Where sharing is looked at: the paper's figure, and all of it.
BLOCKS: Mapping[str, int | None] = {"last block": -1, "all blocks": None}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Measured:
    """A metric of an experiment.

    Args:    mean: over its runs.
             interval: 95 %, over cases and seeds, of this number by itself; None for fewer than three seeds.
             paper: what the paper reports, None where it reports nothing.
    """

    mean: float
    interval: Interval | None
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

    def to_json(self, primary: str) -> dict[str, Any]:
        """Every number.

        Args:    primary: name of the task that is the diagnosis.
        """
        last = spread_of(self.sharings, block=-1)
        dependence = {name: dependence_of(primary, self.sharings, block) for name, block in BLOCKS.items()}
        return {
            "experiment": self.experiment,
            "epochs": list(self.epochs),
            "failures": list(self.failures),
            "metrics": {name: measured.to_json() for name, measured in self.metrics.items()},
            "confusions": {name: found.to_json() for name, found in self.confusions.items()},
            "sharing_of_last_block": None if last is None else last.to_json(),
            "dependence": {name: None if found is None else found.to_json() for name, found in dependence.items()},
        }


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
        found = [outcome for outcome in self.outcomes if outcome.experiment == experiment and outcome.metrics]
        return found[0] if found else None

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        own = ("name", "task", "source", "split", "num_seeds", "other_data", "note")
        return {
            **{name: getattr(self, name) for name in own},
            "unlike_paper": list(self.unlike_paper),
            "notes": list(self.notes),
            "experiments": [outcome.to_json(self.primary) for outcome in self.outcomes],
        }


def reproduced(found: RecordedSearch, progress: Progress = lambda done, total: None) -> Reproduced:
    """Reads a reproduction that has run. Every run's checkpoint reads the test split once, and that is recorded.

    Args:    found: the reproduction.
             progress: called with (runs measured, all).
    Raises:  PlanError: when it is none, has runs left to do, or none that ended well.
    """
    plan, reproduction = found.plan, found.plan.reproduction
    if reproduction is None or plan.source is None:
        raise PlanError(f"NAME must be a reproduction; got {plan.name!r}, which is a {plan.kind}")
    if found.state.ended != "all trials":
        raise PlanError(f"{plan.name} must have ended to be reported; got {found.state.ended} (dermtune resume {plan.name})")
    cases = read(plan.source)
    counts = cases.counts()
    split = "test" if "test" in counts else "valid"
    runs: dict[str, list[TrialRecord]] = {experiment.name: [] for experiment in reproduction.experiments}
    for record in found.state.trials.values():
        runs[reproduction.experiment_of(record.trial).name].append(record)
    reader, total = _Reader(found, TASKS[plan.task].load(), plan.source, split), len(found.state.trials)
    read_runs = {}
    for name, records in runs.items():
        read_runs[name] = [reader.read(record) for record in records if record.state == "finished" and record.checkpoint]
        progress(reader.num_read, total)
    if not any(read_runs.values()):
        raise PlanError(f"a run of {plan.name} must have ended well; got none (dermtune show {plan.name})")
    outcomes = [_outcome(reader, name, runs[name], found_runs) for name, found_runs in read_runs.items()]
    primary = getattr(cases, "primary", "") or "melanoma"
    paper = TASKS[plan.task].paper
    return Reproduced(
        name=plan.name,
        task=plan.task,
        source=plan.source,
        split=split,
        primary=primary,
        num_seeds=reproduction.num_seeds,
        outcomes=tuple(outcomes),
        other_data=None if paper is None else paper.other_data(plan.source, counts),
        note=reader.note,
        unlike_paper=_unlike_paper(found),
        notes=tuple(dict.fromkeys([*plan.notes, *(note for r in found.state.trials.values() for note in r.notes)])),
    )


def _unlike_paper(found: RecordedSearch) -> tuple[str, ...]:
    """Settings of all experiments that are not the paper's, and runs that the limit of epochs ended."""
    plan, task = found.plan, TASKS[found.plan.task]
    fields = fields_of(task.space)
    lines = [
        f"{name} is {format_value(value)}, the paper's {format_value(fields[name].default)}"
        for name, value in plan.fixed.items()
        if value is not None and name not in task.paper_rules and value != fields[name].default
    ]
    cut = sum(record.reason == "max_epochs" for record in found.state.trials.values())
    if cut:
        lines.append(f"{cut} of {len(found.state.trials)} runs were ended by the limit of {plan.max_epochs} epochs")
    return tuple(lines)


class _Run(NamedTuple):
    """One run that ended well."""

    epoch: int
    metrics: RunMetrics
    confusions: Mapping[str, Confusions]
    sharing: Sharing | None


class _Reader:
    """Measures checkpoints on a split, and writes down that it did."""

    def __init__(self, found: RecordedSearch, module: TaskModule, source: str, split: str) -> None:
        self.found, self.module, self.source, self.split = found, module, source, split
        self.num_read, self._readings = 0, 0

    def read(self, record: TrialRecord) -> _Run:
        """What a run's checkpoint says of every case, and what its tasks share."""
        folder = self.found.folder.fetched(str(record.checkpoint))
        cases = self.module.casewise(folder, self.source, self.split)
        if self.split == "test":
            self._readings = record_reading(self.found.folder.storage, folder, self.source)
        self.num_read += 1
        return _Run(record.best_epoch, run_metrics(cases), cases.confusions, self.module.explain_model(folder).sharing)

    @property
    def note(self) -> str:
        """What the readings have cost."""
        if self.split != "test":
            return f"{self.source} has no test split: nothing here is measured on cases that chose nothing."
        return (
            f"{self.num_read} checkpoints read the test split of {self.source}, which has been read {self._readings} times by"
            " now; every reading spends a little of what it is worth."
        )


def _outcome(reader: _Reader, name: str, records: Sequence[TrialRecord], runs: Sequence[_Run]) -> Outcome:
    paper, prefix = TASKS[reader.found.plan.task].paper, f"{reader.split}/"
    papers = {} if paper is None else paper.values(name)
    means: Mapping[str, Mean] = means_over_runs([[[run.metrics] for run in runs]])[0]
    metrics = {
        (own := metric.removeprefix(prefix)): Measured(mean, interval, papers.get(own))
        for metric, (mean, interval) in means.items()
    }
    return Outcome(
        experiment=name,
        epochs=tuple(run.epoch for run in runs),
        failures=tuple(f"{record.trial}: {record.reason}" for record in records if record.state == "failed"),
        metrics=metrics,
        confusions=_averaged([run.confusions for run in runs]) if runs else {},
        sharings=tuple(run.sharing for run in runs if run.sharing is not None),
    )


def _averaged(runs: Sequence[Mapping[str, Confusions]]) -> dict[str, MeanConfusions]:
    """Cells averaged over runs on the same cases."""
    return {
        name: MeanConfusions(
            first.classes, {key: np.mean([run[name].matrices[key] for run in runs], axis=0) for key in first.matrices}
        )
        for name, first in runs[0].items()
    }
