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

from search.errors import PlanError
from search.records.tracking.store import open_client
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


def _tracking(uri: str) -> Check:
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
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
