"""Errors of running a search."""

from trainables.errors import DermtuneError


class PlanError(DermtuneError):
    """What was asked for cannot be searched; the text says what must change."""


class SearchNotFound(DermtuneError):
    """There is no search, trial or checkpoint of that name."""


class ClusterUnavailable(DermtuneError):
    """Ray cannot be started or reached."""
