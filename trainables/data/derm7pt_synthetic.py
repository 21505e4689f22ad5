"""Synthetic cases in the real Derm7pt layout: attributes that one can see, a diagnosis that follows from them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from PIL import Image

from trainables import seven_point
from trainables.data.cases import SPLITS, LabelTask
from trainables.data.derm7pt import GROUPS, INDEX_FILES, TASKS
from trainables.data.drawing import check_numbers, draw_lesion

#: Cases of each label among Derm7pt's 1011, in the order of the labels.
FREQUENCIES = {
    "DIAG": (42, 575, 252, 97, 45),
    "PN": (400, 381, 230),
    "BWV": (816, 195),
    "VS": (823, 117, 71),
    "PIG": (588, 118, 305),
    "STR": (653, 107, 251),
    "DaG": (229, 334, 448),
    "RS": (758, 253),
}
SPLIT_SIZES = {"train": 413, "valid": 203, "test": 395}
#: Share of melanomas among cases that score 3 or more, and below: on the real test split 95 of 149 and 6 of 246.
MELANOMA_RATES = (95 / 149, 6 / 246)
#: Correlation between what makes one criterion and what makes another, since an atypical lesion is so in several ways: what shows
#: one criterion is then evidence of the others. Without it, tasks have nothing to share but for the diagnosis.
SHARED = 0.5


def write(folder: Path, num_cases: int, size_px: int, seed: int) -> None:
    """Writes `meta/meta.csv`, the three index files and the JPEGs below `images/`.

    Attributes are drawn with Derm7pt's frequencies, and atypical ones come together; melanoma follows the seven-point rule with
    the real data's errors, the other diagnoses their frequencies. Everything but the diagnosis can be seen; the diagnosis shows
    through a hue.

    Args:    folder: an empty or missing folder.
             num_cases: 30 or more.
             size_px: side of the images, 32 or more.
             seed: the same seed writes the same bytes.
    Raises:  ValueError: when a number is too small.
    """
    check_numbers(num_cases, size_px)
    generator = np.random.default_rng(seed)
    labels = draw_labels(num_cases, generator)
    meta = _meta(labels, generator)
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    meta.to_csv(folder / "meta" / "meta.csv", index=False)
    for split, members in _splits(num_cases, generator).items():
        pd.DataFrame({"indexes": members}).to_csv(folder / "meta" / INDEX_FILES[split], index=False)
    seeds = generator.integers(0, 2**63, num_cases)

    def save(index: int) -> None:
        case = {task: column[index] for task, column in labels.items()}
        pixels = draw_lesion(case, size_px, np.random.default_rng(seeds[index]))
        path = folder / "images" / meta["derm"][index]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, format="JPEG", quality=92)

    with ThreadPoolExecutor() as pool:
        list(pool.map(save, range(num_cases)))


def draw_labels(num_cases: int, generator: np.random.Generator) -> dict[str, list[str]]:
    """Label of every case for every task; every label occurs at least once in any set of 30 cases or more.

    Args:    num_cases: how many.
             generator: decides.
    Returns: task → one label per case.
    """
    atypia = generator.normal(size=num_cases)
    labels = {task.name: _criterion(task, atypia, generator) for task in TASKS if task.name != "DIAG"}
    score = seven_point.scores(labels)
    above, below = MELANOMA_RATES
    melanoma = generator.random(num_cases) < np.where(score >= 3, above, below)
    melanoma[np.argmax(score)] = True
    others = [(name, count) for name, count in zip(TASKS[0].classes, FREQUENCIES["DIAG"], strict=True) if name != "MEL"]
    rest = iter(_draw([name for name, _ in others], [count for _, count in others], int((~melanoma).sum()), generator))
    return {"DIAG": ["MEL" if is_melanoma else next(rest) for is_melanoma in melanoma], **labels}


def _criterion(task: LabelTask, atypia: Float[np.ndarray, " cases"], generator: np.random.Generator) -> list[str]:
    """A criterion's labels with their frequencies exactly, those that score points on the more atypical cases."""
    own = generator.normal(size=len(atypia))
    order = np.argsort(np.sqrt(SHARED) * atypia + np.sqrt(1 - SHARED) * own, kind="stable")
    labels = np.empty(len(atypia), dtype=object)
    labels[order] = np.repeat(np.array(task.classes), _counts(FREQUENCIES[task.name], len(atypia)))
    return [str(label) for label in labels]


def _draw(classes: Sequence[str], frequencies: Sequence[int], num_cases: int, generator: np.random.Generator) -> list[str]:
    """As many of each label as its frequency asks, in random order."""
    return [str(name) for name in generator.permutation(np.repeat(np.array(classes), _counts(frequencies, num_cases)))]


def _counts(frequencies: Sequence[int], num_cases: int) -> Int[np.ndarray, " labels"]:
    """Cases of each label: its share of all, rounded, at least two."""
    shares = np.array(frequencies) / sum(frequencies)
    counts = np.maximum(np.floor(shares * num_cases).astype(int), 2)
    counts[int(np.argmax(counts))] += num_cases - counts.sum()
    return np.asarray(counts)


def _meta(labels: dict[str, list[str]], generator: np.random.Generator) -> pd.DataFrame:
    """`meta.csv` with the release's columns; each label stands as one of its raw strings."""
    num_cases = len(labels["DIAG"])
    raw = {column: [str(generator.choice(groups[label])) for label in labels[task]] for task, (column, groups) in GROUPS.items()}
    return pd.DataFrame(
        {
            "case_num": range(1, num_cases + 1),
            "diagnosis": raw["diagnosis"],
            "seven_point_score": seven_point.scores(labels),
            **{name: raw[name] for name in ("pigment_network", "streaks", "pigmentation", "regression_structures")},
            **{name: raw[name] for name in ("dots_and_globules", "blue_whitish_veil", "vascular_structures")},
            "level_of_diagnostic_difficulty": generator.choice(["low", "medium", "high"], num_cases),
            "elevation": generator.choice(["flat", "palpable", "nodular"], num_cases),
            "location": generator.choice(["back", "lower limbs", "abdomen", "chest", "head neck"], num_cases),
            "sex": generator.choice(["female", "male"], num_cases),
            "management": generator.choice(["excision", "clinical follow up", "no further examination"], num_cases),
            "clinic": [f"NEL/Nel{i:04d}_clinic.jpg" for i in range(num_cases)],
            "derm": [f"NEL/Nel{i:04d}.{'JPG' if i % 3 == 0 else 'jpg'}" for i in range(num_cases)],
            "case_id": "",
            "notes": "synthetic",
        }
    )


def _splits(num_cases: int, generator: np.random.Generator) -> dict[str, list[int]]:
    """Derm7pt's proportions of train, validation and test, cases in random order."""
    order = generator.permutation(num_cases)
    bounds = np.cumsum([SPLIT_SIZES[split] for split in SPLITS]) * num_cases // sum(SPLIT_SIZES.values())
    parts = np.split(order, bounds[:-1])
    return {split: sorted(int(index) for index in part) for split, part in zip(SPLITS, parts, strict=True)}
