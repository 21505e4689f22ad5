"""A storage behind a URI: what the driver copies there, who may write, and what another machine takes over."""

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bowl_events import event_of
from waiting import wait_until

from search.errors import PlanError
from search.records import mirror as mirrors
from search.records.folder import SearchFolder, list_searches, storage_folder
from search.records.ledger import Ledger
from search.records.mirror import Mirror, check_alone, living_driver, origin, pull, shown
from search.records.plan import Plan
from spaces.bowl import BowlSpace
from spaces.fields import complete
from trainables.contract import Objective
from trainables.errors import LocationError
from trainables.locations import RemoteFolder

PLAN = Plan("far", "bowl", None, "demo", complete(BowlSpace, {}), Objective("valid/height", "min"), num_trials=2, max_epochs=3)


def machine(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the storage on a machine of that name."""
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / name))
    return storage_folder(f"file://{tmp_path}/the storage")


def run_a_little(storage: Path, said: list[str]) -> SearchFolder:
    """A search that has suggested a trial and saved its state there."""
    folder = SearchFolder(storage, "far")
    with folder.create(PLAN):
        assert folder.remote is not None
        mirror = Mirror(folder.remote, folder.path, folder.stop_file, said.append)
        with Ledger(folder.ledger_file) as ledger:
            ledger.subscribe(mirror.on_event)
            mirror.start()
            ledger.append(event_of("suggested", trial="t0000", config=complete(BowlSpace, {}), seed=0))
            ledger.append(event_of("search_ended", reason="interrupted"))
        assert mirror.close() is None
    return folder


def test_another_machine_sees_and_takes_over_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    one = run_a_little(machine(tmp_path, "one", monkeypatch), said)
    there = machine(tmp_path, "another", monkeypatch)
    assert there != one.storage
    assert shown(there) == f"file://{tmp_path}/the storage"
    (found,) = list_searches(there)
    assert found.plan() == PLAN
    assert found.ledger_file.read_bytes() == one.ledger_file.read_bytes()
    with pytest.raises(PlanError, match=r"^--name must be new in file://.*/the storage; got 'far', which is taken$"):
        SearchFolder(machine(tmp_path, "a third", monkeypatch), "far").create(PLAN)
    assert said == []


def test_a_longer_ledger_is_never_replaced_by_a_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_a_little(machine(tmp_path, "one", monkeypatch), [])
    with Ledger(folder.ledger_file) as ledger:
        ledger.append(event_of("search_resumed", name="far"))
    newest = folder.ledger_file.read_bytes()
    folder.bring_up_to_date()
    assert folder.ledger_file.read_bytes() == newest


@pytest.mark.parametrize(("host", "age_s", "alive"), [("elsewhere", 10, True), ("elsewhere", 91, False), ("here", 10, False)])
def test_a_driver_elsewhere_lives_while_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, age_s: float, alive: bool
) -> None:
    monkeypatch.setattr("platform.node", lambda: "here")
    remote = RemoteFolder(f"file://{tmp_path}/far")
    assert living_driver(remote) is None
    # A process of this number there never is here.
    remote.write("driver.json", json.dumps({"host": host, "pid": 2**30, "time": time.time() - age_s}).encode())
    assert living_driver(remote) == (host if alive else None)
    if alive:
        with pytest.raises(PlanError, match=r"^a search must run once at a time; got 'far', which is running on elsewhere "):
            check_alone(remote, "far")
    else:
        check_alone(remote, "far")


def test_a_stop_asked_for_elsewhere_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.records.mirror._LOOK_EVERY_S", 0.05)
    folder = SearchFolder(machine(tmp_path, "one", monkeypatch), "far")
    with folder.create(PLAN):
        assert folder.remote is not None
        mirror = Mirror(folder.remote, folder.path, folder.stop_file, lambda line: None)
        mirror.start()
        folder.remote.write("stop-requested", b"1")
        wait_until(folder.stop_file.exists, "a stop file")
        assert mirror.close() is None


class Bucket(RemoteFolder):
    """A folder that can be away, and that remembers what was written to it."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.away, self.looks, self.written = False, 0, list[str]()

    def read(self, name: str) -> bytes | None:
        self._answer()
        self.looks += 1
        return super().read(name)

    def write(self, name: str, data: bytes) -> None:
        self._answer()
        self.written.append(name)
        super().write(name, data)

    def _answer(self) -> None:
        self.looks += self.away
        if self.away:
            raise LocationError("the bucket is away")


class Copied:
    """A search's folder with one record, and its mirror; `said` is what it says."""

    def __init__(self, place: Path) -> None:
        self.folder, self.bucket = place / "here", Bucket(f"file://{place}/there/far")
        self.folder.mkdir()
        self.ledger, self.stop_file, self.said = self.folder / "ledger.jsonl", self.folder / "stop-requested", list[str]()
        self.ledger.write_bytes(b"one\n")
        self.mirror = Mirror(self.bucket, self.folder, self.stop_file, self.said.append)

    def append(self, line: bytes) -> None:
        with self.ledger.open("ab") as file:
            file.write(line)

    def there(self) -> bytes | None:
        return RemoteFolder(self.bucket.uri).read("ledger.jsonl")

    def wait_for_looks(self, count: int = 2) -> None:
        """Until the mirror has been through its round at least once more."""
        before = self.bucket.looks
        wait_until(lambda: self.bucket.looks >= before + count, "a look at the bucket", 10)


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Sets how often a mirror looks, and copies unasked; it never waits for more to come."""

    def set_pace(look_s: float, copy_s: float) -> None:
        monkeypatch.setattr(mirrors, "_LOOK_EVERY_S", look_s)
        monkeypatch.setattr(mirrors, "_COPY_EVERY_S", copy_s)
        monkeypatch.setattr(mirrors, "_GATHER_S", 0.0)

    set_pace(1000.0, 10.0**9)
    return set_pace


@pytest.fixture
def copied(tmp_path: Path, pace: Callable[[float, float], None]) -> Iterator[Copied]:
    """A mirror that does nothing unasked, closed in the end if it was started."""
    made = Copied(tmp_path)
    yield made
    if any(thread.name == "mirror" for thread in threading.enumerate()):
        made.bucket.away = False
        made.mirror.close()


def test_a_storage_has_one_folder_on_a_machine_and_other_storages_have_others(tmp_path: Path) -> None:
    first = storage_folder(f"file://{tmp_path}/one")
    assert storage_folder(f"file://{tmp_path}/one") == first
    assert len(first.name) == 16
    assert storage_folder(f"file://{tmp_path}/two") != first


def test_a_folder_that_stands_for_nothing_else_is_shown_as_its_path(tmp_path: Path) -> None:
    assert origin(tmp_path) is None
    assert shown(tmp_path) == str(tmp_path)


def test_records_are_brought_to_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    remote = RemoteFolder(f"file://{tmp_path}/far")
    remote.write("plan.json", b"{}")
    pull(remote, tmp_path / "not yet" / "far")
    assert {path.name for path in (tmp_path / "not yet" / "far").iterdir()} == {"plan.json"}


def test_a_driver_on_this_machine_lives_while_its_process_does_and_is_never_oneself(tmp_path: Path) -> None:
    remote = RemoteFolder(f"file://{tmp_path}/far")
    found: dict[int, str | None] = {}
    for pid in (os.getpid(), os.getppid(), 2**30):
        remote.write("driver.json", json.dumps({"host": platform.node(), "pid": pid, "time": time.time()}).encode())
        found[pid] = living_driver(remote)
    assert found == {os.getpid(): None, os.getppid(): platform.node(), 2**30: None}


@pytest.mark.timeout(20)
def test_when_a_mirror_has_started_everything_is_there_and_an_earlier_stop_forgotten(copied: Copied) -> None:
    RemoteFolder(copied.bucket.uri).write("stop-requested", b"1")
    copied.mirror.start()
    assert copied.there() == b"one\n"
    sign = json.loads(copied.bucket.read("driver.json") or b"")
    assert (sign["host"], sign["pid"]) == (platform.node(), os.getpid())
    assert abs(time.time() - sign["time"]) < 60
    assert copied.bucket.read("stop-requested") == b""
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "mirror"]
    assert thread.daemon, "it must not keep a dying driver alive"


@pytest.mark.parametrize(
    ("kind", "at_once"),
    [
        *((kind, True) for kind in ("saved", "checkpointed", "finished", "stopped", "failed")),
        *((kind, True) for kind in ("search_started", "search_resumed")),
        *((kind, False) for kind in ("suggested", "started", "reported", "noted")),
    ],
)
def test_what_one_must_be_able_to_go_on_from_is_copied_at_once(copied: Copied, kind: str, at_once: bool) -> None:
    copied.mirror.on_event(event_of(kind))
    assert copied.mirror._wake.is_set() == at_once


@pytest.mark.timeout(20)
def test_an_event_of_weight_has_the_ledger_copied_once(copied: Copied) -> None:
    copied.mirror.start()
    copied.append(b"two\n")
    copied.mirror.on_event(event_of("saved"))
    wait_until(lambda: copied.there() == b"one\ntwo\n", "the copy", 10)
    assert not copied.mirror._wake.is_set(), "the next copy is asked for anew"


@pytest.mark.timeout(20)
def test_the_ledger_is_copied_now_and_then_unasked(copied: Copied, pace: Callable[[float, float], None]) -> None:
    pace(0.01, 0.0)
    copied.mirror.start()
    copied.append(b"two\n")
    wait_until(lambda: copied.there() == b"one\ntwo\n", "the copy", 10)
    assert not copied.mirror._wake.is_set(), "nobody asked"


@pytest.mark.timeout(20)
def test_between_copies_only_a_request_to_stop_is_looked_for(copied: Copied, pace: Callable[[float, float], None]) -> None:
    # Far more than has passed since the copy, and less than the clock shows twice.
    pace(0.01, 1.5 * time.monotonic())
    copied.mirror.start()
    copied.append(b"two\n")
    copied.wait_for_looks(3)
    assert copied.bucket.written == ["stop-requested", "ledger.jsonl", "driver.json"]
    assert not copied.stop_file.exists()
    assert copied.said == []


@pytest.mark.timeout(20)
def test_a_record_that_has_not_changed_is_not_copied_again(copied: Copied) -> None:
    (copied.folder / "plan.json").write_bytes(b"{}")
    copied.mirror.start()
    copied.append(b"two\n")
    assert copied.mirror.close() is None
    assert (copied.bucket.written.count("plan.json"), copied.bucket.written.count("ledger.jsonl")) == (1, 2)


@pytest.mark.timeout(20)
def test_what_is_to_be_done_after_a_copy_finds_the_ledger_there_and_is_done_once(copied: Copied) -> None:
    found: list[bytes | None] = []

    def look() -> None:
        found.append(copied.there())
        if len(found) == 1:
            copied.append(b"three\n")
            copied.mirror.after_copy(look)

    copied.mirror.start()
    copied.append(b"two\n")
    copied.mirror.after_copy(look)
    copied.mirror.on_event(event_of("saved"))
    wait_until(lambda: bool(found), "the action", 10)
    assert copied.mirror.close() is None
    assert found == [b"one\ntwo\n", b"one\ntwo\nthree\n"]


@pytest.mark.timeout(20)
def test_a_closed_mirror_has_brought_every_file_but_those_of_this_machine(copied: Copied) -> None:
    (copied.folder / "trials").mkdir()
    for name in ("study.db", "lock", "stop-requested"):
        (copied.folder / name).write_bytes(b"of this machine")
    copied.mirror.start()
    copied.append(b"two\n")
    assert copied.mirror.close() is None
    there = RemoteFolder(copied.bucket.uri)
    names = ("ledger.jsonl", "study.db", "lock", "stop-requested")
    assert {name: there.read(name) for name in names} == {
        "ledger.jsonl": b"one\ntwo\n",
        "study.db": b"of this machine",
        "lock": None,
        "stop-requested": b"",
    }
    assert there.read("driver.json") == b"{}", "the driver says that it has gone"
    assert [thread.name for thread in threading.enumerate() if thread.name == "mirror"] == []


@pytest.mark.timeout(20)
def test_a_bucket_that_is_away_and_back_is_said_once_each(copied: Copied, pace: Callable[[float, float], None]) -> None:
    pace(0.01, 0.0)
    copied.mirror.start()
    copied.wait_for_looks(3)
    assert copied.said == []
    copied.bucket.away = True
    copied.wait_for_looks(3)
    assert copied.said == ["the bucket is away; the search goes on, and this is tried again"]
    copied.append(b"two\n")
    copied.bucket.away = False
    wait_until(lambda: len(copied.said) > 1, "the second line", 10)
    copied.wait_for_looks(3)
    assert copied.said[1:] == [f"{copied.bucket.uri} is back"]
    assert copied.there() == b"one\ntwo\n"


@pytest.mark.timeout(20)
def test_a_mirror_that_cannot_bring_the_rest_says_why(copied: Copied) -> None:
    copied.mirror.start()
    copied.bucket.away = True
    assert copied.mirror.close() == "the bucket is away"
