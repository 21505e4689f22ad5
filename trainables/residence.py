"""Arrays of a whole data set where training wants them: on the GPU when they are small, else mapped and sent in batches."""

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

#: An array moves to the GPU as a whole when it takes at most this share of the free memory.
_RESIDENT_SHARE = 0.25


def resident(array: Tensor, device: torch.device) -> Tensor:
    """The array on the GPU if it is small beside the free memory, else as it is."""
    if device.type == "cuda" and array.nbytes <= _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
        return array.to(device)
    return array


def gather(array: Tensor, members: Int[np.ndarray, " members"], device: torch.device) -> Tensor:
    """Some cases' rows of an array, on the training device.

    Args:    array: cases first, on any device.
             members: indices of cases.
             device: where they are needed.
    """
    return array[torch.from_numpy(members).to(array.device)].to(device, non_blocking=True)


def channel_statistics(
    pixels: UInt8[Tensor, "cases 3 size size"], members: Int[np.ndarray, " members"]
) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel over some cases, in [0, 1].

    Args:    pixels: all cases.
             members: those that count, usually the training split.
    """
    count, total, squares = 0, torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for start in range(0, len(members), 64):
        part = gather(pixels, members[start : start + 64], pixels.device).double() / 255
        count += part[:, 0].numel()
        total += part.sum((0, 2, 3)).cpu()
        squares += part.square().sum((0, 2, 3)).cpu()
    mean = total / count
    return mean.tolist(), (squares / count - mean.square()).clamp(min=1e-12).sqrt().tolist()
