"""Whose fault an error is, in the command line's words, and where its traceback lies."""

import errno
import logging
import re
from pathlib import Path

import pytest
from bowl_events import event_of

from search.analysis import leaderboard
from search.cli.main import run
from search.records.search_log import log_event, log_of, logged_to
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
        r"dermtune: a fault of dermtune's own, not of what was asked: (.*) \(its traceback is in (\S+); please report it with"
        r" that file\)",
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
    ],
)
def test_what_the_request_or_the_machine_brings_is_a_line(
    error: Exception, line: str, raising: list[Exception], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raising.append(error)
    assert run(["list"]) == 2
    assert capsys.readouterr().err.splitlines() == [line]
    assert not list(tmp_path.glob("dermtune-*.log"))


@pytest.mark.parametrize("error", [KeyError("x"), DataError("split must be there; got none")])
def test_debug_shows_tracebacks_too(error: Exception, raising: list[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    raising.append(error)
    assert run(["list", "--debug"]) == (1 if isinstance(error, KeyError) else 2)
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.splitlines()[-1].startswith("dermtune: ")
    assert run(["list"]) > 0
    assert "Traceback" not in capsys.readouterr().err, "of that command only"


def test_a_search_logs_warnings_what_was_told_and_what_broke_it(tmp_path: Path) -> None:
    log, file = logging.getLogger("dermtune"), tmp_path / "search.log"
    error = KeyError("gone")
    events = [
        event_of("search_started", name="bowls", num_trials=2, code_version="c1", environment={"host": "here", "ray": "2"}),
        event_of("suggested", trial="t0", config={}, seed=1),
        event_of("started", trial="t0", where={"host": "node7", "device": "cuda:1", "pid": 41}, notes=[]),
        event_of("failed", trial="t0", reason="ZeroDivisionError: broke"),
        event_of("noted", text="draws at random"),
        event_of("search_ended", reason="interrupted"),
    ]
    before = log.level, list(log.handlers)

    def search() -> None:
        for event in events:
            log_event(event)
        logging.getLogger("dermtune.tracking").warning("MLflow is away")
        log.debug("not asked for")
        raise error

    with pytest.raises(KeyError, match="gone") as raised, logged_to(file):
        search()
    log.warning("after its end")
    assert (log.level, list(log.handlers)) == before
    assert log_of(raised.value) == str(file)
    assert log_of(KeyError("another")) is None
    lines = [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", line) for line in file.read_text().splitlines()]
    assert lines[:8] == [
        "INFO dermtune: search started: bowls, 2 trials, code c1 (host here, ray 2)",
        "INFO dermtune: t0 started on node7, cuda:1, process 41",
        "INFO dermtune: t0 failed: ZeroDivisionError: broke",
        "INFO dermtune: draws at random",
        "INFO dermtune: search ended: interrupted",
        "WARNING dermtune.tracking: MLflow is away",
        "ERROR dermtune: the search broke",
        "Traceback (most recent call last):",
    ]
    assert lines[-1] == "KeyError: 'gone'"
