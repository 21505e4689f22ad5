"""Random transformations of whole batches of images."""

import math

import pytest
import torch
from torch import Tensor

from trainables.augmentation import SIZES, SizesName, Turning, augment, random_transforms, to_unit_range, views

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
    assert torch.equal(augment(images, 0.0, "published", generator), images)
    assert torch.equal(generator.get_state(), before)


def test_the_same_generator_state_gives_the_same_images() -> None:
    images, generator = images_of(), seeded(3)
    first = augment(images, 1.0, "published", generator)
    assert torch.equal(augment(images, 1.0, "published", seeded(3)), first)
    assert not torch.equal(augment(images, 1.0, "published", generator), first)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("strength", [0.1, 1.0, 1.5])
def test_images_keep_their_shape_and_range(strength: float, sizes: SizesName) -> None:
    images = images_of(64)
    found = augment(images, strength, sizes, seeded(0))
    assert found.shape == images.shape
    assert images.min() - 1e-6 <= found.min()
    assert found.max() <= images.max() + 1e-6


def test_an_even_image_stays_even() -> None:
    even = torch.full((32, 3, 20, 20), 0.25)
    torch.testing.assert_close(augment(even, 1.5, "published", seeded(1)), even)


def test_every_image_is_transformed_by_its_own_amounts() -> None:
    same = images_of(1).expand(6, -1, -1, -1)
    found = augment(same, 1.0, "published", seeded(2))
    for one in range(6):
        for other in range(one):
            assert not torch.allclose(found[one], found[other], atol=1e-3)


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.5])
def test_transforms_without_zoom_keep_areas_and_flip_both_axes(strength: float) -> None:
    transforms = random_transforms(400, strength, "wide", seeded(0), CPU)
    determinant = torch.linalg.det(transforms[:, :, :2])
    torch.testing.assert_close(determinant.abs(), torch.ones(400), rtol=1e-4, atol=1e-4)
    assert 140 < (determinant < 0).sum() < 260, "one flip of the two in half the cases"


def test_all_four_combinations_of_flips_occur_alike() -> None:
    # Barely turned, a transform is its flips.
    transforms = random_transforms(400, 1e-4, "published", seeded(0), CPU)
    signs = torch.stack([transforms[:, 0, 0], transforms[:, 1, 1]], 1).round()
    for flip_x in (-1, 1):
        for flip_y in (-1, 1):
            count = (signs == torch.tensor([flip_x, flip_y])).all(1).sum()
            assert 70 < count < 130, (flip_x, flip_y)


@pytest.mark.parametrize(("sizes", "shear_degrees", "zoom"), [("published", 0.1, 0.1), ("wide", 10.0, 0.0)])
@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_sizes_at_a_strength_are_those_of_the_docstring(
    strength: float, sizes: SizesName, shear_degrees: float, zoom: float
) -> None:
    transforms = random_transforms(4000, strength, sizes, seeded(0), CPU).double()
    shift = transforms[:, :, 2].abs() / 2  # -1 to 1 is a whole side
    for largest in shift.amax(0):
        assert 0.098 * strength < largest <= 0.1 * strength + 1e-6
    # The second row is flip · (sin · zoom_x, cos · zoom_y), and the determinant flips · zoom_x · zoom_y.
    second, first = transforms[:, 1, :2], transforms[:, 0, :2]
    product = torch.linalg.det(transforms[:, :, :2]).abs()
    biggest = 1 + zoom * strength
    assert product.max() <= biggest**2 + 1e-5
    assert product.min() >= (1 - zoom * strength) ** 2 - 1e-5
    assert product.max() > 1 + 1.7 * zoom * strength - 1e-5, "both axes are zoomed, each by its own amount"
    # Barely zoomed, the second row is the rotation's alone: the sign of its cosine is the flip's for less than 90 degrees.
    angle = torch.atan2(second[:, 0].abs(), second[:, 1].abs())
    assert math.radians(89) * strength < angle.max() <= math.radians(90) * strength * (1 + zoom) + 1e-5
    if not zoom:
        skew = (first * second).sum(1).abs()
        assert math.tan(math.radians(9.9) * strength) < skew.max() <= math.tan(math.radians(10) * strength) + 1e-5


def test_the_published_shear_is_a_tenth_of_a_degree() -> None:
    """Keras' `shear_range` is in degrees. Where a case is not turned, its matrix is flip · (1, skew; 0, 1) · zoom."""
    assert math.degrees(SIZES["published"].shear_rad) == pytest.approx(0.1)
    transforms = random_transforms(200_000, 1.0, "published", seeded(0), CPU).double()
    straight = transforms[transforms[:, 1, 0].abs() < 2e-4]
    assert len(straight) > 10
    zoom = straight[:, 1, 1].abs()
    skew = (straight[:, 0, 1] / zoom).abs()
    assert skew.max() > 1e-3
    assert skew.max() < math.tan(math.radians(0.1)) + 4e-4
    turned = random_transforms(200_000, 1.0, "wide", seeded(0), CPU).double()
    straight = turned[turned[:, 1, 0].abs() < 2e-4]
    assert straight[:, 0, 1].abs().max() > 0.01


def test_a_flip_mirrors_the_image() -> None:
    images = images_of(40, 16)
    found = augment(images, 1e-4, "published", seeded(4))
    mirrored = {(): 0, (3,): 0, (2,): 0, (2, 3): 0}
    for image, result in zip(images, found, strict=True):
        near = [axes for axes in mirrored if torch.allclose(image[None].flip(axes)[0], result, atol=0.02)]
        assert len(near) == 1
        mirrored[near[0]] += 1
    assert min(mirrored.values()) > 0


def masks_of(images: Tensor) -> Tensor:
    """Two structures that are where the image is red and where it is green."""
    return (images[:, :2] > 0.5).float()


@pytest.mark.parametrize(("side", "size", "first"), [(8, 4, 2), (8, 5, 1), (9, 4, 2), (6, 6, 0)])
def test_without_turning_a_view_is_the_centre_exactly(side: int, size: int, first: int) -> None:
    images = images_of(3, side)
    found, masks = views(images, masks_of(images), size, "none", None)
    last = first + size
    assert torch.equal(found, images[:, :, first:last, first:last])
    assert torch.equal(masks, masks_of(images)[:, :, first:last, first:last])


@pytest.mark.parametrize(("side", "size"), [(12, 8), (10, 10), (11, 7)])
def test_quarter_turns_are_permutations_that_move_image_and_mask_alike(side: int, size: int) -> None:
    images = images_of(160, side)
    # Away from one half, so that a mask is where its own image is, whatever the interpolation's last bits.
    images = torch.where((images - 0.5).abs() < 0.01, torch.ones(()), images)
    found, masks = views(images, masks_of(images), size, "quarter_turns", seeded(5))
    assert torch.equal(masks, masks_of(found))
    start = (side - size) // 2
    centres = images[:, :, start : start + size, start : start + size]
    seen: dict[tuple[int, bool], int] = {}
    for centre, view, mask in zip(centres, found, masks, strict=True):
        poses = {
            (turns, mirrored): torch.rot90(centre.flip(2) if mirrored else centre, turns, (1, 2))
            for turns in range(4)
            for mirrored in (False, True)
        }
        near = [pose for pose, expected in poses.items() if torch.allclose(expected, view, atol=1e-5)]
        assert len(near) == 1
        assert torch.equal(masks_of(poses[near[0]][None])[0], mask)
        seen[near[0]] = seen.get(near[0], 0) + 1
    assert len(seen) == 8, "four turns, mirrored or not"
    assert min(seen.values()) >= 8


def discs(side: int, x: float, y: float, radius: float) -> Tensor:
    """A disc around a point, given from the centre in px."""
    axis = torch.arange(side) - (side - 1) / 2
    distance = ((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2).sqrt()
    return (distance <= radius).float()


def test_rotations_keep_sizes_and_move_image_and_mask_alike() -> None:
    disc = discs(64, 12, 3, 6)
    images, masks = disc.expand(40, 3, -1, -1), disc.expand(40, 1, -1, -1)
    found, turned = views(images, masks, 44, "rotations", seeded(1))
    area = float(disc.sum())
    assert ((turned.sum((1, 2, 3)) - area).abs() < 0.08 * area).all()
    assert ((found[:, 0].sum((1, 2)) - area).abs() < 0.03 * area).all()
    differing = ((found[:, :1] > 0.5).float() - turned).abs().sum((1, 2, 3))
    assert (differing < 0.1 * area).all()
    # The disc stays as far from the centre as it was, in all directions.
    axis = torch.arange(44) - 43 / 2
    x = (turned[:, 0] * axis[None, None, :]).sum((1, 2)) / turned.sum((1, 2, 3))
    y = (turned[:, 0] * axis[None, :, None]).sum((1, 2)) / turned.sum((1, 2, 3))
    torch.testing.assert_close((x**2 + y**2).sqrt(), torch.full((40,), math.hypot(12, 3)), rtol=0, atol=0.3)
    quadrants = {(bool(a > 0), bool(b > 0)) for a, b in zip(x, y, strict=True)}
    assert len(quadrants) == 4


def test_half_of_the_rotated_views_are_mirrored() -> None:
    # Three discs on an L: their turning sense tells whether a view is mirrored.
    images = torch.stack([discs(48, 0, 0, 4), discs(48, 14, 0, 4), discs(48, 0, 10, 4)]).expand(100, -1, -1, -1)
    found, _ = views(images, images[:, :1], 48, "rotations", seeded(2))
    axis = torch.arange(48) - 47 / 2
    mass = found.sum((2, 3))
    x, y = (found * axis).sum((2, 3)) / mass, (found * axis[:, None]).sum((2, 3)) / mass
    sense = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    assert 30 <= (sense < 0).sum() <= 70


@pytest.mark.parametrize("turning", ["rotations", "quarter_turns", "none"])
@pytest.mark.parametrize("size", [20, 15])
def test_masks_of_views_stay_0_or_1_and_images_in_their_range(turning: Turning, size: int) -> None:
    images = images_of(20, 20)
    found, masks = views(images, masks_of(images), size, turning, seeded(0))
    assert found.shape == (20, 3, size, size)
    assert masks.shape == (20, 2, size, size)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert images.min() - 1e-5 <= found.min()
    assert found.max() <= images.max() + 1e-5


@pytest.mark.parametrize("turning", ["rotations", "quarter_turns"])
def test_the_generator_alone_decides_a_view(turning: Turning) -> None:
    images, generator = images_of(6), seeded(3)
    first = views(images, masks_of(images), 16, turning, generator)
    torch.manual_seed(1)
    again = views(images, masks_of(images), 16, turning, seeded(3))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(views(images, masks_of(images), 16, turning, generator)[0], first[0])


@pytest.mark.parametrize("turning", ["none", "quarter_turns"])
@pytest.mark.parametrize(("side", "size"), [(9, 6), (10, 7), (8, 8)])
def test_a_random_crop_is_any_square_of_the_image_and_its_mask(turning: Turning, side: int, size: int) -> None:
    images = images_of(1, side)
    images = torch.where((images - 0.5).abs() < 0.01, torch.ones(()), images).expand(400, -1, -1, -1)
    found, masks = views(images, masks_of(images), size, turning, seeded(7), "random")
    assert torch.equal(masks, masks_of(found))
    poses = {
        (y, x, turns, mirrored): torch.rot90(square.flip(2) if mirrored else square, turns, (1, 2))
        for y in range(side - size + 1)
        for x in range(side - size + 1)
        for square in [images[0, :, y : y + size, x : x + size]]
        for turns in (range(4) if turning == "quarter_turns" else [0])
        for mirrored in ((False, True) if turning == "quarter_turns" else [False])
    }
    seen: dict[tuple[int, int], int] = {}
    for view in found:
        near = [pose for pose, expected in poses.items() if torch.allclose(expected, view, atol=1e-5)]
        assert len(near) == 1
        seen[near[0][:2]] = seen.get(near[0][:2], 0) + 1
    expected = 400 / (side - size + 1) ** 2
    assert len(seen) == (side - size + 1) ** 2, "every place"
    assert all(0.4 * expected < count < 1.8 * expected for count in seen.values())


def test_a_random_crop_follows_its_generator_and_a_centre_draws_nothing_for_it() -> None:
    images, generator = images_of(6), seeded(3)
    state = generator.get_state()
    views(images, masks_of(images), 16, "none", generator)
    assert torch.equal(generator.get_state(), state)
    first = views(images, masks_of(images), 16, "rotations", generator, "random")
    torch.manual_seed(1)
    again = views(images, masks_of(images), 16, "rotations", seeded(3), "random")
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], views(images, masks_of(images), 16, "rotations", seeded(3))[0])


def test_rotated_views_of_a_random_crop_look_all_over_the_image() -> None:
    """A ramp from left to right: the mean of a view tells where its middle lies."""
    side, size = 40, 20
    ramp = torch.linspace(0, 1, side).expand(300, 3, side, side)
    found, _ = views(ramp, ramp[:, :1], size, "rotations", seeded(2), "random")
    centres = found[:, 0, 8:12, 8:12].mean((1, 2))
    lowest, highest = (size / 2 - 0.5) / (side - 1), (side - size / 2 - 0.5) / (side - 1)
    assert lowest - 0.01 < centres.min() < lowest + 0.05
    assert highest - 0.05 < centres.max() < highest + 0.01
    still, _ = views(ramp, ramp[:, :1], size, "rotations", seeded(2))
    assert float((still[:, 0, 8:12, 8:12].mean((1, 2)) - 0.5).abs().max()) < 0.01
