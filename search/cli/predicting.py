"""`dermtune predict`: what a checkpoint sees in images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from search.cli.options import Context, command_options, err, out
from search.cli.tables import in_words, show_rows
from trainables import folders
from trainables.contract import Predictor
from trainables.errors import DataError
from trainables.tasks import TASKS

#: What every row has; the rest is of its task.
_COMMON = ("image", "labels", "probabilities", "operating_point")
#: To see whether an image can be read it is made as small as this.
_TRIED_PX = 8


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@command_options
def predict(context: Context, checkpoint: Path, images: tuple[Path, ...]) -> None:
    """Say what a checkpoint sees in images; of some that cannot be read the others are told all the same."""
    from search.analysis.operating_point import called, read_operating_point  # what is behind it takes a second to import

    rows, problems = _predicted(TASKS[folders.task_of(checkpoint, TASKS)].load().predictor(checkpoint), images)
    point = read_operating_point(checkpoint)
    rows = rows if point is None else [{**row, "operating_point": called(point, row)} for row in rows]
    if problems and not rows:
        raise DataError(*problems)

    def show() -> None:
        for row in rows:
            more = {name: value for name, value in row.items() if name not in _COMMON}
            cells = [
                (task, label, f"{row['probabilities'][task][label]:.3f}", _others(row["probabilities"][task], label))
                for task, label in row["labels"].items()
            ]
            said = "".join(f", {in_words(name)} {value}" for name, value in more.items() if not isinstance(value, list))
            show_rows(row["image"] + said, ("task", "label", "probability", "others"), cells)
            if point is not None:
                at = row["operating_point"]
                word = "called" if at["called"] else "not called"
                where = f"probability {at['probability']:.3f}, operating point {at['threshold']:.3f} ({at['rule']})"
                out.print(f"{word} {at['label']}: {where}", markup=False)
            for name, parts in more.items():
                if isinstance(parts, list) and parts:
                    show_rows(
                        in_words(name), [in_words(key) for key in parts[0]], [[_cell(v) for v in part.values()] for part in parts]
                    )

    context.emit(rows, show)
    for problem in problems:
        err.print(problem, markup=False)
    if problems:
        raise DataError(f"IMAGE must be one that can be read; got {len(problems)} of {len(images)} that cannot")


def _predicted(predictor: Predictor, images: Sequence[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """What a model says of those images that can be read, and what keeps the others from it, a line each."""
    try:
        return predictor.predict(images), []
    except DataError:
        problems = {image: found for image in images if (found := _problem(image)) is not None}
    good = [image for image in images if image not in problems]
    return (predictor.predict(good) if good else []), list(problems.values())


def _problem(image: Path) -> str | None:
    """What keeps an image from being looked at."""
    from trainables.data.images import decode  # with what opens images; no other command needs it

    if not image.is_file():
        return f"IMAGE must be a file; got {image}"
    try:
        decode(image, _TRIED_PX)
    except DataError as error:
        return str(error)
    return None


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _others(probabilities: dict[str, float], label: str) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in probabilities.items() if name != label)


COMMANDS = (predict,)
