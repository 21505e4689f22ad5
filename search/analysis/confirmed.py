"""What has been confirmed: the newest confirmation of a search, its winner's runs."""

from pathlib import Path

from search.analysis.leaderboard import RecordedSearch, open_search, searches
from search.analysis.verdict import read_verdict
from search.errors import SearchNotFound
from search.strategy.confirmation_controller import planned_runs


def median_run(found: RecordedSearch) -> str:
    """The trial of a confirmation that is the run with the median value of the configuration of the best mean.

    Args:    found: a confirmation that has been reported.
    Raises:  SearchNotFound: when it has not been, or no configuration ran.
    """
    verdict = read_verdict(found.folder.path)
    if verdict is None or not verdict.winner_run:
        raise SearchNotFound(
            f"--confirmed must be of a confirmation that has ended well; got {found.plan.name} (dermtune resume it)"
        )
    return verdict.winner_run


def latest_confirmation(storage: Path, search: str) -> RecordedSearch:
    """The newest confirmation of a search that has run to its end.

    Raises:  SearchNotFound: when there is none.
    """
    names = [row["name"] for row in searches(storage) if row["confirms"] == search]
    found = [open_search(storage, name) for name in names]
    ended = [confirmation for confirmation in found if confirmation.state.ended == "all trials"]
    if not ended:
        raise SearchNotFound(
            f"--confirmed must be of a search that has been confirmed; got {search!r} (dermtune confirm {search})"
        )
    return ended[-1]


def winners_checkpoints(found: RecordedSearch, winner: str) -> list[Path]:
    """Checkpoints of a confirmation's runs of one configuration, by seed.

    Args:    found: a confirmation that has run.
             winner: the trial of the search whose configuration it is.
    """
    names = [candidate.trial for candidate in found.plan.confirmation.candidates] if found.plan.confirmation else []
    own = {planned.trial for planned in planned_runs(found.plan) if names[planned.candidate] == winner}
    runs = [record for record in found.state.trials.values() if record.trial in own and record.checkpoint is not None]
    return [found.folder.fetched(str(record.checkpoint)) for record in runs]
