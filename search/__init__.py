"""Runs many trials: plans, samplers, schedulers, Ray, MLflow, results, the command line. `search.run` and
`search.open` are the ways in.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api import Search

__all__ = ["open", "run"]


def run(
    task: str | None = None,
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
    spec: str | os.PathLike[str] | None = None,
    plan: str | os.PathLike[str] | None = None,
    storage: str = "runs",
    tracking_uri: str | None = None,
    address: str | None = None,
    pictures: bool = True,
) -> "Search":
    """Runs a search and gives its results as objects and pandas frames; the same as `dermtune search`.

    What is None is as the command line has it by default, or as the plan has it. An example:

        result = search.run("gated", data="table:lesions.csv", num_trials=40, metric="valid/diagnosis/auroc")
        result.trials.sort_values("score").tail()

    Args:    task: "gated" or "attentive"; None for that of `spec` or `plan`.
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
             spec, plan: a YAML file of `--save-spec`, or a plan.json to repeat; everything else that is given changes it.
             storage: folder of all searches, or `s3://...`.
             tracking_uri: MLflow's store, None for `<storage>/mlflow.db` or MLFLOW_TRACKING_URI.
             address: of a Ray cluster, None for this machine or RAY_ADDRESS.
             pictures: whether the report is written, and pictures and models are logged, when the search has ended.
    Returns: trials, curves, best trial and checkpoint, and what can be done next: resume, confirm, report.
    Raises:  PlanError, DataError, ValueError: when the request must change; nothing has been written then.
    """
    asked = {key: value for key, value in locals().items() if value is not None and key not in _ELSEWHERE}
    # Ray, torch and MLflow take seconds to import: only a search needs them.
    from search import api

    return api.run(asked, spec, plan, storage, tracking_uri, address, pictures=pictures)


def open(  # noqa: A001 - as one opens a file: search.open("first")
    name: str, storage: str = "runs", tracking_uri: str | None = None, address: str | None = None
) -> "Search":
    """A search that has been begun, as `run` gives it: finished, interrupted, or running elsewhere as far as it has come.

        first = search.open("first")
        first.curves.pivot(index="epoch", columns="trial", values="valid/auroc_mean").plot()
        verdict = first.confirm(num_seeds=5)

    Args:    name: of the search, as `dermtune list` has it.
             storage, tracking_uri, address: as in `run`; the latter two for what is done with it later.
    Returns: trials, curves, best trial and checkpoint; nothing is changed.
    Raises:  SearchNotFound: when there is none of that name.
             PlanError, LedgerDamaged: when it cannot be read.
    """
    from search import api

    return api.opened(name, storage, tracking_uri, address)


#: What of `run` is no field of `SearchSpec`.
_ELSEWHERE = ("spec", "plan", "storage", "tracking_uri", "address", "pictures")
