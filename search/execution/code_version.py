"""Whether every process of a search runs the same dermtune."""

import hashlib
from functools import cache
from pathlib import Path

import models
import spaces
import trainables
from search import errors
from search.errors import ClusterUnavailable


@cache
def code_version() -> str:
    """Digest of dermtune's own source files as this process imported them, 16 hexadecimal digits."""
    total = hashlib.sha256()
    # `search` by one of its modules: the package itself stands above this room.
    for file_of_package in (models.__file__, errors.__file__, spaces.__file__, trainables.__file__):
        root = package_root(file_of_package)
        for file in sorted(root.rglob("*.py")):
            total.update(str(file.relative_to(root.parent)).encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:16]


def package_root(file: str | None) -> Path:
    """The folder of a package.

    Raises:  ClusterUnavailable: when it is no regular package, so not ours.
    """
    if file is None:
        raise ClusterUnavailable("dermtune's packages must be imported from its installation; got a folder without __init__.py")
    return Path(file).resolve().parent


def check_code_version(expected: str) -> None:
    """Refuses to train with other sources than the driver's, for instance a `models/` of the user's own.

    Raises:  ClusterUnavailable: when they differ.
    """
    if code_version() != expected:
        raise ClusterUnavailable(
            f"a worker must run the driver's dermtune ({expected}); got {code_version()} from {package_root(models.__file__)}"
        )
