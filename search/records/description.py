"""Searches and trials in words, as Markdown: for MLflow's page and for reports."""

from collections.abc import Sequence

from search.records.plan import Plan
from search.records.standing import baseline_of, score_words, why_none
from search.records.state import SearchState
from search.records.trials import State, TrialRecord
from spaces.fields import Value, format_value
from trainables.contract import SCORE_WINDOW
from trainables.names import escaped
from trainables.tasks import TASKS

#: In the order of interest.
STATES: tuple[State, ...] = ("finished", "stopped", "failed", "interrupted", "running", "paused")
_WORDS = {2: "two", 3: "three"}
#: The value of `primary_task` with which the task called DIAG or diagnosis is the diagnosis.
_AUTO = "auto"


def search_page(state: SearchState, plan: Plan, notices: Sequence[str]) -> str:
    """A search in Markdown: what is asked, where it stands, what is best and how to get it.

    Args:    state: its trials.
             plan: what is asked.
             notices: what it has said, a line each.
    """
    data = f" on `{plan.source}`" if plan.source else ""
    metrics = ", ".join(f"`{o.metric}` ({o.mode})" for o in plan.objectives)
    status = "Runs" if state.ended is None else f"Ended: {state.ended}"
    counts = ", ".join(f"{state.count(s)} {s}" for s in STATES if state.count(s))
    lines = [
        f"**{plan.task}**{data}: {plan.num_trials} trials of at most {plan.max_epochs} epochs{_strategy(plan)}."
        f" {'Looks for' if plan.kind == 'search' else 'Metric:'} {metrics}.",
        "",
        f"{status}. {counts or 'No trial yet'}.",
    ]
    best = state.best
    if best is not None and plan.ranked_by == "score":
        word = "Best so far" if state.ended is None else "Best"
        lines += [
            "",
            f"{word}: **{best.trial}**, score {best.score:.4f}, value {best.value:.4f} at epoch {best.best_epoch}."
            f" `dermtune best {plan.name} --out FOLDER` brings its checkpoint.",
            "",
            *_config_table(plan, best),
        ]
        if (baseline := baseline_of(plan, state)) is not None:
            lines += ["", *(f"{sentence}." for sentence in baseline.sentences(plan.name))]
    elif best is None and state.ended is not None:
        lines += ["", f"{why_none(plan, state)}."]
    if plan.all_notes or notices:
        lines += ["", *(f"- {line}" for line in dict.fromkeys([*plan.all_notes, *notices]))]
    if TASKS[plan.task].formats:
        lines += ["", "Research software, not a medical device."]
    return "\n".join(lines)


def _strategy(plan: Plan) -> str:
    """What chooses trials and what ends them early."""
    if plan.confirmation is not None:
        confirmation = plan.confirmation
        folds = f" and {confirmation.num_folds} folds" if confirmation.num_folds > 1 else ""
        best = f"the {len(confirmation.candidates)} best configurations of {confirmation.search}"
        return f": {best} on {confirmation.num_seeds} fresh seeds{folds}"
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
            f"Best at epoch {trial.best_epoch}: {plan.objective.metric} {trial.value:.4f}; score {trial.score:.4f}"
            f" ({score_words(trial)})."
            if plan.ranked_by == "score"
            else f"Kept at epoch {trial.best_epoch}: {plan.objective.metric} {trial.value:.4f}.",
        ]
    lines += ["", *_config_table(plan, trial)]
    if checkpoint is not None:
        lines += ["", f"Checkpoint: `{checkpoint}`"]
    if trial.notes:
        lines += ["", *(f"- {note}" for note in trial.notes)]
    return "\n".join(lines)


def ranking_words(plan: Plan) -> str:
    """What the scores that rank are, in words: means over as many validations as a whole trial has, three at most."""
    count = min(SCORE_WINDOW, plan.max_epochs)
    if count < 2:
        return f"a single validation of {plan.objective.metric}"
    return f"mean of the last {_WORDS.get(count, count)} validations of {plan.objective.metric}"


def objective_words(plan: Plan) -> str:
    """What the first metric is of, in words: the mean over all tasks, the diagnosis, or whatever its name says."""
    _, _, metric = plan.objective.metric.partition("/")
    subject, _, measure = metric.rpartition("/")
    if not subject:
        return "mean over all tasks" if measure.endswith("_mean") else measure
    primary = str(plan.fixed.get("primary_task", _AUTO))
    of_diagnosis = {"melanoma", *(("DIAG", "diagnosis") if primary == _AUTO else (escaped(primary),))}
    return "diagnosis" if subject in of_diagnosis else subject


def _config_table(plan: Plan, trial: TrialRecord) -> list[str]:
    """The searched fields beside the paper's values, and the fixed ones that are not the paper's."""
    paper, searched = TASKS[plan.task].paper_values, {field.name for field in plan.searched}
    known = {name: value for name, value in trial.config.items() if value is not None}
    rows = [
        f"| {name}{'' if name in searched else ' (fixed)'} | {_here(value, paper[name])} | {_cell(short_value(paper[name]))} |"
        for name, value in known.items()
        if name in searched or value != paper[name]
    ]
    return ["| field | here | paper |", "|---|---|---|", *rows] if rows else []


def _here(value: Value, paper: Value) -> str:
    here, there = short_value(value), short_value(paper)
    return _cell(here) if here == there else f"**{_cell(here)}**"


def short_value(value: Value) -> str:
    """A value as a person reads it: four digits of a number."""
    return f"{value:.4g}" if isinstance(value, float) else format_value(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
