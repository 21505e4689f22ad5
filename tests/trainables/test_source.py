"""Data by path, by URI and drawn by each node."""

import shlex
import shutil
from pathlib import Path

import pytest

from trainables.data import check_same, fold_of, portable_source, split_source
from trainables.data.roles import ColumnRoles, as_option, from_option, roles_of, with_roles, without_roles
from trainables.data.source import is_synthetic, synthetic_location
from trainables.errors import DataError, LocationError
from trainables.locations import RemoteFolder, fetch, is_uri


@pytest.fixture
def node_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node that has fetched nothing yet."""
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "cache of the node"))
    return tmp_path / "cache of the node"


def table_folder(place: Path) -> Path:
    """A table beside an image, and a file in a folder."""
    (place / "images").mkdir(parents=True)
    (place / "lesions.csv").write_text("image,split\nimages/a.png,train\n")
    (place / "images" / "a.png").write_bytes(b"not opened here")
    return place


def test_a_synthetic_set_is_drawn_once_on_each_node_and_told_once(node_cache: Path) -> None:
    source, said = f"derm7pt:{synthetic_location(30, 32)}", list[str]()
    assert is_synthetic(source)
    assert not is_synthetic("derm7pt:/somewhere")
    _, first = split_source(source, say=said.append)
    written = {path: path.stat().st_mtime_ns for path in node_cache.rglob("*.csv")}
    assert split_source(source, say=said.append) == ("derm7pt", first)
    assert {path: path.stat().st_mtime_ns for path in node_cache.rglob("*.csv")} == written
    assert len(written) == 4
    assert said == [f"drawing 30 synthetic cases of 32 px (once; kept in {first})"]
    assert split_source(f"derm7pt:{synthetic_location(30, 32, seed=1)}")[1] != first


@pytest.mark.parametrize(
    "source", ["table:synthetic://30x32-seed0-v6", "derm7pt:synthetic://30x32-seed0-v4", "derm7pt:synthetic://x"]
)
def test_a_set_that_cannot_be_drawn_is_refused(source: str) -> None:
    with pytest.raises(DataError, match=r"^--data must name a synthetic set as this version draws it .*; got "):
        split_source(source)


def test_a_uri_is_fetched_once_and_again_when_it_changes(
    node_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainables.data import source as module

    there, said = table_folder(tmp_path / "in the storage"), list[str]()
    source = f"table:file://{there}/lesions.csv"
    _, path = split_source(source, say=said.append)
    assert path.read_text() == (there / "lesions.csv").read_text()
    assert (path.parent / "images" / "a.png").read_bytes() == b"not opened here"
    assert path.is_relative_to(node_cache)
    assert split_source(source, say=said.append)[1] == path
    assert len(said) == 1
    assert said[0].startswith(f"fetching 2 files, 0 MiB, from file://{there} ")
    (there / "lesions.csv").write_text("image,split\nimages/a.png,valid\n")
    module._remote.cache_clear()  # as a new process
    assert split_source(source)[1].read_text().endswith("valid\n")


def test_nothing_behind_a_uri_is_one_line(node_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(LocationError, match=r"^file://.*/nothing must hold files; got none "):
        split_source(f"derm7pt:file://{tmp_path}/nothing")
    with pytest.raises(LocationError, match=r"^foo://bar must be a folder that this machine can use; got Unrecognized "):
        split_source("derm7pt:foo://bar")
    assert not list(node_cache.rglob("*.unfinished"))


def test_a_source_means_the_same_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert portable_source("derm7pt:set#fold=1/5") == f"derm7pt:{tmp_path}/set"
    assert portable_source("derm7pt:s3://bucket/set") == "derm7pt:s3://bucket/set"
    assert is_uri("s3://bucket/set")
    assert not is_uri("/s3/bucket:9//x")


@pytest.mark.parametrize(
    ("source", "plain", "roles", "fold"),
    [
        ("table:/a b/c.csv", "table:/a b/c.csv", {}, None),
        ("table:/c.csv#fold=2/5", "table:/c.csv", {}, (2, 5)),
        ("table:/c.csv#group=lesion id", "table:/c.csv", {"group": ("lesion id",)}, None),
        ("table:/c.csv#group=no.%20%231#fold=1/3", "table:/c.csv", {"group": ("no. #1",)}, (1, 3)),
        ("table:/x#group=y/c.csv", "table:/x#group=y/c.csv", {}, None),
        ("table:/x#fold=1/c.csv#group=p", "table:/x#fold=1/c.csv", {"group": ("p",)}, None),
        ("table:/c.csv#ignore=a,b%2Cc#image=x", "table:/c.csv", {"ignore": ("a", "b,c"), "image": ("x",)}, None),
        ("table:/c.csv#columns=dx#fold=1/3", "table:/c.csv", {"columns": ("dx",)}, (1, 3)),
    ],
)
def test_roles_and_fold_stand_behind_a_source(
    source: str, plain: str, roles: dict[str, tuple[str, ...]], fold: tuple[int, int] | None
) -> None:
    assert (without_roles(source), roles_of(source).given(), fold_of(source)) == (plain, roles, fold)


@pytest.mark.parametrize("column", ["patient_id", "Patient #", "a/b", "100 %", "größe", "#fold=1/5", " ", "a,b"])
def test_any_column_can_have_any_role_and_travels(column: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    roles = ColumnRoles(column, column, (column, "other"), (column,), column)
    source = with_roles("derm7pt:set#fold=1/5", roles)
    assert (roles_of(source), fold_of(source)) == (roles, (1, 5))
    travelling = portable_source(source)
    assert (roles_of(travelling), fold_of(travelling)) == (roles, None)
    assert without_roles(travelling) == f"derm7pt:{tmp_path}/set"
    assert portable_source(travelling) == travelling
    assert with_roles(with_roles(source, ColumnRoles("other")), ColumnRoles(column)) == source
    assert with_roles(source, ColumnRoles()) == source


@pytest.mark.parametrize("columns", [("a", "b"), ("a, b", "c"), ('say "x"', "it's")])
def test_columns_of_an_option_are_read_as_they_are_written(columns: tuple[str, ...]) -> None:
    assert from_option(shlex.split(as_option(*columns))[0]) == columns
    assert ColumnRoles(ignore=columns).options() == f"--ignore {as_option(*columns)}"
    assert ColumnRoles(split=columns[0]).options() == f"--split-column {as_option(columns[0])}", "--split chooses one of them"


def test_other_data_than_the_drivers_is_refused() -> None:
    check_same("derm7pt:/set", "abc", "abc")
    check_same("derm7pt:/set", "abc", "")
    with pytest.raises(DataError, match=r"^derm7pt:/set must hold on .* what the driver has \(fingerprint abd\); got abc: "):
        check_same("derm7pt:/set", "abc", "abd")


def test_a_folder_goes_there_and_comes_back(tmp_path: Path) -> None:
    folder, remote = table_folder(tmp_path / "here"), RemoteFolder(f"file://{tmp_path}/there")
    (remote / "set").upload(folder)
    assert [file.path for file in remote.files()] == ["set/images/a.png", "set/lesions.csv"]
    assert remote.folders() == ["set"]
    came = fetch(remote / "set", tmp_path / "back")
    assert sorted(path.name for path in came.rglob("*")) == ["a.png", "images", "lesions.csv"]
    remote.write("plan.json", b"{}")
    assert remote.read("plan.json") == b"{}"
    assert remote.read("nothing") is None
    (remote / "set").delete()
    (remote / "set").delete()
    assert [file.path for file in remote.files()] == ["plan.json"]


def test_a_download_that_comes_short_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = RemoteFolder(f"file://{table_folder(tmp_path / 'there')}")
    whole = RemoteFolder.download

    def broken(self: RemoteFolder, folder: Path) -> None:
        whole(self, folder)
        shutil.rmtree(folder / "images")
        raise OSError("connection lost")

    monkeypatch.setattr(RemoteFolder, "download", broken)
    with pytest.raises(OSError, match=r"^connection lost$"):
        fetch(remote, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert not (tmp_path / "back.unfinished").exists()
