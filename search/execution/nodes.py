"""The machines of a cluster: what they have, what it may still start, and whether each can run a search."""

import os
import platform
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.errors import ClusterUnavailable
from search.execution.code_version import code_version
from search.execution.ray_internals import autoscaled_groups
from search.execution.resources import NodeGroup
from search.records.mirror import origin
from search.records.plan import Plan
from trainables.data import split_source
from trainables.errors import DermtuneError
from trainables.locations import RemoteFolder

#: These decide whether what a trial saves on one node can be read on another, and whether it computes the same.
COMPARED = ("ray", "torch", "torchvision", "numpy", "safetensors", "pyarrow")
#: A node may have to fetch the data first.
_ANSWER_WITHIN_S = 3600
#: What a node's first process may take; where its Python cannot be run Ray tries for ever, in silence.
_START_WITHIN_S = 300.0


@dataclass(frozen=True)
class NodeReport:
    """What a node said of itself.

    Args:    node: its host name and address.
             resources: "CPU" and "GPU" as Ray counts them.
             problems: why it cannot run the search's trials, a line each.
    """

    node: str
    resources: Mapping[str, float]
    problems: tuple[str, ...]


def cluster_nodes() -> list[NodeGroup]:
    """The nodes that are alive, or those that an autoscaling cluster may have at most, if these are more."""
    alive = [NodeGroup(node["Resources"]) for node in _alive()]
    possible = [NodeGroup(resources, most) for resources, most in autoscaled_groups()]
    return possible if _total(possible) > _total(alive) else alive


def _total(nodes: Iterable[NodeGroup]) -> float:
    return sum(group.count * (group.resources.get("CPU", 0.0) + 1000 * group.resources.get("GPU", 0.0)) for group in nodes)


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def check_nodes(plan: Plan, storage: Path, address: str | None) -> None:
    """Makes sure, before the first trial, that every node of a cluster can run it.

    Raises:  ClusterUnavailable: with the nodes that cannot, and why.
    """
    if address is None:
        return
    reports = examine_nodes(plan.source, storage)
    wrong = [f"{report.node}: {problem}" for report in reports for problem in report.problems]
    if wrong:
        more = f" (and {len(wrong) - 1} more: dermtune doctor --address {address})" if len(wrong) > 1 else ""
        raise ClusterUnavailable(f"every node must be able to run the search's trials; got {wrong[0]}{more}")


def examine_nodes(source: str | None, storage: Path) -> list[NodeReport]:
    """Asks every node for its versions, whether it sees the data, and whether it reads and writes the storage.

    Args:    source: of the data, None for none.
             storage: folder of all searches.
    """
    remote = origin(storage)
    mark = storage / f".seen-{uuid.uuid4().hex}"
    storage.mkdir(parents=True, exist_ok=True)
    mark.write_text("by the driver")
    try:
        return _ask_all(_alive(), source, str(remote) if remote is not None else str(mark))
    finally:
        mark.unlink(missing_ok=True)


def _ask_all(nodes: Sequence[Mapping[str, Any]], source: str | None, place: str) -> list[NodeReport]:
    """A first process on each node, which then answers, where it has begun in time."""
    greet, ask = ray.remote(_greet), ray.remote(_examine)
    greetings = [greet.options(**_on(node)).remote() for node in nodes]
    begun, _ = ray.wait(greetings, num_returns=len(greetings), timeout=_START_WITHIN_S)
    asked = []
    for node, greeting in zip(nodes, greetings, strict=True):
        trains = node["Resources"].get("CPU", 0.0) > 0
        asked.append(
            ask.options(**_on(node)).remote(_own_versions(), source if trains else None, place) if greeting in begun else None
        )
    return [_report(node, answer) for node, answer in zip(nodes, asked, strict=True)]


def _on(node: Mapping[str, Any]) -> dict[str, Any]:
    here: Any = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": here}


def _greet() -> None:
    """Runs on a node: whether it can."""


def _report(node: Mapping[str, Any], answer: Any | None) -> NodeReport:
    name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    if answer is None:
        why = f"has started no process of Ray's within {_START_WITHIN_S:.0f} s (/tmp/ray/session_latest/logs there says why)"
        return NodeReport(name, node["Resources"], (why,))
    try:
        problems = tuple(ray.get(answer, timeout=_ANSWER_WITHIN_S))
    except Exception as error:  # noqa: BLE001 - whatever keeps a node from answering is what must be told
        text = " ".join(str(error).split())
        missing = "dermtune is not installed there" if "ModuleNotFoundError" in text else text[-300:]
        problems = (f"does not answer: {missing}",)
    return NodeReport(name, node["Resources"], problems)


def _own_versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in COMPARED}
    return {"python": platform.python_version(), "dermtune's code": code_version(), **found}


def _examine(driver: Mapping[str, str], source: str | None, storage: str) -> list[str]:
    """Runs on a node: every problem, a line each."""
    own = _own_versions()
    problems = [
        f"{name} must be the driver's, {version}; got {own[name]} (install dermtune with the same constraints.txt)"
        for name, version in driver.items()
        if own[name] != version
    ]
    for look in (partial(_see_data, source), partial(_see_storage, storage)):
        try:
            look()
        except (DermtuneError, OSError) as error:
            problems.append(" ".join(str(error).split()))
    return problems


def _see_data(source: str | None) -> None:
    if source is not None:
        split_source(source)


def _see_storage(place: str) -> None:
    """Raises:  OSError, LocationError: when the storage cannot be read and written."""
    own = f".seen-{os.getpid()}-{uuid.uuid4().hex}"
    if "://" in place:
        mine = RemoteFolder(place) / own  # in a common folder one node's deletion would meet another's writing
        mine.write("mark", b"by a node")
        mine.delete()
        return
    mark = Path(place)
    if not mark.is_file():
        raise OSError(f"--storage must be a folder that every node sees, or a URI; got {mark.parent}, which is another one here")
    (mark.parent / own).write_text("by a node")
    (mark.parent / own).unlink()
