"""`dermtune data` and `dermtune space`: what there is to train on and what may vary."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from search.cli.bars import bar
from search.cli.options import Context, command_options, err, out, roles_options
from search.cli.tables import from_here, show_rows
from spaces.fields import Value, fields_of, format_value
from trainables.data import DATASETS, Cases, examine, fold_of, primary_of, split_source
from trainables.data.inspection import Findings
from trainables.data.primary import likely_primary
from trainables.data.roles import ColumnRoles, roles_of, with_roles, without_roles
from trainables.errors import DataError
from trainables.folders import write_file
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
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed draws the same set.")
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
@roles_options
@command_options
def check(context: Context, source: str, roles: ColumnRoles) -> int:
    """Count cases per split and label; say how the data were read, list every problem and whatever looks wrong.

    Problems, such as a patient, a case or one and the same picture in two splits, stop a search, and end this command with 2.
    Warnings do not: labels that seem misspelt, columns that say the same, images that look alike.
    """
    source = with_roles(source, roles)
    split_source(source)
    with bar("decoding") as progress:
        cases, findings = examine(source, progress)
    counts = {} if cases is None else cases.counts()
    verdict = _verdict(source, cases, findings)
    context.emit({"data": source, "counts": counts, **asdict(findings), "verdict": verdict}, lambda: _show_counts(source, counts))
    for line in findings.notes:
        err.print(line, markup=False)
    for kind, lines in (("warning", (*findings.warnings, *findings.twins)), ("problem", findings.problems)):
        for line in lines:
            err.print(f"{kind}: {line}", markup=False)
    if not context.json:
        out.print(verdict, markup=False)
    return 2 if findings.problems else 0


def _verdict(source: str, cases: Cases | None, findings: Findings) -> str:
    """Whether a search can begin, and by what command."""
    number = len(findings.problems)
    if number or cases is None:
        return "1 problem must be mended before a search" if number == 1 else f"{number} problems must be mended before a search"
    doubts = len(findings.warnings) + len(findings.twins)
    begin = "ready" if not doubts else f"can be searched, but look at the warning{'s' if doubts > 1 else ''} above ({doubts})"
    if fold_of(source) is not None:
        return begin
    name = source.partition(":")[0]
    task = next(task for task, entry in TASKS.items() if name in entry.formats)
    primary = "" if primary_of(cases) else _which_diagnosis(cases)
    return (
        f"{begin}: dermtune search {task} --data {shlex.quote(without_roles(source))} {roles_of(source).options()}".rstrip()
        + primary
    )


def _which_diagnosis(cases: Cases) -> str:
    """What names the diagnosis in a search's command, where no task is called so."""
    likely = likely_primary(list(next(iter(cases.counts().values()))))
    if likely is None:
        return " --set primary_task=TASK (which of these is the diagnosis?)"
    return f" --set primary_task={shlex.quote(likely)} (if that is the diagnosis)"


@data.command()
@click.argument("source", metavar="table:FILE")
@click.option(
    "--out", "file", type=click.Path(path_type=Path, dir_okay=False), help="A CSV beside FILE [default: FILE-split.csv]."
)
@click.option("--valid", default=0.2, show_default=True, help="Share of the cases.")
@click.option("--test", default=0.2, show_default=True, help="Share of the cases; 0 for none.")
@click.option("--by", metavar="COLUMN", help="Labels that are shared out evenly [default: the diagnosis].")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed draws the same split.")
@roles_options
@command_options
def split(
    context: Context,
    source: str,
    file: Path | None,
    valid: float,
    test: float,
    by: str | None,
    seed: int,
    roles: ColumnRoles,
) -> None:
    """Draw training, validation and test cases for a table that has no split, and write it with one.

    Labels are shared out evenly, and cases of one patient (--group) or with the same picture stay in one split. Draw once, before
    anything is trained, and keep the file: a split that is drawn again until it suits measures nothing.
    """
    from trainables.data.splitting import draw_split  # what is behind it takes a second to import

    name, path = split_source(source)
    if name != "table":
        raise DataError(f"a split must be drawn for table:FILE; got {source}, whose format has its own")
    file = file or path.with_name(f"{path.stem}-split.csv")
    if file.absolute().parent != path.parent:
        raise DataError(f"--out must lie beside {path.name}, from where its images are named; got {file}")
    if file.exists():
        raise DataError(f"--out must be new; got {file}, which is there already (a split is drawn once)")
    roles = roles.over(roles_of(source))
    drawn = draw_split(path, roles, valid=valid, test=test, seed=seed, by=by)
    write_file(file, drawn.table.to_csv(index=False).encode())
    checked = f"dermtune data check {shlex.quote(f'table:{from_here(file)}')} {roles.options()}".rstrip()
    document = {"table": str(file), "by": drawn.stratified_by, "counts": drawn.counts, "notes": list(drawn.notes), "seed": seed}

    def show() -> None:
        rows = [(label, *(str(number) for number in of_split.values())) for label, of_split in drawn.counts.items()]
        show_rows(str(from_here(file)), (drawn.stratified_by, *next(iter(drawn.counts.values()))), rows)
        out.print(f"next: {checked}", markup=False)

    context.emit(document, show)
    for line in drawn.notes:
        err.print(line, markup=False)


def _show_counts(source: str, counts: dict[str, Any]) -> None:
    if not counts:
        return
    tasks = next(iter(counts.values()))
    rows = []
    for task in tasks:
        labels = list(dict.fromkeys(label for split in counts.values() for label in split[task]))
        rows += [(task, label, *(str(split[task].get(label, 0)) for split in counts.values())) for label in labels]
    show_rows(source, ("task", "label", *counts), rows)


@click.command()
@click.argument("task")
@command_options
def space(context: Context, task: str) -> None:
    """List every field of TASK, gated or attentive: default, range, condition, unit, source."""
    from search.execution.choices import known_task

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
        for field in fields_of(known_task(task).space).values()
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
