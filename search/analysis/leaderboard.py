"""Finished and running searches: what there is, who leads, where the best checkpoints lie."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from search.errors import PlanError, SearchNotFound
from search.records.failure import failure_trace
from search.records.folder import SearchFolder, list_searches
from search.records.ledger import read_events
from search.records.plan import Plan
from search.records.trials import TrialRecord, TrialTable
from search.strategy.rungs import rung_correlation, rungs
from trainables.contract import Objective
from trainables.tasks import TASKS


@dataclass(frozen=True)
class RecordedSearch:
    """A search read from its folder.

    Args:    folder, plan, table: see there.
    """

    folder: SearchFolder
    plan: Plan
    table: TrialTable

    @property
    def state(self) -> str:
        """ "running", "finished" or "interrupted"."""
        if self.folder.is_running():
            return "running"
        return "interrupted" if self.table.ended in (None, "interrupted") else "finished"

    def trial(self, name: str) -> TrialRecord:
        """The trial of that id.

        Raises:  SearchNotFound: when there is none.
        """
        if name not in self.table.trials:
            raise SearchNotFound(f"--trial must be a trial of {self.plan.name} (`dermtune show`); got {name!r}")
        return self.table.trials[name]


def open_search(storage: Path, name: str) -> RecordedSearch:
    """Reads a search.

    Raises:  SearchNotFound: when there is none of that name.
    """
    folder = SearchFolder(storage, name)
    plan = folder.plan()
    return RecordedSearch(folder, plan, TrialTable.of(read_events(folder.ledger_file), plan.objective, plan.constraints))


def searches(storage: Path) -> list[dict[str, Any]]:
    """One JSON object per search, oldest first (`dermtune list`)."""
    return [_search_row(open_search(storage, folder.name)) for folder in list_searches(storage)]


def _search_row(found: RecordedSearch) -> dict[str, Any]:
    best = found.table.best
    return {
        "name": found.plan.name,
        "task": found.plan.task,
        "kind": found.plan.kind,
        "state": found.state,
        "metric": found.plan.objective.metric,
        "num_trials": len(found.table.trials),
        "num_failed": found.table.count("failed"),
        "best_value": best.value if best else None,
        "best_score": best.score if best else None,
        "confirms": found.plan.confirmation.search if found.plan.confirmation else None,
        "wall_s": found.table.wall_s,
        "created": found.plan.created,
        "data": found.plan.source,
    }


def trial_rows(found: RecordedSearch) -> list[dict[str, Any]]:
    """One JSON object per trial, best first, those without a score last (`dermtune show`)."""
    ranked, objectives = found.table.ranked(), found.plan.objectives
    names = {trial.trial for trial in ranked}
    rest = [trial for trial in found.table.trials.values() if trial.trial not in names]
    front = {trial.trial for trial in found.table.pareto(objectives)}
    return [
        {
            "trial": trial.trial,
            "state": trial.state,
            "reason": trial.reason,
            "value": trial.value,
            "score": trial.score,
            "scores": dict(zip([o.metric for o in objectives], trial.scores(objectives) or (), strict=False)),
            "pareto": trial.trial in front,
            "within_limits": not trial.excess(found.plan.constraints) if trial.score is not None else None,
            "epoch": trial.best_epoch or None,
            "epochs": len(trial.epochs),
            "seconds": round(trial.train_s, 3),
            "config": dict(trial.config),
        }
        for trial in [*ranked, *rest]
    ]


def trial_log(found: RecordedSearch, name: str) -> dict[str, Any]:
    """Everything about one trial: its epochs, where it ran, how it failed.

    Raises:  SearchNotFound: when there is no such trial.
    """
    trial = found.trial(name)
    (row,) = [row for row in trial_rows(found) if row["trial"] == name]
    checkpoint = found.folder.address(trial.checkpoint) if trial.checkpoint else None
    trace = failure_trace(found.folder.trial(name))
    return {
        **row,
        "seed": trial.seed,
        "notes": list(trial.notes),
        "retries": list(trial.retries),
        "where": dict(trial.where),
        "checkpoint": checkpoint,
        "traceback": trace,
        "log": trial.epochs,
    }


@dataclass(frozen=True)
class Tradeoff:
    """Trials by their diagnosis and by what their explanation is worth.

    Args:    diagnosis, explanation: what is compared.
             points: trial → both scores, best diagnosis first; of trials that keep all limits.
             front: the trials that no other one equals in both and beats in one. As in ranking, a mean over fewer than three
                 validations beats none over three.
    """

    diagnosis: Objective
    explanation: Objective
    points: Mapping[str, tuple[float, float]]
    front: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Both metrics, and every trial's."""
        return {
            "metrics": [self.diagnosis.metric, self.explanation.metric],
            "modes": [self.diagnosis.mode, self.explanation.mode],
            "trials": [
                {"trial": trial, "diagnosis": points[0], "explanation": points[1], "pareto": trial in self.front}
                for trial, points in self.points.items()
            ],
        }


def tradeoff_of(found: RecordedSearch) -> Tradeoff | None:
    """Diagnosis against explanation; None where fewer than two trials explain anything, or that is what was searched for."""
    explanation = TASKS[found.plan.task].explanation
    if explanation is None or explanation.metric in {objective.metric for objective in found.plan.objectives}:
        return None
    objectives = (found.plan.objective, explanation)
    within = [trial for trial in found.table.ranked() if not trial.excess(found.plan.constraints)]
    points = {trial.trial: scores for trial in within if (scores := trial.scores(objectives)) is not None}
    if len(points) < 2:
        return None
    front = tuple(trial.trial for trial in found.table.pareto(objectives))
    return Tradeoff(*objectives, {trial: (scores[0], scores[1]) for trial, scores in points.items()}, front)


def rung_predictions(plan: Plan, table: TrialTable) -> list[dict[str, Any]]:
    """How well each rung predicts the next one: one JSON object per pair with enough trials."""
    sign = plan.objective.sign
    if plan.scheduler == "none" or plan.kind != "search":
        return []
    levels = [*rungs(plan.grace_period, plan.max_epochs, plan.reduction), plan.max_epochs]
    records = [record for record in list(table.trials.values()) if record.state != "failed"]
    at: dict[int, dict[str, float]] = {level: {} for level in levels}
    for record in records:
        delay = plan.delay_of(record.config)  # rungs count from where the objective is trained
        reached = {epoch["epoch"] - delay: sign * float(epoch["score"]) for epoch in record.epochs}
        for level in levels:
            if level in reached:
                at[level][record.trial] = reached[level]
    pairs = [(early, late) for early, late in pairwise(levels)]
    found_pairs = [rung_correlation(early, late, list(at[early].values()), *_both(at[early], at[late])) for early, late in pairs]
    return [asdict(correlation) for correlation in found_pairs if correlation is not None]


def _both(early: dict[str, float], late: dict[str, float]) -> tuple[list[float], list[float]]:
    shared = [trial for trial in early if trial in late]
    return [early[trial] for trial in shared], [late[trial] for trial in shared]


def best_rows(found: RecordedSearch, top: int, trials: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The best checkpoints over all trials and all epochs, best first; with several objectives the Pareto front first.

    Args:    found: the search.
             top: how many, 1 or more.
             trials: only these, None for all.
    Raises:  PlanError: when a search has kept fewer checkpoints.
             SearchNotFound: when no trial has reported anything yet.
    """
    objectives = found.plan.objectives
    ranked = [trial for trial in found.table.front_first(objectives) if not trial.excess(found.plan.constraints)]
    if not ranked:
        wanted = "a trial that reported" + (" and kept all limits" if found.plan.constraints else "")
        raise SearchNotFound(f"NAME must be a search with {wanted}; got {found.plan.name!r} (`dermtune show`)")
    kept = [trial for trial in ranked if trial.checkpoint is not None and (trials is None or trial.trial in trials)]
    if not 1 <= top <= len(kept):
        raise PlanError(f"--top must be 1 to {len(kept)}, the checkpoints that {found.plan.name} keeps; got {top}")
    front = [trial.trial for trial in found.table.pareto(objectives)]
    return [
        {
            "trial": trial.trial,
            "value": trial.value,
            "score": trial.score,
            "scores": dict(zip([o.metric for o in objectives], trial.scores(objectives) or (), strict=False)),
            "pareto": trial.trial in front,
            "epoch": trial.best_epoch,
            "config": dict(trial.config),
            "checkpoint": str(found.folder.fetched(str(trial.checkpoint))),
            "sha256": trial.sha256,
        }
        for trial in kept[:top]
    ]


def copy_checkpoints(rows: list[dict[str, Any]], out: Path) -> list[dict[str, Any]]:
    """Copies checkpoints to `<out>/<trial>`; gives the rows with their new places.

    Raises:  PlanError: when a place is taken.
    """
    places = [out.resolve() / row["trial"] for row in rows]
    taken = [place for place in places if place.exists()]
    if taken:
        raise PlanError(f"--out must be a folder without {taken[0].name}; got {out}, which has one")
    for row, place in zip(rows, places, strict=True):
        shutil.copytree(row["checkpoint"], place)
    return [{**row, "checkpoint": str(place)} for row, place in zip(rows, places, strict=True)]
