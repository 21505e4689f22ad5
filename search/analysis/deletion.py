"""A search and all that was made of it, before it goes and when it goes."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.analysis.leaderboard import open_search
from search.errors import LedgerDamaged, PlanError, SearchNotFound
from search.records.confirmations import confirmations_of
from search.records.folder import SearchFolder
from search.records.mirror import shown
from search.records.tracking.mark import Mark, mark_of
from search.records.tracking.registry import RegisteredVersion
from search.records.tracking.removal import artifacts_folder, delete_experiment, tracked


@dataclass(frozen=True)
class Holdings:
    """What goes when a search is deleted, and what it leaves behind.

    Args:    name: of the search.
             place: of its folder, a path or a URI.
             num_trials: in it.
             num_bytes: in its folder, and in that of its artifacts.
             num_runs: in MLflow, None where the store knows no such experiment of this search.
             is_foreign: whether the store knows an experiment of that name that is not this search's, and stays.
             registered: versions of registered models that were made from it.
             confirmations: names of its confirmations, which stay.
    """

    name: str
    place: str
    num_trials: int
    num_bytes: int
    num_runs: int | None
    is_foreign: bool
    registered: tuple[RegisteredVersion, ...]
    confirmations: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What goes, and which confirmations stay, as JSON values."""
        counts = {name: getattr(self, name) for name in ("num_trials", "num_bytes", "num_runs")}
        registered = [version.to_json() for version in self.registered]
        return {**counts, "registered": registered, "confirmations": list(self.confirmations)}


def holdings(storage: Path, name: str, uri: str) -> Holdings:
    """What there is of a search; of one whose folder somebody has removed, what MLflow still has.

    Args:    storage: folder of all searches.
             name: of the search.
             uri: of the tracking store.
    Raises:  PlanError: when the search runs, or the store cannot be asked.
             SearchNotFound: when there is nothing of it.
    """
    folder = SearchFolder(storage, name)
    folder.check_own()
    try:
        num_trials = _num_trials(folder)
        folder.lock().release()
        found = tracked(uri, name, _mark(folder))
    except SearchNotFound:
        found = tracked(uri, name, _mark(folder))
        if found is None:
            raise
        if not found.is_ours:
            raise SearchNotFound(
                f"NAME must be a search in {shown(folder.storage)} (`dermtune list`); got {name!r}, an experiment in MLflow"
                " that is not marked as made from there, and stays"
            ) from None
        num_trials = 0
    in_store = found if found is not None and found.is_ours else None
    return Holdings(
        name=name,
        place=folder.address("").rstrip("/"),
        num_trials=num_trials,
        num_bytes=_size(folder, with_artifacts=in_store is not None),
        num_runs=None if in_store is None else in_store.num_runs,
        is_foreign=found is not None and not found.is_ours,
        registered=() if in_store is None else in_store.registered,
        confirmations=tuple(plan.name for plan in confirmations_of(storage, name)),
    )


def check_may_go(found: Holdings, *, unregister: bool) -> None:
    """Whether a search may be deleted.

    Args:    found: what there is of it.
             unregister: whether versions of registered models may go as well.
    Raises:  PlanError: when a registered model would be left without its files.
    """
    if found.registered and not unregister:
        raise PlanError(
            f"NAME must be a search from which nothing is registered; got {found.name!r}, from which"
            f" {', '.join(map(str, found.registered))} {'was' if len(found.registered) == 1 else 'were'} made"
            " (--unregister deletes that too)"
        )


def delete(storage: Path, uri: str, what: Holdings) -> None:
    """Deletes a search: versions of registered models first, then its runs, then its folder.

    Args:    storage: folder of all searches.
             uri: of the tracking store.
             what: there is of it; all that is registered goes.
    Raises:  PlanError: when the search runs, or the store does not let it go.
    """
    folder = SearchFolder(storage, what.name)
    with folder.lock() if folder.exists() else nullcontext():
        folder.check_own()
        delete_experiment(uri, what.name, _mark(folder), storage, what.registered)
        if folder.exists():
            folder.delete()


def _mark(folder: SearchFolder) -> Mark:
    """Of the search; without the time that its plan has where that is lost or damaged."""
    try:
        return mark_of(folder.storage, folder.plan().created)
    except (PlanError, SearchNotFound):
        return mark_of(folder.storage, None)


def _num_trials(folder: SearchFolder) -> int:
    """Trials of a search; of one whose records are damaged, those that have a folder."""
    try:
        return len(open_search(folder.storage, folder.name).state.trials)
    except (PlanError, LedgerDamaged):
        return sum(place.is_dir() for place in (folder.path / "trials").glob("*"))


def _size(folder: SearchFolder, *, with_artifacts: bool) -> int:
    """Bytes of a search's files, in the storage and on this machine."""
    places = [folder.path, *([artifacts_folder(folder.storage, folder.name)] if with_artifacts else [])]
    here = sum(file.lstat().st_size for place in places for file in place.rglob("*") if not file.is_dir())
    return here if folder.remote is None else here + sum(file.size for file in folder.remote.files())
