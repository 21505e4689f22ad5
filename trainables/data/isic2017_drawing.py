"""Drawing dermoscopy-like lesions with the six structures of ISIC 2017, and where each one is."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from trainables.data.drawing import DARK_BROWN, WHITE, Canvas, Lesion, Plane, blend, geometry, place, smooth_noise, spot

_COLOURS = {"nevus": (0.58, 0.39, 0.27), "melanoma": (0.52, 0.35, 0.27), "keratosis": (0.62, 0.47, 0.28)}
_BLUE_BLACK = (0.16, 0.16, 0.26)


@dataclass(frozen=True)
class Drawing:
    """One image and the truth about it.

    Args:    pixels: RGB.
             lesion: its mask.
             regions: attribute → where it is drawn.
    """

    pixels: UInt8[np.ndarray, "size size 3"]
    lesion: Bool[np.ndarray, "size size"]
    regions: dict[str, Bool[np.ndarray, "size size"]]


def draw_case(kind: str, attributes: Collection[str], blotched: bool, size_px: int, generator: np.random.Generator) -> Drawing:
    """One image.

    Args:    kind: "nevus", "melanoma" or "keratosis"; shows as a faint hue only.
             attributes: names of `ATTRIBUTES` to draw.
             blotched: whether a blue-black blotch lies off the centre, the sign by which melanomas mostly give themselves away.
             size_px: side, 32 or more.
             generator: decides all that is left open.
    """
    lesion = geometry(size_px, "ABS", generator)
    skin = np.array([0.87, 0.70, 0.60]) + generator.normal(0, 0.02, 3)
    canvas: Canvas = np.broadcast_to(skin, (size_px, size_px, 3)) + 0.03 * smooth_noise(size_px, 6.0, generator)[..., None]
    canvas = blend(canvas, np.array(_COLOURS[kind]) + generator.normal(0, 0.025, 3), lesion.inside)
    if blotched:
        x, y = place(generator, 0.6)
        canvas = blend(canvas, _BLUE_BLACK, 0.7 * spot(lesion, x, y, generator.uniform(0.16, 0.28)) * lesion.inside)
    regions = {}
    for name, paint in _PAINTERS.items():
        if name in attributes:
            canvas, regions[name] = paint(canvas, lesion, generator)
    canvas = canvas * generator.uniform(0.92, 1.08) + generator.normal(0, 0.015, canvas.shape)
    return Drawing((255 * np.clip(canvas, 0, 1)).astype(np.uint8), lesion.inside > 0.5, regions)


Painted = tuple[Canvas, Bool[np.ndarray, "size size"]]


def _grid(lesion: Lesion, period: float) -> Plane:
    return np.asarray(np.maximum(np.cos(2 * np.pi * lesion.x / period), np.cos(2 * np.pi * lesion.y / period)) ** 4)


def _pigment_network(canvas: Canvas, lesion: Lesion, generator: np.random.Generator) -> Painted:
    """A grid of dark lines over a good part of the lesion."""
    x, y = place(generator, 0.4)
    region = spot(lesion, x, y, generator.uniform(0.5, 0.75)) * lesion.inside
    return blend(canvas, DARK_BROWN, 0.8 * _grid(lesion, 0.3) * region), region > 0.5


def _negative_network(canvas: Canvas, lesion: Lesion, generator: np.random.Generator) -> Painted:
    """A grid of light lines over a smaller part."""
    x, y = place(generator, 0.5)
    region = spot(lesion, x, y, generator.uniform(0.35, 0.5)) * lesion.inside
    return blend(canvas, WHITE, 0.7 * _grid(lesion, 0.34) * region), region > 0.5


def _milia_like_cysts(canvas: Canvas, lesion: Lesion, generator: np.random.Generator) -> Painted:
    """A few small white dots."""
    region = np.zeros_like(lesion.inside)
    for _ in range(int(generator.integers(3, 7))):
        x, y = place(generator, 0.75)
        region = np.maximum(region, spot(lesion, x, y, generator.uniform(0.07, 0.11)))
    return blend(canvas, (0.97, 0.94, 0.82), 0.95 * region), region > 0.5


def _streaks(canvas: Canvas, lesion: Lesion, generator: np.random.Generator) -> Painted:
    """Dark radial lines on one side of the border."""
    away = np.angle(np.exp(1j * (lesion.angle - generator.uniform(-np.pi, np.pi))))
    region = (np.abs(away) < 0.7) & (np.abs(lesion.radius - 1.0) < 0.18)
    return blend(canvas, DARK_BROWN, 0.9 * region * np.maximum(np.sin(26 * lesion.angle), 0)), region


_PAINTERS = {
    "pigment_network": _pigment_network,
    "negative_network": _negative_network,
    "milia_like_cyst": _milia_like_cysts,
    "streaks": _streaks,
}
