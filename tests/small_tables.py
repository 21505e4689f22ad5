"""Tables of cases that are read in a moment, for tests of what is counted and asked of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trainables.folders import encode_json, write_folder


def table_source(file: Path, tested: Iterable[int]) -> str:
    """`table:FILE` of two cases each to train and to validate with, and some to test with, beside their images.

    Args:    file: a .csv file; its folder is made.
             tested: a number for each case of the test split; the same number is the same picture wherever it is.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    numbers = {"train": range(1000, 1002), "valid": range(1002, 1004), "test": tested}
    rows = ["image,split,diagnosis,who"]
    for split, of_split in numbers.items():
        for place, number in enumerate(of_split):
            pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file.parent / f"{number}.png")
            rows.append(f"{number}.png,{split},{('nevus', 'melanoma')[place % 2]},p{number}")
    file.write_text("\n".join(rows) + "\n")
    return f"table:{file}"


def checkpoint_of(folder: Path, classes: Mapping[str, Sequence[str]]) -> Path:
    """A folder with all that is asked of a checkpoint when a reading is noted: its classes and its digest.

    Args:    folder: must not be there.
             classes: task → classes.
    """
    write_folder(folder, {"config.json": encode_json({"classes": {task: list(names) for task, names in classes.items()}})})
    return folder
