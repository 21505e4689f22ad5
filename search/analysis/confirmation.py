"""Is the winner still the winner? A confirmation read: means over fresh seeds, and what cases and seeds leave open."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from search.analysis.leaderboard import RecordedSearch
from search.analysis.means import RESAMPLES, means_over_runs
from search.analysis.uncertainty import Interval, SeedSpread, crossed, interval, within
from search.errors import PlanError
from search.records.ledger import read_events
from search.records.plan import trial_number
from search.records.readings import record_reading
from search.strategy.race import Heat, heats
from trainables import folders
from trainables.contract import Casewise
from trainables.data import portable_source, read
from trainables.tasks import TASKS


@dataclass(frozen=True)
class Standing:
    """How one configuration did.

    Args:    trial: of the search, whose configuration it is.
             epoch: it was trained to.
             claimed: the metric at that epoch in the search.
             values: on each fresh seed (and fold) that it ran on.
             mean: of those, None where it ran on none.
             interval: 95 %, over cases and seeds; None where nobody ran twice.
             difference: mean difference to the winner over the seeds and folds that both ran on; more is better.
             difference_interval: 95 % for all rivals together, paired, over cases and seeds.
             out: why it was taken out of the race, None when it was not.
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


@dataclass(frozen=True)
class Verdict:
    """What a confirmation found.

    Args:    search, name: the search and its confirmation.
             task, metric, mode, source: of the search.
             num_seeds, num_folds: that each configuration was to run on.
             standings: best first.
             winner: trial of the best mean, None where none ran.
             claimed_best: trial that the search had called best.
             curse: how much worse the search's best did than it had claimed; positive is worse.
             winner_metrics: metric → mean and 95 % interval of the winner over cases and seeds.
             test_metrics: the same on the test split, empty where there is none.
             test_note: how often the test split has been read by now, or why it was not.
             winner_run: the winner's run with the median value.
             checkpoint: of that run, where there is one.
             sampled: "cases and seeds", or "seeds" for a task without cases.
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
    winner_metrics: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    test_metrics: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    test_note: str = ""
    winner_run: str | None = None
    checkpoint: str | None = None
    sampled: str = "cases and seeds"

    @property
    def tied(self) -> list[str]:
        """Configurations that cannot be told from the winner: the interval of their difference holds 0."""
        return [
            standing.trial
            for standing in self.standings
            if standing.trial != self.winner
            and standing.out is None
            and (standing.difference_interval is None or standing.difference_interval[0] <= 0 <= standing.difference_interval[1])
        ]

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "Verdict":
        """A finding from what `to_json` gave."""
        standings = tuple(Standing(**entry) for entry in document["standings"])
        known = {name: value for name, value in document.items() if name not in ("tied", "sentence")}
        return Verdict(**{**known, "standings": standings})

    @property
    def sentence(self) -> str:
        """The finding in a sentence."""
        if self.winner is None:
            return "No configuration could be trained again."
        rivals = [standing for standing in self.standings if standing.trial != self.winner]
        if len(self.tied) == len(rivals):
            return (
                f"No configuration is better than another: {self.winner} has the best mean, and the interval of every"
                " difference to it holds 0."
            )
        if self.tied:
            return f"{self.winner} has the best mean; {', '.join(self.tied)} cannot be told from it."
        return f"{self.winner} is better than each of the other {len(rivals)}."

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {**asdict(self), "tied": self.tied, "sentence": self.sentence}


@dataclass(frozen=True)
class _Run:
    """One run that ended: its value, and what its checkpoint says of each case where there are cases."""

    trial: str
    value: float
    checkpoint: Path | None
    cases: Casewise | None


Runs = dict[int, dict[int, _Run]]


def confirm_search(
    found: RecordedSearch, storage: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Verdict:
    """Reads a confirmation that has run. The test split is read once, by the winner's checkpoints, and that is recorded.

    Args:    found: the confirmation.
             storage: folder of all searches.
             progress: called with (done, all) while cases and seeds are drawn.
    Raises:  PlanError: when this is a search, or has runs left to do.
    """
    plan = found.plan
    race = plan.confirmation
    if race is None:
        raise PlanError(f"NAME must be a confirmation; got the search {plan.name}")
    if found.table.ended not in ("all trials",):
        raise PlanError(f"{plan.name} must have ended to be reported; got {found.table.ended} (dermtune resume {plan.name})")
    plans = heats(plan)
    runs = _runs(found, plans)
    sign = plan.objective.sign
    means = {c: math.fsum(run.value for run in blocks.values()) / len(blocks) for c, blocks in runs.items() if blocks}
    complete = max((len(blocks) for blocks in runs.values()), default=0)
    eligible = [c for c in means if len(runs[c]) == complete]
    winner = max(eligible, key=lambda c: sign * means[c], default=None)
    out = {
        event["candidate"]: event["reason"] for event in read_events(found.folder.ledger_file) if event["event"] == "out_of_race"
    }
    draws = _Draws(runs, plans, plan.objective.metric, plan.seed, progress)
    standings = []
    for index, candidate in enumerate(race.candidates):
        rival = winner is not None and index != winner
        blocks = sorted(set(runs[index]) & set(runs[winner])) if winner is not None else []
        gap = [sign * (runs[index][b].value - runs[winner][b].value) for b in blocks] if rival and winner is not None else []
        standings.append(
            Standing(
                trial=candidate.trial,
                epoch=candidate.epoch,
                claimed=candidate.claimed,
                values=tuple(run.value for _, run in sorted(runs[index].items())),
                mean=means.get(index),
                interval=draws.of(index),
                difference=math.fsum(gap) / len(gap) if gap else None,
                difference_interval=draws.difference(index, winner, sign) if rival and winner is not None else None,
                out=out.get(candidate.trial),
            )
        )
    first = race.candidates[0]
    return Verdict(
        search=race.search,
        name=plan.name,
        task=plan.task,
        metric=plan.objective.metric,
        mode=plan.objective.mode,
        source=plan.source,
        num_seeds=race.num_seeds,
        num_folds=race.num_folds,
        standings=tuple(sorted(standings, key=lambda s: (s.out is not None, -sign * s.mean if s.mean is not None else math.inf))),
        winner=None if winner is None else race.candidates[winner].trial,
        claimed_best=first.trial,
        curse=sign * (first.claimed - means[0]) if 0 in means else None,
        sampled="cases and seeds" if plan.source is not None else "seeds",
        **(_of_winner(found, storage, runs[winner]) if winner is not None else {}),
    )


def _runs(found: RecordedSearch, plans: Sequence[Heat]) -> Runs:
    """Ended runs by candidate and block."""
    task, plan = TASKS[found.plan.task], found.plan
    runs: Runs = {heat.candidate: {} for heat in plans}
    for record in found.table.trials.values():
        if record.state != "finished" or record.value is None:
            continue
        heat = plans[trial_number(record.trial)]
        checkpoint = found.folder.fetched(record.checkpoint) if record.checkpoint else None
        cases = None
        if plan.source is not None and checkpoint is not None:
            cases = task.load().casewise(checkpoint, _source(found, heat), "valid")
        runs[heat.candidate][heat.block] = _Run(record.trial, float(record.value), checkpoint, cases)
    return runs


def _source(found: RecordedSearch, heat: Heat) -> str:
    race = found.plan.confirmation
    fold = f"#fold={heat.fold}/{race.num_folds}" if race is not None and heat.fold is not None else ""
    return f"{found.plan.source}{fold}"


class _Draws:
    """Every run's metric on resamples of the cases, the same for every candidate, and the spread over seeds.

    Args:    runs: those that ended.
             plans: heats in the order of their trials.
             metric: full name.
             seed: of the draws.
             progress: called with (done, all).
    """

    def __init__(self, runs: Runs, plans: Sequence[Heat], metric: str, seed: int, progress: Callable[[int, int], None]) -> None:
        self._generator = np.random.default_rng(seed)
        self._values = {c: {block: run.value for block, run in blocks.items()} for c, blocks in runs.items()}
        self._rivals = max(1, sum(bool(blocks) for blocks in runs.values()) - 1)
        fold_of = {heat.block: heat.fold for heat in plans}
        every = [(c, block, run) for c, blocks in runs.items() for block, run in blocks.items()]
        sizes = {fold_of[block]: run.cases.num_cases for _, block, run in every if run.cases is not None}
        drawn = {fold: self._generator.integers(0, size, (RESAMPLES, size)) for fold, size in sorted(sizes.items(), key=str)}
        self._deviations: dict[tuple[int, int], Any] = {}
        for done, (candidate, block, run) in enumerate(every, start=1):
            found = np.zeros(RESAMPLES)
            if run.cases is not None:
                # A resample that leaves the metric without meaning (no case of a class) tells nothing.
                found = np.array([run.cases.measure(chosen).get(metric, run.value) for chosen in drawn[fold_of[block]]])
                found -= run.value
            self._deviations[candidate, block] = found
            progress(done, len(every))

    def of(self, candidate: int) -> Interval | None:
        """Of a candidate's mean; None where no candidate ran twice."""
        residuals, freedom = within(self._values)
        blocks = sorted(self._values[candidate])
        if not blocks or not freedom:
            return None
        cases = np.mean([self._deviations[candidate, block] for block in blocks], axis=0)
        centre = float(np.mean([self._values[candidate][block] for block in blocks]))
        return interval(centre, cases, SeedSpread(residuals, freedom, self._generator), len(blocks))

    def difference(self, candidate: int, winner: int, sign: int) -> Interval | None:
        """Of a candidate's paired difference to the winner; all of them hold together (Bonferroni). None for a single block."""
        blocks = sorted(set(self._values[candidate]) & set(self._values[winner]))
        if len(blocks) < 2:
            return None
        residuals, freedom = crossed(self._values, blocks)
        gaps = {b: sign * (self._values[candidate][b] - self._values[winner][b]) for b in blocks}
        cases = sign * np.mean([self._deviations[candidate, b] - self._deviations[winner, b] for b in blocks], axis=0)
        spread = SeedSpread([math.sqrt(2) * residual for residual in residuals], freedom, self._generator)
        return interval(float(np.mean(list(gaps.values()))), cases, spread, len(blocks), error=0.05 / self._rivals)


def _of_winner(found: RecordedSearch, storage: Path, runs: Mapping[int, _Run]) -> dict[str, Any]:
    """The winner's metrics on validation and test split, and its checkpoint."""
    ordered = sorted(runs.values(), key=lambda run: run.value)
    median = ordered[len(ordered) // 2]
    checkpoint = str(median.checkpoint) if median.checkpoint else None
    result: dict[str, Any] = {"winner_run": median.trial, "checkpoint": checkpoint}
    source = found.plan.source
    if source is None or median.checkpoint is None:
        return {**result, "test_note": f"The task {found.plan.task} has no data, so there is no test split to read."}
    folds = [run.cases for run in runs.values() if run.cases is not None]
    result["winner_metrics"] = means_over_runs([folds], found.plan.seed)[0]
    if "test" not in read(source).counts():
        return {**result, "test_note": f"{source} has no test split: nothing here is measured on cases that chose nothing."}
    task = TASKS[found.plan.task].load()
    checkpoints = [run.checkpoint for run in runs.values() if run.checkpoint is not None]
    cases = [task.casewise(checkpoint, source, "test") for checkpoint in checkpoints]
    times = record_reading(storage, folders.digest(checkpoints[0]), portable_source(source))
    note = f"Reading {times} of the test split of {source}; every reading spends a little of what it is worth."
    return {**result, "test_metrics": means_over_runs([cases], found.plan.seed)[0], "test_note": note}
