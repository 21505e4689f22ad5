"""What can be said of a tracking store by its address, in a moment: MLflow itself takes seconds to import."""

import os
import shlex
import socket
import sqlite3
import ssl
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from sqlalchemy.engine import make_url

from search.errors import PlanError
from search.records.database import check_url, masked, sqlite_file
from trainables.places import is_writable

_ANSWER_WITHIN_S = 5.0
#: Stores that MLflow knows by a word alone; it takes any other word for a folder.
_WORDS = frozenset({"databricks", "databricks-uc", "uc"})


def default_tracking_uri(storage: Path) -> str:
    """`mlflow.db` of a storage folder, unless MLFLOW_TRACKING_URI says otherwise."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage / 'mlflow.db'}"


def is_on_server(uri: str) -> bool:
    """Whether artifacts go through a server, and not straight to a folder."""
    return uri.startswith(("http:", "https:"))


def check_kind(uri: str) -> None:
    """Refuses a folder, which MLflow reads and writes no longer, and says how to go on with what is in it.

    Raises:  PlanError: when it is one.
    """
    check_url(uri, "--tracking-uri")
    scheme = urlsplit(uri).scheme
    if uri in _WORDS or scheme not in ("", "file") or os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("1", "true"):
        return
    folder = Path(urlsplit(uri).path if scheme else uri)
    how = "for example sqlite:///mlflow.db"
    if folder.is_dir():
        database = f"sqlite:///{folder.with_name(f'{folder.name}.db')}"
        convert = shlex.join(["mlflow", "migrate-filestore", "--source", str(folder), "--target", database])
        how = f"convert it once with: {convert}; then go on with --tracking-uri {shlex.quote(database)} and keep the folder"
    raise PlanError(f"--tracking-uri must be a database or a server; got {uri}, a folder, which MLflow no longer takes ({how})")


def check_store(uri: str) -> None:
    """Refuses a store that cannot be had, before anything slow begins; one that is not there yet will be made.

    Raises:  PlanError: when it is a folder, damaged, or does not answer within seconds.
    """
    check_kind(uri)
    try:
        if (file := sqlite_file(uri)) is not None:
            _open_file(file)
        elif is_on_server(uri):
            _ask_server(uri)
            _open(uri)
        elif uri.startswith("postgresql"):
            _ask_database(uri)
            _open(uri)
    except (OSError, sqlite3.Error) as error:
        said = str(getattr(error, "reason", None) or error) or type(error).__name__
        raise PlanError(f"--tracking-uri must be a store that answers; got {masked(uri)}: {masked(said)}") from error


def _open_file(file: Path) -> None:
    place = next(place for place in (file, *file.absolute().parents) if place.exists())
    if not os.access(place, os.W_OK) or (place.is_dir() and not is_writable(place)):
        raise PermissionError(f"{place} cannot be written")
    if file.is_file() and file.stat().st_size:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("PRAGMA schema_version")


def _ask_server(uri: str) -> None:
    """Any answer will do, and no credentials are shown: MLflow itself would try for half a minute."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    try:
        urlopen(Request(f"{parts.scheme}://{host}{parts.path}"), timeout=_ANSWER_WITHIN_S, context=trusting).close()
    except HTTPError:
        return


def _ask_database(uri: str) -> None:
    """Only whether somebody listens: a network that swallows what it is sent would keep the driver waiting for minutes."""
    url = make_url(uri)
    if url.host and "host" not in url.query:
        socket.create_connection((url.host, url.port or 5432), timeout=_ANSWER_WITHIN_S).close()


def _open(uri: str) -> None:
    from search.records.tracking.store import open_client

    open_client(uri)
