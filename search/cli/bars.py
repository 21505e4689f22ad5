"""A bar for what takes a while, on stderr and only before a person's eyes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from search.cli.options import err


@contextmanager
def bar(description: str, *, at_once: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Gives what is called with (done, all); the bar is gone afterwards.

    Args:    description: what is done.
             at_once: whether it is there before the first call, too.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(description, total=None, visible=at_once)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)
