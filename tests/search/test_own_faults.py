"""Whose fault an error is, in the command line's words, and where its traceback lies."""

import errno
import logging
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from bowl_events import event_of

from search.analysis import leaderboard
from search.cli.main import run
from search.records.search_log import log_of, logged_to
from spaces.errors import RequestError
from trainables.errors import DataError


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Exception]:
    """What `dermtune list` comes upon."""
    raised: list[Exception] = []

    def stumble(*_: object) -> None:
        raise raised[0]

    monkeypatch.setattr(leaderboard, "searches", stumble)
    monkeypatch.setenv("DERMTUNE_STORAGE", str(tmp_path / "runs"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return raised


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError("not a number"), "ValueError: not a number"),
        (OSError("Corrupt snappy compressed data."), "OSError: Corrupt snappy compressed data."),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_fault_of_ours_is_said_to_be_ours(
    error: Exception, said: str, raising: list[Exception], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raising.append(error)
    assert run(["list", "--json"]) == 1
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    found = re.fullmatch(
        r"dermtune: an error in dermtune itself, not in your request: (.*) \(the traceback is in (\S+); please attach that file"
        r" to a report\)",
        line,
    )
    assert (out, found and found[1]) == ("", said)
    assert found
    log = Path(found[2]).read_text()
    assert log.startswith("dermtune list --json\n")
    assert re.search(r"^system .*python 3.*ray \d", log, re.MULTILINE)
    assert "in stumble\n" in log


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("split must be there; got none"), "dermtune: split must be there; got none"),
        (RequestError("x must be 1 or more; got 0 (--set x=)"), "dermtune: x must be 1 or more; got 0 (--set x=)"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/data/cases.csv"),
            "dermtune: [Errno 13] Permission denied: '/data/cases.csv'",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "dermtune: [Errno 28] No space left on device"),
        (shutil.Error("cannot copy"), "dermtune: cannot copy"),
        (ConnectionError("the head died"), "dermtune: the head died"),
        (TimeoutError(), "dermtune: TimeoutError"),
        (MemoryError(), "dermtune: MemoryError"),
        (sqlite3.OperationalError("database is locked"), "dermtune: OperationalError: database is locked"),
        (RequestError("got s3://me:secret@bucket"), "dermtune: got s3://me:***@bucket"),
    ],
)
def test_what_the_request_or_the_machine_brings_is_a_line(
    error: Exception, line: str, raising: list[Exception], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raising.append(error)
    assert run(["list"]) == 2
    assert capsys.readouterr().err.splitlines() == [line]
    assert not list(tmp_path.glob("dermtune-*.log"))


@pytest.mark.parametrize("options", [["--debug"], ["--debug", "--log-level", "error"], ["--log-level", "error", "--debug"]])
@pytest.mark.parametrize("error", [KeyError("x"), DataError("split must be there; got none")])
def test_debug_shows_tracebacks_too(
    error: Exception, options: list[str], raising: list[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    raising.append(error)
    assert run(["list", *options]) == (1 if isinstance(error, KeyError) else 2)
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.splitlines()[-1].startswith("dermtune: ")
    assert run(["list"]) > 0
    assert "Traceback" not in capsys.readouterr().err, "of that command only"


EVENTS = [
    event_of("search_started", name="bowls", num_trials=2, code_version="c1", environment={"host": "here", "ray": "2"}),
    event_of("suggested", trial="t0", config={}, seed=1),
    event_of("started", trial="t0", where={"host": "node7", "device": "cuda:1", "pid": 41}, notes=[]),
    event_of("started", trial="t1", where={}, notes=[]),
    event_of("failed", trial="t0", reason="ZeroDivisionError: broke"),
    event_of("noted", text="draws at random"),
    event_of("search_ended", reason="interrupted"),
]


def _broken_search(file: Path, error: Exception) -> None:
    with logged_to(file) as log:
        for event in EVENTS:
            log.on_event(event)
        logging.getLogger("dermtune.tracking").warning("MLflow is away")
        logging.getLogger("dermtune").info("not asked for")
        raise error


def test_a_search_logs_warnings_what_was_told_and_what_broke_it(tmp_path: Path) -> None:
    log, file, error = logging.getLogger("dermtune"), tmp_path / "search.log", KeyError("gone")
    before = log.level, list(log.handlers)
    with pytest.raises(KeyError, match="gone"):
        _broken_search(file, error)
    log.warning("after its end")
    assert (log.level, list(log.handlers)) == before
    assert (log_of(error), log_of(KeyError("another"))) == (str(file), None)
    lines = [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", line) for line in file.read_text().splitlines()]
    assert lines[:9] == [
        "INFO dermtune: search started: bowls, 2 trials, code c1 (host here, ray 2)",
        "INFO dermtune: t0 started on node7, cuda:1, process 41",
        "INFO dermtune: t1 started",
        "INFO dermtune: t0 failed: ZeroDivisionError: broke",
        "INFO dermtune: draws at random",
        "INFO dermtune: search ended: interrupted",
        "WARNING dermtune.tracking: MLflow is away",
        "ERROR dermtune: the search failed",
        "Traceback (most recent call last):",
    ]
    assert lines[-1] == "KeyError: 'gone'"


def test_a_log_on_a_full_disk_costs_no_search_and_is_not_said_to_have_the_traceback() -> None:
    error = KeyError("gone")
    with pytest.raises(KeyError, match="gone"):
        _broken_search(Path("/dev/full"), error)
    assert log_of(error) is None
    with logged_to(Path("/dev/full")) as log:
        log.on_event(EVENTS[0])
    with logged_to(Path("/nowhere/search.log")) as log:
        log.on_event(EVENTS[0])
    assert not log.is_complete


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["search", "bowl", "--tracking-uri", "http://[::1"], "--tracking-uri must be a URL; got http://[::1"),
        (["search", "bowl", "--tracking-uri", "http://localhost:abc"], "--tracking-uri must be a URL; got http://localhost:abc"),
        (["search", "bowl", "--tracking-uri", "http://a..b"], "--tracking-uri must be a URL; got http://a..b"),
        (
            ["search", "bowl", "--tracking-uri", "postgresql://u@h:abc/db"],
            "--tracking-uri must be a URL; got postgresql://u@h:abc/db",
        ),
        (["search", "bowl", "--tracking-uri", "postgresql:/x"], "--tracking-uri must be a URL; got postgresql:/x"),
        (["list", "--storage", "nul\0byte"], "a path must be one that a file can have; got 'nul\\x00byte'"),
        (["ui", "--host", "a..b"], "--host and --port must be free to bind; got a..b:5000"),
        (["data", "check", "table:cases.csv", "--columns", "a\nb"], "columns must stand in one line, with commas between them"),
        (["data", "synth", "derm7pt", "out", "--seed", "-1"], "-1 is not in the range x>=0"),
    ],
)
def test_what_only_a_request_can_get_wrong_is_the_requests(
    command: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(command) == 2
    assert said in capsys.readouterr().err
