"""What a diagnosis costs with a model: its size, and the time it takes for one image. Limits can be set on both."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from trainables.contract import LATENCY_MS, NUM_PARAMETERS

_TIMED = 3


def costs_of(model: nn.Module, diagnose: Callable[[], Any], device: torch.device) -> dict[str, float]:
    """Parameters that a checkpoint holds, and milliseconds for one image on the training device.

    Args:    model: is left in the mode it was in.
             diagnose: one pass over one image, in evaluation mode; the fastest of a few counts.
             device: waited for before and after.
    """
    mode = model.training
    model.eval()
    seconds = []
    with torch.no_grad():
        for _ in range(_TIMED + 1):  # the first also pays for what is made once
            start = time.perf_counter()
            diagnose()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
    model.train(mode)
    count = sum(parameter.numel() for parameter in model.parameters())
    return {NUM_PARAMETERS: float(count), LATENCY_MS: 1000 * min(seconds[1:])}
