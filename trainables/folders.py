"""Folders that appear complete or not at all, with a hash list by which damage is found. No torch, no pickle."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.errors import CheckpointError, StorageFull

SUMS = "sha256sums"


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes files and their hash list under a new name, on disk before the name appears.

    Args:    folder: must not exist; its parents are made.
             contents: file name → bytes.
    Raises:  StorageFull: when there is no room; nothing is left of it then.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(contents.items()))
    try:
        for name, data in {**contents, SUMS: sums.encode()}.items():
            with (unfinished / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync(unfinished)
        unfinished.rename(folder)
        sync(folder.parent)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not is_full(error):
            raise
        needed = sum(map(len, contents.values()))
        raise StorageFull(f"the disk must have room for {folder} ({needed / 2**20:.1f} MiB); got a full one", needed) from error


def is_full(error: OSError) -> bool:
    """Whether this is what a full disk, or a spent quota, says."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def remove_folder(folder: Path) -> None:
    """Removes a folder; half of it is never found under its name."""
    leaving = folder.with_name(f".{folder.name}.unfinished")
    try:
        folder.rename(leaving)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(leaving, ignore_errors=True)  # half of an earlier one that a killed process has left
        folder.rename(leaving)
    shutil.rmtree(leaving, ignore_errors=True)


def write_file(file: Path, data: bytes) -> None:
    """Writes a file whole or not at all; it is on disk, under its name, when this returns.

    Args:    file: replaced if it is there; its folder must be.
             data: its bytes.
    """
    unfinished = file.with_suffix(".unfinished")
    with unfinished.open("wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
    unfinished.rename(file)
    sync(file.parent)


def sync(folder: Path) -> None:
    """Makes sure that the names in a folder are on disk: a power loss takes back what was not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_verified(folder: Path, name: str) -> bytes:
    """A file's bytes after its hash was checked.

    Raises:  CheckpointError: when the file is missing or does not match its hash.
             OSError: when it could not be read this time, which says nothing of the file.
    """
    try:
        lines = (folder / SUMS).read_text().split("\n")
        data = (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError) as error:
        raise CheckpointError(f"a checkpoint must be a folder with {name} and {SUMS}; got {folder}{_within(folder)}") from error
    if f"{hashlib.sha256(data).hexdigest()}  {name}" not in lines:
        raise CheckpointError(f"{folder / name} must match its hash in {SUMS}; got other contents (damaged or edited)")
    return data


def _within(folder: Path) -> str:
    """A hint at checkpoints that lie right below."""
    found = sorted(path.name for path in folder.iterdir() if (path / SUMS).is_file()) if folder.is_dir() else []
    return f" (did you mean {folder / found[0]}?)" if found else ""


def verify(folder: Path) -> None:
    """Checks the hash of every file.

    Raises:  CheckpointError: when a file is missing or does not match its hash, or there is no hash list.
    """
    read_verified(folder, "config.json")
    for line in (folder / SUMS).read_text().splitlines():
        read_verified(folder, line.partition("  ")[2])


def read_json(folder: Path, name: str, needed: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON object after its file's hash was checked.

    Args:    folder, name: which file.
             needed: keys that it must have.
    Raises:  CheckpointError: when the file is missing, does not match its hash, holds no JSON object or lacks a key.
    """
    try:
        document = json.loads(read_verified(folder, name))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / name} must hold JSON; got {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{folder / name} must hold a JSON object; got {type(document).__name__}")
    absent = [key for key in needed if key not in document]
    if absent:
        raise CheckpointError(f"a checkpoint's {name} must have {absent[0]!r}; got none in {folder}")
    return document


def encode_json(document: Mapping[str, Any]) -> bytes:
    """A JSON object as a file's bytes."""
    return (json.dumps(document, indent=1) + "\n").encode()


def task_of(folder: Path, known: Container[str]) -> str:
    """The task of a checkpoint.

    Raises:  CheckpointError: when the folder is damaged or its task is not among the known.
    """
    task = read_json(folder, "config.json").get("task")
    if not isinstance(task, str) or task not in known:
        raise CheckpointError(f"a checkpoint's task must be one that this version knows; got {task!r} in {folder}")
    return task


def digest(folder: Path) -> str:
    """SHA-256 of the folder's hash list: one number for the whole checkpoint.

    Raises:  CheckpointError: when the folder holds no hash list.
    """
    try:
        return hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"a checkpoint must be a folder with {SUMS}; got {folder}") from error
