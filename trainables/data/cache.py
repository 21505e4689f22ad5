"""Things made once per node and used by every trial on it: built under a lock, renamed into place."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def cache_root() -> Path:
    """Where this node keeps what it can make again: $DERMTUNE_CACHE, else dermtune/ in the user's cache folder."""
    given = os.environ.get("DERMTUNE_CACHE")
    if given:
        return Path(given).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve() / "dermtune"


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Gives a folder that `build` has filled, exactly once however many processes ask.

    A build that fails or is killed leaves nothing under the final name; the next one starts afresh.

    Args:    folder: the final place.
             build: fills the empty folder that it is given.
    Returns: the folder.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
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
