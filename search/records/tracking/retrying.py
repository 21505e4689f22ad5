"""Calling a store that may be away, locked or slow."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from search.records.database import masked
from search.records.tracking.store import STORE_ERRORS, connect, is_full, is_refusal, reason

#: Seconds that a search which has ended waits for a store that is away; what is still owed then waits in the ledger.
PATIENCE_S = 60.0
_TRIES = 5
_LONGEST_PAUSE_S = 2.0
_log = logging.getLogger("dermtune.tracking")
_T = TypeVar("_T")


class StoreAway(Exception):
    """The store did not come back in time."""


class RetryingCaller:
    """Calls a store again until it answers, from any thread; says once that it is away and once that it is back.

    Args:    uri: of the store.
             patience_s: how long it is waited for after `last_calls`.
    """

    def __init__(self, uri: str, patience_s: float = PATIENCE_S) -> None:
        self._uri, self.patience_s = uri, patience_s
        self._away_since: float | None = None
        self._said = False
        self._lock = threading.Lock()
        self._give_up_at = float("inf")

    @property
    def is_away(self) -> bool:
        """Whether the store has not answered lately."""
        return self._away_since is not None

    def last_calls(self) -> None:
        """From now on patience ends, though not as long as the store answers, however slowly."""
        self._give_up_at = time.monotonic() + self.patience_s

    def give_up(self) -> None:
        """The next call that is not answered is the last."""
        self._give_up_at = 0.0

    def call(self, call: Callable[[], _T]) -> _T:
        """The call's answer.

        Raises:  StoreAway: when patience has ended and the store stays away.
                 any of `STORE_ERRORS`: when the store refuses, or answers others and this call never.
                 ImportError: when a database's driver is not installed.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                found = call()
            except STORE_ERRORS as error:
                if is_refusal(error) or (attempt >= _TRIES and not is_full(error) and self._answers()):
                    raise
                self._wait(attempt, error)
            else:
                self._is_back()
                return found

    def _answers(self) -> bool:
        try:
            connect(self._uri)
        except STORE_ERRORS:
            return False
        return True

    def _wait(self, attempt: int, error: Exception) -> None:
        now = time.monotonic()
        with self._lock:
            if self._away_since is None:
                self._away_since = now
            if attempt >= _TRIES and not self._said:
                self._said = True
                text = "MLflow (%s) is away; training goes on, and what it misses is sent when it is back"
                _log.warning(text, masked(self._uri))
        if now >= self._give_up_at:
            raise StoreAway(f"{masked(self._uri)} is away: {reason(error)}") from error
        time.sleep(min(0.1 * 2 ** min(attempt, 10), _LONGEST_PAUSE_S))

    def _is_back(self) -> None:
        with self._lock:
            if self._away_since is not None:
                away_s, said = time.monotonic() - self._away_since, self._said
                self._away_since, self._said = None, False
                if said:
                    _log.warning("MLflow is back after %.0f s", away_s)
        if 0.0 < self._give_up_at < float("inf"):
            self.last_calls()
