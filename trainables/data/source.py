"""Where a data set lies: on a path, behind a URI that each node fetches once, or nowhere: each node draws it itself."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trainables.data.cache import build_once, cache_root
from trainables.errors import DataError
from trainables.locations import RemoteFolder, is_uri
from trainables.places import absolute

#: Raised when a synthetic set is drawn differently, so that an old one in the cache is not taken for it.
_SYNTHETIC_VERSION = 6
_SYNTHETIC = "synthetic://"
_DRAWN = re.compile(r"synthetic://(?P<cases>\d+)x(?P<size>\d+)-seed(?P<seed>\d+)-v(?P<version>\d+)")

#: (folder, cases, size in px, seed) → writes a synthetic set.
Synthesise = Callable[[Path, int, int, int], None]


def synthetic_location(num_cases: int, size_px: int, seed: int = 0) -> str:
    """The URI of a synthetic set: the same cases on every node, drawn once on each and kept in its cache."""
    return f"{_SYNTHETIC}{num_cases}x{size_px}-seed{seed}-v{_SYNTHETIC_VERSION}"


def is_synthetic(source: str | None) -> bool:
    """Whether `FORMAT:LOCATION` is a set that nodes draw themselves."""
    return source is not None and source.partition(":")[2].startswith(_SYNTHETIC)


def portable(location: str) -> str:
    """A location that means the same in another folder: an absolute path, or the URI itself."""
    return location if is_uri(location) else str(absolute(location))


def local_path(format_name: str, location: str, synthesise: Synthesise | None, say: Callable[[str], None] | None = None) -> Path:
    """Where the data lies on this node, fetched or drawn first if it must be.

    Args:    format_name: a key of `DATASETS`.
             location: a path or URI.
             synthesise: draws a set of that format, None where it cannot be drawn.
             say: called with a line when something takes a while.
    Raises:  DataError: when a synthetic set cannot be drawn.
             LocationError: when the storage cannot be read.
    """
    if location.startswith(_SYNTHETIC):
        return _drawn(format_name, location, synthesise, say)
    if is_uri(location):
        return _fetched(location, say)
    return absolute(location)


def _drawn(format_name: str, location: str, synthesise: Synthesise | None, say: Callable[[str], None] | None) -> Path:
    match = _DRAWN.fullmatch(location)
    if match is None or synthesise is None or int(match["version"]) != _SYNTHETIC_VERSION:
        raise DataError(
            f"--data must name a synthetic set as this version draws it (FORMAT:{synthetic_location(256, 96)}, of a format that"
            f" can be drawn); got {format_name}:{location}"
        )
    num_cases, size_px, seed = (int(match[name]) for name in ("cases", "size", "seed"))
    folder = cache_root() / "synthetic" / f"{format_name}-{location.removeprefix(_SYNTHETIC)}"
    if say is not None and not folder.is_dir():
        say(f"drawing {num_cases} synthetic cases of {size_px} px (once; kept in {folder})")
    return build_once(folder, lambda place: synthesise(place, num_cases, size_px, seed))


@dataclass(frozen=True)
class _Remote:
    """What is behind a URI now.

    Args:    uri: of the folder to fetch.
             name: of the file in it that was asked for, "" for the folder itself.
             digest: of its list of files.
             num_files, size: of all that will be fetched; bytes.
    """

    uri: str
    name: str
    digest: str
    num_files: int
    size: int


@cache
def _remote(location: str) -> _Remote:
    """Looks what is there, once in each process. A table is fetched with all that lies beside it, since it names images."""
    uri, name = location, ""
    if RemoteFolder(location).is_file():
        place, mark, query = location.partition("?")
        place, _, name = place.rstrip("/").rpartition("/")
        uri = place + mark + query
    files = RemoteFolder(uri).files()
    digest = hashlib.sha256("\n".join([uri, *(f"{f.path} {f.size} {f.changed}" for f in files)]).encode()).hexdigest()[:16]
    return _Remote(uri, name, digest, len(files), sum(file.size for file in files))


def _fetched(location: str, say: Callable[[str], None] | None) -> Path:
    found = _remote(location)
    folder = cache_root() / "fetched" / found.digest
    if say is not None and not folder.is_dir():
        say(f"fetching {found.num_files} files, {found.size / 2**20:.0f} MiB, from {found.uri} (once; kept in {folder})")
    return build_once(folder, RemoteFolder(found.uri).download) / found.name


def is_utf8(name: str) -> bool:
    """Whether a file's name can be written down; Python keeps other bytes as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
