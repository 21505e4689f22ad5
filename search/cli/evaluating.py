"""`dermtune evaluate`: what a checkpoint is worth on a split, in all, by subgroup and at its operating point."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from search.cli.options import Context, command_options, err, out, roles_options, say_fixed_tasks, split_option
from search.cli.tables import measured_point_text, show_evaluation, show_subgroups
from trainables import folders
from trainables.data.roles import ColumnRoles, with_roles
from trainables.errors import DataError
from trainables.evaluation import Evaluation
from trainables.tasks import TASKS


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
    point = _measured_point(checkpoint, found)
    document |= {} if point is None else {"operating_point": point}
    if split == "test":
        document["test_readings"] = record_reading(context.storage, checkpoint, source)
        err.print(f"reading {document['test_readings']} of the test split of {source} (recorded)", markup=False)

    def show() -> None:
        show_evaluation(checkpoint, found)
        show_subgroups(subgroups, metrics)
        if point is not None:
            out.print(measured_point_text(point, split), markup=False)
        for kind, file in (("predictions", predictions), ("ROC curves", curves)):
            if file is not None:
                out.print(f"{kind}: {file}", markup=False)

    context.emit(document, show)


def _measured_point(checkpoint: Path, found: Evaluation) -> dict[str, Any] | None:
    """What the checkpoint's operating point does on these cases, None where it has none."""
    from search.analysis.operating_point import at_operating_point, read_operating_point

    point = read_operating_point(checkpoint)
    return None if point is None else at_operating_point(point, found.predictions)


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


COMMANDS = (evaluate,)
