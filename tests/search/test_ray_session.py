"""Where Ray puts its files on this machine, without starting it."""

import os
from pathlib import Path

import pytest

from search.errors import ClusterUnavailable
from search.execution import ray_session
from search.execution.ray_session import _make_token, _temporary_folder


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root for temporary folders with a short path; no variable names one."""
    for name in ("RAY_TMPDIR", "TMPDIR", "TEMP", "TMP", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    place = Path("short")
    place.mkdir()
    monkeypatch.setattr(ray_session, "temporary_roots", lambda: [place])
    return place


def test_a_folder_that_was_named_and_will_do_is_rays_own_choice(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(short))
    assert _temporary_folder() == {}


@pytest.mark.parametrize(
    ("named", "why"), [("x" * 120, "whose path has more than 38 bytes"), ("/proc/none", "which cannot be written")]
)
def test_a_folder_that_cannot_hold_sockets_is_replaced_and_that_is_said(
    short: Path, named: str, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TMPDIR", named)
    instead = short / f"dermtune-{os.geteuid()}"
    assert _temporary_folder() == {"_temp_dir": str(instead / "ray")}
    assert caplog.messages == [f"Ray's files are in {instead}: got {named}, {why} (RAY_TMPDIR names another folder)"]


def test_where_no_folder_will_do_the_variable_to_set_is_named(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/proc/none")
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setattr(ray_session, "temporary_roots", lambda: [Path("/proc/temporary")])
    with pytest.raises(ClusterUnavailable, match=r"RAY_TMPDIR must name a folder .*; got none of /proc/none, /proc/temporary"):
        _temporary_folder()


@pytest.mark.parametrize(("home", "made"), [("/proc", True), (".", False)])
def test_a_home_that_cannot_hold_a_token_is_not_asked_to(
    short: Path, home: str, made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    _make_token()
    assert ("RAY_AUTH_TOKEN" in os.environ) is made
