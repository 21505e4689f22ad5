"""Whose an experiment is: a store may be shared, and a name says nothing of who has made what bears it."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search.errors import PlanError
from search.records.database import masked, sqlite_file
from search.records.mirror import origin, shown

_STORAGE_TAG, _HOST_TAG, _CREATED_TAG = "dermtune.storage", "dermtune.host", "dermtune.created"


@dataclass(frozen=True)
class Mark:
    """What an experiment bears of the search that made it.

    Args:    storage: the path, or the URI, of the folder of all searches.
             host: whose path that is, empty for a URI, which names one storage everywhere.
             created: when the search was, None where its plan is lost.
    """

    storage: str
    host: str
    created: str | None

    def tags(self) -> dict[str, str]:
        """The mark as an experiment's tags."""
        return {_STORAGE_TAG: self.storage, _HOST_TAG: self.host, _CREATED_TAG: self.created or ""}

    def fits(self, tags: Mapping[str, str]) -> bool:
        """Whether an experiment with these tags is the search's: by the time it was created, without its plan by the host."""
        if tags.get(_STORAGE_TAG) != self.storage:
            return False
        return tags.get(_HOST_TAG) == self.host if self.created is None else tags.get(_CREATED_TAG) == self.created

    def check(self, name: str, uri: str, tags: Mapping[str, str]) -> None:
        """Makes sure that the experiment of the search's name is the search's, before anything is written to it.

        A storage that was moved or copied has its own store with it, whose experiments name the place of before.

        Args:    name: of both.
                 uri: of the store.
                 tags: of the experiment.
        Raises:  PlanError: when it is another's.
        """
        is_same = self.created is not None and tags.get(_CREATED_TAG) == self.created
        if self.fits(tags) or (is_same and self._holds(uri)):
            return
        hint = f"; if this storage was there, set that experiment's tag {_STORAGE_TAG} to {self.storage}"
        raise PlanError(
            f"--tracking-uri must be a store whose experiment {name!r} is of this search; got {masked(uri)}, where it is"
            f" {_whose(tags)}, and stays as it is (name another store; `dermtune doctor {name} --repair` writes all of the search"
            f" there{hint if is_same else ''})"
        )

    def _holds(self, uri: str) -> bool:
        """Whether a store is a file in the storage."""
        file = sqlite_file(uri)
        return file is not None and file.resolve().is_relative_to(self.storage)


def mark_of(storage: Path, created: str | None) -> Mark:
    """The mark of a search.

    Args:    storage: folder of all searches.
             created: see `Mark`.
    """
    folder = storage.resolve()
    return Mark(shown(folder), platform.node() if origin(folder) is None else "", created)


def _whose(tags: Mapping[str, str]) -> str:
    if _STORAGE_TAG not in tags:
        return "of another program, or of a version of dermtune that did not mark its own"
    host, created = tags.get(_HOST_TAG), tags.get(_CREATED_TAG)
    return f"of a search in {tags[_STORAGE_TAG]}{f' on {host}' if host else ''}{f' of {created}' if created else ''}"
