"""Any combination of flags and values ends in exit 0, 1, 2 or 130, and never in a traceback."""

import os
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.cli.commands import cli
from search.cli.main import run

#: These serve, start Ray, write large sets, or wait for an address; `search` is only asked what it would do.
LEFT_OUT = ("ui", "submit", "jobs", "logs", "stop", "doctor", "data")
COMMANDS = sorted(set(cli.commands) - set(LEFT_OUT))
WORDS = (
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "3",
        "1e309",
        "nan",
        "inf",
        "0.5",
        "true",
        "none",
        "auto",
        "bowl",
        "nobody",
        "t0000",
        "valid",
        "test",
    ),
    *("x=0.1", "x=", "=1", "x=nan", "x=5", "shape=tilted", "shape=1", "x=log:0.1..1", "x=0..0", "x=1..0", "y=a|b", "fault=nan"),
    *("valid/height", "max:valid/height", "valid/height<0.1", "valid/height<", "tpe", "asha", "2h", "-2h", "+5", "10GiB"),
    *(
        ".",
        "..",
        "missing",
        "a file",
        "../../etc/passwd",
        "s3://",
        "derm7pt:missing",
        "table:a file",
        "derm7pt:",
        ":",
        "nul\0byte",
    ),
    *("ünïcode", "💥", "-", "--", "sqlite:///missing/x.db", "sqlite:///a file", "%s%n{0}", "$(id)", "'; --"),
)


def arguments_of(command: click.Command) -> st.SearchStrategy[list[str]]:
    """Some of a command's options, with values that fit and others, and some arguments."""
    pieces: list[st.SearchStrategy[list[str]]] = [st.sampled_from(WORDS).map(lambda word: [word])]
    for parameter in command.params:
        if not isinstance(parameter, click.Option):
            continue
        names = st.sampled_from([*parameter.opts, *parameter.secondary_opts])
        if parameter.is_flag:
            pieces.append(names.map(lambda name: [name]))
            continue
        words: list[str] = list(WORDS)
        if isinstance(parameter.type, click.Choice):
            words += [str(choice) for choice in parameter.type.choices] * 3
        pieces.append(st.tuples(names, st.sampled_from(words)).map(list))
    return st.lists(st.one_of(pieces), max_size=6).map(lambda found: [word for piece in found for word in piece])


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """A whole command line."""
    name = draw(st.sampled_from(COMMANDS))
    found = draw(arguments_of(cli.commands[name]))
    if name == "search":
        task = draw(st.sampled_from(("bowl", "bowl", "nobody")))
        return [name, task, "--dry-run", *found, "--dry-run"]
    return [name, *found]


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with one file that is nothing."""
    folder = tmp_path / "some folder"
    folder.mkdir()
    (folder / "a file").write_bytes(b"\x00\xff nothing")
    monkeypatch.chdir(folder)
    return folder


@settings(max_examples=int(os.environ.get("DERMTUNE_FUZZ_EXAMPLES", "60")), suppress_health_check=list(HealthCheck))
@given(line=commands())
def test_any_command_ends_with_a_status_that_means_something(line: list[str], empty_folder: Path, capsys: Any) -> None:
    status = run(line)
    said = capsys.readouterr()
    assert status in (0, 1, 2, 130), line
    assert "--debug" in line or "Traceback" not in said.out + said.err, line
    assert "an error in dermtune itself" not in said.err, line
    if status == 2:
        assert said.out + said.err, line
