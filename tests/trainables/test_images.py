"""Images: decoded once per node, upright and RGB; what does not decode is named; nothing half-built stays."""

import io
import multiprocessing
import os
import struct
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import images
from trainables.data.cases import CaseSet, LabelTask
from trainables.data.images import decode, load_images, upright_size
from trainables.errors import DataError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def _cases(paths: list[Path], first_row: int = 2) -> CaseSet:
    return CaseSet(
        source="table:cases.csv",
        images=tuple(paths),
        names=tuple(path.name for path in paths),
        rows=tuple(range(first_row, first_row + len(paths))),
        tasks=(LabelTask("site", ("arm", "leg")),),
        labels=np.zeros((len(paths), 1), dtype=np.int64),
        splits={"train": np.arange(len(paths))},
        primary="site",
    )


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Three PNGs of one colour each."""
    found = []
    for number, colour in enumerate([RED, BLUE, (10, 20, 30)]):
        Image.new("RGB", (9, 6), colour).save(path := tmp_path / f"image {number}.png")
        found.append(path)
    return found


@pytest.fixture
def cache(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "the cache"))
    return tmp_path / "the cache" / "images"


def _entries(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.suffix != ".lock"]


def test_images_come_in_the_order_of_the_cases(cache: Path, paths: list[Path]) -> None:
    loaded = load_images(_cases(paths[::-1]), 4)
    assert loaded.pixels.shape == (3, 3, 4, 4)
    assert loaded.pixels.dtype == np.uint8
    assert loaded.pixels[:, :, 0, 0].tolist() == [[10, 20, 30], list(BLUE), list(RED)]
    assert np.all(loaded.pixels == loaded.pixels[:, :, :1, :1])


def test_a_second_call_decodes_nothing(cache: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_images(_cases(paths), 4)

    def refuse(path: Path, size_px: int) -> np.ndarray:
        raise AssertionError(f"{path} was decoded again")

    monkeypatch.setattr(images, "decode", refuse)
    second = load_images(_cases(paths), 4)
    assert second.digest == first.digest
    assert np.array_equal(second.pixels, first.pixels)
    assert len(_entries(cache)) == 1


def test_another_size_is_decoded_of_its_own(cache: Path, paths: list[Path]) -> None:
    small, large = load_images(_cases(paths), 4), load_images(_cases(paths), 5)
    assert (small.pixels.shape, large.pixels.shape) == ((3, 3, 4, 4), (3, 3, 5, 5))
    assert small.digest == large.digest
    assert len(_entries(cache)) == 2


def test_progress_counts_every_image_once(cache: Path, paths: list[Path]) -> None:
    calls: list[tuple[int, int]] = []
    load_images(_cases(paths), 4, lambda done, every: calls.append((done, every)))
    load_images(_cases(paths), 4, lambda done, every: calls.append((done, every)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_changed_file_gets_a_new_cache_and_digest(cache: Path, paths: list[Path]) -> None:
    before = load_images(_cases(paths), 4)
    Image.new("RGB", (9, 6), (1, 2, 3)).save(paths[0])
    os.utime(paths[0], ns=(1, 1))
    after = load_images(_cases(paths), 4)
    assert after.pixels[0, :, 0, 0].tolist() == [1, 2, 3]
    assert after.digest != before.digest
    assert len(_entries(cache)) == 2


def test_the_digest_is_of_the_contents_and_not_of_the_place(cache: Path, paths: list[Path], tmp_path: Path) -> None:
    copies = []
    for path in paths:
        (tmp_path / f"copy of {path.name}").write_bytes(path.read_bytes())
        copies.append(tmp_path / f"copy of {path.name}")
    assert load_images(_cases(copies), 4).digest == load_images(_cases(paths), 4).digest
    assert load_images(_cases(paths[::-1]), 4).digest != load_images(_cases(paths), 4).digest


def test_writing_to_the_array_leaves_the_file_as_it_is(cache: Path, paths: list[Path]) -> None:
    pixels = load_images(_cases(paths), 4).pixels
    pixels[0] = 77
    assert pixels[0].min() == 77
    assert load_images(_cases(paths), 4).pixels[0, :, 0, 0].tolist() == list(RED)


def _save(path: Path, image: Image.Image, **more: object) -> Path:
    image.save(path, **more)  # type: ignore[arg-type]
    return path


def test_grey_images_become_rgb(tmp_path: Path) -> None:
    for name in ("grey.png", "grey.jpg"):
        decoded = decode(_save(tmp_path / name, Image.new("L", (16, 16), 90)), 4)
        assert decoded.shape == (3, 4, 4)
        assert decoded == pytest.approx(np.full((3, 4, 4), 90), abs=1)


def test_black_and_white_images_become_rgb(tmp_path: Path) -> None:
    assert decode(_save(tmp_path / "bits.png", Image.new("1", (6, 6), 1)), 3).tolist() == np.full((3, 3, 3), 255).tolist()


def test_opaque_rgba_images_lose_their_alpha(tmp_path: Path) -> None:
    decoded = decode(_save(tmp_path / "rgba.png", Image.new("RGBA", (6, 6), (1, 2, 3, 255))), 3)
    assert decoded[:, 0, 0].tolist() == [1, 2, 3]


def test_palette_images_show_their_palettes_colours(tmp_path: Path) -> None:
    image = Image.new("P", (6, 6), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert decode(_save(tmp_path / "palette.png", image), 3)[:, 1, 1].tolist() == [200, 100, 50]
    assert decode(_save(tmp_path / "palette.gif", image), 3)[:, 1, 1].tolist() == [200, 100, 50]


def test_palette_images_with_transparency_decode_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (6, 6), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    path = _save(tmp_path / "palette.png", image, transparency=bytes([128, 200]))
    assert decode(path, 3)[:, 1, 1].tolist() == [200, 100, 50]


def test_cmyk_jpegs_become_rgb(tmp_path: Path) -> None:
    red, green, blue = decode(_save(tmp_path / "print.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0))), 4)[:, 1, 1]
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize(
    ("orientation", "corners"),
    [
        (1, [RED, BLUE, RED, BLUE]),
        (3, [BLUE, RED, BLUE, RED]),
        (6, [RED, RED, BLUE, BLUE]),
        (8, [BLUE, BLUE, RED, RED]),
    ],
)
def test_images_stand_upright_by_their_exif_tag(tmp_path: Path, orientation: int, corners: list[tuple[int, int, int]]) -> None:
    """Left half red, right half blue; corners are top left, top right, bottom left, bottom right after turning."""
    image = Image.new("RGB", (32, 16), RED)
    image.paste(BLUE, (16, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(_save(tmp_path / "turned.jpg", image, exif=exif, quality=95, subsampling=0), 8)
    found = [decoded[:, y, x].astype(int) for y in (0, 7) for x in (0, 7)]
    assert np.array(found) == pytest.approx(np.array(corners), abs=12)


def test_images_are_resized_without_regard_to_their_aspect(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 100), RED)
    image.paste(BLUE, (0, 50, 400, 100))
    decoded = decode(_save(tmp_path / "wide.png", image), 10)
    assert decoded.shape == (3, 10, 10)
    assert decoded[0, 0, :].tolist() == [255] * 10
    assert decoded[2, 9, :].tolist() == [255] * 10


@pytest.mark.parametrize(("width", "height"), [(400, 100), (100, 400)])
def test_the_shorter_side_decides_where_the_aspect_is_kept(width: int, height: int, tmp_path: Path) -> None:
    """Only the middle square of 100 px is blue."""
    image = Image.new("RGB", (width, height), RED)
    left, top = (width - 100) // 2, (height - 100) // 2
    image.paste(BLUE, (left, top, left + 100, top + 100))
    file = _save(tmp_path / "wide.png", image)
    assert (decode(file, 10, "keep_aspect")[2] == 255).all()
    assert not (decode(file, 10)[2] == 255).all()
    square = _save(tmp_path / "square.png", image.crop((left, top, left + 100, top + 100)))
    assert np.array_equal(decode(file, 10, "keep_aspect"), decode(square, 10))
    assert upright_size(file) == (width, height)


def test_images_kept_and_stretched_are_two_entries_of_the_cache(tmp_path: Path, own_cache: Path) -> None:
    image = Image.new("RGB", (40, 10), RED)
    image.paste(BLUE, (15, 0, 25, 10))
    cases = _cases([_save(tmp_path / "wide.png", image)])
    stretched, kept = load_images(cases, 4).pixels.copy(), load_images(cases, 4, resize="keep_aspect").pixels.copy()
    assert not np.array_equal(stretched, kept)
    assert np.array_equal(load_images(cases, 4).pixels, stretched)
    assert np.array_equal(load_images(cases, 4, resize="keep_aspect").pixels, kept)
    assert load_images(cases, 4).digest == load_images(cases, 4, resize="keep_aspect").digest, "the same files"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_an_image_cut_short_anywhere_decodes_or_is_named(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole := io.BytesIO(), format=kind)
    data, path, refused = whole.getvalue(), tmp_path / "cut", []
    for length in range(0, len(data), max(1, len(data) // 150)):
        path.write_bytes(data[:length])
        try:
            assert decode(path, 4).shape == (3, 4, 4)
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert all(message.startswith(f"{path} must be an image that decodes; got ") for message in refused)
    assert all(len(message.splitlines()) == 1 for message in refused)


def test_a_postscript_file_is_refused_and_no_program_is_run_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    path = tmp_path / "lesion.jpg"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(DataError, match=r"lesion\.jpg must be an image that decodes"):
        decode(path, 4)
    assert not (tmp_path / "ran").exists()


def test_a_small_file_that_unpacks_to_a_huge_image_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    (path := tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(DataError, match=r"bomb\.png must be an image that decodes; got .*could be decompression bomb"):
        decode(path, 4)


def test_a_suffix_decides_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), RED).save(path := tmp_path / "really a png.jpg", format="PNG")
    assert decode(path, 4)[:, 0, 0].tolist() == list(RED)


def test_inspect_names_the_same_picture_under_two_names(paths: list[Path], tmp_path: Path) -> None:
    (copy := tmp_path / "copy.png").write_bytes(paths[0].read_bytes())
    cases = replace(_cases([*paths, copy]), splits={"train": np.arange(3), "valid": np.array([3])})
    expected = "line 5: image copy.png must not be in valid; got the very picture of image 0.png (line 2), in train"
    assert images.inspect(cases).problems == [expected]


def test_images_that_do_not_decode_are_named_with_their_lines(cache: Path, paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(paths[0].read_bytes()[:40])
    broken = [paths[0], tmp_path / "text.png", paths[1], tmp_path / "cut.png"]
    with pytest.raises(DataError, match=r"^line 8: .*text\.png must be an image that decodes; got .* \(and 1 more: ") as caught:
        load_images(_cases(broken, first_row=7), 4)
    assert [problem.split(" must")[0] for problem in caught.value.problems] == [
        f"line 8: {tmp_path / 'text.png'}",
        f"line 10: {tmp_path / 'cut.png'}",
    ]


def test_a_failed_build_leaves_nothing_behind(cache: Path, paths: list[Path]) -> None:
    good = paths[0].read_bytes()
    paths[0].write_text("no image")
    with pytest.raises(DataError, match=r"^line 2: .*image 0\.png must be an image"):
        load_images(_cases(paths), 4)
    assert _entries(cache) == []
    paths[0].write_bytes(good)
    assert load_images(_cases(paths), 4).pixels[0, :, 0, 0].tolist() == list(RED)


def test_what_a_killed_build_left_is_built_afresh(cache: Path, paths: list[Path]) -> None:
    load_images(_cases(paths), 4)
    (entry,) = _entries(cache)
    entry.rename(unfinished := entry.with_name(f"{entry.name}.unfinished"))
    (unfinished / "pixels.npy").write_bytes(b"half")
    assert load_images(_cases(paths), 4).pixels[1, :, 0, 0].tolist() == list(BLUE)
    assert _entries(cache) == [entry]


def _load_elsewhere(arguments: tuple[str, list[Path]]) -> tuple[str, int]:
    os.environ["DERMTUNE_CACHE"], paths = arguments
    calls: list[int] = []
    loaded = load_images(_cases(paths), 64, lambda done, every: calls.append(done))
    return loaded.digest, len(calls)


def test_two_processes_that_ask_at_once_build_one_folder(cache: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    paths = []
    for number in range(40):
        Image.fromarray(generator.integers(0, 256, (80, 80, 3), dtype=np.uint8)).save(path := tmp_path / f"{number}.png")
        paths.append(path)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(_load_elsewhere, [(str(cache.parent), paths)] * 2))
    assert len({digest for digest, _ in found}) == 1
    assert sorted(built for _, built in found) == [0, 40]
    assert len(_entries(cache)) == 1


@pytest.mark.parametrize(
    ("white", "kind"), [(1, np.float32), (255, np.float32), (65535, np.float32), (255, np.int32), (65535, np.int32)]
)
def test_pixels_of_32_bits_are_not_black(white: float, kind: type) -> None:
    """Float TIFFs of 0 to 1, as scikit-image writes them, were read as black images without a word."""
    ramp = np.linspace(0, white, 256).reshape(16, 16)
    written = io.BytesIO()
    Image.fromarray(ramp.astype(kind)).save(written, "TIFF")
    read = decode(written.getvalue(), 16)
    expected = np.broadcast_to(np.arange(256).reshape(16, 16), (3, 16, 16))
    np.testing.assert_allclose(read.astype(int), expected, atol=1)


@pytest.mark.parametrize(("white", "peak"), [(1, 1.02), (1, 2), (255, 257.5)])
def test_floats_that_overshoot_white_are_clipped_and_not_black(white: float, peak: float) -> None:
    written = io.BytesIO()
    Image.fromarray(np.array([[0, white / 2], [white, peak]], dtype=np.float32)).save(written, "TIFF")
    np.testing.assert_allclose(decode(written.getvalue(), 2)[0].astype(int), [[0, 128], [255, 255]], atol=1)


@pytest.mark.parametrize("pixels", [[-0.5, 0.5], [0.0, 70000.0], [0.0, np.nan], [0.0, np.inf]])
def test_pixels_whose_white_nobody_knows_are_refused(pixels: list[float]) -> None:
    written = io.BytesIO()
    Image.fromarray(np.array([pixels], dtype=np.float32)).save(written, "TIFF")
    with pytest.raises(
        DataError, match=r"must be an image that decodes; got pixels of 32 bits must be 0 to 1, to 255 or to 65535"
    ):
        decode(written.getvalue(), 16)
