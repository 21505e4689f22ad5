"""A paper's experiments as they came out here: means over seeds on the test split, beside what the paper reports."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from search.analysis.leaderboard import RecordedSearch
from search.analysis.means import Mean, RunMetrics, means_over_runs, run_metrics
from search.errors import PlanError
from search.records.split_readings import record_reading
from search.records.trials import TrialRecord
from spaces.fields import fields_of, format_value
from trainables.data import read
from trainables.evaluation import Confusions
from trainables.reproduced import MeanConfusions, Measured, Outcome, Reproduced
from trainables.sharing import Sharing
from trainables.tasks import TASKS, TaskModule

Progress = Callable[[int, int], None]


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
