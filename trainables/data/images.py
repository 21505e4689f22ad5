"""Images decoded and resized once per node into one uint8 array that all trials of the node map."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, Jpeg2KImagePlugin, TiffImagePlugin, WebPImagePlugin

from trainables.data.cache import build_once, cache_root
from trainables.data.cases import CaseSet
from trainables.data.contents import content_digest, contents_of, keep_contents, state_of
from trainables.data.inspection import Findings, Look, findings_of
from trainables.data.repeated import unusable
from trainables.data.twins import HASHED_PX, picture_hash
from trainables.errors import DataError

Progress = Callable[[int, int], None]
#: Without regard to an image's aspect; or the shorter side to the size, and what is beyond the square's centre cut off.
Resize = Literal["stretch", "keep_aspect"]
_FORMAT_VERSION = 4
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


def decode(source: Path | bytes, size_px: int, resize: Resize = "stretch") -> UInt8[np.ndarray, "3 size size"]:
    """One image as RGB, upright by its EXIF tag, resized to a square.

    Args:    source: a file, or what is in one.
             size_px: side of the square.
             resize: how it becomes one.
    Raises:  DataError: when it is no image that can be decoded.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            image.draft("RGB", (2 * size_px, 2 * size_px))
            upright = _as_rgb(ImageOps.exif_transpose(image))
            if resize == "keep_aspect":
                (left, across), (top, down) = (kept(side, upright.size, resize) for side in upright.size)
                upright = upright.crop((left, top, left + across, top + down))
            resized = upright.resize((size_px, size_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _undecodable(source, error) from error
    return np.asarray(resized).transpose(2, 0, 1)


def kept(side: int, size: tuple[int, int], resize: Resize) -> tuple[int, int]:
    """Where what is kept of an image's side begins, and how long it is.

    Args:    side: one of the two, in pixels.
             size: both.
             resize: how the image becomes a square.
    """
    length = min(size) if resize == "keep_aspect" else side
    return (side - length) // 2, length


def upright_size(source: Path | bytes) -> tuple[int, int]:
    """Width and height of an image as one sees it, upright.

    Raises:  DataError: when it is no image that can be decoded.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            turned = image.getexif().get(0x0112, 1) >= 5
            width, height = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _undecodable(source, error) from error
    return (height, width) if turned else (width, height)


def _undecodable(source: Path | bytes, error: Exception) -> DataError:
    name = f"what was sent ({len(source)} bytes)" if isinstance(source, bytes) else source
    return DataError(f"{name} must be an image that decodes; got {error}")


def _as_rgb(image: Image.Image) -> Image.Image:
    """RGB without surprises: 16 bits are scaled, not clipped; a palette's transparency goes the quiet way.

    Raises:  ValueError: when pixels of 32 bits are below 0, above 65535 or no numbers.
    """
    if image.mode in ("F", "I"):
        image = _of_eight_bits(np.asarray(image))
    elif image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) // 257).clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _of_eight_bits(pixels: np.ndarray) -> Image.Image:
    """Pixels of 32 bits, whose format does not say what white is: the least of 1, 255 and 65535 that holds all.

    Floats may overshoot 1 and 255, as resampling and colour correction leave them, up to twice as much: they are clipped.
    """
    peak, floats = float(pixels.max()), pixels.dtype.kind == "f"
    limits = {1: 2, 255: 510, 65535: 65535} if floats else {255: 255, 65535: 65535}
    whites = [white for white, limit in limits.items() if peak <= limit]
    if not whites or not float(pixels.min()) >= 0:
        raise ValueError(f"pixels of 32 bits must be 0 to 1, to 255 or to 65535; got {pixels.min():g} to {peak:g}")
    return Image.fromarray((pixels.astype(np.float64) * (255 / whites[0])).clip(0, 255).round().astype(np.uint8))


def load_images(cases: CaseSet, size_px: int, progress: Progress | None = None, resize: Resize = "stretch") -> ImageArray:
    """Maps a data set's images, decoding them first if this node has not done so yet.

    Args:    cases: whose images; the order is kept.
             size_px: side of the square.
             progress: called with (done, all) while decoding.
             resize: how an image becomes a square.
    Raises:  DataError: with every image that does not decode, by its row.
    """
    folder = cache_root() / "images" / _key(cases.images, size_px, resize)
    build_once(folder, lambda place: _build(place, cases, size_px, progress, resize))
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


def _key(images: Sequence[Path], size_px: int, resize: Resize) -> str:
    return hashlib.sha256(json.dumps([_FORMAT_VERSION, size_px, resize, state_of(images)]).encode()).hexdigest()[:24]


def _build(place: Path, cases: CaseSet, size_px: int, progress: Progress | None, resize: Resize) -> None:
    shape = (len(cases.images), 3, size_px, size_px)
    pixels = np.lib.format.open_memmap(place / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)

    def fill(index: int) -> tuple[str, str | None]:
        path = cases.images[index]
        try:
            pixels[index] = decode(path, size_px, resize)
        except DataError as error:
            return "", f"{cases.where(index)}: {error}"
        return content_digest(path), None

    contents, problems, broken = [], [], []
    with ThreadPoolExecutor() as pool:
        for done, (digest, problem) in enumerate(pool.map(fill, range(len(cases.images))), start=1):
            contents.append(digest)
            if problem:
                problems.append(problem)
                broken.append(cases.names[done - 1])
            if progress is not None:
                progress(done, len(cases.images))
    if problems:
        raise DataError(*unusable(problems, broken))
    pixels.flush()
    keep_contents(cases.images, contents)
