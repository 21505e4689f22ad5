"""Finding the images that a table names, as people name them: without suffix, with backslashes, by another machine's paths."""

import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from trainables.data.repeated import Problems

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jp2", ".ppm")
#: How far below the data set's folder an image is looked for by its name.
DEPTH = 3
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")


class ImageFinder:
    """Finds one image after the other; then `problems` and `notes` say how it went.

    Args:    folder: of the data set, in which images must lie: other nodes have that folder and no other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._problems = Problems()
        self._completed: list[tuple[str, str]] = []

    def find(self, name: str, place: str) -> Path:
        """An image's path, whether it is there or not.

        Args:    name: as written in the table, relative to the folder or absolute.
                 place: where it is written, for the message.
        """
        image = self._folder / name
        inside = self._inside(image)
        if name and inside and is_file(image):
            return image
        short = f"{name} ({place})"
        found = list(dict.fromkeys(self._elsewhere(name))) if name else []
        if len(found) == 1:
            self._completed.append((name, found[0].relative_to(self._folder).as_posix()))
            return found[0]
        if len(found) > 1:
            here = " and ".join(path.relative_to(self._folder).as_posix() for path in found[:2])
            many = "{} names of images must each name one file; got several for"
            self._problems.add(f"{place}: image {name!r} must name one file; got {here}", many, short)
        elif not name:
            self._problems.add(f"{place}: image must name a file; got an empty cell", "{} cells of image are empty", place)
        elif inside:
            many = f"{{}} images do not exist in {self._folder}"
            self._problems.add(f"{place}: image {image} does not exist", many, short)
        else:
            many = f"{{}} images must lie in {self._folder} ({_MOVE}); got"
            self._problems.add(f"{place}: image must lie in {self._folder}; got {name!r} ({_MOVE})", many, short)
        return image

    def problems(self) -> list[str]:
        """What could not be found, a line for each kind or each of a few."""
        return self._problems.lines()

    def notes(self) -> list[str]:
        """How names were read that are no paths as they stand."""
        if not self._completed:
            return []
        name, path = self._completed[0]
        return [
            f"image names that are no paths as they stand are looked up in {self._folder} ({len(self._completed)}:"
            f" {name} is read as {path})"
        ]

    def _inside(self, image: Path) -> bool:
        # By its name and not by where links lead: those in the folder are its owner's.
        return Path(os.path.abspath(image)).is_relative_to(os.path.abspath(self._folder))  # noqa: PTH100

    def _elsewhere(self, name: str) -> Iterator[Path]:
        """What a name may mean that is no path: by the longest end that some file has."""
        path = PurePosixPath(name.replace("\\", "/"))
        if ".." in path.parts:
            return
        parts = path.parts[1:] if _ABSOLUTE.match(str(path)) else path.parts
        for start in range(len(parts)) if len(parts) < len(path.parts) else (0,):
            end = PurePosixPath(*parts[start:])
            if self._inside(self._folder / end) and is_file(self._folder / end):
                yield self._folder / end
                return
        if not parts:
            return
        candidates = [file for key in _keys(parts[-1]) for file in self._by_name.get(key, ())]
        beside = [file for file in candidates if file.parent == self._folder.joinpath(*parts[:-1])]
        yield from beside or [file for file in candidates if self._fits(file, parts[:-1], len(parts) < len(path.parts))]

    def _fits(self, file: Path, folders: tuple[str, ...], absolute: bool) -> bool:
        """Whether a file's folders are those of a name: a folder may be a class, so that another one is another image."""
        own = file.relative_to(self._folder).parts[:-1]
        if not absolute or not own:
            return own[len(own) - len(folders) :] == folders if len(own) >= len(folders) else absolute
        return own[-1:] == folders[-1:]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        """Images below the folder, by their name with its suffix in lower case and by that without it."""
        found: dict[str, list[Path]] = {}
        for place, folders, files in os.walk(self._folder, followlinks=True):
            folders[:] = sorted(folders) if len(Path(place).relative_to(self._folder).parts) < DEPTH else []
            for file in sorted(files):
                stem, suffix = os.path.splitext(file)  # noqa: PTH122 - of a name, not of a path
                if suffix.lower() in SUFFIXES:
                    for key in (stem + suffix.lower(), stem):
                        found.setdefault(key, []).append(Path(place) / file)
        return found


def resolved(image: Path) -> Path:
    """Where an image really is, through links; a name that no file has stays as it is."""
    return image.resolve() if is_file(image) else image


_MOVE = "move the table above its images or link them into its folder"


def _keys(name: str) -> tuple[str, ...]:
    """How `_by_name` may know a file."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    return (stem + suffix.lower(),) if suffix.lower() in SUFFIXES else (name,)


def is_file(image: Path) -> bool:
    """Whether an image is there, whatever its name."""
    try:
        return image.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
