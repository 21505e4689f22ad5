"""Random rotation, flips, shift, shear and zoom of whole batches, on the device that trains; masks may move with their images."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

Turning = Literal["rotations", "quarter_turns", "none"]
Crop = Literal["centre", "random"]
SizesName = Literal["published", "wide"]


@dataclass(frozen=True)
class Sizes:
    """The largest transformations at strength 1, each to either side.

    Args:    rotation_rad, shear_rad: radians.
             shift: share of the side, along each axis.
             zoom: share by which each axis may be stretched or shrunk.
    """

    rotation_rad: float
    shift: float
    shear_rad: float
    zoom: float


#: Value of the field `augmentation_sizes` → sizes. Keras' `shear_range` is in degrees, so the authors' 0.1 hardly shears.
SIZES: dict[SizesName, Sizes] = {
    "published": Sizes(rotation_rad=math.pi / 2, shift=0.10, shear_rad=math.radians(0.1), zoom=0.10),
    "wide": Sizes(rotation_rad=math.pi / 2, shift=0.10, shear_rad=math.radians(10), zoom=0.0),
}


def to_unit_range(images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Bytes to [0, 1] (Coppola et al. 2020 scale images so)."""
    return images.float() / 255


def augment(
    images: Float[Tensor, "batch 3 height width"], strength: float, sizes: SizesName, generator: torch.Generator
) -> Float[Tensor, "batch 3 height width"]:
    """Every image turned, flipped, shifted, sheared and zoomed by its own random amounts, in one resampling.

    Source: Coppola et al. 2020, Section 5 names rotation, flips, shift and shear, not their sizes; the authors' code has a shear
        of 0.1° and a zoom of ±10 % along each axis
    Deviations: how far the authors rotate and shift is not known: ±90° and ±10 % of the side at strength 1; both flips with
        probability one half; edges reflect. "wide" is ours: a shear of ±10° and no zoom.

    Args:    images: any range.
             strength: 0 gives the images back; all but the flips grows with it.
             sizes: key of `SIZES`.
             generator: on the images' device.
    """
    if strength == 0:
        return images
    transforms = random_transforms(len(images), strength, sizes, generator, images.device)
    grid = F.affine_grid(transforms, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def random_transforms(
    count: int, strength: float, sizes: SizesName, generator: torch.Generator, device: torch.device
) -> Float[Tensor, "count 2 3"]:
    """Affine matrices from output to input coordinates, in [-1, 1]: flip · shear · rotation · zoom, then the shift."""
    size = SIZES[sizes]
    draws = torch.rand(8, count, generator=generator, device=device) * 2 - 1
    angle, shear = draws[0] * strength * size.rotation_rad, draws[1] * strength * size.shear_rad
    flip_x, flip_y = torch.where(draws[2:4] < 0, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    skew = shear.tan()
    zoom_x, zoom_y = 1 + strength * size.zoom * draws[6:8]
    shift_x, shift_y = 2 * strength * size.shift * draws[4:6]
    rows = [
        torch.stack([flip_x * (cos + skew * sin) * zoom_x, flip_x * (skew * cos - sin) * zoom_y, shift_x], -1),
        torch.stack([flip_y * sin * zoom_x, flip_y * cos * zoom_y, shift_y], -1),
    ]
    return torch.stack(rows, 1)


def views(
    images: Float[Tensor, "batch 3 side side"],
    masks: Float[Tensor, "batch structures side side"],
    size: int,
    turning: Turning,
    generator: torch.Generator | None,
    crop: Crop = "centre",
) -> tuple[Float[Tensor, "batch 3 size size"], Float[Tensor, "batch structures size size"]]:
    """Squares out of images and masks, each pair turned and flipped by its own random amounts first, in one resampling.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 4.1: centre crop, "random rotations and flippings" of both
    Deviations: none; what a rotation turns in from outside is reflected. Masks take the nearest cell and stay 0 or 1.

    Args:    images, masks: square.
             size: side of the square, at most that of the images.
             turning: "rotations" by any angle or "quarter_turns", both with flips; "none" just cuts out the square.
             generator: on the images' device; decides how they are turned. None draws from torch's global one.
             crop: where the square lies: in the "centre", or anywhere in the image by "random".
    """
    side = images.shape[-1]
    # Where the margins are unequal, the centre that is cut out lies half a cell off.
    start = torch.full((2, len(images)), (side - size) // 2, device=images.device)
    if crop == "random":
        start = torch.randint(side - size + 1, start.shape, generator=generator, device=images.device)
    if turning == "none" and crop == "centre":
        centre = slice((side - size) // 2, (side - size) // 2 + size)
        return images[..., centre, centre], masks[..., centre, centre]
    if turning == "none":
        return _cut(images, start, size), _cut(masks, start, size)
    draws = torch.rand(2, len(images), generator=generator, device=images.device)
    angle = 2 * math.pi * draws[0] if turning == "rotations" else math.pi / 2 * torch.floor(4 * draws[0])
    flip = torch.where(draws[1] < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() * size / side, angle.sin() * size / side
    down, across = (2 * start - (side - size)) / side
    transforms = torch.stack([torch.stack([flip * cos, -flip * sin, across], -1), torch.stack([sin, cos, down], -1)], 1)
    grid = F.affine_grid(transforms, [len(images), 3, size, size], align_corners=False)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return turned, F.grid_sample(masks, grid, mode="nearest", padding_mode="reflection", align_corners=False)


def _cut(
    maps: Float[Tensor, "batch channels side side"], start: Int[Tensor, "2 batch"], size: int
) -> Float[Tensor, "batch channels size size"]:
    """A square of each map, from its own row and column on."""
    rows, columns = start.unsqueeze(-1) + torch.arange(size, device=maps.device)
    case, channel = (torch.arange(count, device=maps.device) for count in maps.shape[:2])
    return maps[case.view(-1, 1, 1, 1), channel.view(1, -1, 1, 1), rows[:, None, :, None], columns[:, None, None, :]]
