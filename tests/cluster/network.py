"""A network of hosts on this machine that leaves nothing behind.

Every namespace lives as long as its first process, and that one dies with this process, however it ends: bridge, links, mounts
and all processes go with it. Only a folder is left for `Network.close` to remove.
"""

import atexit
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bridge import Bridge, program
from hosts import HOME, Ground, Place, make_key

REPOSITORY = Path(__file__).resolve().parents[2]
_PROGRAMS = ("ip", "sshd", "ssh", "ssh-keygen", "rsync", "unshare", "nsenter", "setpriv")


def missing() -> str | None:
    """What keeps hosts from being made on this machine, None when nothing does."""
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    absent = [name for name in _PROGRAMS if program(name) is None]
    return f"needs {', '.join(absent)} (Debian's iproute2, openssh-server, rsync)" if absent else None


class Network:
    """A bridge and the places on it. See `network`.

    Attributes: key: private key that opens every host.
                storage: a folder that all places see at this path, as does this process.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="dermtune-hosts-"))
        self._bridge, self._places = Bridge(), list[Place]()
        self.key, self.storage, self._names = self._folder / "key", self._folder / "storage", self._folder / "hosts"
        self.storage.mkdir()
        self._names.write_text("127.0.0.1 localhost\n")

    def open(self) -> None:
        """Lays the bridge."""
        make_key(self.key)
        self._bridge.open()

    def add(self, kind: type[Place], *names: str) -> list[Place]:
        """Makes places and starts them; they know each other's names, and those of all made before.

        Args:    kind: `Place` or `Host`.
                 names: theirs.
        """
        ground = Ground(self._bridge, self._folder, self.key, self._names, _kept([self.storage]))
        first = len(self._places) + 2
        made = [kind(ground, name, first + index) for index, name in enumerate(names)]
        self._places += made
        with self._names.open("a") as file:
            file.writelines(f"{place.ip} {place.name}\n" for place in made)
        for place in made:
            place.start()
        return made

    def close(self) -> None:
        """Takes everything down; twice does no harm."""
        for place in self._places:
            place.kill()
        self._bridge.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _kept(more: Sequence[Path]) -> tuple[Path, ...]:
    """Folders that every place must see, as far as its own /tmp or home would hide them."""
    python = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1], *map(Path, sys.path)]
    wanted = {path.absolute() for path in [REPOSITORY, REPOSITORY.parent / "shared", *python, *more] if path.is_dir()}
    hidden = sorted(path for path in wanted if HOME in path.parents or Path("/tmp") in path.parents)
    return tuple(path for path in hidden if not any(other in path.parents for other in hidden))


@contextmanager
def network() -> Iterator[Network]:
    """A network without places; all that was added to it is taken down at the end, and when this process is told to end.

    SIGTERM interrupts the test that is running, as Ctrl-C does: pytest then takes its fixtures down.
    """
    made = Network()
    atexit.register(made.close)
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _interrupt) if in_main else None
    try:
        made.open()
        yield made
    finally:
        made.close()
        atexit.unregister(made.close)
        if in_main:
            signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
