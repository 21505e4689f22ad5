"""A storage behind a URI: what the driver copies there, who may write, and what another machine takes over."""

import json
import time
from pathlib import Path

import pytest

from search.errors import PlanError
from search.records.folder import SearchFolder, list_searches, storage_folder
from search.records.ledger import Ledger
from search.records.mirror import Mirror, check_alone, living_driver, shown
from search.records.plan import Plan
from spaces.bowl import BowlSpace
from spaces.fields import complete
from trainables.contract import Objective
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
            ledger.append("suggested", trial="t0000", config=complete(BowlSpace, {}), seed=0)
            ledger.append("search_ended", reason="interrupted")
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
        ledger.append("search_resumed", name="far")
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
        end = time.monotonic() + 5
        while not folder.stop_file.exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        assert mirror.close() is None
