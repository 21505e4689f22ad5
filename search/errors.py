"""Errors of running a search."""

from trainables.errors import DermtuneError


class PlanError(DermtuneError):
    """What was asked for cannot be searched; the text says what must change."""


class SearchNotFound(DermtuneError):
    """There is no search, trial or checkpoint of that name."""


class ClusterUnavailable(DermtuneError):
    """Ray cannot be started or reached."""


class LedgerDamaged(DermtuneError):
    """A line of a ledger holds no event."""


class Superseded(DermtuneError):
    """Another process has taken a trial over from this one."""


class TrialBroke(Exception):
    """A trial's error on its way to the driver, as text: what a trial raises need not be known there.

    Args:    document: JSON of `error`, `message`, `traceback`, `kind` and `needed_bytes`.
    """

    def __init__(self, document: str) -> None:
        super().__init__(document)
        self.document = document
