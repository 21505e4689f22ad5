"""Folders by path or by URI (`s3://`, `gs://`, `hdfs://`, `file://`), through pyarrow."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from trainables.errors import LocationError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://")


def is_uri(text: str) -> bool:
    """Whether it names a place by a scheme, and not a path."""
    return _SCHEME.match(text) is not None


@dataclass(frozen=True)
class RemoteFile:
    """A file below a URI.

    Args:    path: relative to the folder that was listed.
             size: bytes.
             changed: when and as what it was last written, as the storage tells; "" where it does not.
    """

    path: str
    size: int
    changed: str


class RemoteFolder:
    """A folder by its URI.

    Args:    uri: of the folder, which need not exist; behind a `?` may stand what pyarrow takes there (endpoint_override=…).
    Raises:  LocationError: when pyarrow knows no such storage, or the URI is malformed.
    """

    def __init__(self, uri: str) -> None:
        from pyarrow import fs  # slow to import, and no local search needs it

        place, mark, self._query = uri.partition("?")
        self.uri = place.rstrip("/")
        self._query = mark + self._query
        with _told(self.uri):
            self._files, self._root = fs.FileSystem.from_uri(quote(self.uri, safe=":/%@") + self._query)
        self._directory, self._selector = fs.FileType.Directory, fs.FileSelector
        self._missing, self._copy, self._local = fs.FileType.NotFound, fs.copy_files, fs.LocalFileSystem()

    def __reduce__(self) -> tuple[type["RemoteFolder"], tuple[str]]:
        return RemoteFolder, (str(self),)

    def __str__(self) -> str:
        return self.uri + self._query

    def __truediv__(self, name: str) -> "RemoteFolder":
        return RemoteFolder(f"{self.uri}/{name}{self._query}")

    def is_file(self) -> bool:
        """Whether the URI is a file's after all."""
        with _told(self.uri):
            return bool(self._files.get_file_info(self._root).is_file)

    def files(self) -> list[RemoteFile]:
        """Every file below, sorted by path; none where the folder does not exist."""
        with _told(self.uri):
            found = self._files.get_file_info(self._selector(self._root, recursive=True, allow_not_found=True))
        root = PurePosixPath(self._root)
        listed = [
            RemoteFile(str(PurePosixPath(info.path).relative_to(root)), info.size or 0, str(info.mtime_ns or ""))
            for info in found
            if info.type != self._directory
        ]
        return sorted(listed, key=lambda file: file.path)

    def folders(self) -> list[str]:
        """Names of the folders right below, sorted."""
        with _told(self.uri):
            found = self._files.get_file_info(self._selector(self._root, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == self._directory)

    def read(self, name: str) -> bytes | None:
        """A file's bytes, None where it does not exist."""
        path = f"{self._root}/{name}"
        with _told(f"{self.uri}/{name}"):
            if self._files.get_file_info(path).type == self._missing:
                return None
            with self._files.open_input_stream(path) as stream:
                return bytes(stream.read())

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, whole or not at all where the storage can."""
        path = f"{self._root}/{name}"
        with _told(f"{self.uri}/{name}"):
            self._files.create_dir(str(PurePosixPath(path).parent), recursive=True)
            with self._files.open_output_stream(path) as stream:
                stream.write(data)

    def upload(self, folder: Path) -> None:
        """Copies a local folder's files here."""
        with _told(self.uri):
            self._files.create_dir(self._root, recursive=True)
            self._copy(str(folder), self._root, source_filesystem=self._local, destination_filesystem=self._files)

    def download(self, folder: Path) -> None:
        """Copies every file into a local folder.

        Raises:  LocationError: when there is no file, or one came short.
        """
        expected = self.files()
        if not expected:
            raise LocationError(f"{self.uri} must hold files; got none (is the name right, and may this machine read it?)")
        with _told(self.uri):
            folder.mkdir(parents=True, exist_ok=True)
            self._copy(self._root, str(folder), source_filesystem=self._files, destination_filesystem=self._local)
        short = [file.path for file in expected if not (folder / file.path).is_file()]
        short += [file.path for file in expected if not short and (folder / file.path).stat().st_size != file.size]
        if short:
            raise LocationError(f"{self.uri}/{short[0]} must arrive whole; got less (try again)")

    def delete(self) -> None:
        """Removes the folder and all below; nothing where it does not exist."""
        with _told(self.uri):
            if self._files.get_file_info(self._root).type == self._directory:
                self._files.delete_dir(self._root)


def fetch(remote: RemoteFolder, place: Path) -> Path:
    """Downloads a folder, whole or not at all; one that is there is taken as it is.

    Args:    remote: from where.
             place: where it shall lie.
    """
    if not place.is_dir():
        unfinished = place.with_name(f"{place.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            remote.download(unfinished)
            unfinished.rename(place)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return place


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """pyarrow's errors as one line that says where."""
    try:
        yield
    except (OSError, ValueError, NotImplementedError) as error:
        raise LocationError(f"{uri} must be a folder that this machine can use; got {' '.join(str(error).split())}") from error
