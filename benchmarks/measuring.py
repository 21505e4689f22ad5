"""What benchmarks of training share: turns, the machine and its limits, and the work of a step."""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import t as student
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

#: Turns before the first that counts.
WARM_UP = 2
#: Ops that only look at memory in another way.
_VIEWS = (
    "view",
    "expand",
    "permute",
    "transpose",
    "t",
    "slice",
    "select",
    "split",
    "unsqueeze",
    "squeeze",
    "as_strided",
    "detach",
)


def machine(device: torch.device) -> str:
    """Processor or GPU, threads, versions."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    return f"torch {torch.__version__}, Python {platform.python_version()}, {name}"


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, until the device has done its part."""
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def take_turns(calls: Mapping[str, Callable[[], object]], turns: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each call in each turn; some go before the first and are not counted, until memory has settled."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + WARM_UP):
        for name, call in calls.items():
            seconds = timed(call, device)
            if turn >= WARM_UP:
                found[name].append(seconds)
    return found


@dataclass(frozen=True)
class Work:
    """What a call does.

    Args:    flops: of convolutions and matrix products, forward and backward; a multiplication and an addition are two.
             bytes: that its operations read and write, each result once.
             num_kernels: operations that compute something; on a GPU each is a kernel or a few.
    """

    flops: float
    bytes: float
    num_kernels: int = 0


class _Bytes(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total, self.num_kernels = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__.strip("_") not in _VIEWS:
            tensors = [value for value in torch.utils._pytree.tree_leaves((args, found)) if isinstance(value, Tensor)]
            self.num_kernels += 1
            self.total += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return found


def work_of(call: Callable[[], object]) -> Work:
    """Counts a call's work while it runs once."""
    with FlopCounterMode(display=False) as flops:
        call()
    with _Bytes() as count:
        call()
    return Work(float(flops.get_total_flops()), float(count.total), count.num_kernels)


@dataclass(frozen=True)
class Limits:
    """What the hardware was seen to do in this run.

    Args:    flops_per_s: of a large matrix product or a wide convolution, whichever is faster.
             bytes_per_s: read and written by adding two large arrays.
    """

    flops_per_s: float
    bytes_per_s: float

    def shares(self, work: Work, seconds: float) -> str:
        """How much of either limit was reached, in words."""
        return (
            f"{work.flops / 1e9:.1f} GFLOP and {work.bytes / 1e9:.2f} GB a step:"
            f" {100 * work.flops / seconds / self.flops_per_s:.0f} % of {self.flops_per_s / 1e9:.0f} GFLOP/s,"
            f" {100 * work.bytes / seconds / self.bytes_per_s:.0f} % of {self.bytes_per_s / 1e9:.0f} GB/s"
        )


def limits(device: torch.device, dtype: torch.dtype = torch.float32, repeats: int = 5) -> Limits:
    """Measures a product of large matrices, a convolution of 256 channels, and a sum of large arrays."""
    side, length = (8192, 2**28) if device.type == "cuda" else (2048, 2**25)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)
    first, second = torch.ones(length, device=device), torch.ones(length, device=device)
    total = torch.empty_like(first)
    product_s = min(timed(lambda: torch.mm(left, right, out=product), device) for _ in range(repeats))
    images = torch.randn(8, 256, 56, 56, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernels = torch.randn(256, 256, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    convolution_s = min(timed(lambda: F.conv2d(images, kernels, padding=1), device) for _ in range(repeats))
    sum_s = min(timed(lambda: torch.add(first, second, out=total), device) for _ in range(repeats))
    flops = max(2 * side**3 / product_s, 2 * 9 * 256 * images.numel() / convolution_s)
    return Limits(flops, 3 * total.numel() * total.element_size() / sum_s)


def paired(differences: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval of paired differences (Student's t)."""
    mean, count = float(np.mean(differences)), len(differences)
    half = float(student.ppf(0.975, count - 1) * np.std(differences, ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half
