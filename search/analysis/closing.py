"""What a confirmation or a reproduction leaves when it has ended: measured once, written, brought to where all is kept."""

from pathlib import Path

from search.analysis.asked import confirmed_text
from search.analysis.confirmation import Progress, confirm_search
from search.analysis.confirmation_report import write_report
from search.analysis.leaderboard import RecordedSearch
from search.analysis.reproduction import reproduced
from search.analysis.reproduction_page import write_reproduction, written
from search.analysis.verdict import Verdict, read_verdict
from search.records.ledger import read_events


def close_confirmation(found: RecordedSearch, progress: Progress = lambda done, total: None) -> tuple[Verdict, Path]:
    """What a confirmation found, and its page.

    Args:    found: the confirmation.
             progress: called with (done, all) while runs are measured without each of their cases.
    Returns: what was found, and the page's path.
    Raises:  PlanError: when it has not ended.
    """
    folder = found.folder
    verdict = read_verdict(folder.path) or confirm_search(found, folder.storage, progress)
    page = write_report(verdict, folder.path, confirmed_text(found, list(read_events(folder.ledger_file))))
    _publish(found, "confirmation.*")
    return verdict, page


def close_reproduction(found: RecordedSearch, progress: Progress = lambda done, total: None) -> Path:
    """A reproduction's page, written once: every reading of the test split spends a little of what it is worth.

    Args:    found: a reproduction of which a run has ended well.
             progress: called with (done, all) while checkpoints are measured.
    Returns: its path.
    """
    page = written(found.folder.path)
    if page is None:
        page = write_reproduction(reproduced(found, progress), found.folder.path)
        _publish(found, "reproduction*")
    return page


def _publish(found: RecordedSearch, pattern: str) -> None:
    for file in sorted(found.folder.path.glob(pattern)):
        found.folder.publish(file)
