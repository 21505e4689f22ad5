"""`dermtune data` and `dermtune space`: what there is to train on and what may vary."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from search.cli.bars import bar
from search.cli.options import Context, command_options, err, group_option, out
from spaces.fields import Value, fields_of, format_value
from trainables.data import DATASETS, read, split_source, with_group
from trainables.data.inspection import Findings
from trainables.errors import DataError
from trainables.tasks import TASKS

_DRAWABLE = [name for name, entry in DATASETS.items() if entry.writer is not None]


@click.group()
def data() -> None:
    """Make or check a data set."""


@data.command()
@click.argument("format_name", metavar="FORMAT", type=click.Choice(_DRAWABLE))
@click.argument("folder", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--cases", default=600, show_default=True, help="Cases to draw.")
@click.option("--size", default=256, show_default=True, help="Side of the images in px.")
@click.option("--seed", default=0, show_default=True, help="The same seed draws the same set.")
@command_options
def synth(context: Context, format_name: str, folder: Path, cases: int, size: int, seed: int) -> None:
    """Draw a synthetic set in FORMAT's real on-disk layout."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"OUT must be an empty or missing folder; got {folder}")
    synthesise = DATASETS[format_name].synthesise
    if synthesise is None:
        raise DataError(f"FORMAT must be one of {', '.join(_DRAWABLE)}; got {format_name!r}")
    synthesise(folder, cases, size, seed)
    source = f"{format_name}:{folder}"
    task = next(name for name, entry in TASKS.items() if format_name in entry.formats)
    context.emit(
        {"data": source, "num_cases": cases},
        lambda: out.print(f"{cases} cases in {folder}\nnext: dermtune search {task} --data {shlex.quote(source)}"),
    )


@data.command()
@click.argument("source", metavar="FORMAT:PATH")
@group_option
@command_options
def check(context: Context, source: str, group: str | None) -> int:
    """Count cases per split and label; list every problem, and every image that looks like another.

    Problems, such as a patient, a case or one and the same picture in two splits, stop a search, and end this command with 2.
    Images that only look alike are listed: whether they are of one lesion, you must say.
    """
    source = with_group(source, group)
    format_name, _ = split_source(source)
    counts: dict[str, Any] = {}
    try:
        cases = read(source)
        counts = cases.counts()
        findings = _inspect(format_name, cases)
    except DataError as error:
        findings = Findings(problems=list(error.problems), notes=[], twins=[])
    context.emit({"data": source, "counts": counts, **asdict(findings)}, lambda: _show_counts(source, counts))
    for line in (*findings.notes, *findings.twins, *findings.problems):
        err.print(line, markup=False)
    problems = findings.problems
    if problems and not context.json:
        err.print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}")
    return 2 if problems else 0


def _inspect(format_name: str, cases: Any) -> Findings:
    """Everything that opening all files shows, under a bar."""
    with bar("decoding") as progress:
        return DATASETS[format_name].inspect(cases, progress)


def _show_counts(source: str, counts: dict[str, Any]) -> None:
    if not counts:
        return
    table = Table(title=escape(source))
    for heading in ("task", "label", *counts):
        table.add_column(heading, justify="right" if heading in counts else "left")
    tasks = next(iter(counts.values()))
    for task in tasks:
        labels = list(dict.fromkeys(label for split in counts.values() for label in split[task]))
        for label in labels:
            table.add_row(escape(task), escape(label), *(str(split[task].get(label, 0)) for split in counts.values()))
    out.print(table)


@click.command()
@click.argument("task", type=click.Choice(list(TASKS)))
@command_options
def space(context: Context, task: str) -> None:
    """List every field of TASK: default, range, condition, unit, source."""
    rows = [
        {
            "field": field.name,
            "default": field.default,
            "range": field.range_text(),
            "searched": field.searched,
            "when": {name: list(values) for name, values in field.when.items()},
            "without": {
                format_value(choice): {name: list(values) for name, values in beside.items()}
                for choice, beside in field.without.items()
            },
            "unit": field.unit,
            "source": field.source,
            "doc": field.doc,
        }
        for field in fields_of(TASKS[task].space).values()
    ]
    context.emit(rows, lambda: _show_space(rows))


def _written(conditions: dict[str, list[Value]]) -> str:
    return " and ".join(f"{name}={'|'.join(map(format_value, values))}" for name, values in conditions.items())


def _show_space(rows: list[dict[str, Any]]) -> None:
    for searched, heading in ((True, "Searched, unless fixed by --set FIELD=VALUE:"), (False, "Fixed, unless changed by --set:")):
        out.print(heading)
        for row in (row for row in rows if row["searched"] is searched):
            when = _written(row["when"])
            unit = f" {row['unit']}" if row["unit"] else ""
            only = f", only when {when}" if when else ""
            only += "".join(f", {choice} not searched when {_written(b)}" for choice, b in row["without"].items())
            out.print(f"  {row['field']}  {row['range']}{unit}, default {format_value(row['default'])}{only}", markup=False)
            out.print(f"      {row['doc']}{' (' + row['source'] + ')' if row['source'] else ''}", markup=False)


COMMANDS = (data, space)
