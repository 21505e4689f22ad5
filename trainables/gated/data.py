"""The gated task's data on a device: labelled cases, their pixels and their splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from spaces.fields import Value
from trainables.data import read_labelled, split_source
from trainables.data.cases import CaseSet
from trainables.data.images import Progress, load_images
from trainables.residence import channel_statistics, gather, resident


@dataclass(frozen=True)
class GatedData:
    """Cases and pixels for one configuration of the data fields.

    Args:    cases: labels, splits, tasks.
             pixels: all cases, on the CPU (mapped from the node's cache) or wholly on the GPU.
             codes: class codes on the training device, -1 where missing.
             fingerprint: of labels, splits, groups and image contents.
             device: where batches are trained.
             contents: digest of each image file, for `CaseSet.twins`.
    """

    cases: CaseSet
    pixels: UInt8[Tensor, "cases 3 size size"]
    codes: Int[Tensor, "cases tasks"]
    fingerprint: str
    device: torch.device
    contents: Sequence[str] = ()

    @cached_property
    def channel_statistics(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel over the training images, in [0, 1]."""
        return channel_statistics(self.pixels, self.cases.splits["train"])

    def batch(self, members: Int[np.ndarray, " batch"]) -> UInt8[Tensor, "batch 3 size size"]:
        """The pixels of some cases on the training device."""
        return gather(self.pixels, members, self.device)


def load(config: Mapping[str, Value], source: str, device: torch.device, progress: Progress | None = None) -> GatedData:
    """Reads what a configuration trains on; a process that asks again for the same gets the same object.

    Raises:  DataError: with every problem found.
             ValueError: when primary_task names no task.
    """
    _, path = split_source(source)
    tables = list((path / "meta").glob("*.csv")) if path.is_dir() else [path]
    modified = max((table.stat().st_mtime_ns for table in tables), default=0)
    binary, size_px = bool(config["binary"]), int(str(config["size_px"]))
    if progress is not None:
        load_images(_cases(source, modified, str(config["primary_task"]), binary), size_px, progress)
    return _load(source, modified, str(config["primary_task"]), binary, size_px, device)


@lru_cache(maxsize=2)
def _cases(source: str, modified: int, primary: str, binary: bool) -> CaseSet:
    cases = read_labelled(source).with_primary(primary)
    return cases.binary() if binary else cases


@lru_cache(maxsize=2)
def _load(source: str, modified: int, primary: str, binary: bool, size_px: int, device: torch.device) -> GatedData:
    cases = _cases(source, modified, primary, binary)
    images = load_images(cases, size_px)
    pixels = resident(torch.from_numpy(images.pixels), device)
    codes = torch.from_numpy(cases.labels).to(device)
    # Of the labels as they were read: `binary` is a hyperparameter, and the data are the same.
    fingerprint = _cases(source, modified, primary, False).fingerprint(images.digest)
    return GatedData(cases, pixels, codes, fingerprint, device, images.contents)
