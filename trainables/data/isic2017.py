"""The ISIC 2017 challenge's own folders: images, lesion masks, superpixels with attributes, diagnoses.

The challenge's files name neither patients nor lesions (Part 3 has image_id, melanoma and seborrheic_keratosis, the metadata
image_id, age and sex), so that every case is a group of its own, unless a column was added to the tables of Part 3.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trainables.data.cases import CaseSet, LabelTask
from trainables.data.groups import check_column, group_cells, group_note
from trainables.data.repeated import Problems
from trainables.data.roles import ColumnRoles
from trainables.data.segmented import ATTRIBUTES, Annotation, SegmentedCases
from trainables.data.source import is_utf8
from trainables.data.tables import read_table
from trainables.errors import DataError

#: split → the challenge's name of that part.
PARTS = {"train": "Training", "valid": "Validation", "test": "Test_v2"}
_SUFFIXES = (".jpg", ".jpeg")
_BAD_FEATURES = "the features of {} cases must be lists of 0 and 1 of one length; got others for"
MELANOMA = LabelTask("melanoma", ("benign", "melanoma"))


@dataclass(frozen=True)
class Part:
    """Where the files of one part lie.

    Args:    root: the data set's folder.
             name: "Training", "Validation" or "Test_v2".
    """

    root: Path
    name: str

    @property
    def images(self) -> Path:
        """Images and superpixels."""
        return self.root / f"ISIC-2017_{self.name}_Data"

    @property
    def diagnoses(self) -> Path:
        """The table of Part 3."""
        return self.root / f"ISIC-2017_{self.name}_Part3_GroundTruth.csv"

    @property
    def metadata(self) -> Path:
        """Age and sex."""
        return self.root / f"ISIC-2017_{self.name}_Data_metadata.csv"

    def lesion(self, case: str) -> Path:
        """A case's lesion mask, Part 1."""
        return self.root / f"ISIC-2017_{self.name}_Part1_GroundTruth" / f"{case}_segmentation.png"

    def superpixels(self, case: str) -> Path:
        """A case's superpixel indices."""
        return self.images / f"{case}_superpixels.png"

    def features(self, case: str) -> Path:
        """A case's attributes by superpixel, Part 2."""
        return self.root / f"ISIC-2017_{self.name}_Part2_GroundTruth" / f"{case}_features.json"


def read(path: Path, classes: Mapping[str, Sequence[str]] | None = None, roles: ColumnRoles | None = None) -> SegmentedCases:
    """Reads the challenge's layout. Training and Validation must be there, Test_v2 may.

    A case without superpixels or features has unknown attributes. Rows of Part 3 without an image are left out.

    Args:    path: the folder that holds `ISIC-2017_Training_Data` and its like.
             classes: of a checkpoint that the cases must fit; the challenge has the same ones always.
             roles: whose group is the column of the tables of Part 3 that says whose each case is; without one there are none.
    Raises:  DataError: with every problem found that reading the tables and JSON files can show.
    """
    if classes is not None and {name: tuple(names) for name, names in classes.items()} != {MELANOMA.name: MELANOMA.classes}:
        raise DataError(f"the checkpoint's classes must be those of isic2017; got {dict(classes)} (--data)")
    roles = roles or ColumnRoles()
    roles.check_only_group("isic2017")
    group = roles.group
    problems = Problems()
    names: list[str] = []
    images: list[Path] = []
    labels: list[int] = []
    owners: list[str] = []
    lesions: list[Path] = []
    superpixels: list[Path | None] = []
    annotations: list[Annotation | None] = []
    splits = {}
    for split, part_name in PARTS.items():
        part = Part(path, part_name)
        if not part.images.is_dir():
            if split != "test":
                problems.add(f"an ISIC 2017 folder must hold {part.images.name}; got none in {path} (--data isic2017:PATH)")
            continue
        start, diagnoses = len(names), _read_diagnoses(part.diagnoses, problems)
        cells = _groups(diagnoses, group, part.diagnoses.name, problems)
        for image in _images(part, problems):
            case = image.stem
            names.append(case)
            owners.append(cells.get(case, ""))
            images.append(image.resolve())
            labels.append(_label(case, diagnoses, part.diagnoses, problems))
            lesions.append(part.lesion(case).resolve())
            if not lesions[-1].is_file():
                line = f"{case}: the lesion mask {lesions[-1]} must exist; got no such file"
                problems.add(line, f"{{}} cases of {part_name} must have a lesion mask; got none for", case)
            annotation = _read_features(part, case, problems)
            annotations.append(annotation)
            superpixels.append(part.superpixels(case).resolve() if annotation is not None else None)
        splits[split] = np.arange(start, len(names))
        if start == len(names):
            problems.add(f"{part.images.name} must hold at least one .jpg image; got none")
    if lines := problems.lines():
        raise DataError(*lines)
    cases = CaseSet(
        source=f"isic2017:{path}",
        images=tuple(images),
        names=tuple(names),
        rows=(),
        tasks=(MELANOMA,),
        labels=np.array(labels, dtype=np.int64)[:, None],
        splits=splits,
        primary=MELANOMA.name,
        groups=tuple(owners) if any(owners) else (),
        group_column=group or "",
        notes=() if group is None else group_note(group, owners),
    )
    return SegmentedCases(cases, tuple(lesions), tuple(superpixels), tuple(annotations))


def columns_of(path: Path, cases: CaseSet) -> pd.DataFrame:
    """Every column of the tables of Part 3 and of the challenge's metadata (age, sex) as text, a row a case.

    Args:    path: of the challenge's folder.
             cases: read from it.
    """
    tables = []
    for name in PARTS.values():
        part = Part(path, name)
        found = [read_table(file, []).drop_duplicates("image_id") for file in (part.diagnoses, part.metadata) if file.is_file()]
        if found:
            tables.append(pd.concat([table.set_index("image_id") for table in found], axis=1))
    every = pd.concat(tables)
    return every.loc[:, ~every.columns.duplicated()].reindex(list(cases.names))


def _images(part: Part, problems: Problems) -> list[Path]:
    """A part's images whose names can be written down, in order."""
    found = sorted(file for file in part.images.iterdir() if file.suffix.lower() in _SUFFIXES)
    unwritable = [image for image in found if not is_utf8(image.stem)]
    for image in unwritable:
        problems.add(f"the name of every image must be UTF-8; got {image.name!a} in {part.images.name}")
    return [image for image in found if image not in unwritable]


def _read_diagnoses(file: Path, problems: Problems) -> pd.DataFrame | None:
    """Part 3 by image; None where it cannot be used."""
    try:
        table = read_table(file, notes=[])
    except DataError as error:
        for problem in error.problems:
            problems.add(f"Part 3 must be readable: {problem}")
        return None
    absent = [name for name in ("image_id", "melanoma") if name not in table]
    for name in absent:
        problems.add(f"{file.name} must have the column {name!r}; got {', '.join(table.columns)}")
    if absent:
        return None
    twice = table["image_id"][table["image_id"].duplicated()]
    for case in twice.unique():
        problems.add(
            f"{file.name} must have one row for {case}; got several",
            f"{file.name} must have one row for {{}} cases; got several",
            case,
        )
    return table.drop_duplicates("image_id").set_index("image_id")


def _groups(diagnoses: pd.DataFrame | None, group: str | None, table: str, problems: Problems) -> dict[str, str]:
    """Image → its group, where a table of Part 3 gives one."""
    if diagnoses is None or group is None:
        return {}
    try:
        check_column(group, list(diagnoses.columns), table)
    except DataError as error:
        for problem in error.problems:
            problems.add(problem)
        return {}
    return dict(zip(diagnoses.index, group_cells(diagnoses[group]), strict=False))


def _label(case: str, diagnoses: pd.DataFrame | None, file: Path, problems: Problems) -> int:
    if diagnoses is None:
        return 0
    if case not in diagnoses.index:
        problems.add(
            f"{case}: {file.name} must have its row; got none",
            f"{file.name} must have the rows of {{}} cases; got none for",
            case,
        )
        return 0
    value = pd.to_numeric(pd.Series([diagnoses.loc[case, "melanoma"]]), errors="coerce").iloc[0]
    if value not in (0.0, 1.0):
        line = f"{case}: melanoma in {file.name} must be 0 or 1; got {diagnoses.loc[case, 'melanoma']!r}"
        problems.add(line, f"melanoma of {{}} cases in {file.name} must be 0 or 1; got others for", case)
        return 0
    return int(value)


def _read_features(part: Part, case: str, problems: Problems) -> Annotation | None:
    file = part.features(case)
    if not file.is_file() or not part.superpixels(case).is_file():
        return None
    try:
        document = json.loads(file.read_text())
        lists = {name: np.asarray(document[name], dtype=float) for name in ATTRIBUTES}
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        line = f"{case}: {file.name} must hold a list of 0 and 1 for each of {', '.join(ATTRIBUTES)}; got {error!r}"
        problems.add(line, _BAD_FEATURES, case)
        return None
    lengths = {len(values) if values.ndim == 1 else -1 for values in lists.values()}
    if len(lengths) > 1 or -1 in lengths or not all(np.isin(values, (0, 1)).all() for values in lists.values()):
        found = ", ".join(f"{name} {values.shape}" for name, values in lists.items())
        problems.add(f"{case}: the lists of {file.name} must be of one length and hold 0 and 1; got {found}", _BAD_FEATURES, case)
        return None
    return {name: values == 1 for name, values in lists.items()}
