"""A checkpoint behind MLflow's pyfunc. MLflow calls it and it needs no MLflow; nothing in it is a pickle."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from trainables.data import derm7pt_synthetic
from trainables.data.drawing import draw_lesion
from trainables.folders import task_of
from trainables.tasks import TASKS

#: The column of an input table that holds the images: the bytes of JPEG or PNG files.
IMAGE = "image"


class ServedModel:
    """A checkpoint that takes tables of images.

    Args:    folder: the checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self._predictor = TASKS[task_of(folder, known=TASKS)].load().predictor(folder)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Labels, probabilities and explanations, one object an image: what `dermtune predict` says, and the model's own.

        Args:    model_input: column `image`, each the bytes of an image file.
                 params: MLflow hands them in; there are none.
        Raises:  DataError: when an image does not decode.
        """
        images = [bytes(image) for image in model_input[IMAGE]]
        said = self._predictor.predict(images) if images else []
        own = dict(self._predictor.explanation)
        return [{key: value for key, value in row.items() if key != IMAGE} | own for row in said]


def example_image(size_px: int = 96) -> bytes:
    """A drawn lesion as a JPEG file's bytes: an example that shows no patient.

    Args:    size_px: side of the square.
    """
    generator = np.random.default_rng(0)
    labels = {task: found[0] for task, found in derm7pt_synthetic.draw_labels(20, generator).items()}
    buffer = io.BytesIO()
    Image.fromarray(draw_lesion(labels, size_px, generator)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _load_pyfunc(data_path: str) -> ServedModel:
    """MLflow's way in."""
    return ServedModel(Path(data_path))
