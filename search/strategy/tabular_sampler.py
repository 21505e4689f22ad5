"""A sampler that may only choose among configurations whose curves are known."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import optuna
from jaxtyping import Float
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.strategy.distributions import distribution_of, suggest
from spaces.fields import Field, Value


class Pool:
    """Configurations, each to be had once.

    Args:    configs: complete ones.
             fields: those that vary between them.
    """

    def __init__(self, configs: Sequence[Mapping[str, Value]], fields: Sequence[Field]) -> None:
        self.configs, self._fields = list(configs), list(fields)
        self._free = np.ones(len(configs), dtype=bool)
        self._places = np.array([self._place(config) for config in configs]).reshape(len(configs), -1)

    def _place(self, config: Mapping[str, Value]) -> Float[np.ndarray, " coordinates"]:
        """A number in [0, 1] and whether the field is active, for each number; one coordinate for each choice."""
        found: list[float] = []
        for field in self._fields:
            value = config[field.name]
            if field.kind in ("real", "integer"):
                found += [0.0, 0.0] if value is None else [1.0, _scaled(field, float(value))]
            else:
                found += [float(value == choice) / 2**0.5 for choice in field.choices]
        return np.array(found)

    def nearest(self, config: Mapping[str, Value]) -> int:
        """Position of the free configuration nearest to this one, each field weighing the same.

        Raises:  IndexError: when none is free.
        """
        if not self._free.any():
            raise IndexError("a pool must have a free configuration; got none")
        distances = ((self._places - self._place(config)) ** 2).sum(1)
        return int(np.argmin(np.where(self._free, distances, np.inf)))

    def take(self, config: Mapping[str, Value]) -> int:
        """`nearest`, and it is free no longer."""
        found = self.nearest(config)
        self._free[found] = False
        return found


def _scaled(field: Field, value: float) -> float:
    low, high = (np.log(field.low), np.log(field.high)) if field.log else (field.low, field.high)
    return float(((np.log(value) if field.log else value) - low) / (high - low))


class TabularSampler(BaseSampler):
    """Moves what another sampler suggests to the nearest configuration of a pool.

    Args:    inner: the sampler.
             pool: what there is; the caller takes out what has been chosen.
             fields: of the space.
             fixed: fields that are not searched.
    """

    def __init__(self, inner: BaseSampler, pool: Pool, fields: Mapping[str, Field], fixed: Mapping[str, Value]) -> None:
        self._inner, self._pool, self._fields, self._fixed = inner, pool, fields, fixed
        self._chosen: Mapping[str, Value] = {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As the inner sampler does."""
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing is left to be drawn together: the whole configuration is chosen here."""
        space = self._inner.infer_relative_search_space(study, trial)
        relative = self._inner.sample_relative(study, trial, space)

        def draw(field: Field) -> Value:
            if field.name in relative:
                return cast(Value, relative[field.name])
            return cast(Value, self._inner.sample_independent(study, trial, field.name, distribution_of(field)))

        wish = suggest(draw, self._fields, self._fixed)
        self._chosen = self._pool.configs[self._pool.nearest(wish)]
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The chosen configuration's value."""
        return self._chosen[param_name]

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the inner sampler does."""
        self._inner.after_trial(study, trial, state, values)
