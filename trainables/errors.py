"""Errors that mean something to the one who started a search. All share one root; arguments raise ValueError."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from spaces.errors import RequestError


class DermtuneError(Exception):
    """Root of dermtune's own errors. Its text is one line that says what must change."""


class TrialDiverged(DermtuneError):
    """A loss or a metric became NaN or infinite; the trial is over and must not be tried again."""


class OutOfMemory(DermtuneError):
    """A trial needs more of its GPU's memory than its share."""


class StorageFull(DermtuneError):
    """There is no room for a checkpoint.

    Args:    message: says where.
             needed_bytes: of the checkpoint.
    """

    def __init__(self, message: str, needed_bytes: int) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes

    def __reduce__(self) -> tuple[type["StorageFull"], tuple[str, int]]:
        return type(self), (str(self), self.needed_bytes)


class CheckpointError(DermtuneError):
    """A checkpoint folder is missing something, or its contents do not match their hashes."""


class LocationError(DermtuneError):
    """A folder by its URI cannot be read or written."""


class DataError(DermtuneError):
    """A data set cannot be used.

    Args:    problems: every problem found, one line each, at least one.
    """

    def __init__(self, *problems: str) -> None:
        # A stranger's table has names with any character that ends a line.
        problems = tuple(" ".join(problem.splitlines()) for problem in problems)
        self.problems: Sequence[str] = problems
        more = f" (and {len(problems) - 1} more: `dermtune data check` lists all)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more)

    def __reduce__(self) -> tuple[type["DataError"], tuple[str, ...]]:
        return type(self), tuple(self.problems)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU's memory or the host's did not suffice, for which torch has no error of its own."""
    torch = sys.modules.get("torch")  # a task without torch need not pay for its import
    known = (OutOfMemory, MemoryError) if torch is None else (OutOfMemory, MemoryError, torch.OutOfMemoryError)
    return isinstance(error, known) or (isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate" in str(error))


@contextmanager
def as_requested() -> Iterator[None]:
    """Where a model's arguments come from a request, what it refuses of them is the request's.

    Raises:  RequestError: instead of a ValueError.
    """
    try:
        yield
    except ValueError as error:
        raise RequestError(str(error)) from error
