"""What the machines have, how many trials they hold at once, and what each of those gets."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.errors import PlanError


@dataclass(frozen=True)
class NodeGroup:
    """Machines that are alike.

    Args:    resources: "CPU" and "GPU" of each.
             count: how many there are, or may be where the cluster grows.
    """

    resources: Mapping[str, float]
    count: int = 1

    def fits(self, cpus_per_trial: float, gpus_per_trial: float) -> int:
        """Trials at once on one of them; a share of a GPU lies on one GPU: 0.4 fits twice on each, not five times on two."""
        cpus, gpus = self.resources.get("CPU", 0.0), self.resources.get("GPU", 0.0)
        by_cpu = math.floor(cpus / cpus_per_trial + 1e-9) if cpus_per_trial > 0 else None
        if gpus_per_trial <= 0:
            by_gpu = None
        elif gpus_per_trial < 1:
            by_gpu = math.floor(gpus) * math.floor(1 / gpus_per_trial + 1e-9)
        else:
            by_gpu = math.floor(gpus / gpus_per_trial + 1e-9)
        return min((found for found in (by_cpu, by_gpu) if found is not None), default=1)


def local_nodes() -> list[NodeGroup]:
    """This machine as Ray would count it: CPUs that this process may use, and GPUs."""
    gpus = 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible != "":
        import torch  # slow to import, and needed only here

        gpus = torch.cuda.device_count()
    return [NodeGroup({"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(gpus)})]


def have_gpus(nodes: Sequence[NodeGroup]) -> bool:
    """Whether any of them has a GPU."""
    return any(group.resources.get("GPU", 0.0) > 0 for group in nodes)


def max_concurrent(nodes: Sequence[NodeGroup], cpus_per_trial: float, gpus_per_trial: float, limit: int | None = None) -> int:
    """Trials that fit at once.

    Args:    nodes: of the machine or cluster; one trial lies on one of them.
             cpus_per_trial, gpus_per_trial: of one trial.
             limit: no more than these, None for no limit.
    Raises:  PlanError: when not even one fits.
    """
    most = sum(group.count * group.fits(cpus_per_trial, gpus_per_trial) for group in nodes)
    if most < 1:
        kinds = sorted({tuple(group.resources.get(kind, 0.0) for kind in ("CPU", "GPU")) for group in nodes})
        have = " or ".join(f"{cpus:g} CPU, {gpus:g} GPU" for cpus, gpus in kinds) or "no node"
        place = "the machine" if len(nodes) == 1 and nodes[0].count == 1 else "one node of the cluster"
        raise PlanError(
            f"a trial must fit {place} ({have}); got {cpus_per_trial:g} CPU and {gpus_per_trial:g} GPU a trial"
            " (--cpus-per-trial, --gpus-per-trial)"
        )
    return min(most, limit) if limit is not None else most
