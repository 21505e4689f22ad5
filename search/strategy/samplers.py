"""Samplers: what to try next. A line of `SAMPLERS` is all that a new one needs."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from search.records.plan import Plan
from search.strategy.fusion_size import MOST
from search.strategy.rung_sampler import RungSampler
from search.strategy.rungs import rungs
from spaces.fields import Field, Value

#: Trials drawn at random before a model takes over.
STARTUP_TRIALS = 10
#: Share of trials drawn at random while only lower rungs have enough trials.
EXPLORE = 1 / 3


@dataclass(frozen=True)
class Sampler:
    """One line of `SAMPLERS`.

    Args:    make: (seed, trials at once, trials that a model needs, whether some are judged before their end) → Optuna sampler.
             draws_at_random: whether a field is outside the sampler's model even after the start-up trials.
             several_objectives: whether it can search for a Pareto front.
             limits: whether it takes constraints into account.
             branches: whether it models fields that only some trials have.
             models: whether it fits a model at all.
             by_number: whether a suggestion follows from the seed and the trial's number alone, so that a search that was killed
                 goes on with the very trials that it would have had.
    """

    make: Callable[[int, int, int, bool], BaseSampler]
    draws_at_random: Callable[[Field], bool]
    several_objectives: bool = True
    limits: bool = False
    branches: bool = False
    models: bool = True
    by_number: bool = False


def _tpe(seed: int, max_concurrent: int, num_startup: int, several_rungs: bool) -> BaseSampler:
    # `group` models each branch of the conditions; without it TPE draws conditional fields at random. The liar keeps
    # trials that run side by side apart; with one at a time there is nothing to lie about.
    return optuna.samplers.TPESampler(
        seed=seed,
        multivariate=True,
        group=True,
        constant_liar=max_concurrent > 1,
        n_startup_trials=num_startup,
        gamma=num_good if several_rungs else None,
    )


def num_good(num_trials: int) -> int:
    """How many of the best trials at a rung count as good: 15 %, three at least, 25 at most.

    Source: Falkner et al. 2018, "BOHB", Section 4.1, for 15 %; one good trial, Optuna's choice up to ten, is a guess where
    values are those of few epochs
    """
    return max(3, min(math.ceil(0.15 * num_trials), 25))


def _gp(seed: int, max_concurrent: int, num_startup: int, several_rungs: bool) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=num_startup, warn_independent_sampling=False)


def _cmaes(seed: int, max_concurrent: int, num_startup: int, several_rungs: bool) -> BaseSampler:
    return optuna.samplers.CmaEsSampler(seed=seed, n_startup_trials=num_startup, warn_independent_sampling=False)


def _random(seed: int, max_concurrent: int, num_startup: int, several_rungs: bool) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _qmc(seed: int, max_concurrent: int, num_startup: int, several_rungs: bool) -> BaseSampler:
    return optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False, warn_asynchronous_seeding=False)


def _nsga2(seed: int, max_concurrent: int, num_startup: int, several_rungs: bool) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(2 * num_startup, 20))


SAMPLERS: dict[str, Sampler] = {
    "tpe": Sampler(_tpe, lambda field: False, limits=True, branches=True),
    "random": Sampler(_random, lambda field: True, models=False, by_number=True),
    "gp": Sampler(_gp, lambda field: bool(field.when), limits=True),
    "cmaes": Sampler(_cmaes, lambda field: bool(field.when) or field.kind == "choice", several_objectives=False),
    "qmc": Sampler(_qmc, lambda field: bool(field.when), models=False),
    "nsga2": Sampler(_nsga2, lambda field: bool(field.when), limits=True),
}


def num_needed(plan: Plan) -> int:
    """Trials that a rung needs before a model is fitted on it: fields that vary, and two.

    Source: Falkner et al. 2018, "BOHB", Section 4.1: N_min + 2 with N_min = d + 1, less the one that the liar stands for
    """
    return max(4, min(len(plan.searched) + 2, STARTUP_TRIALS))


def make_sampler(plan: Plan, seed: int | None = None, earlier: Sequence[FrozenTrial] = ()) -> RungSampler:
    """The plan's sampler, shown one rung at a time.

    Args:    plan: of the search.
             seed: instead of the plan's; the same seed and the same order of reports give the same suggestions.
             earlier: trials of earlier searches.
    """
    needed, line, levels = num_needed(plan), SAMPLERS[plan.sampler], [plan.max_epochs]
    if plan.scheduler != "none":
        levels = [*rungs(plan.grace_period, plan.max_epochs, plan.reduction), plan.max_epochs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)  # `gamma` is to go in Optuna 6
        at_once = (plan.max_concurrent or 1) * (plan.fuse_trials or MOST)
        inner = line.make(plan.seed if seed is None else seed, at_once, needed, len(levels) > 1)
    explore = EXPLORE if line.models else 0.0
    own_seed = plan.seed if seed is None else seed
    return RungSampler(inner, levels, needed, earlier, line.branches, explore, own_seed, looks=not line.by_number)


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
