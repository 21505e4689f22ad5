"""The folder of a search: whose it is, what lies where, here and behind a URI."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from bowl_search import PLAN
from filelock import FileLock

from search.errors import PlanError, SearchNotFound
from search.records.folder import SearchFolder, list_searches, storage_folder

ELSEWHERE = b'{"host": "elsewhere", "pid": 1, "time": %d}'


@pytest.fixture
def near(tmp_path: Path) -> SearchFolder:
    """A search that nobody runs, in a folder of this machine."""
    folder = SearchFolder(tmp_path / "my runs", "near")
    folder.create(PLAN).release()
    return folder


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchFolder:
    """A search that nobody runs, in a storage behind a URI."""
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "cache"))
    folder = SearchFolder(storage_folder(f"file://{tmp_path}/the bucket"), "far")
    folder.create(PLAN).release()
    folder.publish(folder.plan_file)
    return folder


def run_elsewhere(folder: SearchFolder) -> None:
    """As if another machine ran it."""
    assert folder.remote is not None
    folder.remote.write("driver.json", ELSEWHERE % time.time())


def test_a_storage_is_made_with_all_the_folders_above_it(tmp_path: Path) -> None:
    folder = SearchFolder(tmp_path / "not" / "yet", "mine")
    folder.create(PLAN).release()
    assert folder.plan() == PLAN


def test_the_name_of_a_new_search_is_on_disk_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, synced = os.fsync, list[str]()

    def note(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr("os.fsync", note)
    folder = SearchFolder(tmp_path / "runs", "mine")
    folder.create(PLAN).release()
    assert synced == [str(folder.path / "plan.unfinished"), str(folder.path), str(folder.storage)]


def test_paths_are_in_the_folder_where_that_is_the_storage(near: SearchFolder) -> None:
    assert near.home("t0000") is None
    assert near.address("trials/t0000") == f"{near.path}/trials/t0000"
    assert near.fetched("trials/t0000/best-00001") == near.path / "trials" / "t0000" / "best-00001"
    assert not (near.path / "trials").exists(), "nothing is brought, and nothing made"


def test_addresses_are_in_the_storage_where_that_is_behind_a_uri(far: SearchFolder, tmp_path: Path) -> None:
    there = f"file://{tmp_path}/the bucket/far"
    assert far.home("t0000") == f"{there}/trials/t0000"
    assert far.address("trials/t0000") == f"{there}/trials/t0000"
    assert far.trial("t0000") == far.path / "trials" / "t0000"


def test_a_checkpoint_behind_a_uri_is_brought_once(far: SearchFolder) -> None:
    path = "trials/t0000/best-00001"
    assert far.remote is not None
    (far.remote / path).write("weights", b"first")
    (far.remote / "trials/t0000/best-00002").write("weights", b"second")
    for _ in range(2):
        assert (far.fetched(path) / "weights").read_bytes() == b"first"
        (far.remote / path).write("weights", b"other")
    assert (far.fetched("trials/t0000/best-00002") / "weights").read_bytes() == b"second"


def test_a_file_of_the_folder_is_published_and_no_other(far: SearchFolder, tmp_path: Path) -> None:
    (far.path / "pages").mkdir()
    for file in (far.path / "pages" / "report.html", tmp_path / "other.html"):
        file.write_text("a page")
        far.publish(file)
    assert far.remote is not None
    assert far.remote.read("pages/report.html") == b"a page"
    assert [file.path for file in far.remote.files()] == ["pages/report.html", "plan.json"]


def test_a_folder_is_held_by_one_process_at_a_time(near: SearchFolder) -> None:
    assert not near.is_running()
    held = near.lock()
    assert near.is_running()
    with pytest.raises(PlanError, match=r"^a search must run once at a time; got 'near', which is running$"):
        near.lock()
    held.release()
    assert not near.is_running()
    near.lock().release()


def test_a_lock_is_let_go_where_its_block_ends(near: SearchFolder) -> None:
    with near.lock() as held:
        assert near.is_running()
    assert not near.is_running()
    with pytest.raises(ValueError, match="broke"), near.lock() as held:
        raise ValueError("broke")
    assert not near.is_running(), "though the lock is kept"
    held.release()


def test_a_search_that_runs_elsewhere_is_not_held_here(far: SearchFolder) -> None:
    run_elsewhere(far)
    assert far.is_running()
    with pytest.raises(PlanError, match=r"^a search must run once at a time; got 'far', which is running on elsewhere") as raised:
        far.lock()
    lock = FileLock(far.path / "lock")
    lock.acquire(timeout=0)
    lock.release()
    assert raised.tb is not None, "whoever keeps the error keeps no lock"


def test_only_a_running_search_can_be_asked_to_stop(near: SearchFolder) -> None:
    with pytest.raises(PlanError, match=r"^NAME must be a running search; got 'near', which does not run$"):
        near.request_stop()
    assert not near.stop_file.exists()
    held = near.lock()
    near.request_stop()
    held.release()
    assert near.stop_file.exists()


def test_a_request_to_stop_is_left_where_the_driver_looks(far: SearchFolder) -> None:
    assert far.remote is not None
    run_elsewhere(far)
    far.request_stop()
    assert (far.remote.read("stop-requested"), far.stop_file.exists()) == (b"1", False)
    far.remote.write("driver.json", b"{}")
    far.remote.write("stop-requested", b"")
    held = far.lock()
    far.request_stop()
    held.release()
    assert (far.remote.read("stop-requested"), far.stop_file.exists()) == (b"", True)


@pytest.mark.parametrize("name", ["50%20off", "what?", "a?b=c"])
def test_a_storage_that_a_databases_url_would_call_otherwise_is_refused(name: str, tmp_path: Path) -> None:
    """MLflow wrote its runs to a folder `50 off` beside it, and nobody found them."""
    with pytest.raises(PlanError, match=r"^--storage must be a folder whose path holds no '\?' and nothing like '%20'; got "):
        storage_folder(str(tmp_path / name))


@pytest.mark.parametrize("name", ["päth #1", "50% off", "100%", "a&b;c"])
def test_a_storage_of_another_name_is_taken(name: str, tmp_path: Path) -> None:
    assert storage_folder(str(tmp_path / name)) == tmp_path / name


def test_a_deleted_search_is_gone(near: SearchFolder) -> None:
    near.delete()
    assert (near.path.exists(), near.storage.exists()) == (False, True)


def test_a_search_whose_removal_is_cut_short_is_no_search_any_more(near: SearchFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, ignore_errors: bool) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as while_killed:
        while_killed.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            near.delete()
    assert (near.exists(), list_searches(near.storage)) == (False, [])
    again = SearchFolder(near.storage, "near")
    again.create(PLAN).release()
    again.delete()
    assert list(near.storage.iterdir()) == [], "what was left over goes with the next"


def test_deleting_removes_only_what_it_has_named_itself(near: SearchFolder) -> None:
    others = [".deleted-by-hand", ".deleted-far-0123abcd", ".deleted-near-by-0123abcd", ".deleted-near-0123abcd-old"]
    for name in (*others, ".deleted-near-0123abcd"):
        (near.storage / name).mkdir()
    near.delete()
    assert sorted(path.name for path in near.storage.iterdir()) == sorted(others)


def test_a_search_that_is_a_link_is_not_deleted(near: SearchFolder) -> None:
    linked = SearchFolder(near.storage, "linked")
    linked.path.symlink_to(near.path)
    with pytest.raises(PlanError, match=r"must be a search whose folder is no link; got .*/linked, which points to .*/near"):
        linked.delete()
    assert (near.exists(), linked.path.is_symlink()) == (True, True)


def test_a_deleted_search_is_gone_behind_its_uri_too(far: SearchFolder) -> None:
    far.delete()
    assert far.remote is not None
    assert (far.path.exists(), far.remote.files()) == (False, [])
    assert list_searches(far.storage) == []


def test_a_plan_is_the_storages_newest_unless_this_machine_runs_the_search(far: SearchFolder) -> None:
    assert far.remote is not None
    longer = {**PLAN.to_json(), "num_trials": 99}
    far.remote.write("plan.json", json.dumps(longer).encode())
    held = far.lock()
    assert far.plan().num_trials == PLAN.num_trials
    held.release()
    assert far.plan().num_trials == 99
    lock = FileLock(far.path / "lock")
    lock.acquire(timeout=0)
    lock.release()


def test_a_search_that_is_not_there_is_said_by_its_storages_name(near: SearchFolder, far: SearchFolder, tmp_path: Path) -> None:
    with pytest.raises(SearchNotFound, match=rf"^NAME must be a search in {tmp_path}/my runs \(`dermtune list`\); got 'other'$"):
        SearchFolder(near.storage, "other").plan()
    with pytest.raises(SearchNotFound, match=rf"^NAME must be a search in file://{tmp_path}/the bucket .*; got 'other'$"):
        SearchFolder(far.storage, "other").plan()


def test_searches_are_listed_oldest_first_and_nothing_else_is(near: SearchFolder) -> None:
    for number, name in enumerate(("zebra", "ant", "near")):
        folder = SearchFolder(near.storage, name)
        if not folder.exists():
            folder.create(PLAN).release()
        os.utime(folder.plan_file, (number, number))
    for name in (".cache", "a folder", "begun"):
        (near.storage / name).mkdir()
    (near.storage / "mlflow.db").write_text("")
    assert [found.name for found in list_searches(near.storage)] == ["zebra", "ant", "near"]
