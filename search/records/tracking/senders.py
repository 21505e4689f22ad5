"""Work for a store, several pieces at a time, but one after another where they are about the same run."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Senders:
    """Threads that send. With one only, everything is done at once by the thread that asks.

    Args:    count: pieces at a time.
    """

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="mlflow") if count > 1 else None
        self._last: dict[str, Future[None]] = {}

    def submit(self, run: str, work: Callable[[], None]) -> None:
        """Has the work done after all that was submitted for this run before.

        Args:    run: whatever names it.
                 work: its error is raised by `wait`, and what follows it for this run is left out.
        """
        if self._pool is None:
            work()
            return
        before = self._last.get(run)

        def follow() -> None:
            if before is not None:
                before.result()
            work()

        # Taken in the order of submission, so what a piece waits for is always under way or done.
        self._last[run] = self._pool.submit(follow)

    def wait(self) -> None:
        """Until all is done.

        Raises:  the first error of any piece.
        """
        pieces, self._last = list(self._last.values()), {}
        for piece in pieces:
            piece.result()
