"""Which of a table's tasks is the diagnosis."""

from collections.abc import Sequence

#: What people call it; the first that a table has is meant.
_NAMES = ("diagnosis", "diag", "dx", "diagnose", "diagnostic", "diagnóstico", "diagnosi", "histology", "class", "label", "target")


def certain_primary(tasks: Sequence[str]) -> str:
    """`diagnosis`, or the only task there is; "" leaves the choice to the field primary_task."""
    if "diagnosis" in tasks:
        return "diagnosis"
    return tasks[0] if len(tasks) == 1 else ""


def likely_primary(tasks: Sequence[str]) -> str | None:
    """The task whose name most likely means the diagnosis, None where none does."""
    folded = {task.casefold(): task for task in reversed(tasks)}
    return certain_primary(tasks) or next((folded[name] for name in _NAMES if name in folded), None)
