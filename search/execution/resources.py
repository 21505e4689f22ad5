"""How many trials run at once, and what each of them gets."""

import math
import os
from collections.abc import Mapping

from search.errors import PlanError

#: Share of a GPU that a trial gets while nothing has been measured.
DEFAULT_GPU_SHARE = 0.25


def local_resources() -> dict[str, float]:
    """CPUs of this machine that this process may use, and its GPUs, as Ray would count them."""
    gpus = 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible != "":
        import torch  # slow to import, and needed only here

        gpus = torch.cuda.device_count()
    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(gpus)}


def max_concurrent(resources: Mapping[str, float], cpus_per_trial: float, gpus_per_trial: float, limit: int | None = None) -> int:
    """Trials that fit at once.

    Args:    resources: "CPU" and "GPU" of the machine or cluster.
             cpus_per_trial, gpus_per_trial: of one trial.
             limit: no more than these, None for no limit.
    Raises:  PlanError: when not even one fits.
    """
    asked = {"CPU": cpus_per_trial, "GPU": gpus_per_trial}
    # A share lies on one GPU: 0.4 fits twice on each of two GPUs, so four times, not five.
    fits = [
        math.floor(resources.get(kind, 0.0)) * math.floor(1 / amount + 1e-9)
        if kind == "GPU" and amount < 1
        else math.floor(resources.get(kind, 0.0) / amount + 1e-9)
        for kind, amount in asked.items()
        if amount > 0
    ]
    most = min(fits, default=1)
    if most < 1:
        have = ", ".join(f"{resources.get(kind, 0):g} {kind}" for kind in asked)
        raise PlanError(
            f"a trial must fit the machine ({have}); got {cpus_per_trial:g} CPU and {gpus_per_trial:g} GPU a trial"
            " (--cpus-per-trial, --gpus-per-trial)"
        )
    return min(most, limit) if limit is not None else most
