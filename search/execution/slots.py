"""How many trials a search may have running: what fits, what the user allows, and its part of a shared cluster."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from search.execution.resources import NodeGroup, max_concurrent
from search.records.plan import Plan
from search.strategy.packing import Packing
from search.strategy.sharing import fair_parts, granted_trials

_NAME, _NAMESPACE = "dermtune-shares", "dermtune"
#: A search says so often that it lives; one that has not for a while gives its part to the others.
_BEAT_S, _FORGET_S = 1.0, 15.0


class Shares:
    """Which part of the cluster each live search gets.

    Args:    clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wanted: dict[str, tuple[float, float]] = {}

    def beat(self, search: str, wanted: float) -> float:
        """Takes how much of the cluster a live search could use; gives its part.

        Args:    search: its name and process, unique on the cluster.
                 wanted: 0 to 1; 0 says goodbye.
        """
        now = self._clock()
        self._wanted[search] = (wanted, now)
        self._wanted = {name: entry for name, entry in self._wanted.items() if entry[0] > 0 and now - entry[1] < _FORGET_S}
        return fair_parts({name: entry[0] for name, entry in self._wanted.items()}).get(search, 0.0)


class ClusterPart:
    """A search's part of a cluster that others may use as well, asked for in the background.

    Ray itself serves whoever asks first: a search that came later would wait until the first has no more trials.

    Args:    search: its name.
             wanted: gives how much of the cluster it could use now, 0 to 1.
    """

    def __init__(self, search: str, wanted: Callable[[], float]) -> None:
        context = ray.get_runtime_context()
        self._key, self._wanted, self.part = f"{search} {context.get_job_id()}", wanted, 1.0
        self._over = threading.Event()
        self._shares = self._find()
        self._ask()
        # Searches that come together have all been heard of when the first of them takes its slots.
        self._over.wait(2 * _BEAT_S)
        self._ask()
        self._thread = threading.Thread(target=self._beat, name="cluster-part", daemon=True)
        self._thread.start()

    def _find(self) -> Any:
        """The one actor of the cluster, beside a driver: it outlives the search that made it, and uses no CPU."""
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        options = {"name": _NAME, "namespace": _NAMESPACE, "lifetime": "detached", "get_if_exists": True, "num_cpus": 0}
        return ray.remote(Shares).options(**options, max_restarts=-1, scheduling_strategy=here).remote()

    def _ask(self) -> None:
        try:
            self.part = float(ray.get(self._shares.beat.remote(self._key, self._wanted()), timeout=10))
        except Exception:  # noqa: BLE001 - whatever befell the actor, the search goes on with what it has and asks anew
            try:
                self._shares = self._find()
            except Exception:  # noqa: BLE001 - the cluster itself is away; Tune will notice
                return

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_S):
            self._ask()

    def close(self) -> None:
        """Leaves its part to the others."""
        self._over.set()
        self._thread.join(timeout=15)
        self._wanted = lambda: 0.0
        self._ask()


class Slots:
    """Whether a search may start one more trial.

    Args:    plan: of the search.
             nodes: of the machine or cluster.
             packing: knows the trials' share of a GPU.
             demand: gives how many trials it could have running now.
             shared: whether others may use the cluster as well.
    """

    def __init__(
        self, plan: Plan, nodes: Sequence[NodeGroup], packing: Packing, demand: Callable[[], int], *, shared: bool
    ) -> None:
        self._plan, self._nodes, self._packing, self._demand = plan, nodes, packing, demand
        self._part = ClusterPart(plan.name, self._wanted) if shared else None

    @property
    def capacity(self) -> int:
        """Trials at once if the whole cluster were the search's."""
        return max_concurrent(self._nodes, self._plan.cpus_per_trial, self._packing.share, self._plan.max_concurrent)

    def _wanted(self) -> float:
        alone = max_concurrent(self._nodes, self._plan.cpus_per_trial, self._packing.share)
        return min(1.0, min(self._demand(), self._plan.max_concurrent or alone) / alone)

    def free(self, num_running: int) -> bool:
        """Whether there is room beside those that run."""
        if num_running >= self.capacity:
            return False
        if self._part is None:
            return True
        alone = max_concurrent(self._nodes, self._plan.cpus_per_trial, self._packing.share)
        return num_running < granted_trials(self._part.part, alone)

    def close(self) -> None:
        """Leaves the cluster to the others."""
        if self._part is not None:
            self._part.close()


def resources_of(cpus: float, gpus: float) -> Mapping[str, float]:
    """A trial's resources as Ray names them."""
    return {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
