"""Whether everything that follows a search's last trial has been done, so that a resumption has nothing to do."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass

from search.records.folder import SearchFolder
from trainables.folders import write_file


@dataclass(frozen=True)
class Settlement:
    """A search whose study, curves, storage and tracking store have all that its ledger tells.

    Args:    ledger_bytes: of the ledger then; a longer one tells more.
             tracking: which store has it, as a digest, since the URI may hold a password.
             experiment_id: MLflow's.
    """

    ledger_bytes: int
    tracking: str
    experiment_id: str


def settle(folder: SearchFolder, tracking_uri: str, experiment_id: str) -> None:
    """Notes that everything has been done; where that cannot be written, a resumption does it again.

    Args:    folder: of the search, whose ledger is closed.
             tracking_uri: of the store that has everything.
             experiment_id: MLflow's.
    """
    with suppress(OSError):
        found = Settlement(folder.ledger_file.stat().st_size, _digest(tracking_uri), experiment_id)
        write_file(folder.settled_file, json.dumps(asdict(found)).encode())


def settlement_of(folder: SearchFolder, tracking_uri: str) -> Settlement | None:
    """What was noted of a search, None where its ledger tells more by now, or another store is asked for."""
    try:
        found = Settlement(**json.loads(folder.settled_file.read_text()))
        size = folder.ledger_file.stat().st_size
    except (OSError, ValueError, TypeError):
        return None
    return found if (found.ledger_bytes, found.tracking) == (size, _digest(tracking_uri)) else None


def _digest(tracking_uri: str) -> str:
    return hashlib.sha256(tracking_uri.encode()).hexdigest()[:16]
