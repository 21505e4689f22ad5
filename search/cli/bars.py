"""A bar for what takes a while, on stderr and only before a person's eyes."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from search.cli.options import err


class Bar:
    """Is called with (done, all).

    Args:    progress: that shows it.
             task: of it.
    """

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total, visible=True)

    def say(self, what: str) -> None:
        """What is done from now on; a line of its own where nobody sees a bar."""
        if err.is_terminal:
            self._progress.update(self._task, description=what)
        else:
            err.print(f"{what}…", markup=False)


@contextmanager
def bar(description: str, *, at_once: bool = True) -> Iterator[Bar]:
    """Gives what is called with (done, all); the bar is gone afterwards.

    Args:    description: what is done.
             at_once: whether it is there before the first call, too.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield Bar(progress, progress.add_task(description, total=None, visible=at_once))
