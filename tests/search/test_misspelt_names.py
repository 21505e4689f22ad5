"""A search's name that does not exist: the nearest one is offered, by every command that takes one."""

from pathlib import Path

import click
import pytest
from bowl_search import with_changes

from search.cli.commands import cli
from search.cli.main import run
from search.records.folder import SearchFolder
from search.records.ledger import Ledger

#: What a command needs beside a search's name.
MORE = {"delete": ("--yes",), "register": ("--as", "model"), "replay": ("--sampler", "random", "--scheduler", "none")}
NAMED = sorted(
    name
    for name, command in cli.commands.items()
    if any(isinstance(given, click.Argument) and given.name == "name" for given in command.params)
)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    for name in ("first", "other-search", "Seeds"):
        folder = SearchFolder(tmp_path, name)
        folder.create(with_changes(name=name)).release()
        Ledger(folder.ledger_file).close()
    return tmp_path


def test_every_command_that_takes_a_name_is_asked() -> None:
    asked = {"best", "confirm", "delete", "doctor", "export", "register", "replay", "report", "resume", "show", "stop"}
    assert set(NAMED) == asked


@pytest.mark.parametrize("command", NAMED)
def test_the_nearest_search_is_offered(command: str, storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`show firts` said only that there is no such search."""
    assert run([command, "firts", *MORE.get(command, ()), "--storage", str(storage)]) == 2
    expected = f"dermtune: NAME must be a search in {storage} (`dermtune list`); got 'firts' (did you mean 'first'?)"
    assert capsys.readouterr().err.splitlines() == [expected]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other_search", " (did you mean 'other-search'?)"),
        ("seed", " (did you mean 'Seeds'?)"),
        ("lr", ""),
        ("nothing-like-it", ""),
    ],
)
def test_only_searches_are_offered_and_none_for_what_a_field_is_called(
    name: str, said: str, storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["show", name, "--storage", str(storage)]) == 2
    assert capsys.readouterr().err.endswith(f"got '{name}'{said}\n")


def test_a_search_to_start_from_is_offered_too(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "bowl", "--warm-start", "firts", "--dry-run", "--storage", str(storage)]) == 2
    assert "(did you mean 'first'?)" in capsys.readouterr().err
