"""What users run instead: random search, Optuna's samplers and pruners, Ray's OptunaSearch and ASHA, each as it comes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from search.records.events import EpochResult
from search.strategy.distributions import distribution_of
from search.strategy.suggestion import Suggestion
from spaces.fields import Field, Value

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass
class RayTrial:
    """As much of Tune's trial as its schedulers look at."""

    trial_id: str


class RayAsha:
    """Ray Tune's ASHA, reduction 3, grace period 1."""

    def __init__(self, max_epochs: int) -> None:
        self._scheduler = AsyncHyperBandScheduler(
            metric="value", mode="max", max_t=max_epochs, grace_period=1, reduction_factor=3
        )
        self._trials: dict[str, RayTrial] = {}

    def add(self, trial: str) -> None:
        """A new trial."""
        self._trials[trial] = RayTrial(trial)
        self._scheduler.on_trial_add(None, self._trials[trial])

    def stops(self, trial: str, epoch: int, value: float) -> bool:
        """Whether it ends the trial."""
        result = {"training_iteration": epoch, "value": value}
        return bool(self._scheduler.on_trial_result(None, self._trials[trial], result) == TrialScheduler.STOP)


class Rival(ABC):
    """What `simulate` drives (see `search.strategy.simulation.Conducts`).

    Args:    fields: of the problem.
             num_trials: to begin.
             asha: stops trials, None for none.
    """

    def __init__(self, fields: Mapping[str, Field], num_trials: int, asha: RayAsha | None) -> None:
        self._fields, self._num_trials, self._asha, self._begun = fields, num_trials, asha, 0

    def next(self) -> Suggestion | None:
        """A new trial."""
        if self._begun == self._num_trials:
            return None
        name = f"t{self._begun:04d}"
        self._begun += 1
        if self._asha is not None:
            self._asha.add(name)
        return Suggestion(name, self._draw(name), self._begun)

    @abstractmethod
    def _draw(self, trial: str) -> dict[str, Value]:
        """A configuration."""

    def report(self, trial: str, epochs: Sequence[EpochResult], ended: str | None) -> bool:
        """Whether the trial ends."""
        over = False
        for epoch in epochs:
            number, value = epoch.epoch, epoch.score
            stopped = self._asha is not None and self._asha.stops(trial, number, value)
            over = stopped or ended is not None
            over = self._hear(trial, number, value, over) or over
        return over

    def _hear(self, trial: str, epoch: int, value: float, over: bool) -> bool:
        return False

    def is_paused(self, trial: str) -> bool:
        """Nothing is ever paused here."""
        return False

    def stop(self, trial: str, reason: str) -> None:  # noqa: B027 - nothing is ever cut short here
        """Nothing to do."""

    def settle(self) -> None:  # noqa: B027 - nothing is ever paused here
        """Nothing to do."""


class RandomSearch(Rival):
    """Uniform over the space."""

    def __init__(self, fields: Mapping[str, Field], num_trials: int, asha: RayAsha | None, seed: int) -> None:
        super().__init__(fields, num_trials, asha)
        self._generator = np.random.default_rng(seed)

    def _draw(self, trial: str) -> dict[str, Value]:
        return {name: self._value(field) for name, field in self._fields.items()}

    def _value(self, field: Field) -> Value:
        if field.kind == "choice":
            return field.choices[int(self._generator.integers(len(field.choices)))]
        if field.kind == "integer":
            return int(self._generator.integers(int(field.low), int(field.high) + 1))
        return float(self._generator.uniform(field.low, field.high))


class OptunaAlone(Rival):
    """Optuna's TPE with its own defaults, asked and told; with its Hyperband pruner or without one."""

    def __init__(
        self, fields: Mapping[str, Field], num_trials: int, seed: int, max_epochs: int, *, hyperband: bool = False
    ) -> None:
        super().__init__(fields, num_trials, None)
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if hyperband:
            pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max_epochs, reduction_factor=3)
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        self._distributions = {name: distribution_of(field) for name, field in fields.items()}
        self._trials: dict[str, optuna.Trial] = {}

    def _draw(self, trial: str) -> dict[str, Value]:
        self._trials[trial] = self._study.ask(self._distributions)
        return dict(self._trials[trial].params)

    def _hear(self, trial: str, epoch: int, value: float, over: bool) -> bool:
        asked = self._trials[trial]
        asked.report(value, epoch)
        if over:
            self._study.tell(asked, value)
        elif asked.should_prune():
            self._study.tell(asked, state=TrialState.PRUNED)
            return True
        return over


class RayOptuna(Rival):
    """Ray Tune's OptunaSearch with its own defaults, told as Tune tells it: at a stop the last value, as a final one."""

    def __init__(self, fields: Mapping[str, Field], num_trials: int, asha: RayAsha | None, seed: int) -> None:
        super().__init__(fields, num_trials, asha)
        space = {name: distribution_of(field) for name, field in fields.items()}
        self._search = OptunaSearch(space=space, metric="value", mode="max", seed=seed)

    def _draw(self, trial: str) -> dict[str, Value]:
        return dict(self._search.suggest(trial))

    def _hear(self, trial: str, epoch: int, value: float, over: bool) -> bool:
        result = {"training_iteration": epoch, "value": value}
        if over:
            self._search.on_trial_complete(trial, result=result)
        else:
            self._search.on_trial_result(trial, result)
        return over
