"""`dermtune explain`: why a checkpoint says what it says."""

from pathlib import Path

import click

from search.cli.bars import bar
from search.cli.options import Context, command_options, err, out, roles_options, say_fixed_tasks, split_option, with_options
from trainables import folders
from trainables.data.roles import ColumnRoles
from trainables.errors import DataError
from trainables.tasks import TASKS


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--data", "source", metavar="FORMAT:PATH", help="Explain cases of a data set, beside their truth.")
@roles_options
@split_option
@click.option("--cases", "num_cases", type=click.IntRange(1, 1000), default=8, show_default=True, help="Cases of the split.")
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder for pictures and documents.")
@command_options
def explain(
    context: Context,
    checkpoint: Path,
    images: tuple[Path, ...],
    source: str | None,
    roles: ColumnRoles,
    split: str,
    num_cases: int,
    folder: Path,
) -> None:
    """Draw why a checkpoint says what it says: a picture and a JSON document for each case, and for the model."""
    from search.analysis.constant_predictions import constant_in_explanation
    from search.analysis.explaining import model_document, write_explanation
    from search.analysis.narration import model_text
    from search.records.split_readings import record_reading

    if bool(images) == (source is not None):
        raise DataError(f"explain must have either IMAGEs or --data; got {'both' if images else 'neither'}")
    source = with_options(source, roles)
    missing = [image for image in images if not image.is_file()]
    if missing:
        raise DataError(f"IMAGE must be a file; got {missing[0]}")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"--out must be a folder; got {folder}")
    module = TASKS[folders.task_of(checkpoint, TASKS)].load()
    found = module.explain_images(checkpoint, images) if source is None else module.explain(checkpoint, source, split, num_cases)
    if source is not None:
        say_fixed_tasks(checkpoint, source)
    if source is not None and split == "test":
        reading = record_reading(context.storage, checkpoint, source)
        err.print(f"reading {reading} of the test split of {source} (recorded)", markup=False)
    with bar("drawing") as progress:
        written = write_explanation(found, folder, progress)
    document = {"folder": str(folder), "files": [path.name for path in written], "model": model_document(found)}
    to_look_at = [path.name for suffix in (".html", ".png") for path in written if path.suffix == suffix]

    def show() -> None:
        out.print(f"{len(found.cases)} cases and the model in {folder}:", markup=False)
        for name in to_look_at:
            out.print(f"  {name}", markup=False)
        for line in [*([told] if (told := model_text(found)) else []), *constant_in_explanation(found)]:
            out.print(line, markup=False)

    context.emit(document, show)


COMMANDS = (explain,)
