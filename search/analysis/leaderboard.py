"""Finished and running searches: what there is, who leads, where the best checkpoints lie."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from search.errors import LedgerDamaged, PlanError, SearchNotFound
from search.records.checkpoint_store import read_state
from search.records.description import objective_words
from search.records.failure import failure_trace
from search.records.folder import SearchFolder, list_searches
from search.records.plan import Plan
from search.records.standing import baseline_of, by_value, why_none
from search.records.state import SearchState
from search.records.trials import TrialRecord
from search.strategy.rungs import rung_correlation, rungs
from trainables.contract import Objective
from trainables.tasks import TASKS

_log = logging.getLogger("dermtune")


@dataclass(frozen=True)
class RecordedSearch:
    """A search read from its folder.

    Args:    folder, plan, state: see there.
    """

    folder: SearchFolder
    plan: Plan
    state: SearchState

    @property
    def status(self) -> str:
        """ "running", "finished" or "interrupted"."""
        if self.folder.is_running():
            return "running"
        return "interrupted" if self.state.ended in (None, "interrupted") else "finished"

    def trial(self, name: str) -> TrialRecord:
        """The trial of that id.

        Raises:  SearchNotFound: when there is none.
        """
        if name not in self.state.trials:
            raise SearchNotFound(f"--trial must be a trial of {self.plan.name} (`dermtune show`); got {name!r}")
        return self.state.trials[name]


def open_search(storage: Path, name: str) -> RecordedSearch:
    """Reads a search.

    Raises:  SearchNotFound: when there is none of that name.
    """
    folder = SearchFolder(storage, name)
    plan = folder.plan()
    return RecordedSearch(folder, plan, read_state(folder, plan))


def searches(storage: Path) -> list[dict[str, Any]]:
    """One JSON object per search, oldest first (`dermtune list`); one that cannot be read is said, and hides no other."""
    rows = []
    for folder in list_searches(storage):
        try:
            rows.append(_search_row(open_search(storage, folder.name)))
        except (PlanError, LedgerDamaged) as error:
            _log.warning("%s is left out: %s", folder.name, error)
    return rows


def leading(plan: Plan, state: SearchState) -> TrialRecord | None:
    """The trial that is ahead: by score in a search, by value where nothing is chosen by scores.

    A confirmation trains to a given epoch and a reproduction takes the epoch of the least validation loss: there the mean of
    three validations ranks nothing.
    """
    return state.leader if plan.ranked_by == "score" else next(iter(by_value(plan, state.ranked())), None)


def _search_row(found: RecordedSearch) -> dict[str, Any]:
    best = found.state.best if found.plan.kind == "search" else leading(found.plan, found.state)
    return {
        "name": found.plan.name,
        "task": found.plan.task,
        "kind": found.plan.kind,
        "state": found.status,
        "metric": found.plan.objective.metric,
        "num_trials": len(found.state.trials),
        "num_failed": found.state.count("failed"),
        "best_value": best.value if best else None,
        "best_score": best.score if best else None,
        "confirms": found.plan.confirmation.search if found.plan.confirmation else None,
        "wall_s": found.state.wall_s,
        "created": found.plan.created,
        "data": found.plan.source,
    }


def trial_rows(found: RecordedSearch) -> list[dict[str, Any]]:
    """One JSON object per trial, best first, those without a score last (`dermtune show`)."""
    ranked, objectives = found.state.ranked(), found.plan.objectives
    if found.plan.ranked_by == "value":
        ranked = by_value(found.plan, ranked)
    names = {trial.trial for trial in ranked}
    rest = [trial for trial in found.state.trials.values() if trial.trial not in names]
    front = {trial.trial for trial in found.state.pareto(objectives)}
    baseline = baseline_of(found.plan, found.state)
    paper = None if baseline is None else baseline.trial.trial
    return [
        {
            "trial": trial.trial,
            "state": trial.state,
            "reason": trial.reason,
            "value": trial.value,
            "score": trial.score,
            "window": trial.best_window if trial.score is not None else None,
            "scores": dict(zip([o.metric for o in objectives], trial.scores(objectives) or (), strict=False)),
            "values": trial.values(objectives),
            "pareto": trial.trial in front,
            "paper": trial.trial == paper,
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
        "retries": [retried.reason for retried in trial.retries],
        "where": dict(trial.where),
        "checkpoint": checkpoint,
        "traceback": trace,
        "log": [{name: value for name, value in asdict(e).items() if value is not None} for e in trial.epochs],
    }


@dataclass(frozen=True)
class Tradeoff:
    """Trials by what they were searched for and by what their explanation is worth.

    Args:    objective, explanation: what is compared.
             subject: what the objective is of, in words.
             points: trial → both scores, best objective first; of trials that keep all limits.
             front: the trials that no other one equals in both and beats in one. As in ranking, a mean over fewer than three
                 validations beats none over three.
    """

    objective: Objective
    explanation: Objective
    subject: str
    points: Mapping[str, tuple[float, float]]
    front: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Both metrics, and every trial's."""
        return {
            "metrics": [self.objective.metric, self.explanation.metric],
            "modes": [self.objective.mode, self.explanation.mode],
            "trials": [
                {"trial": trial, "diagnosis": points[0], "explanation": points[1], "pareto": trial in self.front}
                for trial, points in self.points.items()
            ],
        }


def tradeoff_of(found: RecordedSearch) -> Tradeoff | None:
    """The objective against the explanation; None where fewer than two trials explain anything or it was searched for itself."""
    explanation = TASKS[found.plan.task].explanation
    if explanation is None or explanation.metric in {objective.metric for objective in found.plan.objectives}:
        return None
    objectives = (found.plan.objective, explanation)
    within = [trial for trial in found.state.ranked() if not trial.excess(found.plan.constraints)]
    points = {trial.trial: (scores[0], scores[1]) for trial in within if (scores := trial.scores(objectives)) is not None}
    front = tuple(trial.trial for trial in found.state.pareto(objectives))
    return None if len(points) < 2 else Tradeoff(*objectives, objective_words(found.plan), points, front)


def confirmed_gain(found: RecordedSearch) -> dict[str, Any] | None:
    """What the newest finished confirmation of a search says of its winner against the paper's configuration.

    Returns: `name` of the confirmation, its `winner`, the `gain` in the mean over fresh seeds and its 95 % `interval` over cases
        and seeds, None for fewer than three seeds; None in all where no confirmation had both.
    """
    baseline = baseline_of(found.plan, found.state)
    reports = found.folder.storage.glob(f"{found.plan.name[:68]}-confirm*/confirmation.json") if baseline is not None else ()
    for report in sorted(reports, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            verdict = json.loads(report.read_text())
        except ValueError:
            _log.warning("%s is damaged and left out (dermtune confirm makes another)", report)
            continue
        if baseline is None or verdict["search"] != found.plan.name:
            continue
        own = next((entry for entry in verdict["standings"] if entry["trial"] == baseline.trial.trial), None)
        if own is None or own["difference"] is None:
            continue
        interval = own["difference_interval"]
        return {
            "name": verdict["name"],
            "winner": verdict["winner"],
            "gain": -own["difference"],
            "interval": None if interval is None else [-interval[1], -interval[0]],
        }
    return None


def rung_predictions(plan: Plan, state: SearchState) -> list[dict[str, Any]]:
    """How well each rung predicts the next one: one JSON object per pair with enough trials."""
    sign = plan.objective.sign
    if plan.scheduler == "none" or plan.kind != "search":
        return []
    levels = [*rungs(plan.grace_period, plan.max_epochs, plan.reduction), plan.max_epochs]
    records = [record for record in list(state.trials.values()) if record.state != "failed"]
    at: dict[int, dict[str, float]] = {level: {} for level in levels}
    for record in records:
        delay = plan.delay_of(record.config)  # rungs count from where the objective is trained
        reached = {epoch.epoch - delay: sign * epoch.score for epoch in record.epochs}
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
    ordered = found.state.front_first(objectives)
    if found.plan.ranked_by == "value":
        ordered = by_value(found.plan, ordered)
    ranked = [trial for trial in ordered if not trial.excess(found.plan.constraints)]
    if not ranked:
        wanted = "a trial that reported" + (" and kept all limits" if found.plan.constraints else "")
        why = why_none(found.plan, found.state)
        raise SearchNotFound(f"NAME must be a search with {wanted}; got {found.plan.name!r}: {why} (`dermtune show`)")
    kept = [trial for trial in ranked if trial.checkpoint is not None and (trials is None or trial.trial in trials)]
    if not 1 <= top <= len(kept):
        raise PlanError(f"--top must be 1 to {len(kept)}, the checkpoints that {found.plan.name} keeps; got {top}")
    front = [trial.trial for trial in found.state.pareto(objectives)]
    return [
        {
            "trial": trial.trial,
            "value": trial.value,
            "score": trial.score,
            "window": trial.best_window,
            "scores": dict(zip([o.metric for o in objectives], trial.scores(objectives) or (), strict=False)),
            "values": trial.values(objectives),
            "pareto": trial.trial in front,
            "epoch": trial.best_epoch,
            "config": dict(trial.config),
            "checkpoint": str(found.folder.fetched(str(trial.checkpoint))),
            "sha256": trial.sha256,
        }
        for trial in kept[:top]
    ]
