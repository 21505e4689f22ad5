"""`dermtune list`, `show`, `best`, `evaluate`, `predict`, `delete`."""

from pathlib import Path
from typing import Any

import click

from search.analysis import leaderboard
from search.cli.options import Context, command_options, duration_text, err, group_option, number, out
from search.cli.tables import show_config, show_rows, show_search
from search.errors import PlanError
from search.records.mirror import shown
from trainables import folders
from trainables.data import portable_source, with_group
from trainables.errors import DataError
from trainables.tasks import TASKS


@click.command("list")
@command_options
def list_(context: Context) -> None:
    """List the searches in the storage."""
    rows = leaderboard.searches(context.storage)
    headings = ("name", "task", "state", "trials", "best", "metric", "time")

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
                number(r["best_value"]),
                r["metric"],
                duration_text(r["wall_s"]),
            )
            for r in rows
        ]
        show_rows(shown(context.storage), headings, cells)

    context.emit(rows, show)


@click.command()
@click.argument("name")
@click.option("--trial", help="Show one trial with its log.")
@command_options
def show(context: Context, name: str, trial: str | None) -> None:
    """Show a search's leaderboard, or one trial with its log."""
    found = leaderboard.open_search(context.storage, name)
    if trial is not None:
        log = leaderboard.trial_log(found, trial)
        context.emit(log, lambda: _show_trial(found, log))
        return
    rows = leaderboard.trial_rows(found)
    title = f"{name} ({found.state}): {found.plan.objective.metric} ({found.plan.objective.mode})"
    predictions = leaderboard.rung_predictions(found.plan, found.table)
    tradeoff = leaderboard.tradeoff_of(found)
    document = {
        "name": name,
        "state": found.state,
        "trials": rows,
        "rungs": predictions,
        "explanation": None if tradeoff is None else tradeoff.to_json(),
    }
    context.emit(document, lambda: show_search(title, found, rows, predictions, tradeoff))


def _show_trial(found: leaderboard.RecordedSearch, log: dict[str, Any]) -> None:
    metric = found.plan.objective.metric
    show_config(found.plan.task, log["config"], title=f"Configuration of {log['trial']}")
    show_rows(
        f"{log['trial']} {log['state']} ({log['reason']})",
        ("epoch", metric, "score", "best so far", "seconds"),
        [
            (
                str(e["epoch"]),
                number(e["metrics"][metric]),
                number(e["score"]),
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
    out.print(f"seed {log['seed']}; ran on {where}\ncheckpoint: {log['checkpoint'] or 'not kept'}", markup=False)
    if log["traceback"]:
        out.print(log["traceback"], markup=False)


@click.command()
@click.argument("name")
@click.option("--top", default=1, show_default=True, help="How many.")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="Copy the checkpoints here.")
@click.option("--confirmed", is_flag=True, help="The winner of `dermtune confirm`: its run with the median value.")
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
        runs = run_ids(context.uri(), name, [row["trial"] for row in rows])
    except PlanError as error:
        err.print(f"without MLflow's run ids: {error}", markup=False)
        runs = {}
    rows = [{**row, "mlflow_run_id": runs.get(row["trial"])} for row in rows]
    if folder is not None:
        rows = leaderboard.copy_checkpoints(rows, folder)

    def show() -> None:
        further = [objective.metric for objective in found.plan.further_objectives]
        cells = [
            (r["trial"], number(r["score"]), number(r["value"]), *(number(r["scores"].get(m)) for m in further), str(r["epoch"]))
            for r in rows
        ]
        show_rows(f"{name}: {found.plan.objective.metric}", ("trial", "score", "value", *further, "epoch"), cells)
        if further:
            front = [trial.trial for trial in found.table.pareto(found.plan.objectives)]
            out.print(f"Pareto front: {', '.join(front)} (--top {len(front)} gives its checkpoints)", markup=False)
        show_config(found.plan.task, rows[0]["config"])
        for row in rows:
            out.print(f"{row['trial']}: {row['checkpoint']}", markup=False)

    context.emit(rows, show)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", "source", required=True, metavar="FORMAT:PATH", help="Data with the checkpoint's tasks and classes.")
@group_option
@click.option("--split", default="valid", show_default=True, help="train, valid or test.")
@command_options
def evaluate(context: Context, checkpoint: Path, source: str, group: str | None, split: str) -> None:
    """Measure a checkpoint on a split; 95 % bootstrap intervals over cases (patients, where known), of this one network."""
    from search.records.readings import record_reading

    source = with_group(source, group)
    task = folders.task_of(checkpoint, TASKS)
    found = TASKS[task].load().evaluate(checkpoint, source, split)
    document = {"task": task, **found.to_json()}
    if split == "test":
        document["test_readings"] = record_reading(context.storage, folders.digest(checkpoint), portable_source(source))
        err.print(f"reading {document['test_readings']} of the test split of {source} (recorded)", markup=False)

    def show() -> None:
        cells = [
            (name, number(value), f"{number(low)} to {number(high)}")
            for name, value in found.metrics.items()
            for low, high in [found.intervals[name]]
        ]
        show_rows(f"{checkpoint}: {found.num_cases} cases of {split}", ("metric", "value", "95 %, over cases"), cells)
        for group, confusions in found.confusions.items():
            for key, matrix in confusions.matrices.items():
                rows = [(name, *map(str, row)) for name, row in zip(confusions.classes, matrix, strict=True)]
                kind = f"τ = {key}" if key.isdigit() else key
                show_rows(f"{_words(group)}, {kind}: rows true, columns said", ("", *confusions.classes), rows)

    context.emit(document, show)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@command_options
def predict(context: Context, checkpoint: Path, images: tuple[Path, ...]) -> None:
    """Say what a checkpoint sees in images."""
    missing = [image for image in images if not image.is_file()]
    if missing:
        raise DataError(f"IMAGE must be a file; got {missing[0]}")
    rows = TASKS[folders.task_of(checkpoint, TASKS)].load().predictor(checkpoint).predict(images)

    def show() -> None:
        for row in rows:
            more = {name: value for name, value in row.items() if name not in ("image", "labels", "probabilities")}
            cells = [
                (task, label, f"{row['probabilities'][task][label]:.3f}", _others(row["probabilities"][task], label))
                for task, label in row["labels"].items()
            ]
            said = "".join(f", {_words(name)} {value}" for name, value in more.items() if not isinstance(value, list))
            show_rows(row["image"] + said, ("task", "label", "probability", "others"), cells)
            for name, parts in more.items():
                if isinstance(parts, list) and parts:
                    show_rows(
                        _words(name), [_words(key) for key in parts[0]], [[_cell(v) for v in part.values()] for part in parts]
                    )

    context.emit(rows, show)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _others(probabilities: dict[str, float], label: str) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in probabilities.items() if name != label)


@click.command()
@click.argument("name")
@command_options
def delete(context: Context, name: str) -> None:
    """Delete a search: its folder, its checkpoints, its MLflow experiment."""
    from search.records.tracking.store import delete_experiment

    folder = leaderboard.open_search(context.storage, name).folder
    with folder.lock():
        delete_experiment(context.uri(), name, context.storage)
        folder.delete()
    context.emit({"name": name, "deleted": True}, lambda: out.print(f"{name} is deleted", markup=False))


COMMANDS = (list_, show, best, evaluate, predict, delete)
