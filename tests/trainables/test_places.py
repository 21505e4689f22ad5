"""Where files go when an account has no home, or none that can be written."""

import os
from pathlib import Path

import pytest

from trainables.data import cache
from trainables.data.cache import build_once, cache_root
from trainables.errors import LocationError
from trainables.places import absolute, home, is_writable, private_folder


def test_a_folder_is_made_to_see_whether_it_can_be_written(tmp_path: Path) -> None:
    assert is_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    assert not is_writable(Path("/proc/dermtune"))
    (tmp_path / "file").touch()
    assert not is_writable(tmp_path / "file")


def test_a_private_folder_is_this_accounts_alone_and_the_same_each_time(tmp_path: Path) -> None:
    folder = private_folder([Path("/proc"), tmp_path])
    assert folder == tmp_path / f"dermtune-{os.geteuid()}" == private_folder([tmp_path])
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_private_folder_that_somebody_else_has_prepared_is_not_taken(tmp_path: Path) -> None:
    open_one, link, good = (tmp_path / name for name in ("open", "link", "good"))
    for root in (open_one, link, good):
        root.mkdir()
    (open_one / f"dermtune-{os.geteuid()}").mkdir(mode=0o777)
    (open_one / f"dermtune-{os.geteuid()}").chmod(0o777)
    (link / f"dermtune-{os.geteuid()}").symlink_to(tmp_path)
    assert private_folder([open_one, link]) is None
    assert private_folder([open_one, link, good]) == good / f"dermtune-{os.geteuid()}"


def test_a_private_folder_whose_path_is_too_long_is_passed_over(tmp_path: Path) -> None:
    assert private_folder([tmp_path], len(str(tmp_path))) is None


def test_a_home_that_cannot_be_written_is_replaced_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("DERMTUNE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cache._default.cache_clear()
    instead = tmp_path / f"dermtune-{os.geteuid()}"
    assert cache_root() == instead == cache_root()
    said = f"decoded images are kept in {instead}: got /proc/.cache/dermtune, which cannot be written"
    assert caplog.messages == [f"{said} (DERMTUNE_CACHE names another folder)"]


def test_no_home_at_all_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert home() is None


def test_nobodys_home_in_a_path_stays_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert absolute("~/runs") == tmp_path / "home" / "runs"
    assert absolute("~no-such-account/runs") == tmp_path / "~no-such-account" / "runs"


def test_a_cache_that_was_named_and_cannot_be_written_is_said_by_its_variable() -> None:
    with pytest.raises(LocationError, match="DERMTUNE_CACHE must name a folder that can be written; got /proc/cache"):
        build_once(Path("/proc/cache/images"), lambda folder: None)
