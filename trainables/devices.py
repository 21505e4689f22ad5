"""Where torch computes, and with how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainables.contract import GPU_CONTEXT_MIB


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
    return device


def image_layout(device: torch.device) -> torch.memory_format:
    """How images and weights of convolutions lie in memory: channels last on a CPU, where it was measured to pay."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


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
