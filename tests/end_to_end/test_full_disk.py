"""A disk that is really full, in a mount namespace of its own: the search waits, and goes on when there is room."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from commands import COMMAND

pytestmark = pytest.mark.slow
_SIZE_MIB = 96


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator["SmallDisk"]:
    """A folder on a disk of a few MiB that only the search sees."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare to mount a small disk")
    made = SmallDisk(tmp_path)
    yield made
    made.close()


class SmallDisk:
    """A search in a namespace where `runs` is a small disk.

    Args:    folder: working directory of the search.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "runs").mkdir()
        self._log = folder / "stderr"
        self._process: subprocess.Popen[bytes] | None = None

    def search(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Starts `dermtune` there."""
        mount = f'mount -t tmpfs -o size={_SIZE_MIB}m small runs && exec "$@"'
        command = ["unshare", "--mount", "bash", "-c", mount, "bash", str(COMMAND), *arguments]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stderr=log, stdout=log, start_new_session=True)
        return self._process

    @property
    def runs(self) -> Path:
        """The small disk, as the search sees it."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/root{self.folder}/runs")

    @property
    def said(self) -> str:
        """All that the search printed."""
        return self._log.read_text()

    def fill(self) -> None:
        """Writes until nothing fits any more."""
        with (self.runs / "filler").open("ab", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                try:
                    while True:
                        if file.write(b"x" * size) == 0:
                            break
                except OSError:
                    continue

    def empty(self) -> None:
        """Makes room again."""
        (self.runs / "filler").unlink()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The search's ledger."""
        file = self.runs / name / "ledger.jsonl"
        lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Ends what is left."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def test_a_search_waits_while_the_disk_is_full_and_then_goes_on(
    small_disk: SmallDisk, eventually: Callable[[Callable[[], bool], str], None]
) -> None:
    # The namespace goes with the search, so its own doctor looks before it ends.
    script = "search bowl --name small --trials 10 --no-pictures --scheduler none --max-epochs 20 --set seconds_per_epoch=0.1"
    process = small_disk.search(*script.split())
    eventually(lambda: sum(e["event"] == "finished" for e in small_disk.events("small")) >= 2, "the end of two trials")

    def full() -> bool:
        # Again and again: a state that is replaced leaves room enough for the rest of a ledger.
        with suppress(FileNotFoundError):  # the disk goes with the search
            small_disk.fill()
        assert process.poll() is None, small_disk.said
        return "is full: the search waits until there is room" in small_disk.said

    eventually(full, "a line that says so")
    before = small_disk.events("small")
    copied = small_disk.folder / "copy"
    small_disk.empty()
    eventually(lambda: "there is room again" in small_disk.said, "a line that says that it goes on")

    def look() -> bool:
        # Copied while the disk is there: it goes with the search.
        with suppress(OSError):  # gone between two looks
            shutil.copy(small_disk.runs / "small" / "ledger.jsonl", copied)
        return process.poll() is not None

    eventually(look, "the end of the search")
    assert process.returncode == 0, small_disk.said
    after = [json.loads(line) for line in copied.read_bytes().split(b"\n")[:-1]]
    assert after[: len(before)] == before
    told: dict[str, list[int]] = {}
    for event in after:
        if event["event"] == "reported":
            told.setdefault(event["trial"], []).extend(epoch["epoch"] for epoch in event["epochs"])
    assert told == {f"t{index:04d}": list(range(1, 21)) for index in range(10)}
    assert not [event for event in after if event["event"] == "failed"]
