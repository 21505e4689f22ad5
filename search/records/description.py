"""Searches and trials in words, as Markdown: for MLflow's page and for reports."""

from collections.abc import Sequence
from typing import Any

from search.records.plan import Plan
from search.records.trials import State, TrialRecord, TrialTable
from spaces.fields import Field, format_value
from trainables.tasks import TASKS

#: In the order of interest.
STATES: tuple[State, ...] = ("finished", "stopped", "failed", "interrupted", "running", "paused")


def search_page(table: TrialTable, plan: Plan, notices: Sequence[str]) -> str:
    """A search in Markdown: what is asked, where it stands, what is best and how to get it.

    Args:    table: its trials.
             plan: what is asked.
             notices: what it has said, a line each.
    """
    data = f" on `{plan.source}`" if plan.source else ""
    metrics = ", ".join(f"`{o.metric}` ({o.mode})" for o in plan.objectives)
    state = "Runs" if table.ended is None else f"Ended: {table.ended}"
    counts = ", ".join(f"{table.count(s)} {s}" for s in STATES if table.count(s))
    lines = [
        f"**{plan.task}**{data}: {plan.num_trials} trials of at most {plan.max_epochs} epochs{_strategy(plan)}."
        f" {'Looks for' if plan.kind == 'search' else 'Metric:'} {metrics}.",
        "",
        f"{state}. {counts or 'No trial yet'}.",
    ]
    best = table.best
    if best is not None:
        word = "Best so far" if table.ended is None else "Best"
        lines += [
            "",
            f"{word}: **{best.trial}**, score {best.score:.4f} (value {best.value:.4f}) at epoch {best.best_epoch}."
            f" `dermtune best {plan.name} --out FOLDER` brings its checkpoint.",
            "",
            *_config_table(plan, best),
        ]
    if plan.notes or notices:
        lines += ["", *(f"- {line}" for line in dict.fromkeys([*plan.notes, *notices]))]
    if TASKS[plan.task].formats:
        lines += ["", "Research software, not a medical device."]
    return "\n".join(lines)


def _strategy(plan: Plan) -> str:
    """What chooses trials and what ends them early."""
    if plan.confirmation is not None:
        race = plan.confirmation
        folds = f" and {race.num_folds} folds" if race.num_folds > 1 else ""
        return f": the {len(race.candidates)} best configurations of {race.search} on {race.num_seeds} fresh seeds{folds}"
    if plan.reproduction is not None:
        names = ", ".join(experiment.name for experiment in plan.reproduction.experiments)
        return f": the paper's {names} on {plan.reproduction.num_seeds} seeds"
    stops = "nothing is stopped early" if plan.scheduler == "none" else f"`{plan.scheduler}` stops"
    return f", `{plan.sampler}` suggests, {stops}"


def trial_page(trial: TrialRecord, plan: Plan, checkpoint: str | None) -> str:
    """A trial in Markdown: how it ended, its best epoch, what it has that the paper has not."""
    lines = [f"**{trial.state}** ({trial.reason}) after {len(trial.epochs)} of {plan.max_epochs} epochs, {trial.train_s:.0f} s."]
    if trial.score is not None:
        lines += [
            "",
            f"Best at epoch {trial.best_epoch}: score {trial.score:.4f} (mean of three validations), {plan.objective.metric}"
            f" {trial.value:.4f}.",
        ]
    lines += ["", *_config_table(plan, trial)]
    if checkpoint is not None:
        lines += ["", f"Checkpoint: `{checkpoint}`"]
    if trial.notes:
        lines += ["", *(f"- {note}" for note in trial.notes)]
    return "\n".join(lines)


def _config_table(plan: Plan, trial: TrialRecord) -> list[str]:
    """The searched fields beside the paper's values; the fixed ones are the same for all trials."""
    fields = {field.name: field for field in plan.searched}
    rows = [(name, trial.config.get(name), field) for name, field in fields.items() if trial.config.get(name) is not None]
    if not rows:
        return []
    return ["| field | here | paper |", "|---|---|---|", *(_row(name, value, field) for name, value, field in rows)]


def _row(name: str, value: Any, field: Field) -> str:
    here, paper = _short(value), _short(field.default)
    return f"| {name} | {here if here == paper else f'**{here}**'} | {paper} |"


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else format_value(value)
    return text.replace("|", "\\|")
