"""How searches on one cluster share it: equal parts, and what one cannot use goes to the others."""

from collections.abc import Mapping


def fair_parts(wanted: Mapping[str, float]) -> dict[str, float]:
    """Max-min fair parts of one cluster.

    Nobody gets more than it wants, and nobody could get more without taking from one that has less.

    Args:    wanted: search → part of the cluster that it could use now, 0 to 1.
    Returns: search → its part; 1 in all at most.
    """
    parts: dict[str, float] = {}
    left = 1.0
    for position, name in enumerate(sorted(wanted, key=lambda name: (wanted[name], name))):
        parts[name] = min(wanted[name], left / (len(wanted) - position))
        left -= parts[name]
    return parts


def granted_trials(part: float, capacity: int) -> int:
    """Trials at once for a part of the cluster: rounded to the nearest, one at least, since a search that starves helps nobody.

    Args:    part: of the cluster, 0 to 1.
             capacity: trials at once if the whole cluster were the search's.
    """
    return max(1, min(capacity, int(part * capacity + 0.5)))
