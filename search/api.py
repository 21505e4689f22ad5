"""Searches from Python: what the command line does, with objects and pandas frames for text."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from search.analysis.confirmation_report import write_confirmation
from search.analysis.leaderboard import open_search
from search.analysis.publication import publish
from search.analysis.settled import settled
from search.analysis.verdict import Verdict
from search.errors import PlanError
from search.execution.options import SearchOptions
from search.execution.planning import prepare_search
from search.execution.processes import imports
from search.execution.ray_session import ray_session
from search.execution.replanning import Extension, prepare_confirmation, prepare_resume, repeated
from search.execution.result import SearchResult
from search.records.folder import storage_folder
from search.records.plan import Plan
from search.records.tracking.address import check_kind, check_store, default_tracking_uri
from spaces.fields import format_value


@dataclass(frozen=True)
class Search(SearchResult):
    """A search that has been begun: what it has found so far, and what can be done with it.

    It is what the search was when it was run or opened; `search.open(name)` looks again.

    Args:    tracking_uri: MLflow's store.
             address: of the Ray cluster that further trials run on, None for this machine.
             the rest: see `SearchResult`.
    """

    tracking_uri: str = ""
    address: str | None = None

    @property
    def name(self) -> str:
        """What `dermtune list` calls it."""
        return self.plan.name

    def resume(
        self,
        *,
        num_trials: int | None = None,
        time_budget_s: float | None = None,
        epoch_budget: int | None = None,
        gpu_hours: float | None = None,
        max_concurrent: int | None = None,
        pictures: bool = True,
    ) -> "Search":
        """Goes on with a search that was interrupted or killed, or extends one, as `dermtune resume` does.

            search.open("first").resume(num_trials=80)

        Args:    num_trials, time_budget_s, epoch_budget, gpu_hours: in all, None for as much as was planned.
                 max_concurrent: trials at once.
                 pictures: as in `search.run`.
        Returns: the search as it is then; as it is now where nothing is left to do.
        Raises:  PlanError: when the search runs elsewhere, or cannot be gone on with.
        """
        asked = {"num_trials": num_trials, "time_budget_s": time_budget_s, "epoch_budget": epoch_budget, "gpu_hours": gpu_hours}
        amounts = {name: (float(amount), False) for name, amount in asked.items() if amount is not None}
        extension = Extension(**amounts, max_concurrent=max_concurrent)
        check_kind(self.tracking_uri)
        storage = self.folder.storage
        if settled(storage, self.name, extension, self.tracking_uri) is not None:
            return self
        plan = prepare_resume(storage, self.name, extension)
        return _trained(plan, storage, self.tracking_uri, self.address, pictures=pictures, resumed=True)

    def confirm(self, *, top: int = 5, num_seeds: int = 3, num_folds: int = 1, max_concurrent: int | None = None) -> Verdict:
        """Trains the best configurations again on fresh seeds, as `dermtune confirm` does: is the best still the best?

            print(search.open("first").confirm(num_seeds=5).sentence)

        Args:    top: configurations.
                 num_seeds: of each; 3 or more for intervals.
                 num_folds: stratified splits; 1 for the data's own.
                 max_concurrent: trials at once, None for as many as in the search.
        Returns: what was found; it lies in the confirmation's folder, too, with a page.
        Raises:  PlanError: when the search has fewer trials, or the confirmation was interrupted.
        """
        check_store(self.tracking_uri)
        storage = self.folder.storage
        plan = prepare_confirmation(storage, self.name, top, num_seeds, num_folds, max_concurrent)
        _trained(plan, storage, self.tracking_uri, self.address, pictures=False)
        verdict, _ = write_confirmation(open_search(storage, plan.name))
        return verdict

    def report(self, page: str | os.PathLike[str] | None = None) -> Path:
        """Writes the search as one self-contained page, as `dermtune report` does.

        Args:    page: where to; None for `report.html` in the search's folder.
        Returns: the page's path.
        Raises:  PlanError: when no trial has reported anything.
        """
        found = open_search(self.folder.storage, self.name)
        if not found.state.ranked():
            raise PlanError(f"a search must have a trial that has reported; got {self.name!r} (dermtune show {self.name})")
        return publish(found, self.tracking_uri, page=None if page is None else Path(page)).page


def opened(name: str, storage: str, tracking_uri: str | None, address: str | None) -> Search:
    """`search.open` with every argument."""
    folder = storage_folder(storage)
    found = open_search(folder, name)
    ended = found.state.ended or "not ended"
    return Search(found.plan, found.folder, found.state, {}, ended, None, None, *_where(folder, tracking_uri, address))


def run(
    asked: Mapping[str, Any],
    plan: str | os.PathLike[str] | None,
    storage: str,
    tracking_uri: str | None,
    address: str | None,
    *,
    pictures: bool,
) -> Search:
    """`search.run` with what was asked for by name."""
    given, folder = as_options(asked), storage_folder(storage)
    uri, address = _where(folder, tracking_uri, address)
    check_store(uri)
    request = SearchOptions(**given) if plan is None else repeated(Path(plan), given)
    prepared = prepare_search(request, storage=folder, address=address).plan
    return _trained(prepared, folder, uri, address, pictures=pictures)


def as_options(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `SearchOptions` by name: texts where the command line has texts."""
    given = dict(asked)
    texts = {name: value if isinstance(value, str) else format_value(value) for name, value in given.get("settings", {}).items()}
    given["settings"] = texts
    if "metric" in given:
        metric = given.pop("metric")
        given["metrics"] = (metric,) if isinstance(metric, str) else tuple(metric)
    return given | {name: str(given[name]) for name in ("gpus_per_trial", "fuse_trials") if name in given}


def _where(storage: Path, tracking_uri: str | None, address: str | None) -> tuple[str, str | None]:
    return tracking_uri or default_tracking_uri(storage), address or os.environ.get("RAY_ADDRESS")


def _trained(
    plan: Plan, storage: Path, tracking_uri: str, address: str | None, *, pictures: bool, resumed: bool = False
) -> Search:
    """Runs or resumes a plan."""
    with ray_session(address, imports(plan.task)):
        # MLflow takes seconds to import, as do the modules that Ray's processes import meanwhile.
        from search.execution.session import resume_search, run_search

        result = (resume_search if resumed else run_search)(plan, storage, tracking_uri=tracking_uri, address=address)
    if pictures and result.best is not None and result.ended != "interrupted":
        publish(open_search(storage, plan.name), tracking_uri)
    own = {field.name: getattr(result, field.name) for field in fields(SearchResult)}
    return Search(**own, tracking_uri=tracking_uri, address=address)
