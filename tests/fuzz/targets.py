"""What reads files of strangers and of hands: each target takes any bytes, and may refuse them with a
`DermtuneError` only: anything else that is raised is a defect.
"""

import hashlib
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from PIL import Image

from search.execution.replanning import read_plan
from search.records.ledger import read_events
from spaces.errors import RequestError
from spaces.fields import complete, fields_of, known_field, narrowed
from spaces.gated import GatedSpace
from trainables import checkpoints
from trainables.data import derm7pt, isic2017, isic2017_synthetic, masks, table
from trainables.data.images import decode
from trainables.described import read_description
from trainables.errors import CheckpointError, DataError, DermtuneError
from trainables.folders import SUMS
from trainables.tasks import TASKS

#: Parts several files of one input.
PART = b"\n====\n"
_NUM_IMAGES = 4
#: Folders that last as long as this process.
_kept: list[object] = []


@lru_cache(maxsize=1)
def _ground() -> Path:
    """A folder that lasts as long as this process, with a few images in the layouts that the readers want."""
    keep = tempfile.TemporaryDirectory(prefix="dermtune-fuzz-")
    _kept.append(keep)
    folder = Path(keep.name)
    for index in range(_NUM_IMAGES):
        image = Image.new("RGB", (16, 12), (40 * index, 90, 120))
        for place in (folder, folder / "images"):
            place.mkdir(exist_ok=True)
            image.save(place / f"ISIC_{index}.jpg")
    (folder / "meta").mkdir()
    isic2017_synthetic.write(folder / "isic", 30, 32, 0)
    for name in ("Training", "Validation"):  # few, so that many inputs are tried
        for file in sorted((folder / "isic" / f"ISIC-2017_{name}_Data").glob("*.jpg"))[2:]:
            file.unlink()
    return folder


def _parts(data: bytes, count: int) -> list[bytes]:
    """So many files out of one input, the last ones empty where it has fewer."""
    found = data.split(PART, count - 1)
    return found + [b""] * (count - len(found))


def table_csv(data: bytes) -> None:
    """A table of one's own, CSV."""
    file = _ground() / "table.csv"
    file.write_bytes(data)
    table.read(file).counts()


def table_parquet(data: bytes) -> None:
    """A table of one's own, Parquet."""
    file = _ground() / "table.parquet"
    file.write_bytes(data)
    table.read(file).counts()


def derm7pt_tables(data: bytes) -> None:
    """Derm7pt's `meta.csv` and three index files."""
    meta = _ground() / "meta"
    for name, part in zip(("meta.csv", *derm7pt.INDEX_FILES.values()), _parts(data, 4), strict=True):
        (meta / name).write_bytes(part)
    derm7pt.read(_ground()).counts()


def isic2017_features(data: bytes) -> None:
    """ISIC 2017's diagnoses and one case's attributes."""
    part = isic2017.Part(_ground() / "isic", "Training")
    diagnoses, features = _parts(data, 2)
    case = sorted(part.images.glob("*.jpg"))[0].stem
    part.diagnoses.write_bytes(diagnoses)
    part.features(case).parent.mkdir(exist_ok=True)
    part.features(case).write_bytes(features)
    cases = isic2017.read(_ground() / "isic")
    problems = masks.inspect(cases).problems
    if problems:
        raise DataError(*problems)


def image(data: bytes) -> None:
    """An image."""
    decode(data, 16)


def _checkpoint(contents: dict[str, bytes]) -> Path:
    folder = _ground() / "checkpoint"
    folder.mkdir(exist_ok=True)
    for name, part in contents.items():
        (folder / name).write_bytes(part)
    sums = "".join(f"{hashlib.sha256(part).hexdigest()}  {name}\n" for name, part in contents.items())
    (folder / SUMS).write_text(sums)
    return folder


def checkpoint_config(data: bytes) -> None:
    """A checkpoint's `config.json`, its hash right."""
    folder = _checkpoint({"config.json": data})
    refusals = []
    for task in ("gated", "attentive"):
        try:
            read_description(folder, TASKS[task].space)
        except CheckpointError as error:
            refusals.append(error)
    if len(refusals) == 2:
        raise refusals[0]


def checkpoint_tensors(data: bytes) -> None:
    """A checkpoint's `model.safetensors`, its hash right."""
    checkpoints.read(_checkpoint({"model.safetensors": data}), "model")


def settings(data: bytes) -> None:
    """`--set` and `--space`."""
    set_part, space_part = _parts(data, 2)
    fields = fields_of(GatedSpace)
    given, ranges = (
        dict(line.partition("=")[::2] for line in part.decode(errors="replace").splitlines()) for part in (set_part, space_part)
    )
    complete(GatedSpace, {name: known_field(fields, name).parse(text) for name, text in given.items()})
    narrowed(fields, ranges)


def plan(data: bytes) -> None:
    """`--plan`."""
    file = _ground() / "plan.json"
    file.write_bytes(data)
    read_plan(file)


def ledger(data: bytes) -> None:
    """A search's ledger."""
    file = _ground() / "ledger.jsonl"
    file.write_bytes(data)
    list(read_events(file))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "table_csv": table_csv,
    "table_parquet": table_parquet,
    "derm7pt": derm7pt_tables,
    "isic2017": isic2017_features,
    "image": image,
    "checkpoint_config": checkpoint_config,
    "checkpoint_tensors": checkpoint_tensors,
    "settings": settings,
    "plan": plan,
    "ledger": ledger,
}


def feed(target: str, data: bytes) -> str:
    """Gives a target an input.

    Returns: "" when it was taken, else what it was refused with.
    Raises:  whatever is a defect.
    """
    try:
        TARGETS[target](data)
    except (DermtuneError, RequestError) as error:
        return str(error) or "refused"
    return ""
