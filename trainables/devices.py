"""Where torch computes, and with how many threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


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
