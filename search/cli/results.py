"""`dermtune list`, `show`, `best`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from search.analysis import leaderboard
from search.analysis.checkpoint_copies import copy_checkpoints
from search.cli.options import (
    Context,
    command_options,
    duration_text,
    err,
    number,
    out,
)
from search.cli.standings import show_search
from search.cli.tables import point_text, show_config, show_rows
from search.errors import PlanError
from search.records.mirror import shown
from search.records.plan import Plan
from search.records.standing import NO_BASELINE, baseline_of, is_constant, score_words, why_none
from trainables.tasks import TASKS


@click.command("list")
@command_options
def list_(context: Context) -> None:
    """List the searches in the storage."""
    rows = leaderboard.searches(context.storage)
    headings = ("name", "task", "state", "trials", "value of best", "metric", "time")

    def show() -> None:
        if not rows:
            out.print(f"no search in {shown(context.storage)} yet: dermtune search TASK", markup=False)
            return
        cells = [
            (
                r["name"],
                r["task"],
                r["state"],
                str(r["num_trials"]),
                number(r["best_value"] if r["kind"] == "search" else None),
                r["metric"],
                duration_text(r["wall_s"]),
            )
            for r in rows
        ]
        show_rows(shown(context.storage), headings, cells)

    context.emit(rows, show)


@click.command()
@click.argument("name")
@click.argument("trial_name", metavar="[TRIAL]", required=False)
@click.option("--trial", help="Show one trial with its log, as TRIAL does.")
@command_options
def show(context: Context, name: str, trial_name: str | None, trial: str | None) -> None:
    """Show a search's leaderboard, or one TRIAL with its log."""
    found = leaderboard.open_search(context.storage, name)
    if None not in (trial, trial_name) and trial != trial_name:
        raise PlanError(f"TRIAL must be named once; got {trial_name} and --trial {trial}")
    trial = trial or trial_name
    if trial is not None:
        log = leaderboard.trial_log(found, trial)
        context.emit(log, lambda: _show_trial(found, log))
        return
    rows = leaderboard.trial_rows(found)
    predictions = leaderboard.rung_predictions(found.plan, found.state)
    tradeoff = leaderboard.tradeoff_of(found)
    baseline, gain = baseline_of(found.plan, found.state), leaderboard.confirmed_gain(found)
    document = {
        "name": name,
        "state": found.status,
        "trials": rows,
        "rungs": predictions,
        "explanation": None if tradeoff is None else tradeoff.to_json(),
        **(NO_BASELINE if baseline is None else baseline.to_json()),
        "confirmed_gain": gain,
        "constant": is_constant(found.state),
        "why_no_best": why_none(found.plan, found.state) if found.state.best is None else None,
    }
    context.emit(document, lambda: show_search(found, rows, predictions, tradeoff, gain))


def _show_trial(found: leaderboard.RecordedSearch, log: dict[str, Any]) -> None:
    metrics = [objective.metric for objective in found.plan.objectives]
    scored = found.plan.ranked_by == "score"
    show_config(found.plan.task, log["config"], title=f"Configuration of {log['trial']}")
    show_rows(
        f"{log['trial']} {log['state']} ({log['reason']})",
        ("epoch", *metrics, *(["score", "best score"] if scored else ["kept"]), "seconds"),
        [
            (
                str(e["epoch"]),
                *(number(e["metrics"].get(metric)) for metric in metrics),
                *([number(e["score"])] if scored else []),
                "*" if e["is_best"] else "",
                f"{e['seconds']:.2f}",
            )
            for e in log["log"]
        ],
    )
    where = ", ".join(f"{key} {value}" for key, value in log["where"].items()) or "nowhere yet"
    for reason in log["retries"]:
        out.print(f"began again: {reason}", markup=False)
    for note in log["notes"]:
        out.print(note, markup=False)
    out.print(f"seed {log['seed']}; ran on {where}", markup=False)
    if log["score"] is not None:
        trial = found.trial(log["trial"])
        ranks = f"score {number(trial.score)}: {score_words(trial)}" if scored else f"value {number(trial.value)}"
        out.print(f"{ranks}; the checkpoint is of epoch {trial.best_epoch}", markup=False)
    out.print(f"checkpoint: {log['checkpoint'] or 'not kept'}", markup=False)
    if log["traceback"]:
        out.print(log["traceback"], markup=False)


@click.command()
@click.argument("name")
@click.option("--top", default=1, show_default=True, help="How many.")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="Copy the checkpoints here.")
@click.option(
    "--confirmed", is_flag=True, help="Of the best mean in `dermtune confirm`, the run with the median value (of two, the worse)."
)
@click.option(
    "--operating-point",
    "rule",
    metavar="RULE",
    help="With --out: choose on validation from which probability on a case is called melanoma (specificity:0.95,"
    " sensitivity:0.95, youden, cost:5); `predict` and `evaluate` use it.",
)
@command_options
def best(context: Context, name: str, top: int, folder: Path | None, confirmed: bool, rule: str | None) -> None:
    """Give the best checkpoint over all trials and all epochs."""
    from search.records.tracking.store import run_ids

    if rule is not None:
        _check_point(rule, folder)
    found = leaderboard.open_search(context.storage, name)
    trials = None
    if confirmed:
        from search.analysis.confirmed import latest_confirmation, median_run

        found = latest_confirmation(context.storage, name)
        name, trials = found.plan.name, [median_run(found)]
    rows = leaderboard.best_rows(found, top, trials)
    try:
        runs = run_ids(context.uri(), found.plan, context.storage, [row["trial"] for row in rows])
    except PlanError as error:
        err.print(f"without MLflow's run ids: {error}", markup=False)
        runs = {}
    rows = [{**row, "mlflow_run_id": runs.get(row["trial"])} for row in rows]
    if folder is not None:
        rows = copy_checkpoints(rows, folder)
    if rule is not None:
        rows = [{**row, "operating_point": _point(found.plan, Path(row["checkpoint"]), rule)} for row in rows]

    def show() -> None:
        metrics = [objective.metric for objective in found.plan.objectives]
        scored = found.plan.ranked_by == "score"
        cells = [
            (
                r["trial"],
                *([number(r["score"])] if scored else []),
                *(number(r["values"].get(m)) for m in metrics),
                str(r["epoch"]),
            )
            for r in rows
        ]
        named = [*(["score"] if scored else []), *(metrics if len(metrics) > 1 else ["value"])]
        show_rows(f"{name}: {metrics[0]}", ("trial", *named, "epoch"), cells)
        if len(metrics) > 1:
            front = [trial.trial for trial in found.state.pareto(found.plan.objectives)]
            out.print(f"Pareto front: {', '.join(front)} (--top {len(front)} gives its checkpoints)", markup=False)
        show_config(found.plan.task, rows[0]["config"])
        for row in rows:
            out.print(f"{row['trial']}: {row['checkpoint']}", markup=False)
            if rule is not None:
                out.print(point_text(row["operating_point"]), markup=False)

    context.emit(rows, show)


def _check_point(rule: str, folder: Path | None) -> None:
    """Refuses a rule that there is not, or one without a copy to keep its point with.

    Raises:  PlanError: when it is such a one.
    """
    from search.analysis.operating_point import check_rule

    check_rule(rule)
    if folder is None:
        raise PlanError("--operating-point must stand beside --out, where the checkpoint's copy keeps it; got none")


def _point(plan: Plan, checkpoint: Path, rule: str) -> dict[str, Any]:
    """Chooses an operating point on the validation split of a search, and keeps it beside a checkpoint."""
    from search.analysis.operating_point import choose

    if plan.source is None:
        raise PlanError(f"--operating-point must be of a task with data; got {plan.task}")
    point = choose(TASKS[plan.task].load().predict_cases(checkpoint, plan.source, "valid"), rule, "valid")
    point.write(checkpoint)
    return asdict(point)


COMMANDS = (list_, show, best)
