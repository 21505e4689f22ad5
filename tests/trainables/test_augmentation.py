"""Random transformations of whole batches of images."""

import math

import pytest
import torch
from torch import Tensor

from trainables.augmentation import augment, random_transforms, to_unit_range

CPU = torch.device("cpu")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images_of(count: int = 4, size_px: int = 24) -> Tensor:
    return torch.rand(count, 3, size_px, size_px, generator=seeded(9))


def test_bytes_become_the_unit_interval() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    torch.testing.assert_close(to_unit_range(images).flatten(), torch.tensor([0.0, 0.2, 1.0]))


def test_strength_0_gives_the_images_back_and_draws_nothing() -> None:
    images, generator = images_of(), seeded(0)
    before = generator.get_state()
    assert torch.equal(augment(images, 0.0, generator), images)
    assert torch.equal(generator.get_state(), before)


def test_the_same_generator_state_gives_the_same_images() -> None:
    images, generator = images_of(), seeded(3)
    first = augment(images, 1.0, generator)
    assert torch.equal(augment(images, 1.0, seeded(3)), first)
    assert not torch.equal(augment(images, 1.0, generator), first)


@pytest.mark.parametrize("strength", [0.1, 1.0, 1.5])
def test_images_keep_their_shape_and_range(strength: float) -> None:
    images = images_of(64)
    found = augment(images, strength, seeded(0))
    assert found.shape == images.shape
    assert images.min() - 1e-6 <= found.min()
    assert found.max() <= images.max() + 1e-6


def test_an_even_image_stays_even() -> None:
    even = torch.full((32, 3, 20, 20), 0.25)
    torch.testing.assert_close(augment(even, 1.5, seeded(1)), even)


def test_every_image_is_transformed_by_its_own_amounts() -> None:
    same = images_of(1).expand(6, -1, -1, -1)
    found = augment(same, 1.0, seeded(2))
    for one in range(6):
        for other in range(one):
            assert not torch.allclose(found[one], found[other], atol=1e-3)


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.5])
def test_transforms_keep_areas_and_flip_both_axes(strength: float) -> None:
    transforms = random_transforms(400, strength, seeded(0), CPU)
    determinant = torch.linalg.det(transforms[:, :, :2])
    torch.testing.assert_close(determinant.abs(), torch.ones(400), rtol=1e-4, atol=1e-4)
    assert 140 < (determinant < 0).sum() < 260, "one flip of the two in half the cases"


def test_all_four_combinations_of_flips_occur_alike() -> None:
    # Barely turned, a transform is its flips.
    transforms = random_transforms(400, 1e-4, seeded(0), CPU)
    signs = torch.stack([transforms[:, 0, 0], transforms[:, 1, 1]], 1).round()
    for flip_x in (-1, 1):
        for flip_y in (-1, 1):
            count = (signs == torch.tensor([flip_x, flip_y])).all(1).sum()
            assert 70 < count < 130, (flip_x, flip_y)


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_sizes_at_a_strength_are_those_of_the_docstring(strength: float) -> None:
    transforms = random_transforms(4000, strength, seeded(0), CPU)
    shift = transforms[:, :, 2].abs() / 2  # -1 to 1 is a whole side
    for largest in shift.amax(0):
        assert 0.098 * strength < largest <= 0.1 * strength + 1e-6
    # The second row is the rotation's alone, times a flip; the sign of its cosine is the flip's for less than 90 degrees.
    angle = torch.atan2(transforms[:, 1, 0].abs(), transforms[:, 1, 1].abs())
    assert math.radians(89) * strength < angle.max() <= math.radians(90) * strength + 1e-5
    rotation = torch.stack([transforms[:, 1, 0], transforms[:, 1, 1]], 1)
    skew = (transforms[:, 0, :2] * rotation).sum(1).abs()
    assert math.tan(math.radians(9.9) * strength) < skew.max() <= math.tan(math.radians(10) * strength) + 1e-5


def test_a_flip_mirrors_the_image() -> None:
    images = images_of(40, 16)
    found = augment(images, 1e-4, seeded(4))
    mirrored = {(): 0, (3,): 0, (2,): 0, (2, 3): 0}
    for image, result in zip(images, found, strict=True):
        near = [axes for axes in mirrored if torch.allclose(image[None].flip(axes)[0], result, atol=0.02)]
        assert len(near) == 1
        mirrored[near[0]] += 1
    assert min(mirrored.values()) > 0
