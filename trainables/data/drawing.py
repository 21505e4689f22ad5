"""Drawing dermoscopy-like lesions whose seven-point attributes a person can see."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

from spaces.errors import RequestError

Canvas = Float[np.ndarray, "size size 3"]
Plane = Float[np.ndarray, "size size"]

#: Hue of the lesion by diagnosis, faint: most of the diagnosis lies in the attributes.
LESION_COLOURS = {
    "BCC": (0.66, 0.42, 0.38),
    "NEV": (0.56, 0.38, 0.26),
    "MEL": (0.50, 0.35, 0.27),
    "MISC": (0.62, 0.36, 0.30),
    "SK": (0.60, 0.46, 0.26),
}
DARK_BROWN = (0.22, 0.13, 0.08)
BLUE_WHITE = (0.55, 0.62, 0.78)
WHITE = (0.90, 0.86, 0.84)
RED = (0.78, 0.14, 0.16)


MINIMUM_CASES, MINIMUM_SIZE_PX = 30, 32


def check_numbers(num_cases: int, size_px: int) -> None:
    """Refuses a set in which a label might not occur, or images on which nothing could be seen.

    Raises:  RequestError: when a number is too small.
    """
    if num_cases < MINIMUM_CASES or size_px < MINIMUM_SIZE_PX:
        raise RequestError(
            f"a synthetic set must have {MINIMUM_CASES} cases and {MINIMUM_SIZE_PX} px or more; got {num_cases} and {size_px}"
            " (--cases, --size)"
        )


@dataclass(frozen=True)
class Lesion:
    """Geometry of one lesion in units of its own radius.

    Args:    x, y: offset from its centre divided by its half-axes.
             radius: distance from the centre, 1 on the border.
             angle: around the centre, -π to π.
             inside: soft mask, 0 to 1.
             pixel: length of one pixel in these units.
    """

    x: Plane
    y: Plane
    radius: Plane
    angle: Plane
    inside: Plane
    pixel: float


def draw_lesion(labels: Mapping[str, str], size_px: int, generator: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
    """One image with the attributes that its labels name.

    Args:    labels: task → label, all eight tasks of Derm7pt.
             size_px: side, 32 or more.
             generator: decides all that the labels leave open.
    """
    lesion = geometry(size_px, labels["STR"], generator)
    skin = np.array([0.86, 0.68, 0.58]) + generator.normal(0, 0.02, 3)
    canvas: Canvas = np.broadcast_to(skin, (size_px, size_px, 3)) + 0.03 * smooth_noise(size_px, 6.0, generator)[..., None]
    colour = np.array(LESION_COLOURS[labels["DIAG"]]) + generator.normal(0, 0.025, 3)
    canvas = blend(canvas, colour, lesion.inside)
    for task, paint in (("PIG", _pigmentation), ("PN", _network), ("RS", _regression), ("BWV", _veil)):
        canvas = paint(canvas, lesion, labels[task], generator)
    for task, paint in (("DaG", _globules), ("VS", _vessels)):
        canvas = paint(canvas, lesion, labels[task], generator)
    canvas = canvas * generator.uniform(0.92, 1.08) + generator.normal(0, 0.015, canvas.shape)
    return (255 * np.clip(canvas, 0, 1)).astype(np.uint8)


def geometry(size_px: int, streaks: str, generator: np.random.Generator) -> Lesion:
    """An ellipse with a wavy border; streaks (REG, IR) are spikes on it."""
    axis = (np.arange(size_px) + 0.5) / size_px * 2 - 1
    turn = generator.uniform(-np.pi, np.pi)
    centre = generator.uniform(-0.12, 0.12, 2)
    half_axes = generator.uniform(0.58, 0.74, 2)
    dx, dy = axis[None, :] - centre[0], axis[:, None] - centre[1]
    x = (dx * np.cos(turn) + dy * np.sin(turn)) / half_axes[0]
    y = (-dx * np.sin(turn) + dy * np.cos(turn)) / half_axes[1]
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    border = 1 + 0.05 * np.sin(3 * angle + generator.uniform(0, 6)) + 0.03 * np.sin(5 * angle + generator.uniform(0, 6))
    if streaks != "ABS":
        # Streaks are radial spikes on the border: all around when regular, long and on one side when irregular.
        spikes = np.maximum(np.sin(18 * angle), 0) ** 2
        side = 1.0 if streaks == "REG" else 1.9 * (np.cos(angle - generator.uniform(-np.pi, np.pi)) > 0.2)
        border = border + 0.22 * spikes * side
    softness = 0.05
    inside = 1 / (1 + np.exp((radius - border) / softness * 2))
    return Lesion(x=x, y=y, radius=radius, angle=angle, inside=inside, pixel=2 / size_px / float(half_axes.mean()))


def smooth_noise(size_px: int, scale: float, generator: np.random.Generator) -> Plane:
    """Noise of deviation 1 with features about 1/scale of the image wide."""
    noise = gaussian_filter(generator.normal(size=(size_px, size_px)), size_px / scale / 2)
    return np.asarray(noise / noise.std())


def blend(canvas: Canvas, colour: object, mask: Plane) -> Canvas:
    """The canvas with a colour laid over it as far as the mask, 0 to 1, says."""
    return np.asarray(canvas + (np.asarray(colour) - canvas) * np.clip(mask, 0, 1)[..., None])


def spot(lesion: Lesion, x: float, y: float, radius: float) -> Plane:
    """A soft disc, 0 to 1, in units of the lesion's radius."""
    distance = np.hypot(lesion.x - x, lesion.y - y)
    return 1 / (1 + np.exp((distance - radius) / max(lesion.pixel, 0.02) * 1.5))


def place(generator: np.random.Generator, reach: float) -> tuple[float, float]:
    """A random point within `reach` of the lesion's centre."""
    radius, angle = reach * np.sqrt(generator.random()), generator.uniform(-np.pi, np.pi)
    return float(radius * np.cos(angle)), float(radius * np.sin(angle))


def _pigmentation(canvas: Canvas, lesion: Lesion, label: str, generator: np.random.Generator) -> Canvas:
    """Regular: an even, darker core; irregular: dark blotches off the centre."""
    if label == "REG":
        return blend(canvas, DARK_BROWN, 0.55 * spot(lesion, 0.0, 0.0, 0.5))
    if label == "IR":
        for _ in range(3):
            x, y = place(generator, 0.75)
            canvas = blend(canvas, DARK_BROWN, 0.75 * spot(lesion, x, y, generator.uniform(0.15, 0.32)) * lesion.inside)
    return canvas


def _network(canvas: Canvas, lesion: Lesion, label: str, generator: np.random.Generator) -> Canvas:
    """Typical: a fine even grid; atypical: a coarse, bent and broken one."""
    if label == "ABS":
        return canvas
    size_px = len(canvas)
    if label == "TYP":
        period, strength, bend = 0.26, 0.55, 0.0
    else:
        period, strength, bend = 0.42, 0.95, 0.12
    x = lesion.x + bend * smooth_noise(size_px, 5.0, generator)
    y = lesion.y + bend * smooth_noise(size_px, 5.0, generator)
    lines = np.maximum(np.cos(2 * np.pi * x / period), np.cos(2 * np.pi * y / period)) ** 4
    if label == "ATP":
        lines = lines * (smooth_noise(size_px, 4.0, generator) > -0.4)
    return blend(canvas, DARK_BROWN, strength * lines * lesion.inside)


def _regression(canvas: Canvas, lesion: Lesion, label: str, generator: np.random.Generator) -> Canvas:
    """Present: a white, scar-like area."""
    if label == "ABS":
        return canvas
    x, y = place(generator, 0.6)
    return blend(canvas, WHITE, 0.85 * spot(lesion, x, y, generator.uniform(0.25, 0.36)) * lesion.inside)


def _veil(canvas: Canvas, lesion: Lesion, label: str, generator: np.random.Generator) -> Canvas:
    """Present: a bluish, structureless film over a third of the lesion."""
    if label == "ABS":
        return canvas
    x, y = place(generator, 0.5)
    return blend(canvas, BLUE_WHITE, 0.8 * spot(lesion, x, y, generator.uniform(0.42, 0.58)) * lesion.inside)


def _globules(canvas: Canvas, lesion: Lesion, label: str, generator: np.random.Generator) -> Canvas:
    """Regular: even dots on a ring; irregular: dots of all sizes anywhere."""
    if label == "REG":
        turn = generator.uniform(0, 6)
        places = [(0.72 * np.cos(turn + a), 0.72 * np.sin(turn + a), 0.07) for a in np.linspace(0, 2 * np.pi, 12)[:-1]]
    elif label == "IR":
        places = [(*place(generator, 0.8), generator.uniform(0.05, 0.15)) for _ in range(9)]
    else:
        places = []
    for x, y, radius in places:
        canvas = blend(canvas, (0.12, 0.08, 0.06), 0.9 * spot(lesion, x, y, radius))
    return canvas


def _vessels(canvas: Canvas, lesion: Lesion, label: str, generator: np.random.Generator) -> Canvas:
    """Regular: a few long red curves; irregular: many red dots and dashes."""
    if label == "REG":
        for _ in range(3):
            turn, bow = generator.uniform(-np.pi, np.pi), generator.uniform(-0.5, 0.5)
            along = lesion.x * np.cos(turn) + lesion.y * np.sin(turn)
            across = -lesion.x * np.sin(turn) + lesion.y * np.cos(turn) - bow * (1 - along**2)
            canvas = blend(canvas, RED, 0.9 * np.exp(-((across / 0.06) ** 2)) * (np.abs(along) < 0.8) * lesion.inside)
    elif label == "IR":
        for _ in range(14):
            x, y = place(generator, 0.85)
            canvas = blend(canvas, RED, 0.95 * spot(lesion, x, y, 0.075))
    return canvas
