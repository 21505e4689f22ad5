"""Databases by URL: their first use by one process at a time, and no password in sight."""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from filelock import FileLock
from sqlalchemy.engine import make_url

from search.errors import PlanError

#: What stands before and behind a password: `://user:` and `@`, or `password=` and the end of the value.
_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+(@)|([?&]password=)[^\s&]+", re.IGNORECASE)


def masked(text: str) -> str:
    """A text with the passwords of the URIs in it masked."""
    return _PASSWORD.sub(lambda found: f"{found[1] or found[3]}***{found[2] or ''}", text)


def check_no_password(uri: str, flag: str) -> None:
    """Refuses a password on the command line, where everybody on the machine can read it.

    Raises:  PlanError: when there is one.
    """
    if _PASSWORD.search(uri):
        raise PlanError(
            f"{flag} must hold no password, which `ps` would show to everybody; got {masked(uri)}"
            " (set MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or PGPASSWORD instead)"
        )


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """Holds a database for this process: the first users of MLflow's and Optuna's tables race on making them.

    Args:    uri: sqlite or PostgreSQL; of anything else nothing is held.
    Raises:  SQLAlchemyError, ImportError: when the database cannot be reached.
    """
    if uri.startswith("sqlite:"):
        file = Path(make_url(uri).database or "mlflow.db")
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock"):
            yield
    elif uri.startswith("postgresql"):
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:  # the lock goes with the connection
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": zlib.crc32(b"dermtune")})
            yield
    else:
        yield
