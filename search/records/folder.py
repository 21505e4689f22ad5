"""The folder of a search and the names of what lies in it."""

import json
import re
import shutil
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from search.errors import PlanError, SearchNotFound
from search.records.mirror import ask_to_stop, check_alone, living_driver, open_mirror, origin, pull, shown
from search.records.plan import Plan
from spaces.hints import suggest
from trainables.folders import sync, write_file
from trainables.locations import RemoteFolder, fetch, is_uri
from trainables.places import absolute

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

#: MLflow, SQLAlchemy or both read these in a sqlite URL otherwise than as a path, and neither offers a way to quote them.
_NOT_IN_A_URL = re.compile(r"\?|%[0-9A-Fa-f]{2}")


@dataclass(frozen=True)
class HeldLock:
    """A folder's lock that this process holds until it is released or its block ends; it goes with the process."""

    _lock: FileLock

    def release(self) -> None:
        """Lets others have the folder; safe to call twice."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


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
        self.log_file = self.path / "search.log"
        self.stop_file = self.path / "stop-requested"
        self.tune_file = self.path / "tune.jsonl"
        self.settled_file = self.path / "settled.json"

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

    def create(self, plan: Plan) -> HeldLock:
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

    def lock(self) -> HeldLock:
        """Holds the folder for this process, from now on and not only in a `with` block.

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
        return HeldLock(lock)

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

    def check_own(self) -> None:
        """Refuses to delete what lies somewhere else.

        Raises:  PlanError: when the folder is a link.
        """
        if self.path.is_symlink():
            raise PlanError(
                f"NAME must be a search whose folder is no link; got {self.path}, which points to {self.path.readlink()}"
                " (delete it in the storage where it is, then remove the link)"
            )

    def delete(self) -> None:
        """Removes everything of the search; the caller holds the lock.

        Raises:  PlanError: when the folder is a link.
        """
        self.check_own()
        if self.remote is not None:
            self.remote.delete()
        # Under a name that no search can have, so that one whose removal is cut short is not half of a search.
        going = self.path.with_name(f".deleted-{self.name}-{uuid.uuid4().hex[:8]}")
        self.path.rename(going)
        mine = re.compile(rf"\.deleted-{re.escape(self.name)}-[0-9a-f]{{8}}")
        for left in [path for path in self.storage.iterdir() if mine.fullmatch(path.name)]:
            shutil.rmtree(left, ignore_errors=left != going)

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
                 PlanError: when its plan is damaged.
                 LocationError: when the storage cannot be read.
        """
        self.bring_up_to_date()
        if not self.exists():
            hint = suggest(self.name, _names(self.storage), aliases={})
            raise SearchNotFound(f"NAME must be a search in {shown(self.storage)} (`dermtune list`); got {self.name!r}{hint}")
        try:
            return Plan.from_json(json.loads(self.plan_file.read_text()))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f"damaged or of a later version ({type(error).__name__}: {error})"
            raise PlanError(f"{self.plan_file} must be a search's plan; got one that is {reason}") from error


def storage_folder(storage: str) -> Path:
    """The folder of all searches, absolute; it need not exist. For a URI, the one that stands for it on this machine.

    Raises:  PlanError: when it is a file.
             LocationError: when there can be no such storage.
    """
    if is_uri(storage):
        return open_mirror(storage)
    path = absolute(storage)
    if path.exists() and not path.is_dir():
        raise PlanError(f"--storage must be a folder; got {path}, which is a file")
    if _NOT_IN_A_URL.search(str(path)):
        raise PlanError(
            f"--storage must be a folder whose path holds no '?' and nothing like '%20'; got {path}, of which a"
            " database's URL would name another (choose or rename one)"
        )
    return path


def _names(storage: Path) -> list[str]:
    """The names of all searches; nothing of them is read, nor brought here."""
    place = origin(storage)
    here = [path.parent.name for path in storage.glob("*/plan.json")]
    return sorted(name for name in {*here, *([] if place is None else place.folders())} if _NAME.fullmatch(name))


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
