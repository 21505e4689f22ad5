"""Runs many trials: plans, samplers, schedulers, Ray, MLflow, results, the command line. `search.run` and
`search.open` are the ways in.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.execution.result import SearchResult

__all__ = ["open", "run"]


def run(
    task: str,
    *,
    data: str | None = None,
    preset: str | None = None,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    space: Mapping[str, str] | None = None,
    metric: str | Sequence[str] | None = None,
    constraints: Sequence[str] | None = None,
    warm_start: Sequence[str] | None = None,
    num_trials: int | None = None,
    max_epochs: int | None = None,
    time_budget_s: float | None = None,
    epoch_budget: int | None = None,
    gpu_hours: float | None = None,
    terminate: bool | None = None,
    sampler: str | None = None,
    scheduler: str | None = None,
    grace_period: int | None = None,
    reduction: int | None = None,
    cpus_per_trial: float | None = None,
    gpus_per_trial: float | str | None = None,
    max_concurrent: int | None = None,
    fuse_trials: int | str | None = None,
    keep_checkpoints: int | None = None,
    save_every_s: float | None = None,
    seed: int | None = None,
    plan: str | os.PathLike[str] | None = None,
    storage: str = "runs",
    tracking_uri: str | None = None,
    address: str | None = None,
    pictures: bool = True,
) -> "SearchResult":
    """Runs a search and gives its results as objects and pandas frames; the same as `dermtune search`.

    What is None is as the command line has it by default, or as the plan has it. An example:

        result = search.run("gated", data="table:lesions.csv", num_trials=40, metric="valid/diagnosis/auroc")
        result.trials.sort_values("score").tail()

    Args:    task: "gated" or "attentive".
             data: `FORMAT:PATH`, None for a synthetic set and the demo preset.
             preset: "demo" or "paper".
             name: of the search; None makes one from the task and the time.
             settings: fields that are fixed, as in `--set`.
             space: field → range, as in `--space`.
             metric: `NAME`, `NAME:min` or `NAME:max`; of several the first ranks and prunes.
             constraints: `METRIC<=V` or `METRIC>=V` each.
             warm_start: names of earlier searches in `storage`.
             num_trials, max_epochs, time_budget_s, epoch_budget, gpu_hours, terminate: how much.
             sampler, scheduler, grace_period, reduction, seed: how.
             cpus_per_trial, gpus_per_trial, max_concurrent, fuse_trials: on what; GPUs may be "auto", fused trials that or "off".
             keep_checkpoints, save_every_s: what is kept, and how often a running trial is saved.
             plan: a plan.json to repeat; everything else that is given changes it.
             storage: folder of all searches, or `s3://...`.
             tracking_uri: MLflow's store, None for `<storage>/mlflow.db` or MLFLOW_TRACKING_URI.
             address: of a Ray cluster, None for this machine or RAY_ADDRESS.
             pictures: whether the report is written, and pictures and models are logged, when the search has ended.
    Returns: trials, curves, best trial and checkpoint.
    Raises:  PlanError, DataError, ValueError: when the request must change; nothing has been written then.
    """
    asked = {key: value for key, value in locals().items() if value is not None and key not in _ELSEWHERE}
    return _run(asked, plan, storage, tracking_uri, address, pictures=pictures)


def open(name: str, storage: str = "runs") -> "SearchResult":  # noqa: A001 - as one opens a file: search.open("first")
    """A search that has been begun, as `run` gives it: finished, interrupted, or running elsewhere as far as it has come.

    Args:    name: of the search, as `dermtune list` has it.
             storage: folder of all searches, or `s3://...`.
    Returns: trials, curves, best trial and checkpoint; nothing is changed.
    Raises:  SearchNotFound: when there is none of that name.
             PlanError, LedgerDamaged: when it cannot be read.
    """
    from search.analysis.leaderboard import open_search
    from search.execution.result import SearchResult
    from search.records.folder import storage_folder

    found = open_search(storage_folder(storage), name)
    return SearchResult(found.plan, found.folder, found.state, {}, found.state.ended or "not ended", experiment_id=None)


#: What of `run` is no field of `SearchOptions`.
_ELSEWHERE = ("plan", "storage", "tracking_uri", "address", "pictures")


def _run(
    asked: dict[str, Any],
    plan: str | os.PathLike[str] | None,
    storage: str,
    tracking_uri: str | None,
    address: str | None,
    *,
    pictures: bool,
) -> "SearchResult":
    """`run` with what was asked for by name."""
    # Ray, torch and MLflow take seconds to import: only a search needs them.
    from search.analysis.leaderboard import open_search
    from search.analysis.publication import publish
    from search.execution.options import SearchOptions
    from search.execution.planning import prepare_search
    from search.execution.processes import imports
    from search.execution.ray_session import ray_session
    from search.execution.replanning import repeated
    from search.records.folder import storage_folder
    from search.records.tracking.address import check_store, default_tracking_uri

    given = _as_options(asked)
    folder = storage_folder(storage)
    uri, address = tracking_uri or default_tracking_uri(folder), address or os.environ.get("RAY_ADDRESS")
    check_store(uri)
    request = SearchOptions(**given) if plan is None else repeated(Path(plan), given)
    prepared = prepare_search(request, storage=folder, address=address).plan
    with ray_session(address, imports(request.task)):
        # MLflow takes seconds to import, as do the modules that Ray's processes import meanwhile.
        from search.execution.session import run_search

        result = run_search(prepared, folder, tracking_uri=uri, address=address)
    if pictures and result.best is not None and result.ended != "interrupted":
        publish(open_search(folder, prepared.name), uri)
    return result


def _as_options(asked: dict[str, Any]) -> dict[str, Any]:
    """Fields of `SearchOptions` by name: texts where the command line has texts."""
    from spaces.fields import format_value

    given = dict(asked)
    texts = {name: value if isinstance(value, str) else format_value(value) for name, value in given.get("settings", {}).items()}
    given["settings"] = texts
    if "metric" in given:
        metric = given.pop("metric")
        given["metrics"] = (metric,) if isinstance(metric, str) else tuple(metric)
    return given | {name: str(given[name]) for name in ("gpus_per_trial", "fuse_trials") if name in given}
