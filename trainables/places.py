"""Folders of this account, and what takes their place where there is none: a missing home, one that is read-only, no room."""

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from spaces.errors import RequestError


def home() -> Path | None:
    """This account's home, None where it has none: in a container it may be nobody's that is known there."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def absolute(path: str) -> Path:
    """A path from a user, whose `~` or `~name` stays as it stands where there is no such home."""
    try:
        return Path(path).expanduser().resolve()
    except RuntimeError:
        return Path(path).resolve()
    except ValueError as error:
        raise RequestError(f"a path must be one that a file can have; got {path!r} ({error})") from error


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made if it must be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=".seen-", dir=folder)).rmdir()
    except OSError:
        return False
    return True


def temporary_roots() -> list[Path]:
    """Where everybody may write on most machines, what the user has named first."""
    named = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    return [Path(root).absolute() for root in dict.fromkeys((*named, "/tmp", "/var/tmp", "/dev/shm"))]


def private_folder(roots: Sequence[Path], longest: int | None = None) -> Path | None:
    """A folder that is this account's alone, always the same one; None where there can be none.

    Args:    roots: folders in which it may lie, best first; others may write there, too.
             longest: bytes that its path may have, None for any number.
    """
    for root in roots:
        folder = root / f"dermtune-{os.geteuid()}"
        if longest is not None and len(os.fsencode(folder)) > longest:
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
        except OSError:
            continue
        # In a shared folder somebody else may have made it first, or put a link there.
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        if own and is_writable(folder):
            return folder
    return None
