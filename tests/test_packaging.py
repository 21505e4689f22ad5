"""The packages that are imported are this repository's, and the README's promises hold."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["models", "spaces", "trainables", "search"])
def test_a_package_is_imported_from_this_repository(name: str) -> None:
    assert Path(str(importlib.import_module(name).__file__)).parent == REPOSITORY / name


def test_every_package_folder_is_listed_for_installation() -> None:
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    roots = ("models", "spaces", "trainables", "search")
    found = {
        str(file.parent.relative_to(REPOSITORY)).replace("/", ".")
        for root in roots
        for file in (REPOSITORY / root).rglob("__init__.py")
    }
    assert set(listed) == found


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[\[>=<]", line)[0].lower() for line in project["dependencies"] + project["optional-dependencies"]["dev"]}
    pinned = {line.split("==")[0].lower() for line in (REPOSITORY / "constraints.txt").read_text().splitlines()}
    assert needed <= pinned


def test_what_is_installed_is_pinned_with_the_hashes_of_its_files() -> None:
    pins = [line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines()]
    versions = {_plain(name): version for name, version in pins}
    entries = re.split(r"\n(?=\S)", (REPOSITORY / "requirements.lock").read_text().strip())
    locked = {}
    for entry in entries:
        name, version = entry.split()[0].split("==")
        locked[_plain(name)] = version
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name
    # What another platform needs besides is in the lock only; the fuzzer is installed by hand.
    assert {name: version for name, version in locked.items() if versions.get(name, version) != version} == {}, "make constraints"
    assert set(versions) - set(locked) <= {"atheris"}, "make constraints"


def _plain(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
