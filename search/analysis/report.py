"""A search as one self-contained page: what was asked, what won, what mattered, what it looks like inside."""

from collections.abc import Mapping
from types import MappingProxyType

from search.analysis import leaderboard
from search.analysis.confirmation_report import interval_text, read_report
from search.analysis.confirmed import latest_confirmation
from search.analysis.leaderboard import RecordedSearch
from search.analysis.page import html_page, picture, table
from search.records.description import search_page, trial_page
from search.records.ledger import read_events
from search.records.notices import notice
from trainables.errors import DermtuneError

#: Owner of the pictures of what explanations have in common.
EXPLANATIONS = "explanations"
_ROWS = 20
_CAPTIONS = {
    "best_so_far": "Best so far over cost",
    "rung_survival": "How far trials went",
    "parallel_coordinates": "Configurations: the lighter, the better",
    "importance": "Which hyperparameters mattered",
    "slices": "The score over each hyperparameter: filled ran to the end, hollow was stopped early",
    "learning_curves": "Learning curves",
    "confusion": "What is confused with what",
    "sharing": "What tasks take from each other",
    "sharing_over_epochs": "How they came to share it",
    "attention": "Where it looks",
}


def report_page(
    found: RecordedSearch,
    search: Mapping[str, str],
    trials: Mapping[str, Mapping[str, str]],
    explanations: str = "",
    explained: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The page as HTML.

    Args:    found: the search.
             search: its pictures as HTML by name.
             trials: trial → its pictures as HTML by name, best first.
             explanations: what they have in common, as Markdown with its pictures' places (`picture("explanations-<name>")`).
             explained: those pictures as HTML by name.
    """
    plan = found.plan
    notices = [line for event in read_events(found.folder.ledger_file) if (line := notice(event)) is not None]
    parts = [search_page(found.table, plan, notices), _confirmed(found), "## Leaderboard", _leaderboard(found), _rungs(found)]
    parts.append("## The search")
    parts += [_pictures("search", name) for name in search]
    parts += ["## The explanations", explanations] if explanations else []
    parts.append("## The best trials")
    for trial, pictures in trials.items():
        record = found.table.trials[trial]
        parts += [f"### {trial}", trial_page(record, plan, record.checkpoint)]
        parts += [_pictures(trial, name) for name in pictures]
    drawn = {"search": search, EXPLANATIONS: explained, **trials}
    html = {f"{owner}-{name}": text for owner, pictures in drawn.items() for name, text in pictures.items()}
    return html_page(f"{plan.name}: {plan.task}", "\n\n".join(part for part in parts if part), html)


def _pictures(owner: str, name: str) -> str:
    return f"**{_CAPTIONS[name]}**\n\n{picture(f'{owner}-{name}')}"


def _confirmed(found: RecordedSearch) -> str:
    """What `confirm` found, or that it has not been asked."""
    if found.plan.kind != "search":
        return ""
    try:
        verdict = read_report(latest_confirmation(found.folder.storage, found.plan.name).folder.path)
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
    rows = leaderboard.trial_rows(found)
    cells = [
        (
            row["trial"],
            "–" if row["score"] is None else f"{row['score']:.4f}",
            "–" if row["value"] is None else f"{row['value']:.4f}",
            str(row["epoch"] or "–"),
            str(row["epochs"]),
            f"{row['state']} ({row['reason']})",
            f"{row['seconds']:.0f}",
        )
        for row in rows[:_ROWS]
    ]
    more = f"\n\n… and {len(rows) - _ROWS} more (`dermtune show {found.plan.name}`)." if len(rows) > _ROWS else ""
    return table(("trial", "score", found.plan.objective.metric, "at epoch", "epochs", "ended", "seconds"), cells) + more


def _rungs(found: RecordedSearch) -> str:
    lines = [
        f"- epoch {pair['rung']} predicts epoch {pair['later']} with a rank correlation of about {pair['estimate']:.2f}"
        f" ({pair['num_trials']} trials)"
        for pair in leaderboard.rung_predictions(found.plan, found.table)
    ]
    return "\n".join(["How well early epochs predict late ones:", "", *lines]) if lines else ""
