"""One configuration, one model and one data set joined into a trial that can be stepped, saved and resumed.

Runs without Ray, Optuna and MLflow. `load(folder)` gives a checkpoint's model back, ready to predict.
"""

from pathlib import Path
from typing import Any


def load(folder: str | Path) -> Any:
    """The model of a checkpoint folder, in evaluation mode, on the CPU.

    Args:    folder: as `dermtune best` names it.
    Raises:  CheckpointError: when the folder is damaged or its task is unknown.
    """
    from trainables.folders import task_of  # torch is imported only when a model is asked for
    from trainables.tasks import TASKS

    return TASKS[task_of(Path(folder), known=TASKS)].load().load_model(Path(folder))
