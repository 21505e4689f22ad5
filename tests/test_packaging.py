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
