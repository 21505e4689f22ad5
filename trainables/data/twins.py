"""Images that look the same though their files differ: saved again, scaled, brightened."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from trainables.data.cases import CaseSet

#: 64 bits of an image's coarse structure.
PictureHash = int
#: Side of the image that is hashed: what the hash itself scales to.
HASHED_PX = 32
#: Bits in which twins differ at most. On 336 real dermoscopic images, and on 2100 synthetic ones, no pair that is none is so
#: near (at 4 bits there are two); one saved again at half its size or as a poor JPEG differs from itself in 2 at most.
DISTANCE = 2
MOST_LISTED = 20
#: Grey levels; what deviates less shows nothing.
_FLAT = 1.0


def picture_hash(pixels: UInt8[np.ndarray, "3 size size"]) -> PictureHash | None:
    """Perceptual hash of an image; None where it is of one colour, since all of those would be twins.

    Source: Zauner 2010, Section 3.2.1 (pHash: signs of the 8 × 8 lowest frequencies about their median), by ImageHash
    Deviations: none.
    """
    import imagehash  # with PyWavelets half a second, which only `data check` must pay

    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    if np.asarray(image.convert("L")).std() < _FLAT:
        return None
    return int.from_bytes(np.packbits(imagehash.phash(image).hash).tobytes(), "big")


def near_twins(cases: CaseSet, contents: Sequence[str], pictures: Sequence[PictureHash | None]) -> list[str]:
    """One line for each pair of images that look the same, those in two splits first; at most 20, and how many more there are.

    Equal files in two splits are left out: they are refused (`CaseSet.twins`).

    Args:    cases: names and splits.
             contents: digest of each image file, "" where there is none.
             pictures: `picture_hash` of each, None where there is none.
    """
    split_of = {int(index): split for split, members in cases.splits.items() for index in members}
    known = [index for index in sorted(split_of) if pictures[index] is not None and contents[index]]
    across, within, num_within = list[tuple[int, int, int]](), list[tuple[int, int, int]](), 0
    hashes = np.array([pictures[index] for index in known], dtype=np.uint64)
    for place, first in enumerate(known):
        for other, bits in _near(hashes, place):
            second = known[other]
            if cases.images[first] == cases.images[second]:
                continue
            if split_of[first] == split_of[second]:
                num_within += 1
                if len(within) < MOST_LISTED:
                    within.append((first, second, bits))
            elif contents[first] != contents[second]:
                across.append((first, second, bits))
    listed = [*across, *within][:MOST_LISTED]
    more = len(across) + num_within - len(listed)
    lines = [_line(cases, first, second, bits, split_of, contents) for first, second, bits in listed]
    return lines + ([f"and {more} more pairs of twins"] if more else [])


def _near(hashes: np.ndarray, place: int) -> list[tuple[int, int]]:
    """Those behind a hash that are near it, and the bits in which they differ."""
    bits: Int[np.ndarray, " rest"] = np.bitwise_count(hashes[place + 1 :] ^ hashes[place]).astype(np.int64)
    return [(place + 1 + int(other), int(bits[other])) for other in np.flatnonzero(bits <= DISTANCE)]


def _line(cases: CaseSet, first: int, second: int, bits: int, split_of: dict[int, str], contents: Sequence[str]) -> str:
    places = [f"{cases.names[index]} ({cases.where(index)})" if cases.rows else cases.names[index] for index in (first, second)]
    how = "the same file" if contents[first] == contents[second] else f"{bits} of 64 bits of their perceptual hashes differ"
    if split_of[first] == split_of[second]:
        return f"image {places[1]} looks like its twin {places[0]}, both in {split_of[first]} ({how})"
    return f"image {places[1]} in {split_of[second]} looks like its twin {places[0]} in {split_of[first]} ({how})"
