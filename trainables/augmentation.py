"""Random rotation, flips, shift and shear of whole batches, on the device that trains."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

#: At strength 1.
ROTATION_RAD = math.pi / 2
SHIFT = 0.10
SHEAR_RAD = math.radians(10)


def to_unit_range(images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Bytes to [0, 1] (Coppola et al. 2020 scale images so)."""
    return images.float() / 255


def augment(
    images: Float[Tensor, "batch 3 height width"], strength: float, generator: torch.Generator
) -> Float[Tensor, "batch 3 height width"]:
    """Every image turned, flipped, shifted and sheared by its own random amounts, in one resampling.

    Source: Coppola et al. 2020, Section 5 names the four transformations, not their sizes
    Deviations: at strength 1 up to ±90°, ±10 % of the side, ±10°, both flips with probability one half; edges reflect.

    Args:    images: any range.
             strength: 0 gives the images back; rotation, shift and shear grow with it.
             generator: on the images' device.
    """
    if strength == 0:
        return images
    transforms = random_transforms(len(images), strength, generator, images.device)
    grid = F.affine_grid(transforms, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def random_transforms(
    count: int, strength: float, generator: torch.Generator, device: torch.device
) -> Float[Tensor, "count 2 3"]:
    """Affine matrices from output to input coordinates, in [-1, 1]: flip · shear · rotation, then the shift."""
    draws = torch.rand(6, count, generator=generator, device=device) * 2 - 1
    angle, shear = draws[0] * strength * ROTATION_RAD, draws[1] * strength * SHEAR_RAD
    flip_x, flip_y = torch.where(draws[2:4] < 0, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    skew = shear.tan()
    rows = [
        torch.stack([flip_x * (cos + skew * sin), flip_x * (skew * cos - sin), 2 * SHIFT * strength * draws[4]], -1),
        torch.stack([flip_y * sin, flip_y * cos, 2 * SHIFT * strength * draws[5]], -1),
    ]
    return torch.stack(rows, 1)
