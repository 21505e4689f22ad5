"""Where a trial's process keeps what must outlast it: in the storage itself, or on its node and behind a URI."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from search.errors import Superseded
from trainables.errors import CheckpointError
from trainables.folders import remove_folder, verify
from trainables.locations import RemoteFolder, fetch

BEST, STATE = "best", "state"
_OWNER = "owner"


def epoch_of(name: str) -> int:
    """The epoch in the name of a state's or a model's folder."""
    return int(name.rpartition("-")[2])


class TrialFolder:
    """The states and models of one trial, for the one process that trains it now.

    A process that was given up, because its node was cut off, may come back to life: it finds that another has taken the
    folder over and must not write any more.

    Of states at most a few stay: the driver deletes those before the newest that the ledger knows of (`CheckpointStore`).

    Args:    path: on this node; the storage's own folder where every node sees it.
             home: the same behind a URI, None where `path` is the storage's own; then more of them, since the ledger's copy there
                 is some seconds old.
    """

    def __init__(self, path: Path, home: str | None = None) -> None:
        self.path, self._home = path, None if home is None else RemoteFolder(home)
        self._num_states = 2 if home is None else 4
        self._token = uuid.uuid4().hex

    def claim(self) -> None:
        """Takes the folder over from whatever process had it."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self._home is not None:
            self._home.write(_OWNER, self._token.encode())
        else:
            (self.path / _OWNER).write_text(self._token)

    def check_owner(self) -> None:
        """Makes sure that no other process has taken over.

        Raises:  Superseded: when one has.
        """
        if self._home is not None:
            owner = (self._home.read(_OWNER) or b"").decode()
        else:
            file = self.path / _OWNER
            owner = file.read_text() if file.is_file() else ""
        if owner != self._token:
            raise Superseded(
                f"a trial must be trained by one process at a time; got another on {self.path.name} (it goes on there)"
            )

    def drop_unheard(self, known_epoch: int) -> None:
        """Deletes what was written after the last report that reached the ledger: it will be trained, and told, again."""
        for name in self._names():
            if epoch_of(name) > known_epoch:
                self._delete(name)

    def states(self) -> Iterator[Path]:
        """The folders to go on from, newest first."""
        for name in sorted((name for name in self._names() if name.startswith(STATE)), reverse=True):
            yield self.path / name if self._home is None else fetch(self._home / name, self.path / name)

    def discard(self, name: str) -> None:
        """Deletes a state that is damaged, so that the epoch's next one can take its place."""
        self._delete(name)

    def save_state(self, epoch: int, write: Callable[[Path], None]) -> None:
        """Keeps what the trial can go on from; older ones than the newest few go."""
        saved = self._save(f"{STATE}-{epoch:05d}", write)
        if self._home is not None:
            remove_folder(saved)  # it lies behind the URI, and is fetched from there
        states = sorted((name for name in self._names() if name.startswith(STATE)), reverse=True)
        for name in states[self._num_states :]:
            self._delete(name)

    def save_best(self, epoch: int, write: Callable[[Path], None]) -> Path:
        """Keeps the model of the epoch that is kept, unless it has been; gives its folder on this node.

        Behind a URI, too: the ledger may have the hash of that one, and trained again it may be rounded otherwise.
        """
        name = f"{BEST}-{epoch:05d}"
        if self._home is not None and not (self.path / name).exists() and name in self._home.folders():
            try:
                verify(fetch(self._home / name, self.path / name))
            except CheckpointError:
                remove_folder(self.path / name)  # a killed process has left half of it
        return self._save(name, write)

    def forget(self) -> None:
        """Removes this node's copy of what lies behind a URI."""
        if self._home is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    def _save(self, name: str, write: Callable[[Path], None]) -> Path:
        folder = self.path / name
        self.check_owner()
        if not folder.exists():
            write(folder)
            if self._home is not None:
                (self._home / name).upload(folder)
        return folder

    def _names(self) -> list[str]:
        found = [path.name for path in self.path.glob("*-*") if path.is_dir()] if self._home is None else self._home.folders()
        return [name for name in found if name.startswith((f"{BEST}-", f"{STATE}-")) and name[-5:].isdigit()]

    def _delete(self, name: str) -> None:
        remove_folder(self.path / name)
        if self._home is not None:
            (self._home / name).delete()
