"""Addresses of tracking stores, what may be printed of them, and the first use of a store by several processes at once."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes
from sqlalchemy.exc import OperationalError
from waiting import let_pass

from search.errors import PlanError
from search.records.database import check_no_password, masked
from search.records.tracking.address import default_tracking_uri
from search.records.tracking.mark import mark_of
from search.records.tracking.removal import delete_experiment
from search.records.tracking.store import (
    has_experiment,
    is_made,
    is_refusal,
    open_client,
    reason,
)

REPOSITORY = Path(__file__).parents[2]
pytestmark = [
    # MLflow uses what SQLAlchemy will drop, and leaves its connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

WITH_PASSWORD = {
    "postgresql://u:secret@h/db": "postgresql://u:***@h/db",
    "postgresql+psycopg2://u:secret@h:5432/db?sslmode=require": "postgresql+psycopg2://u:***@h:5432/db?sslmode=require",
    "http://u:secret@h:5000": "http://u:***@h:5000",
    "https://u:secret@h.example/mlflow": "https://u:***@h.example/mlflow",
    "mysql://u:sec%20ret@h/db": "mysql://u:***@h/db",
}
WITHOUT_PASSWORD = [
    "sqlite:////work/my runs/mlflow.db",
    "sqlite:///relative/mlflow.db",
    "http://127.0.0.1:5000",
    "https://h.example/mlflow",
    "http://u@h:5000",
    "postgresql://u@h/db",
    "postgresql:///db",
    "databricks",
    "/work/my runs/mlruns",
]


@pytest.mark.parametrize(("uri", "shown"), WITH_PASSWORD.items())
def test_a_password_is_masked_and_refused(uri: str, shown: str) -> None:
    assert masked(uri) == shown
    with pytest.raises(PlanError, match=r"--tracking-uri must hold no password, .* got .*\*\*\*@h.* \(set MLFLOW_") as raised:
        check_no_password(uri, "--tracking-uri")
    assert shown in str(raised.value)
    assert "sec" not in str(raised.value).replace("MLFLOW_TRACKING_", "")


@pytest.mark.parametrize("uri", WITHOUT_PASSWORD)
def test_an_address_without_a_password_passes_as_it_is(uri: str) -> None:
    check_no_password(uri, "--tracking-uri")
    assert masked(uri) == uri


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MlflowException("no", error_code=codes.INVALID_PARAMETER_VALUE), True),
        (MlflowException("no", error_code=codes.RESOURCE_DOES_NOT_EXIST), True),
        (MlflowException("locked", error_code=codes.TEMPORARILY_UNAVAILABLE), False),
        (MlflowException("broke"), False),
        (OperationalError("SELECT 1", {}, Exception("closed")), False),
        (ConnectionRefusedError("refused"), False),
    ],
)
def test_a_refusal_is_told_from_a_store_that_is_away(error: Exception, expected: bool) -> None:
    assert is_refusal(error) == expected


def test_an_error_is_one_short_line() -> None:
    assert reason(ValueError("first\nsecond")) == "first"
    assert reason(TimeoutError()) == "TimeoutError"
    assert len(reason(ValueError("x" * 1000))) == 300


def test_a_store_that_cannot_be_opened_is_an_error_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be read as the header of one" * 20)
    with pytest.raises(PlanError, match=r"--tracking-uri must be a store that MLflow can open; got sqlite:///.*/mlflow\.db: "):
        open_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(PlanError, match=r"must be a store that MLflow can open; got nosuch://h/db: "):
        open_client("nosuch://h/db")


def test_a_store_is_there_whatever_its_address_says_besides(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert [is_made(uri), is_made(f"{uri}?timeout=30")] == [False, False]
    (tmp_path / "mlflow.db").touch()
    assert [is_made(uri), is_made(f"{uri}?timeout=30"), is_made("http://h")] == [True, True, True]
    with pytest.raises(PlanError, match=r"must be given as sqlite:///FILE; got sqlite:/mlflow\.db"):
        is_made("sqlite:/mlflow.db")


def test_a_deleted_experiments_name_is_free_again(tmp_path: Path) -> None:
    storage = tmp_path / "my runs"
    uri = default_tracking_uri(storage)
    assert not has_experiment(uri, "bowls")
    assert not storage.exists(), "asking makes no store"
    client = open_client(uri)
    assert not has_experiment(uri, "bowls")
    mark = mark_of(storage, "2026-01-01T00:00:00+00:00")
    client.create_experiment("bowls", tags=mark.tags())
    (storage / "mlartifacts" / "bowls").mkdir(parents=True)
    assert has_experiment(uri, "bowls")
    delete_experiment(uri, "bowls", mark, storage)
    assert not has_experiment(uri, "bowls")
    assert not (storage / "mlartifacts" / "bowls").exists()
    client.create_experiment("bowls")
    delete_experiment(uri, "no such search", mark, storage)


FIRST_USE = """
import sys, time
from search.records.tracking.store import open_client

uri, number = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
client = open_client(uri)
client.create_experiment(f"experiment {number}")
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_processes_that_use_a_new_store_at_once_all_can(tmp_path: Path) -> None:
    """Four imports of MLflow on few cores, then one start for all."""
    uri = f"sqlite:///{tmp_path}/my runs/mlflow.db"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, uri, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=90)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    names = {experiment.name for experiment in open_client(uri).search_experiments()}
    assert names == {"Default", *(f"experiment {number}" for number in range(4))}


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_database_that_another_has_locked_is_waited_for(tmp_path: Path) -> None:
    """Longer than sqlite itself waits: found by the soak, whose searches were refused at their start."""
    uri, locked = f"sqlite:///{tmp_path / 'mlflow.db'}", threading.Event()
    open_client(uri).create_experiment("known")

    def hold() -> None:
        with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            locked.set()
            let_pass(8)
            other.execute("ROLLBACK")

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(10)
    asked = time.monotonic()
    assert has_experiment(uri, "known")
    holder.join()
    assert time.monotonic() - asked > 6, "it was locked"


_DIES = """
import os, sys, sqlalchemy
from search.records.tracking.store import connect
left = int(sys.argv[2])
@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "before_cursor_execute")
def count(*arguments):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
connect(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("statements", [20, 120, 260])
def test_a_store_whose_maker_dies_is_made_anew(statements: int, tmp_path: Path) -> None:
    """MLflow makes its tables one after another, and sqlite keeps each: found by the soak, as a store that nobody could open."""
    uri = f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    done = subprocess.run([sys.executable, "-c", _DIES, uri, str(statements)], cwd=REPOSITORY, check=False)
    assert done.returncode == 9
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    assert not has_experiment(uri, "known")
    open_client(uri).create_experiment("known")
    assert has_experiment(uri, "known")
    assert not list((tmp_path / "runs").glob("*unfinished*"))
