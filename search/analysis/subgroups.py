"""For whom does a model fail? Every metric by subgroup, and whether the subgroups differ by more than their cases explain."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from search.errors import PlanError
from trainables.bootstrap import interval_of
from trainables.counted import chunks
from trainables.evaluation import Casewise
from trainables.resampling import Resampling

_RESAMPLES = 1000
#: A subgroup of fewer cases is counted and not judged.
FEWEST = 10
#: Numbers of more values than this are put into bands, as many as these if not told otherwise.
_MOST_VALUES, _BANDS = 6, 3
#: A metric that has no meaning in more resamples than this share says nothing of a subgroup.
_UNDEFINED = 0.1
_UNKNOWN = "(unknown)"
_EDGES = re.compile(r"(?P<column>.+):(?P<edges>-?\d+(?:\.\d+)?(?:,-?\d+(?:\.\d+)?)*)")


@dataclass(frozen=True)
class SubgroupValue:
    """A metric of one subgroup.

    Args:    value: None where it has no meaning there.
             interval: 95 % by the bootstrap, None where the cases are too few to say.
    """

    value: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Gap:
    """How far subgroups are apart in a metric.

    Args:    highest, lowest: subgroups.
             value: the one's metric less the other's.
             p: two-sided, of all subgroups being alike (a Wald test over joint resamples); None where it cannot be told.
    """

    highest: str
    lowest: str
    value: float
    p: float | None


@dataclass(frozen=True)
class Subgroups:
    """A column's subgroups.

    Args:    column: its name.
             num_cases: subgroup → cases, those of `too_few` among them.
             too_few: subgroups of which nothing can be said.
             metrics: full name → subgroup → value.
             gaps: full name → gap, of metrics that two subgroups or more have.
    """

    column: str
    num_cases: Mapping[str, int]
    too_few: Sequence[str]
    metrics: Mapping[str, Mapping[str, SubgroupValue]]
    gaps: Mapping[str, Gap]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(self)


def parted(text: str) -> tuple[str, tuple[float, ...]]:
    """The column of `--by`, and the edges of its bands: `age` or `age:30,50`."""
    found = _EDGES.fullmatch(text)
    if found is None:
        return text, ()
    return found["column"], tuple(sorted(float(edge) for edge in found["edges"].split(",")))


def subgroup_names(cells: Sequence[str], edges: Sequence[float] = ()) -> tuple[str, ...]:
    """Each case's subgroup: its cell, or the band of its number.

    Args:    cells: of a column, "" where nothing is known.
             edges: from which on a next band begins; without any, numbers of many values are put into three of equal size.
    Raises:  PlanError: when there are edges and a cell is no number.
    """
    numbers = [_number(cell) for cell in cells]
    known = [number for number, cell in zip(numbers, cells, strict=True) if cell]
    if any(number is None for number in known):
        if edges:
            text = next(cell for cell, number in zip(cells, numbers, strict=True) if cell and number is None)
            raise PlanError(f"--by with edges must name a column of numbers; got {text!r}")
        return tuple(cell or _UNKNOWN for cell in cells)
    values = sorted({number for number in known if number is not None})
    if not edges and len(values) <= _MOST_VALUES:
        return tuple(cell or _UNKNOWN for cell in cells)
    if not edges:
        shares = [share / _BANDS for share in range(1, _BANDS)]
        edges = sorted({float(edge) for edge in np.quantile([n for n in known if n is not None], shares, method="higher")})
    return tuple(_UNKNOWN if number is None else _band(number, edges) for number in numbers)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _band(number: float, edges: Sequence[float]) -> str:
    place = int(np.searchsorted(edges, number, side="right"))
    if place == 0:
        return f"below {edges[0]:g}"
    return f"{edges[-1]:g} and above" if place == len(edges) else f"{edges[place - 1]:g} to below {edges[place]:g}"


def by_subgroup(cases: Casewise, column: str, names: Sequence[str], *, resamples: int = _RESAMPLES, seed: int = 0) -> Subgroups:
    """Every metric of every subgroup, and what the subgroups differ in.

    Cases, or whole groups of them, are resampled over all subgroups at once, so that a patient in two of them counts as one.

    Args:    cases: what a model says of a split.
             column: that the subgroups come from.
             names: each case's subgroup.
             resamples: of the bootstrap.
             seed: of it.
    """
    every = np.array(names)
    order = sorted(dict.fromkeys(names), key=lambda name: (name == _UNKNOWN, _sort_key(name)))
    members = np.stack([every == name for name in order])
    of_all = cases.measure(members.astype(np.int64))
    drawn = _drawn(cases, members, resamples, seed)
    enough = [name for name, own in zip(order, members, strict=True) if own.sum() >= FEWEST and name != _UNKNOWN]
    metrics, gaps = {}, {}
    for metric, values in of_all.items():
        if metric.startswith("model/"):  # the same whatever the cases
            continue
        resampled = drawn[metric]
        told = {
            name: resampled[:, place]
            for place, name in enumerate(order)
            if name in enough and np.isnan(resampled[:, place]).mean() <= _UNDEFINED and np.nanstd(resampled[:, place]) > 1e-12
        }
        metrics[metric] = {
            name: SubgroupValue(
                None if np.isnan(values[place]) else float(values[place]), interval_of(told[name]) if name in told else None
            )
            for place, name in enumerate(order)
        }
        known = {name: float(values[order.index(name)]) for name in told if not np.isnan(values[order.index(name)])}
        if len(known) > 1:
            highest, lowest = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
            table = np.stack([told[name] for name in known], axis=1)
            groups = len(names) if cases.groups is None else len(np.unique(cases.groups))
            p = _wald(np.array(list(known.values())), table, groups)
            gaps[metric] = Gap(highest, lowest, known[highest] - known[lowest], p)
    sizes = {name: int(own.sum()) for name, own in zip(order, members, strict=True)}
    return Subgroups(column, sizes, [name for name in order if name not in enough and name != _UNKNOWN], metrics, gaps)


def _sort_key(name: str) -> tuple[float, str]:
    """Bands by their first number, everything else by name; "below" comes before."""
    first = re.search(r"-?\d+(?:\.\d+)?", name)
    return (float(first[0]) - (0.5 if name.startswith("below") else 0) if first else 0.0), name


def _drawn(
    cases: Casewise, members: Bool[np.ndarray, "subgroups cases"], resamples: int, seed: int
) -> dict[str, Float[np.ndarray, "resamples subgroups"]]:
    generator, resampling = np.random.default_rng(seed), Resampling(cases.num_cases, cases.groups)
    parts: dict[str, list[Any]] = {}
    for chunk in chunks(resamples, cases.num_cases):
        counts = resampling.counts(generator, len(chunk))
        of_each = [cases.measure(counts * own) for own in members]
        for metric in of_each[0]:
            parts.setdefault(metric, []).append(np.stack([found[metric] for found in of_each], axis=1))
    return {metric: np.concatenate(tables) for metric, tables in parts.items()}


def _wald(
    values: Float[np.ndarray, " subgroups"], resampled: Float[np.ndarray, "resamples subgroups"], num_groups: int
) -> float | None:
    """p of all being alike: the contrasts to the first, over their covariance in joint resamples (Hotelling's F)."""
    whole = resampled[~np.isnan(resampled).any(1)]
    contrasts, freedom = len(values) - 1, num_groups - len(values)
    if len(whole) < 2 * len(values) or freedom < 1:
        return None
    covariance = np.atleast_2d(np.cov(whole[:, 1:] - whole[:, :1], rowvar=False))
    gaps = values[1:] - values[0]
    if np.linalg.matrix_rank(covariance) < contrasts:
        return None
    statistic = float(gaps @ np.linalg.solve(covariance, gaps)) / contrasts
    return float(stats.f.sf(statistic, contrasts, freedom))
