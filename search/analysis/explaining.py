"""A checkpoint explained: a picture and a document for each case and for the model, in one folder."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from search.analysis import figures
from search.analysis.case_figures import picture_of_case, pictures_of_model
from trainables.explanation import Explanation

Progress = Callable[[int, int], None]


def write_explanation(found: Explanation, folder: Path, progress: Progress = lambda done, total: None) -> list[Path]:
    """Writes `case_<name>.png` and `.json`, `model_<what>.png` and `model.json`.

    Args:    found: what is drawn.
             folder: made if it is not there; files of these names are replaced.
             progress: called with (cases done, all).
    Returns: what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = _write(
        folder, "model", {f"model_{name}": figure for name, figure in pictures_of_model(found).items()}, found.to_json()
    )
    names = _file_names([case.name for case in found.cases])
    for done, (name, case) in enumerate(zip(names, found.cases, strict=True), start=1):
        written += _write(folder, f"case_{name}", {f"case_{name}": picture_of_case(case)}, case.to_json())
        progress(done, len(names))
    return written


def _write(folder: Path, name: str, pictures: Mapping[str, Figure], document: Mapping[str, Any]) -> list[Path]:
    written = []
    for title, figure in pictures.items():
        written.append(folder / f"{title}.png")
        written[-1].write_bytes(figures.png(figure))
    written.append(folder / f"{name}.json")
    written[-1].write_text(json.dumps(document, indent=1) + "\n")
    return written


def _file_names(names: list[str]) -> list[str]:
    """A file's name for each case: its image's, without folders and whatever a file system may not like; never the same twice."""
    taken: dict[str, int] = {}
    found = []
    for name in names:
        plain = re.sub(r"[^\w.-]+", "_", Path(name).stem)[:80] or "image"
        taken[plain] = taken.get(plain, 0) + 1
        found.append(plain if taken[plain] == 1 else f"{plain}_{taken[plain]}")
    return found
