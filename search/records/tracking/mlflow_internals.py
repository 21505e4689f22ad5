"""What is taken of MLflow that MLflow does not promise to keep; nothing else of `search` touches its underscores.

`tests/search/test_internals.py` says what must hold of each.
"""

from pathlib import Path

import pandas as pd
from mlflow.models import Model
from mlflow.models.utils import _Example


def save_example(model: Model, table: pd.DataFrame, folder: Path) -> None:
    """Puts an input example beside a model and names it in the model's description, without predicting it.

    Args:    model: is changed; the caller saves it.
             table: the example.
             folder: of the model.
    """
    saved = _Example(table)
    saved.save(str(folder))
    model.saved_input_example_info = saved.info
