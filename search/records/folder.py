"""The folder of a search and the names of what lies in it."""

import json
import re
import shutil
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from search.errors import PlanError, SearchNotFound
from search.records.mirror import ask_to_stop, check_alone, living_driver, open_mirror, origin, pull, shown
from search.records.plan import Plan
from trainables.folders import sync, write_file
from trainables.locations import RemoteFolder, fetch, is_uri

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class SearchFolder:
    """`<storage>/<name>/`.

    Args:    storage: the folder of all searches, or the one that stands for a storage behind a URI (`open_mirror`).
             name: of this one.
    Raises:  PlanError: when the name cannot be a folder's.
    """

    def __init__(self, storage: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise PlanError(f"--name must be letters, digits, '.', '_' and '-', 80 at most; got {name!r}")
        self.storage, self.name = storage.resolve(), name
        self.path = self.storage / name
        self.plan_file = self.path / "plan.json"
        self.ledger_file = self.path / "ledger.jsonl"
        self.study_file = self.path / "study.db"
        self.curves_file = self.path / "curves.parquet"
        self.stop_file = self.path / "stop-requested"
        self.tune_file = self.path / "tune.jsonl"

    @cached_property
    def remote(self) -> RemoteFolder | None:
        """The search's folder in a storage behind a URI, None where `path` itself is in the storage."""
        place = origin(self.storage)
        return None if place is None else place / self.name

    def trial(self, trial: str) -> Path:
        """Where a trial keeps its checkpoints."""
        return self.path / "trials" / trial

    def home(self, trial: str) -> str | None:
        """Where a trial's process brings its checkpoints, None where it writes them in place."""
        return None if self.remote is None else str(self.remote / "trials" / trial)

    def address(self, path: str) -> str:
        """The place of something below, for people: a path or a URI."""
        return str(self.path / path) if self.remote is None else str(self.remote / path)

    def fetched(self, path: str) -> Path:
        """A checkpoint on this machine, brought here first if it must be.

        Args:    path: relative, as the ledger has it.
        Raises:  LocationError: when the storage cannot be read.
        """
        place = self.path / path
        if self.remote is not None and not place.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            fetch(self.remote / path, place)
        return place

    def publish(self, file: Path) -> None:
        """Brings a file of the folder to the storage, where that is elsewhere."""
        if self.remote is not None and file.is_relative_to(self.path):
            self.remote.write(str(file.relative_to(self.path)), file.read_bytes())

    def exists(self) -> bool:
        """Whether the search was ever started."""
        return self.plan_file.is_file()

    def create(self, plan: Plan) -> FileLock:
        """Takes the name, locks the folder and writes the plan.

        Returns: the held lock; it goes with the process.
        Raises:  PlanError: when the name is taken.
        """
        self.storage.mkdir(parents=True, exist_ok=True)
        if self.remote is not None and self.remote.read("plan.json") is not None:
            raise PlanError(f"--name must be new in {shown(self.storage)}; got {self.name!r}, which is taken")
        taken = PlanError(f"--name must be new in {self.storage}; got {self.name!r}, which is taken")
        try:
            self.path.mkdir()
        except FileExistsError:
            if not self._was_never_begun():
                raise taken from None
        lock = self.lock()
        if self.exists():
            lock.release()
            raise taken
        self.write_plan(plan)
        sync(self.storage)
        return lock

    def _was_never_begun(self) -> bool:
        """Whether all that is there is what a process leaves that dies before its plan is written."""
        return self.path.is_dir() and {path.name for path in self.path.iterdir()} <= {"lock", "plan.unfinished"}

    def write_plan(self, plan: Plan) -> None:
        """Writes the plan, whole or not at all; the caller holds the lock."""
        write_file(self.plan_file, plan.dumps().encode())

    def lock(self) -> FileLock:
        """Holds the folder for this process.

        Raises:  PlanError: when another process holds it.
        """
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise PlanError(f"a search must run once at a time; got {self.name!r}, which is running") from None
        try:
            if self.remote is not None:
                check_alone(self.remote, self.name)
        except BaseException:
            lock.release()
            raise
        return lock

    def is_running(self) -> bool:
        """Whether a process holds the folder."""
        try:
            self.lock().release()
        except PlanError:
            return True
        return False

    def request_stop(self) -> None:
        """Asks the process that runs the search to end it; it saves and ends within seconds.

        Raises:  PlanError: when none runs it.
        """
        if not self.is_running():
            raise PlanError(f"NAME must be a running search; got {self.name!r}, which does not run")
        if self.remote is not None and living_driver(self.remote) is not None:
            ask_to_stop(self.remote)
        else:
            self.stop_file.touch()

    def delete(self) -> None:
        """Removes everything of the search; the caller holds the lock."""
        if self.remote is not None:
            self.remote.delete()
        shutil.rmtree(self.path)

    def bring_up_to_date(self) -> None:
        """Takes over what another machine has written of the search since, unless this one runs it."""
        if self.remote is None:
            return
        lock = FileLock(self.path / "lock")
        try:
            if self.path.is_dir():
                lock.acquire(timeout=0)
            pull(self.remote, self.path)
        except Timeout:
            return
        finally:
            lock.release()

    def plan(self) -> Plan:
        """The plan of the search.

        Raises:  SearchNotFound: when there is no such search.
                 LocationError: when the storage cannot be read.
        """
        self.bring_up_to_date()
        if not self.exists():
            raise SearchNotFound(f"NAME must be a search in {shown(self.storage)} (`dermtune list`); got {self.name!r}")
        return Plan.from_json(json.loads(self.plan_file.read_text()))


def storage_folder(storage: str) -> Path:
    """The folder of all searches, absolute; it need not exist. For a URI, the one that stands for it on this machine.

    Raises:  PlanError: when it is a file.
             LocationError: when there can be no such storage.
    """
    if is_uri(storage):
        return open_mirror(storage)
    path = Path(storage).expanduser().resolve()
    if path.exists() and not path.is_dir():
        raise PlanError(f"--storage must be a folder; got {path}, which is a file")
    return path


def list_searches(storage: Path) -> list[SearchFolder]:
    """Every search in a storage folder, oldest first."""
    if not storage.is_dir():
        return []
    place = origin(storage)
    for name in [] if place is None else place.folders():
        if _NAME.fullmatch(name):
            SearchFolder(storage, name).bring_up_to_date()
    folders = [SearchFolder(storage, path.name) for path in storage.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted((f for f in folders if f.exists()), key=lambda f: f.plan_file.stat().st_mtime)
