"""A full disk: what is appended waits for room and is then there whole, once."""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.records import disk_space
from search.records.disk_space import append, wait_for_disk_space

LEAST = 32 * 2**20


class Disk(FileIO):
    """A file on a disk that takes half of what is written, or nothing, and says why.

    Args:    file: appended to.
             failures: of the next writes; None for one that takes nothing without an error.
    """

    def __init__(self, file: Path, failures: list[int | None]) -> None:
        super().__init__(file, "ab")
        self.failures = failures

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        if not self.failures:
            return super().write(data)
        failure = self.failures.pop(0)
        if failure is None:
            return None
        super().write(data[: len(data) // 2])
        raise OSError(failure, "no room")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause, none of which takes time."""
    found: list[float] = []
    monkeypatch.setattr(disk_space, "time", SimpleNamespace(sleep=found.append))
    return found


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What the search has warned of so far."""
    with caplog.at_level(logging.WARNING, logger="dermtune"):
        yield lambda: [record.getMessage() for record in caplog.records if record.name == "dermtune"]


def test_what_is_appended_while_the_disk_is_full_waits_and_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    file, pauses = tmp_path / "ledger.jsonl", list[tuple[float, bytes]]()
    monkeypatch.setattr(disk_space, "time", SimpleNamespace(sleep=lambda s: pauses.append((s, file.read_bytes()))))
    file.write_bytes(b"one\n")
    with closing(Disk(file, [errno.ENOSPC, errno.EDQUOT])) as disk:
        append(disk, b"and two\n", sync=True)
    assert file.read_bytes() == b"one\nand two\n"
    assert pauses == [(2.0, b"one\n")] * 2, "half a line is never left for long"
    assert said() == [
        f"the disk of {tmp_path} is full: the search waits until there is room",
        f"there is room again in {tmp_path}: the search goes on",
    ]


def test_what_is_appended_to_a_disk_with_room_is_not_worth_a_word(
    tmp_path: Path, pauses: list[float], said: Callable[[], list[str]]
) -> None:
    with closing(Disk(tmp_path / "f", [])) as disk:
        append(disk, b"one\n", sync=False)
    assert (pauses, said()) == ([], [])


def test_a_write_that_takes_nothing_is_made_again(tmp_path: Path, pauses: list[float]) -> None:
    with closing(Disk(tmp_path / "f", [None])) as disk:
        append(disk, b"one\n", sync=False)
    assert ((tmp_path / "f").read_bytes(), pauses) == (b"one\n", [])


def test_another_error_is_raised_and_leaves_nothing_behind(tmp_path: Path, pauses: list[float]) -> None:
    with closing(Disk(tmp_path / "f", [errno.EIO])) as disk, pytest.raises(OSError, match="no room"):
        append(disk, b"one\n", sync=False)
    assert ((tmp_path / "f").read_bytes(), pauses) == (b"", [])


@pytest.mark.parametrize(
    ("needed", "free", "expected"),
    [
        (0, [LEAST], 0),
        (0, [LEAST - 1, LEAST - 1, LEAST], 2),
        (LEAST, [2 * LEAST], 0),
        (LEAST, [2 * LEAST - 1, 2 * LEAST], 1),
    ],
)
def test_room_is_waited_for_until_there_is_twice_what_is_needed(
    needed: int,
    free: list[int],
    expected: int,
    pauses: list[float],
    said: Callable[[], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = iter(free)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda place: SimpleNamespace(free=next(left)))
    wait_for_disk_space(tmp_path, needed)
    assert list(left) == []
    assert pauses == [2.0] * expected
    full = f"the disk of {tmp_path} is full: the search waits until there is room"
    assert said() == ([full, f"there is room again in {tmp_path}: the search goes on"] if expected else [])


def test_the_wait_for_room_can_be_given_up(tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda place: SimpleNamespace(free=0))
    answers = iter([False, True])
    wait_for_disk_space(tmp_path, give_up=lambda: next(answers))
    assert pauses == [2.0]


def test_a_wait_that_nobody_gives_up_lasts_until_there_is_room(
    tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([0, LEAST])
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda place: SimpleNamespace(free=next(left)))
    wait_for_disk_space(tmp_path)
    assert pauses == [2.0]
