"""A search as one self-contained page: what was asked, what won, what mattered, what it looks like inside."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from search.analysis import leaderboard
from search.analysis.asked import asked_text
from search.analysis.confirmation_report import interval_text
from search.analysis.confirmed import latest_confirmation
from search.analysis.importance import FEWEST, Importance
from search.analysis.leaderboard import RecordedSearch
from search.analysis.page import html_page, picture, table
from search.analysis.verdict import read_verdict
from search.records.description import ranking_words, search_page, trial_page
from search.records.event_messages import notice
from search.records.ledger import read_events
from search.records.standing import baseline_of
from trainables.errors import DermtuneError

#: Owner of the pictures of what explanations have in common.
EXPLANATIONS = "explanations"
_ROWS = 20
_CAPTIONS = {
    "best_so_far": "Best so far over cost",
    "rung_survival": "How far trials went",
    "pareto_front": "The metrics that were searched for against each other",
    "parallel_coordinates": "Configurations, every field that varies: the lighter, the better",
    "importance": "Which hyperparameters mattered",
    "slices": "The score over each hyperparameter: filled ran to the end, hollow was stopped early",
    "learning_curves": "Learning curves",
    "confusion": "What is confused with what",
    "sharing": "What tasks take from each other, and what training has changed of that",
    "sharing_over_epochs": "The change since the start, epoch by epoch",
    "evidence": "Where the evidence lies: red speaks for what is said of a task, blue against it (integrated gradients)",
    "attention": "Where it looks",
}


def report_page(
    found: RecordedSearch,
    search: Mapping[str, str],
    trials: Mapping[str, Mapping[str, str]],
    explanations: str = "",
    explained: Mapping[str, str] = MappingProxyType({}),
    told: Mapping[str, str] = MappingProxyType({}),
    constant: Mapping[str, Sequence[str]] = MappingProxyType({}),
    importance: Importance | None = None,
) -> str:
    """The page as HTML.

    Args:    found: the search.
             search: its pictures as HTML by name.
             trials: trial → its pictures as HTML by name, best first.
             explanations: what they have in common, as Markdown with its pictures' places (`picture("explanations-<name>")`).
             explained: those pictures as HTML by name.
             told: trial → what is to be said of what its tasks share.
             constant: trial → a line for each task of which it calls every case the same; they stand below its confusions.
             importance: of the hyperparameters, None where there is none.
    """
    plan = found.plan
    events = list(read_events(found.folder.ledger_file))
    notices = [line for event in events if (line := notice(event)) is not None]
    parts = [search_page(found.state, plan, notices), _confirmed(found), asked_text(found, events)]
    parts += ["## Leaderboard", _leaderboard(found), _rungs(found)]
    parts.append("## The search")
    for name in search:
        parts += [_pictures("search", name), importance.doubt if name == "importance" and importance is not None else ""]
    parts.append(_without_importance(found) if "importance" not in search else "")
    parts += ["## The explanations", explanations] if explanations else []
    parts.append("## The best trials")
    parts.append("Best first, the trials whose checkpoint is kept; some were stopped early." if trials else "")
    for trial, pictures in trials.items():
        record = found.state.trials[trial]
        parts += [f"### {trial}", trial_page(record, plan, record.checkpoint), told.get(trial, "")]
        for name in pictures:
            parts += [_pictures(trial, name), *(constant.get(trial, ()) if name == "confusion" else [])]
    drawn = {"search": search, EXPLANATIONS: explained, **trials}
    html = {f"{owner}-{name}": text for owner, pictures in drawn.items() for name, text in pictures.items()}
    return html_page(f"{plan.name}: {plan.task}", "\n\n".join(part for part in parts if part), html)


def _pictures(owner: str, name: str) -> str:
    return f"**{_CAPTIONS[name]}**\n\n{picture(f'{owner}-{name}')}"


def _without_importance(found: RecordedSearch) -> str:
    """Why nothing is said of which hyperparameters mattered."""
    count = len(found.state.ranked())
    if found.plan.kind != "search" or not found.plan.searched:
        return ""
    if count < FEWEST:
        return f"Which hyperparameters mattered is not shown: that takes {FEWEST} trials with a score; there are {count}."
    return f"Which hyperparameters mattered is not shown: none has several values over {FEWEST} trials or more."


def _confirmed(found: RecordedSearch) -> str:
    """What `confirm` found, or that it has not been asked."""
    if found.plan.kind != "search":
        return ""
    try:
        verdict = read_verdict(latest_confirmation(found.folder.storage, found.plan.name).folder.path)
    except DermtuneError:
        verdict = None
    if verdict is None:
        return (
            "The best of many noisy validations flatters. These values have not been confirmed on fresh seeds:"
            f" `dermtune confirm {found.plan.name}`."
        )
    won = next((standing for standing in verdict.standings if standing.trial == verdict.winner), None)
    value = "" if won is None or won.mean is None else f" {won.trial} has {won.mean:.4f}{interval_text(won.interval)} on them."
    return f"**Confirmed on fresh seeds: {verdict.sentence}**{value} The values below are the search's own claims."


def _leaderboard(found: RecordedSearch) -> str:
    """Every metric of each trial's best epoch, the first one's score, and with several metrics or limits who is on the front
    and who keeps them."""
    plan, rows = found.plan, leaderboard.trial_rows(found)
    metrics = [objective.metric for objective in plan.objectives]
    several, limited = len(metrics) > 1, bool(plan.constraints)
    scored = plan.ranked_by == "score"
    headings = ["trial", *(f"score of {metric}" if several else "score" for metric in metrics if scored), *metrics]
    headings += ["front"] * several + ["limits"] * limited + ["at epoch", "epochs", "seconds", "ended"]
    cells = [_row(found, row, metrics, several, limited) for row in rows[:_ROWS]]
    more = f"\n\n… and {len(rows) - _ROWS} more (`dermtune show {plan.name}`)." if len(rows) > _ROWS else ""
    return table(headings, cells) + more + "\n\n" + _legend(found, several, limited)


def _row(found: RecordedSearch, row: Mapping[str, Any], metrics: Sequence[str], several: bool, limited: bool) -> list[str]:
    best = found.state.trials[row["trial"]].best_metrics
    scores = [row["scores"].get(metric, row["score"] if index == 0 else None) for index, metric in enumerate(metrics)]
    kept = {True: "kept", False: "not kept", None: "–"}[row["within_limits"]]
    return [
        row["trial"] + (" †" if row["paper"] else ""),
        *(_number(score) for score in scores if found.plan.ranked_by == "score"),
        *(_number(best.get(metric)) for metric in metrics),
        *(["*" if row["pareto"] else ""] if several else []),
        *([kept] if limited else []),
        str(row["epoch"] or "–"),
        str(row["epochs"]),
        f"{row['seconds']:.0f}",
        f"{row['state']} ({row['reason']})",
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 4) + 0.0:.4f}"


def _legend(found: RecordedSearch, several: bool, limited: bool) -> str:
    """What the columns are."""
    plan, metric = found.plan, found.plan.objective.metric
    lines = [f"The score ranks trials: the best {ranking_words(plan)}; {metric} is its value at the best epoch among these."]
    if plan.ranked_by == "value":
        lines = [f"Runs are ranked by {metric} at the epoch of their checkpoints; the first of many runs is partly luck."]
    if (baseline := baseline_of(plan, found.state)) is not None:
        lines.append(f"† {baseline.label}.")
    if several:
        front = [trial.trial for trial in found.state.pareto(plan.objectives)]
        lines.append(
            "The other metrics' columns are of the same epoch. Pareto front, by the scores: no other trial equals these in every"
            f" metric and beats them in one: {', '.join(front) or 'empty'}."
        )
    if limited:
        lines.append(f"Limits: {', '.join(f'`{limit}`' for limit in plan.constraints)}; trials that do not keep them stand last.")
    return " ".join(lines)


def _rungs(found: RecordedSearch) -> str:
    lines = [
        f"- epoch {pair['rung']} predicts epoch {pair['later']} with a rank correlation of about {pair['estimate']:.2f}"
        f" ({pair['num_trials']} trials)"
        for pair in leaderboard.rung_predictions(found.plan, found.state)
    ]
    return "\n".join(["How well early epochs predict late ones:", "", *lines]) if lines else ""
