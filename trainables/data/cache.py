"""Things made once per node and used by every trial on it: built under a lock, renamed into place."""

import logging
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

from filelock import FileLock

from trainables.errors import LocationError
from trainables.places import home, is_writable, private_folder, temporary_roots

_log = logging.getLogger("dermtune")


def cache_root() -> Path:
    """Where this node keeps what it can make again: $DERMTUNE_CACHE, else dermtune/ in the user's cache folder.

    Where that cannot be written a folder of this account in a temporary one takes its place.

    Raises:  LocationError: when there is none at all.
    """
    given = os.environ.get("DERMTUNE_CACHE")
    if given:
        return Path(given).resolve()
    own = home()
    cache = os.environ.get("XDG_CACHE_HOME") or (None if own is None else own / ".cache")
    return _default(None if cache is None else Path(cache).resolve() / "dermtune")


@cache
def _default(folder: Path | None) -> Path:
    if folder is not None and is_writable(folder):
        return folder
    why = "no home" if folder is None else f"{folder}, which cannot be written"
    instead = private_folder(temporary_roots())
    if instead is None:
        raise LocationError(f"DERMTUNE_CACHE must name a folder for decoded images that can be written; got {why}")
    _log.warning("decoded images are kept in %s: got %s (DERMTUNE_CACHE names another folder)", instead, why)
    return instead


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Gives a folder that `build` has filled, exactly once however many processes ask.

    A build that fails or is killed leaves nothing under the final name; the next one starts afresh.

    Args:    folder: the final place.
             build: fills the empty folder that it is given.
    Returns: the folder.
    Raises:  LocationError: when it cannot be made.
    """
    if folder.is_dir():
        return folder
    if not is_writable(folder.parent):
        raise LocationError(f"DERMTUNE_CACHE must name a folder that can be written; got {folder.parent}")
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            build(unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder
