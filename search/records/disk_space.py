"""A disk that is full: a search waits until there is room instead of failing."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from trainables.folders import is_full

_LOOK_EVERY_S = 2.0
#: With less than this a disk counts as full: the next checkpoint would fill it.
_LEAST_BYTES = 32 * 2**20
_log = logging.getLogger("dermtune")


def append(file: FileIO, data: bytes, *, sync: bool) -> None:
    """Appends to a file; all of it or, while the disk is full, nothing yet.

    Args:    file: opened for appending, without a buffer.
             data: to be appended.
             sync: whether it must be on the disk when this returns.
    """

    def write() -> None:
        start, left = os.fstat(file.fileno()).st_size, memoryview(data)
        try:
            while left:
                left = left[file.write(left) or 0 :]
            if sync:
                os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), start)
            raise

    once_there_is_room(write, Path(str(file.name)).parent)


def once_there_is_room(write: Callable[[], None], place: Path) -> None:
    """Writes, again and again while the disk is full.

    Args:    write: leaves nothing behind, under the name that it writes, when it fails.
             place: on the disk, for the message.
    Raises:  OSError: of any other kind.
    """
    told = False
    while True:
        try:
            write()
        except OSError as error:
            if not is_full(error):
                raise
            if not told:
                _say_full(place)
            told = True
            time.sleep(_LOOK_EVERY_S)
        else:
            if told:
                _say_room(place)
            return


def wait_for_disk_space(place: Path, needed_bytes: int = 0, give_up: Callable[[], bool] = lambda: False) -> None:
    """Returns as soon as a disk is not full any more.

    Args:    place: on the disk.
             needed_bytes: of what is to be written.
             give_up: whether to return although it is full.
    """
    told = False
    while shutil.disk_usage(place).free < max(_LEAST_BYTES, 2 * needed_bytes) and not give_up():
        if not told:
            _say_full(place)
        told = True
        time.sleep(_LOOK_EVERY_S)
    if told:
        _say_room(place)


def _say_full(place: Path) -> None:
    _log.warning("the disk of %s is full: the search waits until there is room", place)


def _say_room(place: Path) -> None:
    _log.warning("there is room again in %s: the search goes on", place)
