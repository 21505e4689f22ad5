"""Processes that have imported what a trial needs before there is one.

Ray starts a process for each CPU of this machine at once. What a trial imports, Ray Tune and torch above all, takes such a
process seconds of its core; while the driver imports and opens MLflow nobody waits for that.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray

from search.execution.ready import FOLDER
from trainables.tasks import TASKS

#: On a machine of more cores than this most processes would import for nothing: some 200 MiB each.
_MOST_CPUS = 8
_WITHIN_S = 20.0
_FATAL_TO_RAY = ("PYTHONOPTIMIZE", "PYTHONWARNINGS")


def imports(task: str) -> tuple[str, ...]:
    """Modules that the process of a task's trials has imported when it trains."""
    found = TASKS[task]
    return tuple(filter(None, ("search.execution.trial_worker", found.module, found.fused)))


@contextmanager
def importing(modules: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Lets Ray's first processes import modules as soon as they run.

    Args:    modules: none to leave it.
    Returns: what `ray.init` is to be given besides, within the context.
    """
    # Ray may count more CPUs than this process may use.
    if not modules or max(os.cpu_count() or 1, len(os.sched_getaffinity(0))) > _MOST_CPUS:
        yield {}
        return
    with TemporaryDirectory(prefix="dermtune-ready-", ignore_cleanup_errors=True) as folder:
        os.environ[FOLDER] = folder
        try:
            yield {"_system_config": {"preload_python_modules": [*modules, "search.execution.ready"]}}
        finally:
            del os.environ[FOLDER]


@contextmanager
def without_python_flags() -> Iterator[None]:
    """Keeps Python's flags from Ray's own processes with which they do not start in time; this process goes on as it is.

    With `PYTHONOPTIMIZE` each of them compiles every module anew, for which Ray does not wait, and with `PYTHONWARNINGS=error`
    what others warn of at their import ends them.
    """
    before = {name: os.environ.pop(name) for name in _FATAL_TO_RAY if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def wait_for_imports(num: int) -> None:
    """Waits until so many processes have imported what they were to, where any were.

    One that still imports when the first trial asks for a process is passed over and another one is started, which imports the
    same again on the same cores.

    Args:    num: trials that will begin at once.
    """
    if FOLDER not in os.environ:
        return
    folder, end = Path(os.environ[FOLDER]), time.monotonic() + _WITHIN_S
    expected = min(num, int(ray.cluster_resources().get("CPU", 0)))
    while len(list(folder.iterdir())) < expected and time.monotonic() < end:
        time.sleep(0.05)


@contextmanager
def processes_as_started() -> Iterator[None]:
    """Lets Tune take the processes that Ray has started on this machine already.

    It asks for an environment of its own for each trial's process (a variable for Lightning, and some of the driver's, which all
    processes here have anyhow), so that none that is there will do. A cluster's processes do need the driver's.
    """
    from ray.tune.execution import class_cache

    asked: tuple[Any, Any] = (getattr(class_cache, "DEFAULT_ENV_VARS", {}), getattr(class_cache, "ENV_VARS_TO_PROPAGATE", set()))
    before = [own.copy() for own in asked]
    try:
        for own in asked:
            own.clear()
        yield
    finally:
        for own, kept in zip(asked, before, strict=True):
            own.update(kept)
