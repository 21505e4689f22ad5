"""`dermtune explain`: why a checkpoint says what it says."""

from pathlib import Path

import click

from search.cli.bars import bar
from search.cli.options import Context, command_options, err, group_option, grouped, out
from trainables import folders
from trainables.data import portable_source
from trainables.errors import DataError
from trainables.tasks import TASKS


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--data", "source", metavar="FORMAT:PATH", help="Explain cases of a data set, beside their truth.")
@group_option
@click.option("--split", default="valid", show_default=True, help="train, valid or test.")
@click.option("--cases", "num_cases", type=click.IntRange(1, 1000), default=8, show_default=True, help="Cases of the split.")
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder for pictures and documents.")
@command_options
def explain(
    context: Context,
    checkpoint: Path,
    images: tuple[Path, ...],
    source: str | None,
    group: str | None,
    split: str,
    num_cases: int,
    folder: Path,
) -> None:
    """Draw why a checkpoint says what it says: a picture and a JSON document for each case, and for the model."""
    from search.analysis.explaining import write_explanation
    from search.records.readings import record_reading

    if bool(images) == (source is not None):
        raise DataError(f"explain must have either IMAGEs or --data; got {'both' if images else 'neither'}")
    source = grouped(source, group)
    missing = [image for image in images if not image.is_file()]
    if missing:
        raise DataError(f"IMAGE must be a file; got {missing[0]}")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"--out must be a folder; got {folder}")
    module = TASKS[folders.task_of(checkpoint, TASKS)].load()
    found = module.explain_images(checkpoint, images) if source is None else module.explain(checkpoint, source, split, num_cases)
    if source is not None and split == "test":
        reading = record_reading(context.storage, folders.digest(checkpoint), portable_source(source))
        err.print(f"reading {reading} of the test split of {source} (recorded)", markup=False)
    with bar("drawing") as progress:
        written = write_explanation(found, folder, progress)
    document = {"folder": str(folder), "files": [path.name for path in written], "model": found.to_json()}
    pictures = [path.name for path in written if path.suffix == ".png"]

    def show() -> None:
        out.print(f"{len(found.cases)} cases and the model in {folder}:", markup=False)
        for name in pictures:
            out.print(f"  {name}", markup=False)
        if found.note:
            out.print(found.note, markup=False)

    context.emit(document, show)


COMMANDS = (explain,)
