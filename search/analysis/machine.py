"""Whether this machine can run a search."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from search.errors import ClusterUnavailable, PlanError
from search.execution.choices import parse_gpus
from search.execution.nodes import NodeReport, examine_nodes
from search.execution.ray_session import ray_session
from search.execution.resources import have_gpus, max_concurrent
from search.records.tracking.store import is_made, open_client
from trainables.data import portable_source
from trainables.data.cache import cache_root

PACKAGES = ("dermtune", "ray", "torch", "torchvision", "optuna", "mlflow", "numpy")
_ENOUGH_DISK_GIB = 2.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


def check_machine(storage: Path, tracking_uri: str) -> list[Check]:
    """Versions, processors, memory, GPUs, disk, and whether storage, cache and tracking store can be written.

    Args:    storage: folder of all searches.
             tracking_uri: of MLflow's store.
    """
    memory = psutil.virtual_memory()
    return [
        Check("python", True, platform.python_version()),
        *(_package(name) for name in PACKAGES),
        Check("cpus", True, f"{len(os.sched_getaffinity(0))} usable"),
        Check("memory", True, f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"),
        _gpus(),
        _disk(storage),
        _tried("storage", str(storage), lambda: _write(storage)),
        _tried("cache", str(cache_root()), lambda: _write(cache_root())),
        _tracking(tracking_uri),
    ]


def check_cluster(address: str, storage: Path, source: str | None, cpus_per_trial: float, gpus_per_trial: str) -> list[Check]:
    """One line for each node, and one for the resources that a trial asks for.

    Args:    address: of the cluster.
             storage: folder of all searches.
             source: data that every node must see, None for none.
             cpus_per_trial, gpus_per_trial: as in `search`.
    """
    try:
        with ray_session(address) as nodes:
            reports = examine_nodes(None if source is None else portable_source(source), storage)
            found = [Check(report.node, not report.problems, "; ".join(report.problems) or _has(report)) for report in reports]
            gpus = parse_gpus(gpus_per_trial)
            share = gpus if gpus is not None else float(have_gpus(nodes))
            found.append(_tried("trials at once", "", lambda: max_concurrent(nodes, cpus_per_trial, share)))
            if found[-1].ok:
                at_once = max_concurrent(nodes, cpus_per_trial, share)
                found[-1] = Check("trials at once", True, f"{at_once} of {cpus_per_trial:g} CPU and {share:g} GPU")
            return found
    except ClusterUnavailable as error:
        return [Check("cluster", False, str(error))]


def _has(report: NodeReport) -> str:
    cpus, gpus = report.resources.get("CPU", 0.0), report.resources.get("GPU", 0.0)
    return f"{cpus:g} CPU, {gpus:g} GPU, same versions, sees data and storage"


def _tracking(uri: str) -> Check:
    if not is_made(uri):
        return Check("tracking", True, "the first search makes its store")
    return _tried("tracking", "the store answers", lambda: open_client(uri))


def _package(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed (pip install dermtune)")


def _gpus() -> Check:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check("gpus", True, ", ".join(names) or "none: searches run on the CPU")


def _disk(storage: Path) -> Check:
    place = next(folder for folder in (storage, *storage.parents) if folder.exists())
    free = shutil.disk_usage(place).free / 2**30
    return Check("disk", free >= _ENOUGH_DISK_GIB, f"{free:.1f} GiB free at {place}")


def _write(folder: Path) -> None:
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    with tempfile.NamedTemporaryFile(dir=place):
        pass


def _tried(name: str, detail: str, attempt: Callable[[], object]) -> Check:
    try:
        attempt()
    except (OSError, PlanError) as error:
        return Check(name, False, " ".join(str(error).split()))
    return Check(name, True, detail)
