"""`dermtune list`, `show`, `best`, `evaluate`."""

from collections.abc import Sequence
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
    roles_options,
    say_fixed_tasks,
    split_option,
)
from search.cli.standings import show_search
from search.cli.tables import show_config, show_evaluation, show_rows, show_subgroups
from search.errors import PlanError
from search.records.mirror import shown
from search.records.standing import NO_BASELINE, baseline_of, is_constant, score_words, why_none
from trainables import folders
from trainables.contract import Evaluation
from trainables.data.roles import ColumnRoles, with_roles
from trainables.errors import DataError
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
@command_options
def best(context: Context, name: str, top: int, folder: Path | None, confirmed: bool) -> None:
    """Give the best checkpoint over all trials and all epochs."""
    from search.records.tracking.store import run_ids

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

    context.emit(rows, show)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", "source", required=True, metavar="FORMAT:PATH", help="Data with the checkpoint's tasks and classes.")
@roles_options
@split_option
@click.option("--predictions", type=click.Path(path_type=Path, dir_okay=False), help="Write every case's as CSV to this file.")
@click.option("--by", multiple=True, metavar="COLUMN", help="Subgroups, too: a column, or its bands (age:30,50); any number.")
@click.option("--metric", "metrics", multiple=True, help="Of subgroups [default: AUROC, melanoma's sensitivity, accuracy].")
@click.option("--curves", type=click.Path(path_type=Path, dir_okay=False), help="Draw ROC curves into this .png or .svg file.")
@command_options
def evaluate(
    context: Context,
    checkpoint: Path,
    source: str,
    roles: ColumnRoles,
    split: str,
    predictions: Path | None,
    by: tuple[str, ...],
    metrics: tuple[str, ...],
    curves: Path | None,
) -> None:
    """Measure a checkpoint on a split; 95 % bootstrap intervals over cases (patients, where known), of this one network."""
    from search.records.split_readings import record_reading

    source = with_roles(source, roles)
    _check_files(predictions, curves)
    task = folders.task_of(checkpoint, TASKS)
    found = TASKS[task].load().evaluate(checkpoint, source, split)
    say_fixed_tasks(checkpoint, source)
    subgroups = _subgroups(checkpoint, source, split, by) if by else []
    document = {"task": task, **found.to_json(), **_case_files(found, predictions, curves)}
    document |= {"subgroups": [each.to_json() for each in subgroups]} if by else {}
    if split == "test":
        document["test_readings"] = record_reading(context.storage, checkpoint, source)
        err.print(f"reading {document['test_readings']} of the test split of {source} (recorded)", markup=False)

    def show() -> None:
        show_evaluation(checkpoint, found)
        show_subgroups(subgroups, metrics)
        for kind, file in (("predictions", predictions), ("ROC curves", curves)):
            if file is not None:
                out.print(f"{kind}: {file}", markup=False)

    context.emit(document, show)


def _subgroups(checkpoint: Path, source: str, split: str, by: Sequence[str]) -> list[Any]:
    """What `--by` asks for, a column each."""
    from search.analysis.subgroups import by_subgroup, parted, subgroup_names
    from trainables.data import case_columns

    asked = [parted(text) for text in by]
    classes = folders.read_json(checkpoint, "config.json")["classes"]
    cells = case_columns(source, split, [column for column, _ in asked], classes if isinstance(classes, dict) else None)
    cases = TASKS[folders.task_of(checkpoint, TASKS)].load().casewise(checkpoint, source, split)
    return [by_subgroup(cases, column, subgroup_names(cells[column], edges)) for column, edges in asked]


def _check_files(predictions: Path | None, curves: Path | None) -> None:
    """Refuses files that could not be written, before anything is measured.

    Raises:  DataError: when there is no folder for one, or a picture is to be of another kind.
    """
    for flag, file in (("--predictions", predictions), ("--curves", curves)):
        if file is not None and not file.absolute().parent.is_dir():
            raise DataError(f"{flag} must be a file in a folder that exists; got {file}")
    if curves is not None and curves.suffix.lower() not in (".png", ".svg"):
        raise DataError(f"--curves must end in .png or .svg; got {curves}")


def _case_files(found: Evaluation, predictions: Path | None, curves: Path | None) -> dict[str, str]:
    """Writes what was asked for; gives where it is."""
    if predictions is None and curves is None:
        return {}
    from search.analysis.evaluating import write_curves, write_predictions

    if predictions is not None:
        write_predictions(found.predictions, predictions)
    if curves is not None:
        write_curves(found.predictions, curves)
    return {name: str(file) for name, file in (("predictions", predictions), ("curves", curves)) if file is not None}


COMMANDS = (list_, show, best, evaluate)
