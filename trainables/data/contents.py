"""Digests of image files, computed once per node: which pictures are the same whatever they are called."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainables.data.cache import build_once, cache_root
from trainables.errors import DataError

_FILE = "contents.json"


def content_digest(image: Path) -> str:
    """SHA-256 of a file.

    Raises:  DataError: when it cannot be read.
    """
    try:
        return hashlib.sha256(image.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{image} must be a file that can be read; got {error}") from error


def contents_of(images: Sequence[Path]) -> tuple[str, ...]:
    """Digest of each file; read again only where a file's size or time of change is another one.

    Raises:  DataError: when one cannot be read.
    """

    def build(place: Path) -> None:
        with ThreadPoolExecutor() as pool:
            _write(place, list(pool.map(content_digest, images)))

    return tuple(json.loads((build_once(_folder(images), build) / _FILE).read_text()))


def keep_contents(images: Sequence[Path], contents: Sequence[str]) -> None:
    """Keeps digests that somebody has computed already, for `contents_of`."""
    build_once(_folder(images), lambda place: _write(place, contents))


def state_of(images: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Path, size and time of change of each file, by which a cache knows that they are the same still.

    Raises:  DataError: when one is not there.
    """
    try:
        return [(str(path), found.st_size, found.st_mtime_ns) for path in images for found in [path.stat()]]
    except OSError as error:
        raise DataError(f"images must stay where they are while they are read; got {error}") from error


def _write(place: Path, contents: Sequence[str]) -> None:
    (place / _FILE).write_text(json.dumps(list(contents)))


def _folder(images: Sequence[Path]) -> Path:
    return cache_root() / "contents" / hashlib.sha256(json.dumps(state_of(images)).encode()).hexdigest()[:24]
