"""Where torch computes, with how many threads, and how memory is laid out and kept."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

from trainables.contract import GPU_CONTEXT_MIB

#: glibc's names of its settings.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def choose_device(name: str, gpu_share: float = 0.0) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one.

    Args:    name: of a torch device, or "auto".
             gpu_share: of the GPU's memory that this process may take, its neighbours' being the rest; 0 for no limit.
    """
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory / 2**20
        allowed = gpu_share - GPU_CONTEXT_MIB / total if 0 < gpu_share < 1 else 1.0
        # Unlike all others, this call refuses a "cuda" without a number; None is the current one.
        torch.cuda.set_per_process_memory_fraction(max(allowed, 0.01), None if device.index is None else device)
    else:
        keep_freed_memory()
    return device


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Lets this process use its freed memory again instead of giving it back to the system; says whether that could be done.

    By default glibc maps every large block anew and unmaps it when it is freed, so a training step on a CPU spends most of
    its time on page faults (the gated step at the paper's size: 3 times as long).
    """
    settings = getattr(ctypes.CDLL(None), "mallopt", None)
    if settings is None:  # another C library
        return False
    return bool(settings(_M_MMAP_MAX, 0)) and bool(settings(_M_TRIM_THRESHOLD, -1))


def image_layout(device: torch.device) -> torch.memory_format:
    """How images and weights of convolutions lie in memory: channels last on a CPU, where it was measured to pay."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def laid_out(images: Tensor) -> Tensor:
    """The same images as the convolutions of their device want them; in another layout they would round differently."""
    return images.contiguous(memory_format=image_layout(images.device))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch's thread count for a while: it decides the order of sums, and with it a result's last bits.

    Args:    count: 1 or more.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
