"""What the ledger's events become in MLflow: parameters, metrics and tags, and pages of Markdown. Pure translation."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from search.records.ledger import Event
from search.records.plan import Plan
from search.records.trials import State, TrialRecord, TrialTable
from spaces.fields import Field, format_value

STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
NOTE_TAG = MLFLOW_RUN_NOTE
#: The training runs, not the traces of language models, are what the page opens with.
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
_EXTENDED = ("num_trials", "time_budget_s", "epoch_budget", "gpu_hours", "max_concurrent", "gpus_per_trial", "code_version")
_NOT_PARAMETERS = ("fixed", "objective", "further_objectives", "notes", "space", "constraints", "confirmation")
_STATES: tuple[State, ...] = ("finished", "stopped", "failed", "interrupted", "running", "paused")
_TAG_LENGTH = 5000


def ms(event: Event) -> int:
    """The event's time in milliseconds since 1970: the same when it is written again."""
    return round(datetime.fromisoformat(event["time"]).timestamp() * 1000)


def reported_values(epoch: Mapping[str, Any]) -> dict[str, float]:
    """An epoch's metrics by their names in MLflow, those of its process among them."""
    system = {f"system/{name}": value for name, value in epoch.get("system", {}).items()}
    return {**epoch["metrics"], **system, "score": epoch["score"], "epoch_s": epoch["seconds"]}


def metrics_of(event: Event) -> list[Metric]:
    """What a report's epochs become: each metric with its epoch as the step."""
    stamp = ms(event)
    return [
        Metric(name, float(value), stamp, epoch["epoch"])
        for epoch in event["epochs"]
        for name, value in reported_values(epoch).items()
    ]


def trial_params(trial: TrialRecord) -> dict[str, str]:
    """Hyperparameters by the names of the space, inactive ones absent, and the seed."""
    return {name: str(value) for name, value in trial.config.items() if value is not None} | {"seed": str(trial.seed)}


def closing_metrics(trial: TrialRecord, stamp: int) -> list[Metric]:
    """`best/<metric>` and `best/epoch`, since MLflow's table shows a metric's last value, and what the trial took."""
    metrics = [Metric("train_s", trial.train_s, stamp, 0)]
    best = next((epoch for epoch in trial.epochs if epoch["epoch"] == trial.best_epoch), None)
    if best is not None:
        found = {**best["metrics"], "score": best["score"], "epoch": best["epoch"]}
        metrics += [Metric(f"best/{name}", float(value), stamp, 0) for name, value in found.items()]
    return metrics


def closing_tags(trial: TrialRecord, plan: Plan, checkpoint: str | None) -> list[RunTag]:
    """Why it ended, where it ran, where its checkpoint lies, and all that in words."""
    tags = {"state": trial.state, "reason": trial.reason or "", NOTE_TAG: trial_page(trial, plan, checkpoint)}
    if checkpoint is not None:
        tags |= {"checkpoint": checkpoint, "sha256": trial.sha256 or ""}
    tags |= {key: str(value) for key, value in trial.where.items()}
    return [RunTag(key, value[:_TAG_LENGTH]) for key, value in tags.items()]


def plan_params(plan: Plan) -> list[Param]:
    """The plan's settings, without those that a resumption may change: MLflow takes no parameter twice."""
    settings = {key: value for key, value in plan.to_json().items() if key not in (*_NOT_PARAMETERS, *_EXTENDED)}
    settings |= {name: ",".join(getattr(o, name) for o in plan.objectives) for name in ("metric", "mode")}
    return [Param(key, str(value)) for key, value in settings.items()]


def plan_tags(plan: Plan, environment: Mapping[str, str]) -> list[RunTag]:
    """Settings that a resumption may change, and the environment of the driver."""
    limits = [RunTag(name, str(plan.to_json()[name])) for name in _EXTENDED]
    return limits + [RunTag(f"env.{key}", value) for key, value in environment.items()]


def summary_values(table: TrialTable, plan: Plan) -> dict[str, float]:
    """Where a search stands: trials by state, the best so far, what it has cost."""
    train_s = math.fsum(trial.train_s for trial in list(table.trials.values()))
    values: dict[str, float] = {f"trials/{state}": table.count(state) for state in _STATES}
    values |= {
        "trials/all": len(table.trials),
        "gpu_hours": train_s * (plan.gpus_per_trial or 0.0) / 3600,
        "cpu_hours": train_s * plan.cpus_per_trial / 3600,
        "wall_s": table.wall_s,
    }
    best = table.best
    if best is not None:
        values |= {"best/value": best.value or 0.0, "best/score": best.score or 0.0, "best/epoch": best.best_epoch}
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def summary_tags(table: TrialTable, plan: Plan, notices: list[str]) -> list[RunTag]:
    """The best trial so far and the search's page."""
    tags = {NOTE_TAG: search_page(table, plan, notices)}
    if table.ended is not None:
        tags["ended"] = table.ended
    best = table.best
    if best is not None:
        tags |= {"best_trial": best.trial, "best_config": json.dumps(dict(best.config))}
    return [RunTag(key, value[:_TAG_LENGTH]) for key, value in tags.items()]


def search_page(table: TrialTable, plan: Plan, notices: list[str]) -> str:
    """A search in Markdown: what is asked, where it stands, what is best and how to get it.

    Args:    table: its trials.
             plan: what is asked.
             notices: what it has said, a line each.
    """
    data = f" on `{plan.source}`" if plan.source else ""
    metrics = ", ".join(f"`{o.metric}` ({o.mode})" for o in plan.objectives)
    state = "runs" if table.ended is None else f"ended: {table.ended}"
    counts = ", ".join(f"{table.count(s)} {s}" for s in _STATES if table.count(s))
    lines = [
        f"**{plan.task}**{data}: {plan.num_trials} trials of at most {plan.max_epochs} epochs, `{plan.sampler}` suggests,"
        f" `{plan.scheduler}` stops. Looks for {metrics}.",
        "",
        f"{state.capitalize()}. {counts or 'No trial yet'}.",
    ]
    best = table.best
    if best is not None:
        lines += [
            "",
            f"Best so far: **{best.trial}**, score {best.score:.4f} (value {best.value:.4f}) at epoch {best.best_epoch}."
            f" `dermtune best {plan.name} --out FOLDER` brings its checkpoint.",
            "",
            *_config_table(plan, best),
        ]
    if plan.notes or notices:
        lines += ["", *(f"- {line}" for line in dict.fromkeys([*plan.notes, *notices]))]
    if plan.task != "bowl":
        lines += ["", "Research software, not a medical device."]
    return "\n".join(lines)


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
