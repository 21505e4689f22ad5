"""What the ledger's events become in MLflow: parameters, metrics and tags. Pure translation."""

import getpass
import json
import math
import os
from collections.abc import Mapping
from datetime import datetime

from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from search.records.description import STATES, search_page, trial_page
from search.records.events import EpochResult, Event, Reported
from search.records.plan import Plan
from search.records.standing import baseline_of, paper_label, paper_settings
from search.records.state import SearchState
from search.records.trials import TrialRecord

STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
NOTE_TAG = MLFLOW_RUN_NOTE
#: The training runs, not the traces of language models, are what the page opens with.
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
_EXTENDED = ("num_trials", "time_budget_s", "epoch_budget", "gpu_hours", "max_concurrent", "gpus_per_trial", "code_version")
_NOT_PARAMETERS = (
    "fixed",
    "objective",
    "further_objectives",
    "notes",
    "space",
    "constraints",
    "confirmation",
    "reproduction",
)
_TAG_LENGTH = 5000


def ms(event: Event) -> int:
    """The event's time in milliseconds since 1970: the same when it is written again."""
    return round(datetime.fromisoformat(event.time).timestamp() * 1000)


def reported_values(epoch: EpochResult) -> dict[str, float]:
    """An epoch's metrics by their names in MLflow, those of its process among them."""
    system = {f"system/{name}": value for name, value in (epoch.system or {}).items()}
    return {**epoch.metrics, **system, "score": epoch.score, "epoch_s": epoch.seconds}


def metrics_of(event: Reported) -> list[Metric]:
    """What a report's epochs become: each metric with its epoch as the step."""
    stamp = ms(event)
    return [
        Metric(name, float(value), stamp, epoch.epoch) for epoch in event.epochs for name, value in reported_values(epoch).items()
    ]


def trial_params(trial: TrialRecord) -> dict[str, str]:
    """Hyperparameters by the names of the space, inactive ones absent, and the seed."""
    return {name: str(value) for name, value in trial.config.items() if value is not None} | {"seed": str(trial.seed)}


def closing_metrics(trial: TrialRecord, stamp: int) -> list[Metric]:
    """`best/<metric>` and `best/epoch`, since MLflow's table shows a metric's last value, and what the trial took."""
    metrics = [Metric("train_s", trial.train_s, stamp, 0)]
    if trial.score is not None:
        found = {**trial.best_metrics, "score": trial.score, "epoch": trial.best_epoch}
        metrics += [Metric(f"best/{name}", float(value), stamp, 0) for name, value in found.items()]
    return metrics


def closing_tags(trial: TrialRecord, plan: Plan, checkpoint: str | None) -> list[RunTag]:
    """Why it ended, where it ran, where its checkpoint lies, and all that in words."""
    tags = {"state": trial.state, "reason": trial.reason or "", NOTE_TAG: trial_page(trial, plan, checkpoint)}
    tags |= paper_tags(trial, plan)
    if plan.reproduction is not None:
        tags["experiment"] = plan.reproduction.experiment_of(trial.trial).name
    if checkpoint is not None:
        tags |= {"checkpoint": checkpoint, "sha256": trial.sha256 or ""}
    tags |= {key: str(value) for key, value in trial.where.items()}
    return [RunTag(key, value[:_TAG_LENGTH]) for key, value in tags.items()]


def paper_tags(trial: TrialRecord, plan: Plan) -> dict[str, str]:
    """What marks the trial that has the paper's configuration; nothing for the others."""
    settings = paper_settings(plan, trial.config)
    return {} if settings is None else {"configuration": paper_label(settings)[:_TAG_LENGTH]}


def plan_params(plan: Plan) -> list[Param]:
    """The plan's settings, without those that a resumption may change: MLflow takes no parameter twice."""
    settings = {key: value for key, value in plan.to_json().items() if key not in (*_NOT_PARAMETERS, *_EXTENDED)}
    settings |= {name: ",".join(getattr(o, name) for o in plan.objectives) for name in ("metric", "mode")}
    return [Param(key, str(value)) for key, value in settings.items()]


def plan_tags(plan: Plan, environment: Mapping[str, str]) -> list[RunTag]:
    """Settings that a resumption may change, and the environment of the driver."""
    limits = [RunTag(name, str(plan.to_json()[name])) for name in _EXTENDED]
    return limits + [RunTag(f"env.{key}", value) for key, value in environment.items()]


def summary_values(state: SearchState, plan: Plan) -> dict[str, float]:
    """Where a search stands: trials by state, the best so far, what it has cost."""
    trials = list(state.trials.values())
    train_s = math.fsum(trial.train_s for trial in trials)
    gpu_s = math.fsum(trial.gpu_s(plan.gpus_per_trial or 0.0) for trial in trials)
    values: dict[str, float] = {f"trials/{status}": state.count(status) for status in STATES}
    values |= {
        "trials/all": len(state.trials),
        "gpu_hours": gpu_s / 3600,
        "cpu_hours": train_s * plan.cpus_per_trial / 3600,
        "wall_s": state.wall_s,
    }
    best = state.best
    if best is not None:
        values |= {"best/value": best.value or 0.0, "best/score": best.score or 0.0, "best/epoch": best.best_epoch}
    baseline = baseline_of(plan, state)
    if baseline is not None and baseline.trial.score is not None:
        values |= {"paper/value": baseline.trial.value or 0.0, "paper/score": baseline.trial.score}
        if baseline.gain is not None:
            values["gain"] = baseline.gain
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def summary_tags(state: SearchState, plan: Plan, notices: list[str]) -> list[RunTag]:
    """The best trial so far and the search's page."""
    tags = {NOTE_TAG: search_page(state, plan, notices)}
    if state.ended is not None:
        tags["ended"] = state.ended
    best = state.best
    if best is not None:
        tags |= {"best_trial": best.trial, "best_config": json.dumps(dict(best.config))}
    baseline = baseline_of(plan, state)
    if baseline is not None:
        tags |= {"paper_trial": baseline.trial.trial, "paper_gain": " ".join(baseline.sentences(plan.name))}
    return [RunTag(key, value[:_TAG_LENGTH]) for key, value in tags.items()]


def source_tags(plan: Plan) -> dict[str, str]:
    """What MLflow's columns "Source" and "User" show."""
    command = {"search": "search", "confirmation": "confirm", "reproduction": "reproduce"}[plan.kind]
    return {
        "mlflow.source.name": f"dermtune {command} {plan.task}",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _account(),
    }


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of a container that does not know its own account
        return str(os.getuid())
