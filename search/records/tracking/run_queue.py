"""Work for a store, several pieces at a time, but one after another where they are about the same run."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class RunQueue:
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
        pool = self._pool
        if pool is None:
            work()
            return
        before, piece = self._last.get(run), Future[None]()
        self._last[run] = piece

        def follow() -> None:
            try:
                if before is not None:
                    before.result()
                work()
            except BaseException as error:  # noqa: BLE001 - raised by `wait`
                piece.set_exception(error)
            else:
                piece.set_result(None)

        if before is None:
            pool.submit(follow)
        else:  # Only then: a piece that waited in a thread would keep other runs' pieces from it.
            before.add_done_callback(lambda _: pool.submit(follow))

    def wait(self) -> None:
        """Until all is done.

        Raises:  the first error of any piece.
        """
        pieces, self._last = list(self._last.values()), {}
        for piece in pieces:
            piece.result()
