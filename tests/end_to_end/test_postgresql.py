"""Four searches at once on a fresh PostgreSQL, whose password nobody else gets to see."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna
import psutil
import pytest
from commands import Finished, Shell
from tracking_servers import PostgresServer, postgres_server
from waiting import wait_until

from search.cli.main import run
from search.records.ledger import read_events

pytestmark = pytest.mark.slow
NAMES = ("north", "east", "south", "west")
STATES = {"finished": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """PostgreSQL with two empty databases; who knows the environment knows the way to MLflow's and the password."""
    with postgres_server() as server:
        server.create("mlflow")
        server.create("optuna")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri("mlflow"))
        monkeypatch.setenv("PGPASSWORD", server.password)
        yield server


@pytest.fixture
def shell(database: PostgresServer, shell: Shell) -> Shell:
    """A shell takes the environment when it is made: after the database has changed it."""
    return shell


def finish_all(shell: Shell, commands: Sequence[Sequence[str]], meanwhile: Callable[[], None] = lambda: None) -> list[Finished]:
    """Runs commands at the same time; calls a function again and again until the last has ended."""
    running = [shell.start(*command, fresh=True) for command in commands]

    def all_have_ended() -> bool:
        meanwhile()
        return all(process.poll() is not None for process in running)

    wait_until(all_have_ended, "the end of all commands")
    return [shell.finish(process) for process in running]


def command_lines() -> set[str]:
    """Of every process on this machine."""
    return {" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])}


def ended_trials(folder: Path, name: str) -> dict[str, str]:
    """Trial → how it ended, in the order of their beginning, by the search's ledger."""
    events = list(read_events(folder / "runs" / name / "ledger.jsonl"))
    ends = {event.trial: STATES[event.event] for event in events if event.event in STATES}
    return dict(sorted(ends.items()))


def files_with(folder: Path, secret: str) -> list[Path]:
    """Files below a folder that hold it."""
    return [file for file in folder.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]


def test_four_searches_at_once_on_a_fresh_database(
    shell: Shell, database: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: set[str] = set()
    size = ("--trials", "6", "--max-epochs", "9", "--max-concurrent", "1")
    searches = [("search", "bowl", "--name", name, *size, "--no-pictures") for name in NAMES]
    results = finish_all(shell, searches, lambda: seen.update(command_lines()))
    for result in results:
        assert result.status == 0, result.err
        assert "MLflow does not have everything" not in result.err
    assert all(any(f" search bowl --name {name} " in line for line in seen) for name in NAMES)
    assert [line for line in seen if database.password in line] == []

    for name in NAMES:  # in this process, which has imported everything
        status, said = run(("doctor", name, "--storage", str(shell.folder / "runs"), "--json")), capsys.readouterr()
        assert (status, json.loads(said.out)["differences"]) == (0, []), said.out + said.err

    exported = finish_all(shell, [("export", name, "--to", database.uri("optuna")) for name in NAMES])
    assert [result.status for result in exported] == [0] * len(NAMES), [result.err for result in exported]
    storage = optuna.storages.RDBStorage(database.uri("optuna"))
    try:
        for name in NAMES:
            trials = optuna.load_study(study_name=name, storage=storage).trials
            expected = ended_trials(shell.folder, name)
            assert len(expected) == 6
            assert {trial.user_attrs["trial"]: trial.state.name for trial in trials} == expected
    finally:
        storage.engine.dispose()

    assert all(database.password not in result.out + result.err for result in results + exported)
    assert (shell.folder / "runs" / "mlartifacts" / "north").is_dir()
    assert files_with(shell.folder, database.password) == []


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("search", "bowl", "--tracking-uri", "postgresql://user:hush-hush@127.0.0.1:1/db"), "--tracking-uri"),
        (("search", "bowl", "--tracking-uri", "http://user:hush-hush@127.0.0.1:1"), "--tracking-uri"),
        (("doctor", "some", "--tracking-uri", "postgresql+psycopg2://user:hush-hush@127.0.0.1/db"), "--tracking-uri"),
        (("export", "some", "--to", "postgresql://user:hush-hush@127.0.0.1:1/db"), "--to"),
    ],
)
def test_a_password_on_the_command_line_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], flag: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith(f"dermtune: {flag} must hold no password")
    assert "PGPASSWORD" in line
    assert "hush-hush" not in said.out + said.err
    assert list(tmp_path.iterdir()) == []


def test_a_password_in_the_environments_uri_is_not_repeated_when_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:hush-hush@127.0.0.1:1/db")
    assert run(("search", "bowl")) == 2
    said = capsys.readouterr()
    assert "hush-hush" not in said.out + said.err
    assert re.search(r"^dermtune: --tracking-uri must be a store .* got postgresql://user:\*\*\*@127.0.0.1:1/db", said.err, re.M)
    assert "Traceback" not in said.err
