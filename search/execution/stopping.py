"""What ends a search before its last trial: a time budget, `dermtune stop`, Ctrl-C and the signals like it."""

import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from search.errors import PlanError
from search.execution.interruption import handlers_like_ctrl_c
from search.records.folder import SearchFolder
from search.records.ledger import read_events
from search.records.state import SearchState

STOP_REQUESTED, TIME_BUDGET, INTERRUPTED = "stop requested", "time budget", "interrupted"
_POLL_S = 0.5
_WORKERS_END_WITHIN_S = 20


class EarlyEnd:
    """Whether a search must end now, and why.

    Args:    time_budget_s: None for no limit.
             clock: monotonic seconds.
    """

    def __init__(self, time_budget_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.requested = threading.Event()
        self._end, self._clock = None if time_budget_s is None else clock() + time_budget_s, clock

    def reason(self) -> str | None:
        """Why every trial must end, None while none must."""
        if self.requested.is_set():
            return STOP_REQUESTED
        return TIME_BUDGET if self._end is not None and self._clock() >= self._end else None


@contextmanager
def watch_for_end(stop_file: Path, time_budget_s: float | None) -> Iterator[EarlyEnd]:
    """Watches for a stop request and starts the time budget.

    In the main thread a request does what Ctrl-C does, and so do signals (`LIKE_CTRL_C`): Tune ends after the step at hand. In
    another thread nothing can be signalled; the trials end at their next report.

    Args:    stop_file: made by `dermtune stop`.
             time_budget_s: None for no limit.
    """
    early, over = EarlyEnd(time_budget_s), threading.Event()
    main = threading.current_thread() is threading.main_thread()

    def watch() -> None:
        while not over.wait(_POLL_S):
            if stop_file.exists():
                early.requested.set()
                if main:
                    signal.raise_signal(signal.SIGINT)
                return

    threading.Thread(target=watch, name="stop-watch", daemon=True).start()
    try:
        with handlers_like_ctrl_c():
            yield early
    finally:
        over.set()


def wait_for_workers(folder: SearchFolder) -> None:
    """Waits until the processes that trained for a driver which died have ended: two must not write one trial's folder.

    Args:    folder: of the search, locked by this process.
    Raises:  PlanError: when one does not end.
    """
    state = SearchState.of(read_events(folder.ledger_file), folder.plan().objective)
    here = platform.node()
    pids = {record.where["pid"] for record in state.trials.values() if record.where.get("host") == here}
    deadline = time.monotonic() + _WORKERS_END_WITHIN_S
    last_event = folder.ledger_file.stat().st_mtime
    while alive := [pid for pid in pids if _is_worker(pid, last_event)]:
        if time.monotonic() > deadline:
            raise PlanError(f"workers of the earlier run must have ended; got process {alive[0]}, which still trains (kill it)")
        time.sleep(0.2)


def _is_worker(pid: int, before: float) -> bool:
    """Whether a worker of Ray's, begun before that time (seconds since 1970), bears this number; numbers are used again."""
    try:
        process = psutil.Process(pid)
        return "ray::" in " ".join(process.cmdline()) and process.create_time() < before
    except psutil.Error:
        return False
