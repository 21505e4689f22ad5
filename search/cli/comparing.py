"""`dermtune compare`: whether one model is better than another on the same cases."""

from pathlib import Path
from typing import Any

import click

from search.cli.options import Context, command_options, err, out, roles_options, split_option, with_options
from search.cli.tables import show_rows, with_interval
from search.errors import PlanError
from trainables.data.roles import ColumnRoles
from trainables.errors import DataError


@click.command()
@click.argument("models", metavar="MODEL MODEL...", nargs=-1, required=True)
@click.option("--data", "source", metavar="FORMAT:PATH", help="What models are measured on [default: a search's own data].")
@roles_options
@split_option
@click.option("--task", help="What is compared [default: the diagnosis].")
@click.option("--class", "label", help="Whose probabilities [default: melanoma, or the second of two classes].")
@click.option("--specificity", type=click.FloatRange(0.01, 0.99), default=0.95, show_default=True, help="For the sensitivity.")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw into this .png or .svg file.")
@command_options
def compare(
    context: Context,
    models: tuple[str, ...],
    source: str | None,
    roles: ColumnRoles,
    split: str,
    task: str | None,
    label: str | None,
    specificity: float,
    picture: Path | None,
) -> None:
    """Compare models on the same cases: differences with intervals, and tests of them.

    A MODEL is a checkpoint, the name of a search (its confirmed run, else its best trial), or a CSV file: with the columns
    case, truth and probability, or what `evaluate --predictions` writes.
    """
    if len(models) < 2:
        raise PlanError(f"MODEL must be two or more; got {', '.join(models)}")
    if picture is not None and picture.suffix.lower() not in (".png", ".svg"):
        raise DataError(f"--picture must end in .png or .svg; got {picture}")
    from search.analysis.compared_models import brought_together
    from search.analysis.comparison import compare as compared

    read = [_model(context, text, with_options(source, roles), split) for text in models]
    found = brought_together(read, task, label, units="patients or lesions")
    measured = compared(found, specificity)
    document = {"split": split if any(model.checkpoint for model in read) else None, **measured.to_json()}
    if picture is not None:
        from search.analysis import figures
        from search.analysis.comparison_figure import comparison_figure

        figure = comparison_figure(found, measured)
        picture.write_bytes(figures.svg(figure).encode() if picture.suffix.lower() == ".svg" else figures.png(figure))
        document["picture"] = str(picture)
    context.emit(document, lambda: _show(measured, picture))


def _model(context: Context, text: str, source: str | None, split: str) -> Any:
    from search.analysis.compared_models import Model, checkpoint_of, predictions_of, read_predictions
    from search.records.split_readings import record_reading

    if Path(text).suffix.lower() == ".csv":
        return Model(text, None, read_predictions(Path(text)))
    checkpoint, name, own = checkpoint_of(text, context.storage)
    source = source or own
    if source is None:
        raise PlanError(f"--data must say what {text} is measured on; got none")
    predictions = predictions_of(checkpoint, source, split)
    if split == "test":
        readings = record_reading(context.storage, checkpoint, source)
        err.print(f"reading {readings} of the test split of {source} (recorded)", markup=False)
    return Model(name, checkpoint, predictions)


def _show(found: Any, picture: Path | None) -> None:
    of = f"{found.label} in {found.task}" if found.task != "truth" else "the class"
    title = f"{of}: {found.num_positive} of {found.num_cases} cases; 95 % intervals over {found.units}"
    names = list(next(iter(found.metrics.values())))
    show_rows(
        title,
        ("metric", *names),
        [(m, *(with_interval(values[n].value, values[n].interval) for n in names)) for m, values in found.metrics.items()],
    )
    for place in range(len(next(iter(found.differences.values())))):
        pairs = {metric: several[place] for metric, several in found.differences.items()}
        first, second = next((pair.first, pair.second) for pair in pairs.values())
        rows = [(m, with_interval(p.value, p.interval, "+"), _p(p.p), p.test) for m, p in pairs.items()]
        show_rows(f"{first} less {second}", ("metric", "difference", "p", "test"), rows)
    if len(names) > 2:
        out.print("p is adjusted for all pairs of a metric (Holm).", markup=False)
    out.print(
        "Sensitivity is at each model's own threshold on these cases. Of Brier score and calibration error less is better. One"
        " training of each: whether another seed would do the same, `dermtune confirm` says.",
        markup=False,
    )
    if picture is not None:
        out.print(f"picture: {picture}", markup=False)


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.0001" if value < 0.0001 else f"{value:.4f}"


COMMANDS = (compare,)
