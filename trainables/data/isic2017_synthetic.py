"""Synthetic cases in the ISIC 2017 challenge's real layout: six structures that one can see, superpixels, diagnoses."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from PIL import Image

from trainables.data.drawing import check_numbers
from trainables.data.isic2017 import PARTS, Part
from trainables.data.isic2017_drawing import Drawing, draw_case
from trainables.data.masks import encode_superpixels
from trainables.data.segmented import ATTRIBUTES

#: Cases among the challenge's 2000 training images (Esteve-Cogollos & Fernández-Torres 2020, Table 1).
PRESENCE = {"pigment_network": 1131, "negative_network": 126, "milia_like_cyst": 573, "streaks": 116}
MELANOMAS, KERATOSES, TRAINING_CASES = 374, 254, 2000
#: Shares of the parts. The challenge's 150 validation images of 2750 would leave a small set hardly any.
SHARES = {"train": 0.6, "valid": 0.25, "test": 0.15}
#: How often a melanoma, and any other lesion, shows a blotch.
BLOTCHED = (0.9, 0.06)
#: How much likelier an attribute of malignancy makes a melanoma, as a factor on its odds.
SUSPICIOUS = {"negative_network": 4.0, "streaks": 5.0}
_SUPERPIXEL_PX = 40
_COVERED = 0.25


def write(folder: Path, num_cases: int, size_px: int, seed: int) -> None:
    """Writes images, superpixels, and the ground truth of Parts 1 to 3 for Training, Validation and Test_v2.

    Attributes occur as often as in Table 1, melanomas and seborrheic keratoses as in the challenge. A melanoma mostly shows a
    blue-black blotch, and is likelier where there are streaks or a negative network.

    Args:    folder: an empty or missing folder.
             num_cases: 30 or more, all parts together.
             size_px: side of the images, 32 or more.
             seed: the same seed writes the same bytes.
    Raises:  ValueError: when a number is too small.
    """
    check_numbers(num_cases, size_px)
    generator = np.random.default_rng(seed)
    present, kinds = draw_labels(num_cases, generator)
    splits = _splits(kinds, generator)
    names = [f"ISIC_{index:07d}" for index in range(num_cases)]
    for split, members in splits.items():
        part = Part(folder, PARTS[split])
        for place in (part.images, part.lesion("").parent, part.features("").parent):
            place.mkdir(parents=True)
        table = {
            "image_id": [names[i] for i in members],
            "melanoma": [float(kinds[i] == "melanoma") for i in members],
            "seborrheic_keratosis": [float(kinds[i] == "keratosis") for i in members],
        }
        pd.DataFrame(table).to_csv(part.diagnoses, index=False)
    seeds = generator.integers(0, 2**63, num_cases)
    part_of = {int(index): Part(folder, PARTS[split]) for split, members in splits.items() for index in members}

    def save(index: int) -> None:
        own = np.random.default_rng(seeds[index])
        blotched = own.random() < BLOTCHED[0 if kinds[index] == "melanoma" else 1]
        drawing = draw_case(kinds[index], [name for name in ATTRIBUTES if present[name][index]], blotched, size_px, own)
        _save(part_of[index], names[index], drawing)

    with ThreadPoolExecutor() as pool:
        list(pool.map(save, range(num_cases)))


def draw_labels(num_cases: int, generator: np.random.Generator) -> tuple[Mapping[str, Bool[np.ndarray, " cases"]], list[str]]:
    """Attributes and kind of every case, as often as the frequencies ask, at least twice each.

    Returns: attribute → whether a case has it; "melanoma", "keratosis" or "nevus" of each case.
    """

    def count(of_training: int) -> int:
        return max(2, round(num_cases * of_training / TRAINING_CASES))

    present = {name: generator.permutation(num_cases) < count(PRESENCE[name]) for name in ATTRIBUTES}
    odds = np.prod([np.where(present[name], factor, 1.0) for name, factor in SUSPICIOUS.items()], axis=0)
    # Larger keys win: weighted sampling without replacement (Efraimidis & Spirakis 2006).
    order = np.argsort(-(generator.random(num_cases) ** (1 / odds)))
    kinds = np.full(num_cases, "nevus", dtype="<U9")
    melanomas = count(MELANOMAS)
    kinds[order[:melanomas]] = "melanoma"
    kinds[generator.permutation(order[melanomas:])[: count(KERATOSES)]] = "keratosis"
    return present, [str(kind) for kind in kinds]


def _splits(kinds: Sequence[str], generator: np.random.Generator) -> dict[str, list[int]]:
    """Each part gets its share of the melanomas, so that every one has both diagnoses."""
    melanoma = np.array([kind == "melanoma" for kind in kinds])
    found: dict[str, list[int]] = {split: [] for split in SHARES}
    for group in (np.flatnonzero(melanoma), np.flatnonzero(~melanoma)):
        bounds = np.round(np.cumsum(list(SHARES.values())) * len(group)).astype(int)[:-1]
        for split, part in zip(SHARES, np.split(generator.permutation(group), bounds), strict=True):
            found[split] += map(int, part)
    return {split: sorted(members) for split, members in found.items()}


def _save(part: Part, name: str, drawing: Drawing) -> None:
    indices = superpixels(drawing)
    Image.fromarray(drawing.pixels).save(part.images / f"{name}.jpg", quality=92)
    Image.fromarray(encode_superpixels(indices)).save(part.superpixels(name))
    Image.fromarray(np.where(drawing.lesion, 255, 0).astype(np.uint8)).save(part.lesion(name))
    lists = {attribute: covered(indices, drawing.regions.get(attribute)) for attribute in ATTRIBUTES}
    part.features(name).write_text(json.dumps({attribute: values.astype(int).tolist() for attribute, values in lists.items()}))


def superpixels(drawing: Drawing) -> Int[np.ndarray, "size size"]:
    """SLIC superpixels of about 40 px each, numbered from 0 without gaps."""
    from skimage.segmentation import slic  # slow to import, and needed only to draw

    count = max(4, drawing.lesion.size // _SUPERPIXEL_PX)
    found = slic(drawing.pixels, n_segments=count, compactness=12, start_label=0)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape).astype(np.int64)


def covered(
    indices: Int[np.ndarray, "size size"], region: Bool[np.ndarray, "size size"] | None
) -> Bool[np.ndarray, " superpixels"]:
    """Which superpixels an annotator would mark: those that the region covers by a quarter, at least the most covered.

    Args:    indices: of the superpixels.
             region: None where the attribute is absent.
    """
    inside = np.zeros(indices.size) if region is None else region.ravel().astype(float)
    shares = np.bincount(indices.ravel(), inside) / np.bincount(indices.ravel())
    return np.asarray((shares > 0) & (shares >= min(_COVERED, float(shares.max()))))
