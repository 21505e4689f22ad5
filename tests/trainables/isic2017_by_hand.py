"""A small ISIC 2017 folder written by hand, with nothing from the library."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

FEATURES = ("pigment_network", "negative_network", "milia_like_cyst", "streaks")
WIDTH, HEIGHT = 12, 8


@dataclass
class Case:
    """One case: 2×2 superpixels of 6×4 px, numbered 0 1 / 2 3, and a lesion that fills the left half.

    Args:    melanoma: as in Part 3.
             features: feature → superpixels that show it, None for no JSON.
             superpixels: whether the index image is written.
             value: red of the image.
    """

    melanoma: float = 0.0
    features: Mapping[str, Sequence[int]] | None = field(default_factory=dict)
    superpixels: bool = True
    value: int = 100


def indices() -> np.ndarray:
    """The superpixel numbers, 8 × 12."""
    return np.kron(np.array([[0, 1], [2, 3]]), np.ones((4, 6), dtype=np.int64)).astype(np.int64)


def lesion() -> np.ndarray:
    """The left half, 8 × 12."""
    return np.arange(WIDTH)[None, :].repeat(HEIGHT, 0) < WIDTH // 2


def save_indices(file: Path, numbers: np.ndarray) -> None:
    """Writes red = the lowest byte, green the next, blue the highest, pixel by pixel."""
    pixels = np.zeros((*numbers.shape, 3), dtype=np.uint8)
    for row, column in np.ndindex(*numbers.shape):
        number = int(numbers[row, column])
        pixels[row, column] = (number % 256, number // 256 % 256, number // 65536)
    Image.fromarray(pixels).save(file)


def write_part(root: Path, part: str, cases: Mapping[str, Case]) -> None:
    """One part, "Training", "Validation" or "Test_v2"."""
    data, lesions, features = (root / f"ISIC-2017_{part}_{kind}" for kind in ("Data", "Part1_GroundTruth", "Part2_GroundTruth"))
    for folder in (data, lesions, features):
        folder.mkdir(parents=True)
    rows = ["image_id,melanoma,seborrheic_keratosis"]
    for name, case in cases.items():
        Image.new("RGB", (WIDTH, HEIGHT), (case.value, 80, 60)).save(data / f"{name}.jpg", comment=name)
        Image.fromarray(np.where(lesion(), 255, 0).astype(np.uint8)).save(lesions / f"{name}_segmentation.png")
        if case.superpixels:
            save_indices(data / f"{name}_superpixels.png", indices())
        if case.features is not None:
            lists = {feature: [int(i in case.features.get(feature, ())) for i in range(4)] for feature in FEATURES}
            (features / f"{name}_features.json").write_text(json.dumps(lists))
        rows.append(f"{name},{case.melanoma},0.0")
    (root / f"ISIC-2017_{part}_Part3_GroundTruth.csv").write_text("\n".join(rows) + "\n")


#: Training of four, Validation of two, Test_v2 of one.
PARTS: Mapping[str, Mapping[str, Case]] = {
    "Training": {
        "ISIC_0000001": Case(1.0, {"pigment_network": [0], "streaks": [0, 2]}),
        "ISIC_0000002": Case(0.0, {}),
        "ISIC_0000003": Case(0.0, {"milia_like_cyst": [3]}, superpixels=False),
        "ISIC_0000004": Case(1.0, None),
    },
    "Validation": {"ISIC_0000010": Case(0.0, {"negative_network": [1]}), "ISIC_0000011": Case(1.0, {"pigment_network": [2, 3]})},
    "Test_v2": {"ISIC_0000020": Case(0.0, {})},
}


def write_set(root: Path, parts: Mapping[str, Mapping[str, Case]] = PARTS) -> Path:
    """A whole set."""
    for part, cases in parts.items():
        write_part(root, part, cases)
    return root
