"""A storage behind a URI: the driver works in a folder of its own and copies what it writes there.

An object store has neither locks nor appends, so a driver leaves a sign of life beside the records, and the ledger is copied
whole: when something was written that one must be able to go on from, and every half minute.
"""

import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from search.errors import PlanError
from search.records.events import Event
from trainables.data.cache import cache_root
from trainables.errors import LocationError
from trainables.locations import RemoteFolder

#: What only ever grows.
_GROWING = ("search.log", "ledger.jsonl")
#: What another machine needs of a search, checkpoints aside.
RECORDS = ("plan.json", "tune.jsonl", "confirmation.json", "reproduction.json", "reproduction.html", "search.log", "ledger.jsonl")
_ORIGIN, _LIFE, _STOP = ".origin", "driver.json", "stop-requested"
_AT_ONCE = ("saved", "checkpointed", "finished", "stopped", "failed", "search_started", "search_resumed")
_COPY_EVERY_S, _LOOK_EVERY_S, _GATHER_S = 30.0, 3.0, 1.0
#: A driver that has given no sign of life for so long is dead.
_DEAD_AFTER_S = 90.0


def open_mirror(uri: str) -> Path:
    """The folder on this machine that stands for a storage behind a URI.

    Raises:  LocationError: when there can be no such storage.
    """
    remote = RemoteFolder(uri)
    folder = cache_root() / "storage" / hashlib.sha256(remote.uri.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _ORIGIN).write_text(uri)
    return folder


def origin(storage: Path) -> RemoteFolder | None:
    """What a storage folder stands for, None for itself."""
    file = storage / _ORIGIN
    return RemoteFolder(file.read_text()) if file.is_file() else None


def shown(storage: Path) -> str:
    """A storage as the user names it: a path, or the URI that its folder stands for."""
    place = origin(storage)
    return str(storage) if place is None else str(place)


def pull(remote: RemoteFolder, folder: Path) -> None:
    """Brings a search's records up to date; ledger and log only ever grow, so the longer one is the newer.

    Raises:  LocationError: when the storage cannot be read.
    """
    for name in RECORDS:
        data, file = remote.read(name), folder / name
        if data is None or (name in _GROWING and file.is_file() and file.stat().st_size >= len(data)):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_bytes(data)
        unfinished.rename(file)


def living_driver(remote: RemoteFolder) -> str | None:
    """The host whose process runs the search, by its last sign of life; None when none does, or this one."""
    sign = json.loads(remote.read(_LIFE) or b"{}")
    if not sign or time.time() - sign["time"] > _DEAD_AFTER_S:
        return None
    here = sign["host"] == platform.node()
    return None if here and (sign["pid"] == os.getpid() or not psutil.pid_exists(sign["pid"])) else str(sign["host"])


def check_alone(remote: RemoteFolder, name: str) -> None:
    """Makes sure that no other machine runs the search.

    Raises:  PlanError: when one does.
    """
    host = living_driver(remote)
    if host is not None:
        raise PlanError(
            f"a search must run once at a time; got {name!r}, which is running on {host} (if that machine is gone, try again in"
            f" {_DEAD_AFTER_S:.0f} s)"
        )


def ask_to_stop(remote: RemoteFolder) -> None:
    """Asks the machine that runs the search to end it."""
    remote.write(_STOP, b"1")


class Mirror:
    """Copies a running search's records to its storage, in the background, and hears requests to stop that are left there.

    Args:    remote: the search's folder.
             folder: the driver's own.
             stop_file: made when a stop is asked for.
             say: called with a line when the storage is away and when it is back.
    """

    def __init__(self, remote: RemoteFolder, folder: Path, stop_file: Path, say: Callable[[str], None]) -> None:
        self._remote, self._folder, self._stop_file, self._say = remote, folder, stop_file, say
        self._wake, self._over = threading.Event(), threading.Event()
        self._sizes: dict[str, tuple[int, int]] = {}
        self._later: list[Callable[[], None]] = []
        self._copied_at = 0.0
        self._away = False
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def start(self) -> None:
        """Copies what there is, then goes on in the background.

        Raises:  LocationError: when the storage cannot be written.
        """
        self._remote.write(_STOP, b"")
        self._copy()
        self._thread.start()

    def on_event(self, event: Event) -> None:
        """Hears the ledger."""
        if event.event in _AT_ONCE:
            self._wake.set()

    def after_copy(self, action: Callable[[], None]) -> None:
        """Does something, the removal of a checkpoint for instance, once the ledger that does without it has been copied."""
        self._later.append(action)

    def close(self) -> str | None:
        """Copies the rest; gives what went wrong, None when all is there."""
        self._over.set()
        self._wake.set()
        self._thread.join()
        try:
            self._copy()
            for file in sorted(self._folder.glob("*")):
                if file.is_file() and file.name not in (*RECORDS, "lock", _STOP):
                    self._remote.write(file.name, file.read_bytes())
            self._remote.write(_LIFE, b"{}")
        except LocationError as error:
            return str(error)
        return None

    def _run(self) -> None:
        while not self._over.is_set():
            asked = self._wake.wait(_LOOK_EVERY_S)
            if self._over.is_set():
                return
            try:
                if asked or time.monotonic() - self._copied_at >= _COPY_EVERY_S:
                    self._over.wait(_GATHER_S)
                    self._wake.clear()
                    self._copy()
                if self._remote.read(_STOP):
                    self._stop_file.touch()
                self._note(None)
            except LocationError as error:
                self._note(error)
                self._over.wait(_LOOK_EVERY_S)

    def _note(self, error: LocationError | None) -> None:
        if (error is not None) != self._away:
            self._away = error is not None
            self._say(f"{error}; the search goes on, and this is tried again" if error else f"{self._remote.uri} is back")

    def _copy(self) -> None:
        due = list(self._later)
        for name in RECORDS:
            file = self._folder / name
            if file.is_file():
                stat = file.stat()
                if self._sizes.get(name) != (stat.st_size, stat.st_mtime_ns):
                    self._remote.write(name, file.read_bytes())
                    self._sizes[name] = (stat.st_size, stat.st_mtime_ns)
        self._remote.write(_LIFE, json.dumps({"host": platform.node(), "pid": os.getpid(), "time": time.time()}).encode())
        self._copied_at = time.monotonic()
        for action in due:
            action()
            self._later.remove(action)
