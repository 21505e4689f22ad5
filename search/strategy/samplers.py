"""Samplers: what to try next. A line of `SAMPLERS` is all that a new one needs."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler

from spaces.fields import Field, Value

#: Trials drawn at random before a model takes over.
STARTUP_TRIALS = 10


@dataclass(frozen=True)
class Sampler:
    """One line of `SAMPLERS`.

    Args:    make: (seed, trials at once) → Optuna sampler.
             draws_at_random: whether a field is outside the sampler's model even after the start-up trials.
             several_objectives: whether it can search for a Pareto front.
    """

    make: Callable[[int, int], BaseSampler]
    draws_at_random: Callable[[Field], bool]
    several_objectives: bool = True


def _tpe(seed: int, max_concurrent: int) -> BaseSampler:
    # `group` models each branch of the conditions; without it TPE draws conditional fields at random. The liar keeps
    # trials that run side by side apart; with one at a time there is nothing to lie about.
    return optuna.samplers.TPESampler(
        seed=seed, multivariate=True, group=True, constant_liar=max_concurrent > 1, n_startup_trials=STARTUP_TRIALS
    )


def _gp(seed: int, max_concurrent: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False)


def _cmaes(seed: int, max_concurrent: int) -> BaseSampler:
    return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False)


def _random(seed: int, max_concurrent: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: dict[str, Sampler] = {
    "tpe": Sampler(_tpe, lambda field: False),
    "random": Sampler(_random, lambda field: True),
    "gp": Sampler(_gp, lambda field: bool(field.when)),
    "cmaes": Sampler(_cmaes, lambda field: bool(field.when) or field.kind == "choice", several_objectives=False),
}


def make_sampler(name: str, seed: int, max_concurrent: int) -> BaseSampler:
    """The Optuna sampler of that name.

    Args:    name: a key of `SAMPLERS`.
             seed: the same seed and the same order of reports give the same suggestions.
             max_concurrent: trials at once.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name].make(seed, max_concurrent)


def drawn_at_random(name: str, fields: Iterable[Field], fixed: Mapping[str, Value] | None = None) -> list[str]:
    """Names of the searched fields that this sampler draws at random whatever the trials say.

    Args:    name: a key of `SAMPLERS`.
             fields: those that are searched.
             fixed: the others' values; a condition on them holds always or never.
    """
    held = fixed or {}
    reachable = [
        replace(field, when={name: values for name, values in field.when.items() if name not in held})
        for field in fields
        if all(held[name] in values for name, values in field.when.items() if name in held)
    ]
    return [field.name for field in reachable if SAMPLERS[name].draws_at_random(field)]
