"""Runs many trials: plans, samplers, schedulers, Ray, MLflow, results, the command line. `search.run` is the way in."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.execution.result import SearchResult

__all__ = ["run"]


def run(
    task: str,
    *,
    data: str | None = None,
    settings: Mapping[str, Any] | None = None,
    plan: str | os.PathLike[str] | None = None,
    storage: str = "runs",
    tracking_uri: str | None = None,
    address: str | None = None,
    pictures: bool = True,
    **options: Any,
) -> "SearchResult":
    """Runs a search and gives its results as objects and pandas frames; the same as `dermtune search`.

    Args:    task: "gated" or "attentive".
             data: `FORMAT:PATH`, None for a synthetic set and the demo preset.
             settings: fields that are fixed, as in `--set`.
             plan: a plan.json to repeat; everything else that is given changes it.
             storage: folder of all searches.
             tracking_uri: MLflow's store, None for `<storage>/mlflow.db` or MLFLOW_TRACKING_URI.
             address: of a Ray cluster, None for this machine or RAY_ADDRESS.
             pictures: whether the report is written, and pictures and models are logged, when the search has ended.
             options: any of `SearchOptions`: num_trials, max_epochs, metric, sampler, scheduler, seed, name, ...
    Returns: trials, curves, best trial and checkpoint.
    Raises:  PlanError, DataError, ValueError: when the request must change; nothing has been written then.
    """
    # Ray, torch and MLflow take seconds to import: only a search needs them.
    from search.analysis.leaderboard import open_search
    from search.analysis.publication import publish
    from search.execution.again import repeated
    from search.execution.options import SearchOptions
    from search.execution.preparation import prepare_search
    from search.execution.processes import imports
    from search.execution.ray_session import ray_session
    from search.records.folder import storage_folder
    from spaces.fields import format_value

    texts = {name: value if isinstance(value, str) else format_value(value) for name, value in (settings or {}).items()}
    folder = storage_folder(storage)
    address = address or os.environ.get("RAY_ADDRESS")
    if data is not None:
        options["data"] = data
    given = {"task": task, "settings": texts, **options}
    request = SearchOptions(**given) if plan is None else repeated(Path(plan), given)
    prepared = prepare_search(request, storage=folder, address=address).plan
    with ray_session(address, imports(task)):
        # MLflow takes seconds to import, as do the modules that Ray's processes import meanwhile.
        from search.execution.session import run_search
        from search.records.tracking.store import default_tracking_uri

        uri = tracking_uri or default_tracking_uri(folder)
        result = run_search(prepared, folder, tracking_uri=uri, address=address)
    if pictures and result.best is not None and result.ended != "interrupted":
        publish(open_search(folder, prepared.name), uri)
    return result
