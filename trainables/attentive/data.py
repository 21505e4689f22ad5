"""The attentive task's data on a device: images, packed masks, superpixels, diagnoses and their splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from models.attentive_network import check_size
from spaces.errors import RequestError
from spaces.fields import Value
from trainables.augmentation import Crop, Turning, to_unit_range, views
from trainables.data import read_segmented, split_source
from trainables.data.images import Progress, Resize, load_images
from trainables.data.masks import load_masks
from trainables.data.segmented import SegmentedCases
from trainables.devices import laid_out
from trainables.errors import as_requested
from trainables.residence import channel_statistics, gather, resident


@dataclass(frozen=True)
class AttentiveBatch:
    """Some cases as the network and its loss take them.

    Args:    images: RGB in [0, 1].
             masks: 0 or 1, in the order of `STRUCTURES`; an unknown attribute is empty.
             lesion: 0 or 1, the whole lesion: `masks` has it without its attributes.
             melanoma: 0 benign, 1 melanoma.
             known: whose attributes are annotated.
    """

    images: Float[Tensor, "batch 3 size size"]
    masks: Float[Tensor, "batch structures size size"]
    lesion: Float[Tensor, "batch size size"]
    melanoma: Int[Tensor, " batch"]
    known: Bool[Tensor, " batch"]


@dataclass(frozen=True)
class AttentiveData:
    """Cases and pixels for one configuration of the data fields.

    Args:    segmented: labels, splits, annotations.
             pixels: all cases, on the CPU (mapped from the node's cache) or wholly on the GPU.
             bits, lesions: masks of structures and of whole lesions, eight cells in a byte.
             superpixels: numbered within a case, on the CPU.
             melanoma, known: on the training device.
             fingerprint: of labels, splits, groups, images and masks.
             size_px: side of the centre that the network sees.
             device: where batches are trained.
             contents: digest of each image file, for `CaseSet.twins`.
    """

    segmented: SegmentedCases
    pixels: UInt8[Tensor, "cases 3 resized resized"]
    bits: UInt8[Tensor, "cases structures resized bytes"]
    lesions: UInt8[Tensor, "cases resized bytes"]
    superpixels: Int[Tensor, "cases resized resized"]
    melanoma: Int[Tensor, " cases"]
    known: Bool[Tensor, " cases"]
    fingerprint: str
    size_px: int
    device: torch.device
    contents: Sequence[str] = ()

    @property
    def splits(self) -> Mapping[str, Int[np.ndarray, " members"]]:
        """Split → indices of its cases."""
        return self.segmented.cases.splits

    @cached_property
    def channel_statistics(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel over the training images, in [0, 1]."""
        return channel_statistics(self.pixels, self.splits["train"])

    def batch(
        self,
        members: Int[np.ndarray, " batch"],
        turning: Turning = "none",
        generator: torch.Generator | None = None,
        crop: Crop = "centre",
    ) -> AttentiveBatch:
        """Some cases on the training device: their centre, or another square, turned and flipped, images and masks alike.

        Args:    members: indices of cases.
                 turning, crop: see `trainables.augmentation.views`.
                 generator: on the training device; needed to turn, and for a random crop.
        """
        images = to_unit_range(gather(self.pixels, members, self.device))
        lesions, bits = (gather(array, members, self.device) for array in (self.lesions, self.bits))
        masks = unpack(torch.cat([bits, lesions.unsqueeze(1)], 1), images.shape[-1]).float()
        images, masks = views(images, masks, self.size_px, turning, generator, crop)
        index = torch.from_numpy(members).to(self.device)
        return AttentiveBatch(laid_out(images), masks[:, :-1], masks[:, -1], self.melanoma[index], self.known[index])

    def superpixel_maps(self, members: Int[np.ndarray, " batch"]) -> Int[Tensor, "batch size size"]:
        """The centres of some cases' superpixel maps, on the training device."""
        start = (self.superpixels.shape[-1] - self.size_px) // 2
        centre = slice(start, start + self.size_px)
        return gather(self.superpixels, members, self.device)[:, centre, centre]


def unpack(bits: UInt8[Tensor, "batch structures rows bytes"], size: int) -> UInt8[Tensor, "batch structures rows size"]:
    """Bytes to cells, the highest bit the leftmost."""
    shifts = torch.arange(7, -1, -1, device=bits.device, dtype=torch.uint8)
    return ((bits.unsqueeze(-1) >> shifts) & 1).flatten(-2)[..., :size]


def load(config: Mapping[str, Value], source: str, device: torch.device, progress: Progress | None = None) -> AttentiveData:
    """Reads what a configuration trains on; a process that asks again for the same gets the same object.

    Raises:  DataError: with every problem found.
             RequestError: when the sizes do not fit.
    """
    size_px, crop_from_px = int(str(config["size_px"])), int(str(config["crop_from_px"]))
    with as_requested():
        check_size(size_px)
    if size_px > crop_from_px:
        raise RequestError(
            f"size_px must be crop_from_px ({crop_from_px}) or less; got {size_px} (--set size_px= --set crop_from_px=)"
        )
    modified, resize = _modified(split_source(source)[1]), cast(Resize, config["resize"])
    if progress is not None:
        segmented = _cases(source, modified)
        load_images(segmented.cases, crop_from_px, progress, resize)
        load_masks(segmented, crop_from_px, progress, resize)
    return _load(source, modified, crop_from_px, size_px, resize, device)


def _modified(path: Path) -> int:
    """When a table or a list of files last changed; a file edited in place is read again by the next process only."""
    watched = [path, *path.glob("*.csv"), *path.glob("ISIC-2017_*_Data"), *path.glob("ISIC-2017_*_GroundTruth")]
    return max(place.stat().st_mtime_ns for place in watched)


@lru_cache(maxsize=2)
def _cases(source: str, modified: int) -> SegmentedCases:
    return read_segmented(source)


@lru_cache(maxsize=2)
def _load(source: str, modified: int, crop_from_px: int, size_px: int, resize: Resize, device: torch.device) -> AttentiveData:
    return on_device(_cases(source, modified), crop_from_px, size_px, device, resize)


def on_device(
    segmented: SegmentedCases, crop_from_px: int, size_px: int, device: torch.device, resize: Resize = "stretch"
) -> AttentiveData:
    """Cases with their images and masks, made first if this node has not done so yet.

    Raises:  DataError: with every case that cannot be used.
    """
    images = load_images(segmented.cases, crop_from_px, resize=resize)
    masks = load_masks(segmented, crop_from_px, resize=resize)
    return AttentiveData(
        segmented=segmented,
        pixels=resident(torch.from_numpy(images.pixels), device),
        bits=resident(torch.from_numpy(masks.bits), device),
        lesions=resident(torch.from_numpy(masks.lesions), device),
        superpixels=torch.from_numpy(masks.superpixels),
        melanoma=torch.from_numpy(segmented.cases.labels[:, 0]).to(device),
        known=torch.from_numpy(segmented.attributes_known).to(device),
        fingerprint=segmented.fingerprint(images.digest, masks.digest),
        size_px=size_px,
        device=device,
        contents=images.contents,
    )
