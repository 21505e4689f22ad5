"""Masks of the six structures, made once per node at one size and kept as bits."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image, ImageOps

from trainables.data.cache import build_once, cache_root
from trainables.data.images import FORMATS, Progress, Resize, kept, look_at, upright_size
from trainables.data.inspection import Findings, Look, findings_of
from trainables.data.repeated import unusable
from trainables.data.segmented import ATTRIBUTES, STRUCTURES, Annotation, SegmentedCases
from trainables.errors import DataError

_FORMAT_VERSION = 4
#: Full-size planes of so many cases are in memory at once.
_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class MaskArray:
    """Masks of a data set, mapped from disk.

    Args:    bits: cases × structures × size × ceil(size/8), eight cells of a row in a byte, the leftmost the highest bit;
                 the order of `STRUCTURES`; an unknown attribute is empty.
             lesions: cases × size × ceil(size/8), the whole lesion as annotated, whatever attributes it shows.
             superpixels: cases × size × size, numbered from 0 within a case; all 0 where unknown.
             digest: of the mask files' contents, 16 hexadecimal digits.
    """

    bits: UInt8[np.ndarray, "cases structures size bytes"]
    lesions: UInt8[np.ndarray, "cases size bytes"]
    superpixels: Int[np.ndarray, "cases size size"]
    digest: str


def decode_superpixels(image: UInt8[np.ndarray, "height width 3"]) -> Int[np.ndarray, "height width"]:
    """Superpixel indices as the challenge encodes them: R + 256·G + 65536·B.

    Source: ISIC 2017 challenge, Part 2
    Deviations: none; Esteve-Cogollos's code multiplies by 255 and 65535, which is wrong from index 255 on.
    """
    red, green, blue = (image[..., channel].astype(np.int32) for channel in range(3))
    return red | green << 8 | blue << 16


def encode_superpixels(indices: Int[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """The colours of `decode_superpixels`.

    Args:    indices: 0 to 2²⁴ - 1.
    """
    return np.stack([indices & 255, indices >> 8 & 255, indices >> 16], -1).astype(np.uint8)


def structure_masks(
    lesion: Bool[np.ndarray, "height width"], attributes: Bool[np.ndarray, "attributes height width"]
) -> Bool[np.ndarray, "structures height width"]:
    """The six structures' masks: lesion without its attributes, skin, and the attributes.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Eq. 17 to 19
    Deviations: none; unknown attributes are passed as empty, which leaves lesion and its complement.

    Args:    lesion: as annotated.
             attributes: in the order of `ATTRIBUTES`; they may overlap.
    """
    dermoscopic = attributes.any(0)
    skin = ~(lesion | dermoscopic)
    return np.concatenate([(~(skin | dermoscopic))[None], skin[None], attributes])


def read_planes(
    cases: SegmentedCases, index: int
) -> tuple[Bool[np.ndarray, "height width"], Int[np.ndarray, "height width"] | None]:
    """One case's lesion mask and superpixel indices at full size; no superpixels where the attributes are unknown.

    Raises:  DataError: when a file does not decode, or its size or its lists do not fit, with the case's name.
    """
    name, lesion_file, superpixel_file = cases.cases.names[index], cases.lesions[index], cases.superpixels[index]
    image_size = _size(name, cases.cases.images[index])
    lesion = _binary(_open(name, lesion_file, image_size))
    annotation = cases.annotations[index]
    if annotation is None or superpixel_file is None:
        return lesion, None
    indices = decode_superpixels(np.asarray(_open(name, superpixel_file, image_size).convert("RGB")))
    lists, count = len(next(iter(annotation.values()))), int(indices.max()) + 1
    if lists != count:
        raise DataError(f"{name}: the features' lists must have an entry for each superpixel, {count}; got {lists}")
    return lesion, indices


def masks_of(
    lesion: Bool[np.ndarray, "height width"], indices: Int[np.ndarray, "height width"] | None, annotation: Annotation | None
) -> Bool[np.ndarray, "structures height width"]:
    """The six structures' masks of planes of any size; see `structure_masks`."""
    if indices is None or annotation is None:
        return structure_masks(lesion, np.zeros((len(ATTRIBUTES), *lesion.shape), dtype=bool))
    return structure_masks(lesion, np.stack([annotation[attribute][indices] for attribute in ATTRIBUTES]))


def _binary(image: Image.Image) -> Bool[np.ndarray, "height width"]:
    """A mask of any depth, cut in the middle of what it holds: 0/255 as the challenge has it, 0/1, 16 bits."""
    values = np.asarray(image if image.mode.startswith("I") else image.convert("L"))
    return np.asarray(values > values.max() / 2)


def _size(name: str, file: Path) -> tuple[int, int]:
    try:
        return upright_size(file)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _open(name: str, file: Path, size: tuple[int, int]) -> Image.Image:
    try:
        with Image.open(file, formats=FORMATS) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: {file} must be an image that decodes; got {error}") from error
    if upright.size != size:
        found = "{}×{}".format(*upright.size)
        raise DataError(f"{name}: {file.name} must have its image's size, {size[0]}×{size[1]} px; got {found}")
    return upright


def inspect(cases: SegmentedCases, progress: Progress | None = None) -> Findings:
    """Opens every image and mask: which cannot be used, stand in two splits or are there twice, and what follows from labels.

    Args:    cases: whose files.
             progress: called with (done, all).
    """

    def look(index: int) -> Look:
        name, image = cases.cases.names[index], cases.cases.images[index]
        try:
            read_planes(cases, index)
            return look_at(image)
        except DataError as error:
            return Look(problem=str(error) if str(error).startswith(name) else f"{name}: {error}")

    looks = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, found in enumerate(pool.map(look, range(len(cases.lesions))), start=1):
            looks.append(found)
            if progress is not None:
                progress(done, len(cases.lesions))
    return findings_of(cases.cases, cases.leaks(), looks)


def load_masks(cases: SegmentedCases, size_px: int, progress: Progress | None = None, resize: Resize = "stretch") -> MaskArray:
    """Maps a data set's masks, making them first if this node has not done so yet.

    Args:    cases: whose masks; the order is kept.
             size_px: side of the square.
             progress: called with (done, all) while decoding.
             resize: how a mask becomes a square; as its image does.
    Raises:  DataError: with every case whose masks cannot be used.
    """
    folder = cache_root() / "masks" / _key(cases, size_px, resize)
    build_once(folder, lambda place: _build(place, cases, size_px, progress, resize))
    digest = json.loads((folder / "digest.json").read_text())["digest"]
    # Copy on write: torch wants a writable array, the file stays as it is and its pages are shared by all processes.
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("bits", "lesions", "superpixels")}
    return MaskArray(**arrays, digest=digest)


def _key(cases: SegmentedCases, size_px: int, resize: Resize) -> str:
    files = [*cases.lesions, *(file for file in cases.superpixels if file is not None)]
    found = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    labels = hashlib.sha256()
    for annotation in cases.annotations:
        labels.update(_packed(annotation))
    return hashlib.sha256(json.dumps([_FORMAT_VERSION, size_px, resize, found, labels.hexdigest()]).encode()).hexdigest()[:24]


def _packed(annotation: Annotation | None) -> bytes:
    return b"?" if annotation is None else b"".join(np.packbits(annotation[name]).tobytes() + b"|" for name in ATTRIBUTES)


def _build(place: Path, cases: SegmentedCases, size_px: int, progress: Progress | None, resize: Resize) -> None:
    count, packed = len(cases.lesions), (size_px, -(-size_px // 8))

    shapes = {"bits": (count, len(STRUCTURES), *packed), "lesions": (count, *packed)}
    bits, lesions = (
        np.lib.format.open_memmap(place / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape) for name, shape in shapes.items()
    )
    superpixels = np.lib.format.open_memmap(place / "superpixels.npy", mode="w+", dtype=np.int32, shape=(count, size_px, size_px))

    def fill(index: int) -> tuple[str, str | None]:
        try:
            lesion, indices = read_planes(cases, index)
        except DataError as error:
            return "", str(error)
        rows, columns = (_nearest(*kept(side, lesion.shape, resize), size_px) for side in lesion.shape)
        seen = None if indices is None else indices[rows[:, None], columns]
        whole = lesion[rows[:, None], columns]
        bits[index] = np.packbits(masks_of(whole, seen, cases.annotations[index]), axis=-1)
        lesions[index] = np.packbits(whole, axis=-1)
        if seen is not None:
            superpixels[index] = np.unique(seen, return_inverse=True)[1].reshape(size_px, size_px)
        files = (cases.lesions[index], cases.superpixels[index])
        content = b"|".join(file.read_bytes() for file in files if file is not None)
        return hashlib.sha256(content + _packed(cases.annotations[index])).hexdigest(), None

    digests, problems, broken = [], [], []
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, (digest, problem) in enumerate(pool.map(fill, range(count)), start=1):
            digests.append(digest)
            if problem:
                problems.append(problem)
                broken.append(cases.cases.names[done - 1])
            if progress is not None:
                progress(done, count)
    if problems:
        raise DataError(*unusable(problems, broken))
    bits.flush()
    lesions.flush()
    superpixels.flush()
    (place / "digest.json").write_text(json.dumps({"digest": hashlib.sha256("".join(digests).encode()).hexdigest()[:16]}))


def _nearest(start: int, length: int, size_px: int) -> Int[np.ndarray, " size"]:
    """For each of `size_px` cells of what is kept of a side, the row or column under its centre."""
    return start + ((np.arange(size_px) + 0.5) * length / size_px).astype(np.int64)
