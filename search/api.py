"""Searches from Python: what the command line does, with objects and pandas frames for text."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from search.analysis.closing import close_confirmation, close_reproduction
from search.analysis.leaderboard import RecordedSearch, open_search
from search.analysis.publication import Publication, publish
from search.analysis.settled import settled
from search.analysis.verdict import Verdict, read_verdict
from search.errors import PlanError
from search.execution.planning import prepare_search
from search.execution.processes import imports
from search.execution.ray_session import ray_session
from search.execution.replanning import Extension, prepare_confirmation, prepare_resume, specified
from search.execution.result import SearchResult
from search.records.folder import storage_folder
from search.records.plan import Plan
from search.records.tracking.address import check_kind, check_store, default_tracking_uri
from trainables.errors import LocationError

_log = logging.getLogger("dermtune")


@dataclass(frozen=True, eq=False, repr=False)
class Search(SearchResult):
    """A search that has been begun: what it has found, and what can be done with it.

    It is a snapshot: `search.open(name)` reads the search again.

    Args:    tracking_uri: MLflow's store.
             address: of the Ray cluster that further trials run on, None for this machine.
             the rest: see `SearchResult`.
    """

    tracking_uri: str = ""
    address: str | None = None

    def __repr__(self) -> str:
        return f"<{self.plan.kind} {self.name}: {len(self.state.trials)} trials, {self.ended}>"

    @property
    def verdict(self) -> Verdict | None:
        """What a confirmation found; None of a search, and of a confirmation that has not ended."""
        return read_verdict(self.folder.path)

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

        Args:    num_trials, time_budget_s, epoch_budget, gpu_hours: totals; None keeps the plan's.
                 max_concurrent: trials at once.
                 pictures: as in `search.run`.
        Returns: the search as it is then; `verdict` has what a confirmation found.
        Raises:  PlanError: when the search runs elsewhere, or cannot be gone on with.
        """
        asked = {"num_trials": num_trials, "time_budget_s": time_budget_s, "epoch_budget": epoch_budget, "gpu_hours": gpu_hours}
        amounts = {name: (float(amount), False) for name, amount in asked.items() if amount is not None}
        extension = Extension(**amounts, max_concurrent=max_concurrent)
        check_kind(self.tracking_uri)
        storage = self.folder.storage
        extension.check()
        if (ended := settled(storage, self.name, extension, self.tracking_uri)) is not None:
            return _of(ended.recorded, self.tracking_uri, self.address)
        plan = prepare_resume(storage, self.name, extension)
        return _trained(plan, storage, self.tracking_uri, self.address, pictures=pictures, resumed=True)

    def confirm(
        self, *, top: int | None = None, num_seeds: int = 3, num_folds: int = 1, max_concurrent: int | None = None
    ) -> Verdict:
        """Trains the best configurations again on fresh seeds, as `dermtune confirm` does: is the best still the best?

            print(search.open("first").confirm(num_seeds=5).sentence)

        Args:    top: configurations; None for five, or all where there are fewer.
                 num_seeds: of each; 3 or more for intervals.
                 num_folds: stratified splits; 1 for the data's own.
                 max_concurrent: trials at once, None for as many as in the search.
        Returns: what was found; it lies in the confirmation's folder, too, with a page.
        Raises:  PlanError: when the search has fewer trials, or the confirmation was interrupted.
        """
        check_store(self.tracking_uri)
        storage = self.folder.storage
        plan = prepare_confirmation(storage, self.name, top, num_seeds, num_folds, max_concurrent)
        verdict = _trained(plan, storage, self.tracking_uri, self.address, pictures=False).verdict
        if verdict is None:
            raise PlanError(f"a confirmation must run to its end; got {plan.name} (search.open({plan.name!r}).resume().verdict)")
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
        result = publish(found, self.tracking_uri, page=None if page is None else Path(page))
        _warn_of(result)
        return result.page


def opened(name: str, storage: str, tracking_uri: str | None, address: str | None) -> Search:
    """`search.open` with every argument."""
    folder = storage_folder(storage)
    return _of(open_search(folder, name), *_where(folder, tracking_uri, address))


def run(
    asked: Mapping[str, Any],
    spec: str | os.PathLike[str] | None,
    plan: str | os.PathLike[str] | None,
    storage: str,
    tracking_uri: str | None,
    address: str | None,
    *,
    pictures: bool,
) -> Search:
    """`search.run` with what was asked for by name."""
    folder = storage_folder(storage)
    uri, address = _where(folder, tracking_uri, address)
    check_store(uri)
    request = specified(asked, *(None if file is None else Path(file) for file in (spec, plan)))
    prepared = prepare_search(request, storage=folder, address=address).plan
    return _trained(prepared, folder, uri, address, pictures=pictures)


def _where(storage: Path, tracking_uri: str | None, address: str | None) -> tuple[str, str | None]:
    return tracking_uri or default_tracking_uri(storage), address or os.environ.get("RAY_ADDRESS")


def _of(found: RecordedSearch, tracking_uri: str, address: str | None) -> Search:
    return Search(found.plan, found.folder, found.state, {}, found.state.ended or "not ended", None, None, tracking_uri, address)


def _warn_of(result: Publication) -> None:
    for problem in result.problems:
        _log.warning("%s", problem)


def _trained(
    plan: Plan, storage: Path, tracking_uri: str, address: str | None, *, pictures: bool, resumed: bool = False
) -> Search:
    """Runs or resumes a plan."""
    with ray_session(address, imports(plan.task)):
        # MLflow takes seconds to import, as do the modules that Ray's processes import meanwhile.
        from search.execution.session import resume_search, run_search

        result = (resume_search if resumed else run_search)(plan, storage, tracking_uri=tracking_uri, address=address)
    found = open_search(storage, plan.name)
    try:
        if plan.kind == "search" and pictures and result.best is not None and result.ended != "interrupted":
            _warn_of(publish(found, tracking_uri))
        elif plan.kind == "confirmation" and result.ended == "all trials":
            close_confirmation(found)
        elif plan.kind == "reproduction" and found.state.count("finished"):
            close_reproduction(found)
    except (OSError, LocationError) as error:  # what was trained is there all the same
        _log.warning("the report of %s is not written: %s", plan.name, error)
    own = {field.name: getattr(result, field.name) for field in fields(SearchResult)}
    return Search(**own, tracking_uri=tracking_uri, address=address)
