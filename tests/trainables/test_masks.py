"""Masks of structures: superpixel codes, Eq. 17 to 19, what does not fit, and the cache of bits."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from isic2017_by_hand import FEATURES, HEIGHT, PARTS, WIDTH, Case, indices, lesion, save_indices, write_set
from PIL import Image

from trainables.attentive.data import on_device, unpack
from trainables.data import masks
from trainables.data.images import load_images
from trainables.data.isic2017 import read
from trainables.data.masks import (
    decode_superpixels,
    encode_superpixels,
    inspect,
    load_masks,
    masks_of,
    read_planes,
    structure_masks,
)
from trainables.data.segmented import SegmentedCases
from trainables.errors import DataError

CPU = torch.device("cpu")
DATA, LESIONS, JSONS = (f"ISIC-2017_Training_{kind}" for kind in ("Data", "Part1_GroundTruth", "Part2_GroundTruth"))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Seven cases of 12×8 px with four superpixels each, in a folder whose name has a space."""
    return write_set(tmp_path / "isic 2017 release")


@pytest.fixture
def cache(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "the cache"))
    return tmp_path / "the cache" / "masks"


def whole_masks(cases: SegmentedCases, index: int) -> tuple[np.ndarray, np.ndarray | None]:
    """A case's six masks at full size and its superpixels."""
    seen, numbers = read_planes(cases, index)
    return masks_of(seen, numbers, cases.annotations[index]), numbers


def entries(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.suffix != ".lock"]


def lesion_file(release: Path, case: str = "ISIC_0000001") -> Path:
    return release / LESIONS / f"{case}_segmentation.png"


def superpixel_file(release: Path, case: str = "ISIC_0000001") -> Path:
    return release / DATA / f"{case}_superpixels.png"


def write_features(release: Path, length: int, case: str = "ISIC_0000001", **present: list[int]) -> None:
    lists = {name: [int(i in present.get(name, [])) for i in range(length)] for name in FEATURES}
    (release / JSONS / f"{case}_features.json").write_text(json.dumps(lists))


def nearest(array: np.ndarray, size: int) -> np.ndarray:
    """For each of size × size cells the value under its centre, cell by cell."""
    height, width = array.shape
    found = np.zeros((size, size), dtype=array.dtype)
    for row in range(size):
        for column in range(size):
            found[row, column] = array[(2 * row + 1) * height // (2 * size), (2 * column + 1) * width // (2 * size)]
    return found


@pytest.mark.parametrize(
    ("colour", "index"),
    [
        ((0, 0, 0), 0),
        ((255, 0, 0), 255),
        ((0, 1, 0), 256),
        ((1, 1, 0), 257),
        ((44, 1, 0), 300),
        ((255, 255, 0), 65535),
        ((0, 0, 1), 65536),
        ((112, 17, 1), 70000),
        ((255, 255, 255), 2**24 - 1),
    ],
)
def test_a_colour_stands_for_its_index(colour: tuple[int, int, int], index: int) -> None:
    pixel = np.array([[colour]], dtype=np.uint8)
    found = decode_superpixels(pixel)
    assert found.dtype == np.int32
    assert found.tolist() == [[index]]
    assert encode_superpixels(np.array([[index]])).tolist() == pixel.tolist()


def test_indices_survive_their_colours() -> None:
    numbers = np.concatenate([np.arange(1000), np.arange(65000, 66000), np.random.default_rng(0).integers(0, 2**24, 1000)])
    numbers = numbers.reshape(50, 60)
    assert np.array_equal(decode_superpixels(encode_superpixels(numbers)), numbers)


@pytest.mark.parametrize("first", [254, 65534])
def test_attributes_fall_on_superpixels_above_a_byte(release: Path, first: int) -> None:
    save_indices(superpixel_file(release), indices() + first)
    write_features(release, first + 4, streaks=[first + 1], pigment_network=[first + 2, first + 3])
    found, numbers = whole_masks(read(release), 0)
    assert np.array_equal(numbers, indices() + first)
    expected = [indices() >= 2, indices() < 0, indices() < 0, indices() == 1]
    assert np.array_equal(found[2:], np.stack(expected))


def by_hand(lesion: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """Eq. 17 to 19, pixel by pixel: dermoscopic, skin = neither, lesion' = what is left."""
    found = np.zeros((2 + len(attributes), *lesion.shape), dtype=bool)
    for row in range(lesion.shape[0]):
        for column in range(lesion.shape[1]):
            shown = [bool(attribute[row, column]) for attribute in attributes]
            if any(shown):
                for number, one in enumerate(shown):
                    found[2 + number, row, column] = one
            elif lesion[row, column]:
                found[0, row, column] = True
            else:
                found[1, row, column] = True
    return found


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_six_structures_are_those_of_the_equations(share: float) -> None:
    generator = np.random.default_rng(1)
    lesion, attributes = generator.random((9, 13)) < 0.5, generator.random((4, 9, 13)) < share
    found = structure_masks(lesion, attributes)
    assert np.array_equal(found, by_hand(lesion, attributes))
    assert np.array_equal(found[2:], attributes)
    assert not (found[0] & found[1]).any()
    assert not (found[:2].any(0) & attributes.any(0)).any()
    assert found.any(0).all()


def test_an_attribute_outside_the_lesion_is_no_skin_and_inside_it_no_lesion() -> None:
    lesion = np.array([[True, True, False, False]])
    attributes = np.zeros((4, 1, 4), dtype=bool)
    attributes[0, 0, 1:3] = attributes[3, 0, 1] = True
    found = structure_masks(lesion, attributes)
    assert found[:, 0].astype(int).tolist() == [
        [1, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 1, 1, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 1, 0, 0],
    ]


def test_a_cases_masks_are_those_written_in_it(release: Path) -> None:
    found, numbers = whole_masks(read(release), 0)
    assert np.array_equal(numbers, indices())
    shown = np.isin(indices(), [0, 2])
    expected = [lesion() & ~shown, ~lesion() & ~shown, indices() == 0, indices() < 0, indices() < 0, shown]
    assert np.array_equal(found, np.stack(expected))


@pytest.mark.parametrize("case", [2, 3])
def test_unknown_attributes_leave_lesion_and_skin(release: Path, case: int) -> None:
    found, numbers = whole_masks(read(release), case)
    assert np.array_equal(found[0], lesion())
    assert np.array_equal(found[1], ~lesion())
    assert not found[2:].any()
    assert numbers is None


def lesion_image(mode: str) -> Image.Image:
    grey = Image.fromarray(np.where(lesion(), 255, 0).astype(np.uint8))
    if mode == "RGBA":
        image = grey.convert("RGB")
        image.putalpha(255)
        return image
    if mode == "1":
        return grey.convert("1")
    if mode == "16":
        return Image.fromarray(np.where(lesion(), 65535, 0).astype(np.uint16))
    if mode == "P":
        image = Image.fromarray(lesion().astype(np.uint8), mode="L").convert("P")
        image.putpalette([0, 0, 0, 255, 255, 255])
        return image
    return grey.convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "1", "16"])
def test_a_lesion_mask_of_any_kind_is_the_same_mask(release: Path, mode: str) -> None:
    lesion_image(mode).save(lesion_file(release, "ISIC_0000002"))
    found, _ = whole_masks(read(release), 1)
    assert np.array_equal(found[0], lesion())


def test_a_grey_lesion_mask_is_cut_in_the_middle(release: Path) -> None:
    values = np.tile(np.array([0, 1, 127, 128, 254, 255], dtype=np.uint8), (HEIGHT, 2))
    Image.fromarray(values).save(lesion_file(release, "ISIC_0000002"))
    found, _ = whole_masks(read(release), 1)
    assert np.array_equal(found[0], values >= 128)


def test_a_16_bit_lesion_mask_is_cut_in_the_middle(release: Path) -> None:
    values = np.tile(np.array([0, 300, 32767, 32768, 65000, 65535], dtype=np.uint16), (HEIGHT, 2))
    Image.fromarray(values).save(lesion_file(release, "ISIC_0000002"))
    found, _ = whole_masks(read(release), 1)
    assert np.array_equal(found[0], values >= 32768)


def test_a_lesion_mask_of_0_and_1_is_not_taken_for_an_empty_one(release: Path) -> None:
    """Tools often write a mask as 0 and 1; an empty lesion must not be what training sees, unless it is told."""
    Image.fromarray(lesion().astype(np.uint8)).save(lesion_file(release, "ISIC_0000002"))
    cases = read(release)
    told = [problem.split(":")[0] for problem in inspect(cases).problems]
    assert told == ["ISIC_0000002"] or np.array_equal(whole_masks(cases, 1)[0][0], lesion())


def test_superpixels_with_an_alpha_channel_are_the_same(release: Path) -> None:
    with Image.open(superpixel_file(release)) as image:
        with_alpha = image.convert("RGBA")
    with_alpha.save(superpixel_file(release))
    assert np.array_equal(whole_masks(read(release), 0)[1], indices())


@pytest.mark.parametrize("mode", ["L", "RGBA", "1", "P", "CMYK"])
def test_an_image_of_any_kind_is_taken(release: Path, mode: str) -> None:
    file = release / DATA / "ISIC_0000002.jpg"
    Image.new("RGB", (WIDTH, HEIGHT), (200, 200, 200)).convert(mode).save(file, format="PNG" if mode != "CMYK" else "JPEG")
    assert inspect(read(release)).problems == []


@pytest.mark.parametrize("file", [lesion_file, superpixel_file])
def test_a_mask_of_another_size_is_told_with_its_case(release: Path, file: object) -> None:
    path = file(release)  # type: ignore[operator]
    with Image.open(path) as image:
        smaller = image.resize((WIDTH - 2, HEIGHT), Image.Resampling.NEAREST)
    smaller.save(path)
    with pytest.raises(DataError, match=rf"^ISIC_0000001: {path.name} must have its image's size, 12×8 px; got 10×8$"):
        read_planes(read(release), 0)


def test_a_turned_image_has_the_size_that_one_sees(release: Path) -> None:
    """A phone's photograph: 8×12 as stored, 12×8 upright, which is what the masks fit."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(release / DATA / "ISIC_0000002.jpg", exif=exif)
    assert np.array_equal(whole_masks(read(release), 1)[0][0], lesion())


@pytest.mark.parametrize("length", [1, 3, 5, 8])
def test_lists_that_do_not_fit_the_superpixels_are_told_with_their_case(release: Path, length: int) -> None:
    write_features(release, length)
    expected = rf"^ISIC_0000001: the features' lists must have an entry for each superpixel, 4; got {length}$"
    with pytest.raises(DataError, match=expected):
        read_planes(read(release), 0)


@pytest.mark.parametrize("what", ["lesion", "superpixels", "image"])
@pytest.mark.parametrize("kind", ["no image", "empty", "cut"])
def test_a_file_that_does_not_decode_is_told_with_its_case(release: Path, what: str, kind: str) -> None:
    files = {
        "lesion": lesion_file(release),
        "superpixels": superpixel_file(release),
        "image": release / DATA / "ISIC_0000001.jpg",
    }
    whole = files[what].read_bytes()
    files[what].write_bytes({"no image": b"no image", "empty": b"", "cut": whole[: len(whole) // 2]}[kind])
    (problem,) = inspect(read(release)).problems
    assert "ISIC_0000001" in problem.split(":")[0], problem
    assert f"{files[what].name} must be an image that decodes; got " in problem
    assert "\n" not in problem


def test_the_caches_tell_every_case_that_cannot_be_used_and_leave_nothing(release: Path, cache: Path) -> None:
    lesion_file(release).write_bytes(b"no image")
    write_features(release, 7, "ISIC_0000002")
    with pytest.raises(DataError, match=r"^ISIC_0000001: .* \(and 1 more") as caught:
        load_masks(read(release), 8)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["ISIC_0000001", "ISIC_0000002"]
    assert entries(cache) == []


def test_an_image_that_does_not_decode_is_named_by_its_case_and_not_by_a_line(release: Path, cache: Path) -> None:
    """No table holds the images, so `line 2` would be a line of nothing."""
    (release / DATA / "ISIC_0000002.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"ISIC_0000002") as caught:
        load_images(read(release).cases, 8)
    assert not caught.value.problems[0].startswith("line ")


def test_inspect_lists_every_problem_and_counts_every_case(release: Path) -> None:
    lesion_file(release).write_bytes(b"no image")
    write_features(release, 7, "ISIC_0000002")
    (release / DATA / "ISIC_0000003.jpg").write_bytes(b"no image")
    calls: list[tuple[int, int]] = []
    problems = inspect(read(release), lambda done, every: calls.append((done, every))).problems
    assert len(problems) == 3
    for problem, case in zip(problems, ("ISIC_0000001", "ISIC_0000002", "ISIC_0000003"), strict=True):
        assert case in problem.split(":")[0], problem
    assert calls == [(done, 7) for done in range(1, 8)]


@pytest.mark.parametrize("size", [4, 8, 11, 20, 37])
def test_unpacked_bits_are_the_nearest_neighbour_masks(release: Path, cache: Path, size: int) -> None:
    cases = read(release)
    loaded = load_masks(cases, size)
    assert loaded.bits.shape == (7, 6, size, (size + 7) // 8)
    found = unpack(torch.from_numpy(loaded.bits), size).numpy()
    assert found.shape == (7, 6, size, size)
    for case in range(7):
        whole, _ = whole_masks(cases, case)
        for structure in range(6):
            assert np.array_equal(found[case, structure].astype(bool), nearest(whole[structure], size))


@pytest.mark.parametrize("size", [4, 11])
def test_whole_lesions_are_those_of_part_1_whatever_attributes_cover_them(release: Path, cache: Path, size: int) -> None:
    write_features(release, 4, pigment_network=[0, 1, 2, 3])
    cases = read(release)
    loaded = load_masks(cases, size)
    assert loaded.lesions.shape == (7, size, (size + 7) // 8)
    found = unpack(torch.from_numpy(loaded.lesions[:, None]), size)[:, 0].bool().numpy()
    for case in range(7):
        annotated, _ = read_planes(cases, case)
        assert np.array_equal(found[case], nearest(annotated, size))
    assert not loaded.bits[0, 0].any(), "less its attributes nothing is left"
    assert loaded.lesions[0].any()


def test_a_batch_has_the_whole_lesion_turned_as_its_masks_are(release: Path, cache: Path) -> None:
    (release / JSONS / "ISIC_0000002_features.json").unlink()
    cases = read(release)
    data = on_device(cases, 40, 32, CPU)
    assert not data.known[1]
    for turning in ("none", "quarter_turns", "rotations"):
        for crop in ("centre", "random"):
            batch = data.batch(np.array([1]), turning, torch.Generator().manual_seed(0), crop)
            assert batch.lesion.shape == (1, 32, 32)
            assert torch.equal(batch.lesion, batch.masks[:, 0]), "without attributes the two are one"
    assert not torch.equal(data.batch(np.array([0])).lesion, data.batch(np.array([0])).masks[:, 0])


def test_masks_keep_their_aspect_as_images_do(release: Path, cache: Path) -> None:
    """12×8 px: the middle eight columns, every cell of it at size 8."""
    uneven = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
    Image.fromarray(np.where(uneven, 255, 0).astype(np.uint8)).save(lesion_file(release))
    cases = read(release)
    loaded = load_masks(cases, 8, resize="keep_aspect")
    found = unpack(torch.from_numpy(loaded.bits), 8).bool().numpy()
    for case in range(7):
        whole, numbers = whole_masks(cases, case)
        assert np.array_equal(found[case], whole[:, :, 2:10])
        if numbers is not None:
            middle = numbers[:, 2:10]
            pairs = {(int(a), int(b)) for a, b in zip(loaded.superpixels[case].ravel(), middle.ravel(), strict=True)}
            assert len(pairs) == len(np.unique(middle))
    stretched = load_masks(cases, 8)
    assert not np.array_equal(stretched.bits, loaded.bits)
    assert len(entries(cache)) == 2


def test_bits_are_read_from_the_left() -> None:
    bits = torch.tensor([[[[0b10110000, 0b01000000]]]], dtype=torch.uint8)
    assert unpack(bits, 10).flatten().tolist() == [1, 0, 1, 1, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("size", [5, 8, 30])
def test_superpixels_keep_their_partition_when_resized(release: Path, cache: Path, size: int) -> None:
    far = indices() * 30000 + 17
    save_indices(superpixel_file(release), far)
    write_features(release, int(far.max()) + 1)
    loaded = load_masks(read(release), size)
    found, expected = loaded.superpixels[0], nearest(far, size)
    assert sorted(np.unique(found).tolist()) == [0, 1, 2, 3]
    pairs = {(int(a), int(b)) for a, b in zip(found.ravel(), expected.ravel(), strict=True)}
    assert len(pairs) == 4, "each number stands for one superpixel"
    assert not loaded.superpixels[2].any()


def test_the_centre_is_cut_out_of_images_masks_and_superpixels_alike(release: Path, cache: Path) -> None:
    cases = read(release)
    data = on_device(cases, 40, 32, CPU)
    members = np.array([0, 5])
    batch, maps = data.batch(members), data.superpixel_maps(members)
    for position, case in enumerate(members):
        whole, numbers = whole_masks(cases, int(case))
        for structure in range(6):
            expected = nearest(whole[structure], 40)[4:36, 4:36]
            assert np.array_equal(batch.masks[position, structure].numpy().astype(bool), expected)
        assert np.array_equal(maps[position].numpy(), nearest(numbers, 40)[4:36, 4:36])
    assert batch.melanoma.tolist() == [1, 1]
    assert data.batch(np.array([2, 4])).known.tolist() == [False, True]


def test_a_second_call_reads_nothing(release: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = read(release)
    first = load_masks(cases, 8)

    def refuse(cases: SegmentedCases, index: int) -> None:
        raise AssertionError(f"case {index} was read again")

    monkeypatch.setattr(masks, "read_planes", refuse)
    second = load_masks(read(release), 8)
    assert (second.digest, len(entries(cache))) == (first.digest, 1)
    assert np.array_equal(second.bits, first.bits)
    with pytest.raises(AssertionError, match="was read again"):
        load_masks(cases, 9)


def test_a_changed_mask_is_read_again(release: Path, cache: Path) -> None:
    before = load_masks(read(release), 8)
    Image.fromarray(np.where(lesion(), 0, 255).astype(np.uint8)).save(lesion_file(release, "ISIC_0000002"))
    os.utime(lesion_file(release, "ISIC_0000002"), ns=(1, 1))
    after = load_masks(read(release), 8)
    assert after.digest != before.digest
    assert np.array_equal(after.bits[1, 0], before.bits[1, 1])
    assert len(entries(cache)) == 2


def test_changed_features_are_read_again(release: Path, cache: Path) -> None:
    before = load_masks(read(release), 8)
    write_features(release, 4, "ISIC_0000002", streaks=[3])
    after = load_masks(read(release), 8)
    assert after.digest != before.digest
    assert not before.bits[1, 5].any()
    assert after.bits[1, 5].any()
    (release / JSONS / "ISIC_0000002_features.json").unlink()
    unknown = load_masks(read(release), 8)
    assert not unknown.superpixels[1].any()
    assert len(entries(cache)) == 3


def test_an_unknown_and_an_absent_attribute_are_different_data(release: Path, cache: Path) -> None:
    """Training treats them differently, so a checkpoint's fingerprint must tell them apart."""
    cases = read(release)
    before = on_device(cases, 32, 32, CPU).fingerprint
    (release / JSONS / "ISIC_0000002_features.json").unlink()
    assert on_device(read(release), 32, 32, CPU).fingerprint != before


def test_other_superpixels_with_the_same_masks_are_different_data(release: Path, cache: Path) -> None:
    """`<attribute>/superpixel_auroc` depends on them, so `evaluate` would not give back the value of the training."""
    before = on_device(read(release), 32, 32, CPU).fingerprint
    save_indices(superpixel_file(release, "ISIC_0000002"), np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) // 12)
    write_features(release, 8, "ISIC_0000002")
    assert on_device(read(release), 32, 32, CPU).fingerprint != before


def test_a_moved_set_has_the_same_digest(release: Path, cache: Path, tmp_path: Path) -> None:
    other = write_set(tmp_path / "another place", PARTS)
    assert load_masks(read(release), 8).digest == load_masks(read(other), 8).digest


def test_a_set_without_any_attributes_has_masks(tmp_path: Path, cache: Path) -> None:
    bare = Case(1.0, None, superpixels=False)
    release = write_set(tmp_path / "a set", {"Training": {"ISIC_1": bare}, "Validation": {"ISIC_2": bare}})
    cases = read(release)
    assert inspect(cases).problems == []
    loaded = load_masks(cases, 8)
    assert not loaded.bits[:, 2:].any()
    assert not loaded.superpixels.any()


def test_writing_to_the_bits_leaves_the_file_as_it_is(release: Path, cache: Path) -> None:
    cases = read(release)
    bits = load_masks(cases, 8).bits
    before = bits.copy()
    bits[:] = 255
    assert np.array_equal(load_masks(cases, 8).bits, before)
