"""Databases by URL: their first use by one process at a time, and no password in sight."""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy
from filelock import FileLock
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

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


def check_url(uri: str, flag: str) -> None:
    """Refuses what looks like the URL of a server or a database and is none.

    Raises:  PlanError: when it is none.
    """
    if "://" not in uri and not uri.startswith(("postgresql:", "sqlite:")):
        return
    try:
        parts = urlsplit(uri)
        (parts.hostname or "").encode("idna")
        _ = parts.port
        if parts.scheme.startswith(("postgresql", "sqlite", "mysql", "mssql")):
            make_url(uri)
    except (ValueError, ArgumentError) as error:
        raise PlanError(f"{flag} must be a URL; got {masked(uri)}: {masked(str(error))}") from error


def sqlite_file(url: str) -> Path | None:
    """The file of a sqlite database; None for one in memory, and for what is no sqlite database.

    Raises:  PlanError: when it is no database's URL.
    """
    if not url.startswith("sqlite:"):
        return None
    try:
        name = make_url(url).database
    except ArgumentError as error:
        raise PlanError(f"a sqlite database must be given as sqlite:///FILE; got {masked(url)}") from error
    return Path(name) if name and name != ":memory:" else None


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """Holds a database for this process: the first users of MLflow's and Optuna's tables race on making them.

    Args:    uri: sqlite or PostgreSQL; of anything else nothing is held.
    Raises:  SQLAlchemyError, ImportError: when the database cannot be reached.
    """
    file = sqlite_file(uri)
    if file is not None:
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
