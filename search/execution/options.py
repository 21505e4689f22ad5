"""What a user asks for, as text and numbers, and what a text stands for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.errors import PlanError
from search.strategy.fusion_size import MOST_ASKED
from spaces.hints import suggest
from trainables.tasks import TASKS, Task


@dataclass(frozen=True)
class SearchOptions:
    """What a user asks for; None where the default is to decide.

    Args:    task: a key of `TASKS`.
             data: `FORMAT:PATH`, None for a synthetic set.
             preset: "demo" or "paper"; without data demo, with data paper.
             name: of the search; None makes one from the task and the time.
             settings: field → text, as in `--set FIELD=VALUE`.
             metrics: `NAME` or `NAME:min` or `NAME:max` each; the first ranks and prunes, several are a multi-objective search.
             space: field → range, as in `--space FIELD=RANGE`.
             constraints: `METRIC<=V` or `METRIC>=V` each.
             warm_start: names of earlier searches in `storage`.
             gpus_per_trial: a number or "auto".
             fuse_trials: a number, "auto" or "off".
             the rest: see `Plan`.
    """

    task: str
    data: str | None = None
    preset: str | None = None
    name: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    space: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[str] = ()
    constraints: Sequence[str] = ()
    warm_start: Sequence[str] = ()
    num_trials: int | None = None
    max_epochs: int | None = None
    time_budget_s: float | None = None
    epoch_budget: int | None = None
    gpu_hours: float | None = None
    terminate: bool = False
    sampler: str = "tpe"
    scheduler: str = "asha"
    grace_period: int | None = None
    reduction: int = 3
    cpus_per_trial: float = 1.0
    gpus_per_trial: str = "auto"
    max_concurrent: int | None = None
    fuse_trials: str = "off"
    keep_checkpoints: int = 5
    save_every_s: float = 30.0
    seed: int = 0


def known(name: str, table: Mapping[str, Any], flag: str) -> str:
    """The name itself, if the table has it.

    Raises:  PlanError: when it does not; the nearest name is suggested.
    """
    if name not in table:
        raise PlanError(f"{flag} must be one of {', '.join(table)}; got {name!r}{suggest(name, table)}")
    return name


def known_task(name: str) -> Task:
    """The task of that name; those that are there for tests are not among the choices that a message names.

    Raises:  PlanError: when there is none.
    """
    return TASKS[name if name in TASKS else known(name, {task: entry for task, entry in TASKS.items() if entry.formats}, "TASK")]


def parse_gpus(text: str) -> float | None:
    """GPUs of one trial; None for "auto".

    Raises:  PlanError: when it is neither "auto", nor a share, nor a whole number.
    """
    if text == "auto":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (0 <= value < math.inf) or (value > 1 and value != int(value)):
        raise PlanError(f"--gpus-per-trial must be auto, a share of a GPU or a whole number; got {text!r}")
    return value


def parse_fusing(text: str, task: str) -> int | None:
    """Trials of one program at most: 1 for "off", None for "auto" where the task has such programs.

    Raises:  PlanError: when it is neither of these nor a number, or the task has no such programs.
    """
    if text == "off":
        return 1
    if text != "auto" and not (text.isdecimal() and 1 <= int(text) <= MOST_ASKED):
        raise PlanError(f"--fuse-trials must be auto, off or 1 to {MOST_ASKED}; got {text!r}")
    number = None if text == "auto" else int(text)
    if not TASKS[task].array:
        if number is not None and number > 1:
            raise PlanError(
                f"--fuse-trials must be off or auto for {task}, one trial of which fills a device (docs/performance.md);"
                f" got {text}"
            )
        return 1
    return number
