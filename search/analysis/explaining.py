"""A checkpoint explained: a picture and a document for each case and for the model, in one folder."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from search.analysis import figures
from search.analysis.case_figures import picture_of_case, pictures_of_model
from search.analysis.constant_predictions import constant_in_explanation
from search.analysis.narration import model_text
from search.analysis.page import html_page, picture
from trainables.explanation import Explanation
from trainables.names import escaped

Progress = Callable[[int, int], None]


def write_explanation(found: Explanation, folder: Path, progress: Progress = lambda done, total: None) -> list[Path]:
    """Writes `case_<name>.png` and `.json`, `model.json`, `model.png` where there is something to draw of the model, and
    `explanation.html`, which holds all pictures.

    Args:    found: what is drawn.
             folder: made if it is not there; files of these names are replaced.
             progress: called with (cases done, all).
    Returns: what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = [figures.png(figure) for figure in pictures_of_model(found).values()]
    written = _write(folder, "model", _stacked(model) if model else None, model_document(found))
    names = _file_names([case.name for case in found.cases])
    for done, (name, case) in enumerate(zip(names, found.cases, strict=True), start=1):
        written += _write(folder, f"case_{name}", figures.png(picture_of_case(case)), case.to_json())
        progress(done, len(names))
    page = folder / "explanation.html"
    page.write_text(_page(found, [path for path in written if path.suffix == ".png"]))
    return [*written, page]


def model_document(found: Explanation) -> dict[str, Any]:
    """What is said of the model as a whole: every number, and in words what its tasks have learnt to share."""
    told = model_text(found)
    return {**found.to_json(), **({"told": told} if told else {})}


def _page(found: Explanation, pictures: Sequence[Path]) -> str:
    """One self-contained page, the model first."""
    shown = f"{len(found.cases)} of {found.num_cases}" if len(found.cases) < found.num_cases else str(found.num_cases)
    about = f"{shown} cases of the {found.split} split" if found.split else f"{shown} images"
    note = [*([told] if (told := model_text(found)) else []), *constant_in_explanation(found)]
    places = [f"**{path.stem.removeprefix('case_')}**\n\n{picture(f'picture-{number}')}" for number, path in enumerate(pictures)]
    drawn = {f"picture-{number}": figures.img(path.read_bytes()) for number, path in enumerate(pictures)}
    legend = "Green is right, red is wrong, black is not known. Research software, not a medical device."
    return html_page("Why this checkpoint says what it says", "\n\n".join([f"{about}. {legend}", *note, *places]), drawn)


def _write(folder: Path, name: str, picture: bytes | None, document: Mapping[str, Any]) -> list[Path]:
    contents = {"json": (json.dumps(document, indent=1) + "\n").encode(), **({"png": picture} if picture is not None else {})}
    for suffix, data in contents.items():
        (folder / f"{name}.{suffix}").write_bytes(data)
    return [folder / f"{name}.{suffix}" for suffix in contents]


def _stacked(pictures: Sequence[bytes]) -> bytes:
    """Pictures one below the other, on white."""
    opened = [Image.open(io.BytesIO(data)) for data in pictures]
    sheet = Image.new("RGB", (max(each.width for each in opened), sum(each.height for each in opened)), "white")
    top = 0
    for each in opened:
        sheet.paste(each, (0, top))
        top += each.height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _file_names(names: list[str]) -> list[str]:
    """A file's name for each case: its image's, without folders and whatever a file system may not like; never the same twice."""
    plain = [escaped(Path(name).stem.replace(" ", "_") or "image") for name in names]
    taken: set[str] = set()
    for index, name in enumerate(plain):
        # In lower case: there are file systems that do not tell A from a.
        further = (f"{name}_{number}" for number in range(2, len(names) + 2))
        found = next(each for each in (name, *further) if each.lower() not in taken)
        taken.add(found.lower())
        plain[index] = found
    return plain
