"""Reads a confirmation that has run: means over fresh seeds, and what cases and seeds leave open of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from search.analysis.leaderboard import RecordedSearch
from search.analysis.means import RunMetrics, averaged, means_over_runs, run_metrics, seed_runs
from search.analysis.uncertainty import ERROR, Interval, SeedRuns, difference_intervals, mean_intervals
from search.analysis.verdict import Standing, Verdict, read_verdict
from search.errors import PlanError
from search.records.confirmations import confirmations_of
from search.records.folder import SearchFolder
from search.records.plan import Confirmation, Plan
from search.records.split_readings import record_reading
from search.records.trials import TrialRecord
from search.strategy.confirmation_controller import FAILED, PlannedRun, looks, planned_runs_of
from trainables.data import read
from trainables.metric_ranges import range_of
from trainables.tasks import TASKS

Progress = Callable[[int, int], None]
ERROR_WITH_LOOK = 0.04


@dataclass(frozen=True)
class _Run:
    """One run that ended: its value, and its metrics with what each case contributes."""

    trial: str
    value: float
    checkpoint: Path | None
    measured: RunMetrics

    def without_cases(self, metric: str) -> "_Run":
        """The run as it is known where no case is: by a metric's value alone."""
        return replace(self, measured=RunMetrics({metric: self.value}, {metric: np.zeros(0)}))


@dataclass(frozen=True)
class _Runs:
    """All runs of one candidate.

    Args:    every: those that ended well, by block.
             whole: of those the seeds that ran on every fold, seeds × folds.
    """

    every: Mapping[int, _Run]
    whole: Sequence[Sequence[_Run]]

    def of(self, metric: str) -> SeedRuns:
        """A metric on the whole seeds."""
        return seed_runs([[run.measured for run in folds] for folds in self.whole], metric)


def confirm_search(found: RecordedSearch, storage: Path, progress: Progress = lambda done, total: None) -> Verdict:
    """Reads a confirmation that has run. The test split is read once, by the checkpoints of the best mean, and that is recorded.

    Args:    found: the confirmation.
             storage: folder of all searches.
             progress: called with (done, all) while runs are measured without each of their cases.
    Raises:  PlanError: when this is a search, or has runs left to do.
    """
    plan = found.plan
    confirmation = plan.confirmation
    if confirmation is None:
        raise PlanError(f"NAME must be a confirmation; got the search {plan.name}")
    if found.state.ended not in ("all trials",):
        raise PlanError(f"{plan.name} must have ended to be reported; got {found.state.ended} (dermtune resume {plan.name})")
    runs = _runs(found, confirmation, progress)
    sign = plan.objective.sign
    complete = max(len(of.every) for of in runs)
    eligible = [index for index, of in enumerate(runs) if of.every and len(of.every) == complete]
    winner = max(eligible, key=lambda index: sign * _mean(runs[index]), default=None)
    standings = _standings(found, confirmation, runs, winner)
    first, mean = confirmation.candidates[0], standings[0].mean
    on_cases = any(influences.shape[1] for of in runs if of.whole for influences in of.of(plan.objective.metric).influences)
    return Verdict(
        search=confirmation.search,
        name=plan.name,
        task=plan.task,
        metric=plan.objective.metric,
        mode=plan.objective.mode,
        source=plan.source,
        num_seeds=confirmation.num_seeds,
        num_folds=confirmation.num_folds,
        standings=tuple(sorted(standings, key=lambda s: (s.out is not None, -sign * s.mean if s.mean is not None else math.inf))),
        winner=None if winner is None else confirmation.candidates[winner].trial,
        claimed_best=first.trial,
        curse=sign * (first.claimed - mean) if mean is not None else None,
        sampled="cases and seeds" if on_cases else "seeds",
        units=next((run.measured.units for of in runs for run in of.every.values()), "cases"),
        num_looks=len(looks(confirmation.num_seeds)),
        earlier=_earlier(storage, plan),
        **(_of_winner(found, storage, runs, winner) if winner is not None else {}),
    )


def _earlier(storage: Path, plan: Plan) -> dict[str, str]:
    """What earlier confirmations of the same search have found, by name; those that were not reported are left out."""
    confirmation, found = plan.confirmation, dict[str, str]()
    others = confirmations_of(storage, confirmation.search) if confirmation is not None else []
    # Each takes the seeds that follow on those of the one before.
    for other in sorted((other for other in others if other.seed < plan.seed), key=lambda other: other.seed):
        try:
            verdict = read_verdict(SearchFolder(storage, other.name).path)
        except (PlanError, ValueError):
            found[other.name] = "its report cannot be read"
            continue
        if verdict is not None:
            found[other.name] = verdict.sentence
    return found


def error_of(num_seeds: int) -> float:
    """The error of the differences of a confirmation, with the race's look paid for.

    Whoever is dropped is read after a part of the seeds and the others after all. A test that is made at both looks must allow
    itself 0.0294 at each (Pocock 1977); here each configuration is tested once, at the one or at the other, for which 0.04 is
    enough: `benchmarks/confirm_calibration.py` simulates it.

    Args:    num_seeds: that each configuration is to run on.
    """
    return ERROR_WITH_LOOK if looks(num_seeds) else ERROR


def _mean(runs: _Runs) -> float:
    """Over the whole seeds, so that every fold counts alike; over all runs where no seed ran on all folds."""
    values = [run.value for folds in runs.whole for run in folds] or [run.value for run in runs.every.values()]
    return math.fsum(values) / len(values)


def _standings(found: RecordedSearch, confirmation: Confirmation, runs: Sequence[_Runs], winner: int | None) -> list[Standing]:
    """Every candidate's, in the order of the plan."""
    objective = found.plan.objective
    out = found.state.out_of_race
    limits = range_of(objective.metric)
    seeds = [own.of(objective.metric) for own in runs]
    intervals = mean_intervals(seeds, limits)
    gaps: list[Interval | None] = [None] * len(runs)
    if winner is not None:
        gaps = difference_intervals(seeds, winner, limits, error_of(confirmation.num_seeds))
    standings = []
    for index, (candidate, own) in enumerate(zip(confirmation.candidates, runs, strict=True)):
        difference = None
        if winner is not None and index != winner and own.every:
            difference = objective.sign * (_mean(own) - _mean(runs[winner]))
        failed = out.get(candidate.trial, "").startswith(FAILED)
        standings.append(
            Standing(
                trial=candidate.trial,
                epoch=candidate.epoch,
                claimed=candidate.claimed,
                values=tuple(run.value for _, run in sorted(own.every.items())),
                mean=_mean(own) if own.every else None,
                interval=None if failed else intervals[index],
                difference=difference,
                difference_interval=None if failed else _turned(gaps[index], objective.sign),
                out=out.get(candidate.trial),
            )
        )
    return standings


def _turned(interval: Interval | None, sign: int) -> Interval | None:
    """An interval of a metric of which less is better, as one of which more is."""
    return interval if interval is None or sign > 0 else (-interval[1], -interval[0])


def _runs(found: RecordedSearch, confirmation: Confirmation, progress: Progress) -> list[_Runs]:
    """Runs that ended well, by candidate."""
    blocks: list[dict[int, _Run]] = [{} for _ in confirmation.candidates]
    planned_of = planned_runs_of(found.plan, found.state.trials)
    ended = [record for record in found.state.trials.values() if record.state == "finished" and record.value is not None]
    for done, record in enumerate(ended, start=1):
        planned = planned_of[record.trial]
        blocks[planned.candidate][planned.block] = _run(found, confirmation, planned, record)
        progress(done, len(ended))
    metric = found.plan.objective.metric
    if any(not run.measured.influences[metric].size for own in blocks for run in own.values()):
        # One run's cases are not known, so that none are compared by theirs.
        blocks = [{block: run.without_cases(metric) for block, run in own.items()} for own in blocks]
    return [_Runs(own, _whole_seeds(own, confirmation.num_seeds, confirmation.num_folds)) for own in blocks]


def _whole_seeds(runs: Mapping[int, _Run], num_seeds: int, num_folds: int) -> list[list[_Run]]:
    seeds = [range(seed * num_folds, (seed + 1) * num_folds) for seed in range(num_seeds)]
    return [[runs[block] for block in blocks] for blocks in seeds if all(block in runs for block in blocks)]


def _run(found: RecordedSearch, confirmation: Confirmation, planned: PlannedRun, record: TrialRecord) -> _Run:
    plan, metric = found.plan, found.plan.objective.metric
    checkpoint = found.folder.fetched(record.checkpoint) if record.checkpoint else None
    value = float(record.value or 0.0)
    metrics = RunMetrics({}, {})
    if plan.source is not None and checkpoint is not None:
        fold = "" if planned.fold is None else f"#fold={planned.fold}/{confirmation.num_folds}"
        metrics = run_metrics(TASKS[plan.task].load().casewise(checkpoint, f"{plan.source}{fold}", "valid"))
    if metric not in metrics.values:  # not measured on cases
        metrics = RunMetrics({**metrics.values, metric: value}, {**metrics.influences, metric: np.zeros(0)}, metrics.units)
    return _Run(record.trial, metrics.values[metric], checkpoint, metrics)


def _of_winner(found: RecordedSearch, storage: Path, every: Sequence[_Runs], winner: int) -> dict[str, Any]:
    """The winner's metrics on validation and test split, and its checkpoint.

    On the validation cases it was chosen among all, whose intervals hold together; the test cases have chosen nothing.
    """
    runs = every[winner]
    ordered = sorted(runs.every.values(), key=lambda run: found.plan.objective.sign * run.value)
    median = ordered[(len(ordered) - 1) // 2]  # of an even number the worse of the two in the middle
    checkpoint = str(median.checkpoint) if median.checkpoint else None
    result: dict[str, Any] = {"winner_run": median.trial, "checkpoint": checkpoint}
    source = found.plan.source
    if source is None or median.checkpoint is None:
        return {**result, "test_note": f"The task {found.plan.task} has no data, so there is no test split to read."}
    on_valid = means_over_runs([[[run.measured for run in folds] for folds in own.whole] for own in every])
    result["winner_metrics"] = on_valid[winner]
    if "test" not in read(source).counts():
        return {**result, "test_note": f"{source} has no test split: nothing here is measured on cases that chose nothing."}
    task = TASKS[found.plan.task].load()
    # Runs of one seed on several folds share most of what they trained on, and all test cases: together they are one.
    checkpoints = [[run.checkpoint for run in folds if run.checkpoint is not None] for folds in runs.whole]
    on_test = [
        [averaged([run_metrics(task.casewise(checkpoint, source, "test")) for checkpoint in of_seed])]
        for of_seed in checkpoints
        if of_seed
    ]
    times = record_reading(storage, median.checkpoint, source)
    note = f"Reading {times} of the test split of {source}; every reading spends a little of what it is worth."
    return {**result, "test_metrics": means_over_runs([on_test])[0], "test_note": note}
