"""When Ray's first processes import something, and for how many of them a search waits."""

import os
from pathlib import Path
from typing import Any

import pytest
import ray

from search.execution import processes
from search.execution.processes import importing, imports, wait_for_imports, without_python_flags
from search.execution.ready import FOLDER
from trainables.tasks import TASKS


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a machine that Ray counts so, too; nobody may sleep."""

    def sleep(seconds: float) -> None:
        raise TimeoutError("it waits")

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(processes.time, "sleep", sleep)


def leave_files(*pids: str) -> None:
    """As so many processes do that have imported everything."""
    for pid in pids:
        (Path(os.environ[FOLDER]) / pid).touch()


@pytest.mark.parametrize("task", TASKS)
def test_a_trials_own_module_is_among_what_is_imported(task: str) -> None:
    found = imports(task)
    assert TASKS[task].module in found
    assert "" not in found


def test_processes_say_last_that_they_are_ready() -> None:
    with importing(("torch",)) as more:
        assert more == {"_system_config": {"preload_python_modules": ["torch", "search.execution.ready"]}}
    assert FOLDER not in os.environ


@pytest.mark.parametrize(("modules", "cpus", "usable"), [((), 2, 2), (("torch",), 64, 4), (("torch",), 2, 64)])
def test_nothing_is_imported_nor_waited_for_where_it_would_be_for_nothing(
    monkeypatch: pytest.MonkeyPatch, modules: tuple[str, ...], cpus: int, usable: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(usable)))
    with importing(modules) as more:
        assert more == {}
        assert FOLDER not in os.environ
        wait_for_imports(8)


def test_as_many_are_waited_for_as_begin_at_once_and_as_there_are() -> None:
    with importing(("torch",)):
        with pytest.raises(TimeoutError, match="it waits"):
            wait_for_imports(1)
        leave_files("1")
        wait_for_imports(1)
        with pytest.raises(TimeoutError, match="it waits"):
            wait_for_imports(40)
        leave_files("2")
        wait_for_imports(40)


def test_a_process_that_never_comes_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: Any = iter(range(1000))
    monkeypatch.setattr(processes.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(processes.time, "monotonic", lambda: float(next(seconds)))
    with importing(("torch",)):
        wait_for_imports(2)
    assert next(seconds) < 30


def test_rays_processes_get_no_flags_that_they_do_not_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `PYTHONOPTIMIZE=1` Ray did not start within half a minute, and the search ended in a traceback."""
    given = {"PYTHONOPTIMIZE": "1", "PYTHONWARNINGS": "error", "PYTHONHASHSEED": "3"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with without_python_flags():
        assert {name: os.environ.get(name) for name in given} == {**dict.fromkeys(given), "PYTHONHASHSEED": "3"}
    assert {name: os.environ[name] for name in given} == given
