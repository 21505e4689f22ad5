"""What a text of a request stands for: a name in a table, GPUs, trials of one program."""

import math
from collections.abc import Mapping
from typing import Any

from search.errors import PlanError
from search.strategy.fusion_size import MOST_ASKED
from spaces.hints import suggest
from trainables.tasks import TASKS, Task


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
    if not TASKS[task].fused:
        if number is not None and number > 1:
            raise PlanError(
                f"--fuse-trials must be off or auto for {task}, one trial of which fills a device (docs/performance.md);"
                f" got {text}"
            )
        return 1
    return number
