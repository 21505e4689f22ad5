"""Images decoded and resized once per node into one uint8 array that all trials of the node map."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, Jpeg2KImagePlugin, TiffImagePlugin, WebPImagePlugin

from trainables.data.cache import build_once, cache_root
from trainables.data.cases import CaseSet
from trainables.data.contents import content_digest, contents_of, keep_contents, state_of
from trainables.data.inspection import Findings, Look, findings_of
from trainables.data.twins import HASHED_PX, picture_hash
from trainables.errors import DataError

Progress = Callable[[int, int], None]
_FORMAT_VERSION = 2
#: What is opened, whatever a file's suffix says. Pillow would also run Ghostscript on a PostScript file.
_PLUGINS = (Jpeg2KImagePlugin.Jpeg2KImageFile, TiffImagePlugin.TiffImageFile, WebPImagePlugin.WebPImageFile)
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", *(plugin.format for plugin in _PLUGINS))


@dataclass(frozen=True)
class ImageArray:
    """Decoded images of a data set.

    Args:    pixels: cases × 3 × size × size, RGB, mapped from disk; writing to it changes a private copy.
             contents: digest of each image file.
    """

    pixels: UInt8[np.ndarray, "cases 3 size size"]
    contents: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of all files' contents, in their order, 16 hexadecimal digits."""
        return hashlib.sha256("".join(self.contents).encode()).hexdigest()[:16]


def decode(source: Path | bytes, size_px: int) -> UInt8[np.ndarray, "3 size size"]:
    """One image as RGB, upright by its EXIF tag, resized to a square without regard to its aspect.

    Args:    source: a file, or what is in one.
             size_px: side of the square.
    Raises:  DataError: when it is no image that can be decoded.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            image.draft("RGB", (2 * size_px, 2 * size_px))
            upright = _as_rgb(ImageOps.exif_transpose(image))
            resized = upright.resize((size_px, size_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        name = f"what was sent ({len(source)} bytes)" if isinstance(source, bytes) else source
        raise DataError(f"{name} must be an image that decodes; got {error}") from error
    return np.asarray(resized).transpose(2, 0, 1)


def _as_rgb(image: Image.Image) -> Image.Image:
    """RGB without surprises: 16 bits are scaled, not clipped; a palette's transparency goes the quiet way."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) // 257).clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def load_images(cases: CaseSet, size_px: int, progress: Progress | None = None) -> ImageArray:
    """Maps a data set's images, decoding them first if this node has not done so yet.

    Args:    cases: whose images; the order is kept.
             size_px: side of the square.
             progress: called with (done, all) while decoding.
    Raises:  DataError: with every image that does not decode, by its row.
    """
    folder = cache_root() / "images" / _key(cases.images, size_px)
    build_once(folder, lambda place: _build(place, cases, size_px, progress))
    # Copy on write: torch wants a writable array, the file stays as it is and its pages are shared by all processes.
    pixels = np.load(folder / "pixels.npy", mmap_mode="c")
    return ImageArray(pixels=pixels, contents=contents_of(cases.images))


def inspect(cases: CaseSet, progress: Progress | None = None) -> Findings:
    """Opens every image: which do not decode, stand in two splits or are there twice, and what follows from their labels.

    Args:    cases: whose images.
             progress: called with (done, all).
    """
    looks = []
    for index, image in enumerate(cases.images):
        try:
            looks.append(look_at(image))
        except DataError as error:
            looks.append(Look(problem=f"{cases.where(index)}: {error}"))
        if progress is not None:
            progress(index + 1, len(cases.images))
    return findings_of(cases, cases.leaks(), looks)


def look_at(image: Path) -> Look:
    """What is to be known of an image to compare it with others.

    Raises:  DataError: when it does not decode.
    """
    return Look(content_digest(image), picture_hash(decode(image, HASHED_PX)))


def _key(images: Sequence[Path], size_px: int) -> str:
    return hashlib.sha256(json.dumps([_FORMAT_VERSION, size_px, state_of(images)]).encode()).hexdigest()[:24]


def _build(place: Path, cases: CaseSet, size_px: int, progress: Progress | None) -> None:
    shape = (len(cases.images), 3, size_px, size_px)
    pixels = np.lib.format.open_memmap(place / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)

    def fill(index: int) -> tuple[str, str | None]:
        path = cases.images[index]
        try:
            pixels[index] = decode(path, size_px)
        except DataError as error:
            return "", f"{cases.where(index)}: {error}"
        return content_digest(path), None

    contents, problems = [], []
    with ThreadPoolExecutor() as pool:
        for done, (digest, problem) in enumerate(pool.map(fill, range(len(cases.images))), start=1):
            contents.append(digest)
            problems += [problem] if problem else []
            if progress is not None:
                progress(done, len(cases.images))
    if problems:
        raise DataError(*problems)
    pixels.flush()
    keep_contents(cases.images, contents)
