"""A sampler whose model is fitted on one rung at a time, so that values of few epochs never pose as final ones."""

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.strategy.optuna_internals import StudyView, numbered

#: A model sees so many ended trials at most, the best and the latest, and as many running ones, the latest, so that a suggestion
#: late in a long search with many slots costs no more than an early one; TPE itself gives old trials less weight.
MEMORY = 150
BEST_REMEMBERED = 40


@dataclass
class _Reached:
    """Ended trials that have reached a rung, in both orders that are asked for, so that nothing goes through all of them.

    Args:    by_value: (value, less is better; number), ascending.
             numbers: ascending.
    """

    by_value: list[tuple[float, int]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def add(self, number: int, value: float) -> None:
        """One more."""
        insort(self.by_value, (value, number))
        insort(self.numbers, number)


class RungSampler(BaseSampler):
    """Shows the sampler that it wraps the highest rung which enough trials have reached, as if that were all there is.

    Source: Falkner et al. 2018, "BOHB", Section 4.1: the model of the largest budget with enough observations.
    Deviations: any sampler; a trial that has ended by itself counts at every later rung with its last value; trials of
    earlier searches are a rung below all others.

    Everything is read from the study: a trial's value at a rung is the intermediate value that was reported there. A study
    with several objectives has no intermediate values, and is shown as it is.

    Args:    inner: the sampler.
             rungs: epochs, ascending, the last epoch of a whole trial included.
             num_needed: trials that a rung needs.
             earlier: ended trials of earlier searches, best guesses while no rung has enough trials.
             branches: whether the sampler models fields that only some trials have.
             explore: share of trials drawn at random while the model is fitted below the last rung (Falkner et al. 2018,
                 Algorithm 2: 1/3): what few epochs say may be wrong.
             seed: of those.
             looks: whether the sampler looks at trials at all; one that does not is shown none.

    Attributes: level: the rung last shown, None while none has enough trials.
    """

    def __init__(
        self,
        inner: BaseSampler,
        rungs: Sequence[int],
        num_needed: int,
        earlier: Sequence[FrozenTrial] = (),
        branches: bool = False,
        explore: float = 0.0,
        seed: int = 0,
        looks: bool = True,
    ) -> None:
        self.inner, self.rungs, self.num_needed, self.earlier = inner, tuple(rungs), num_needed, list(earlier)
        self.level: int | None = None
        self._branches, self._explore, self._looks = branches, explore, looks
        # Another seed than the inner sampler's own random one, which would suggest the start-up trials a second time.
        self._random = optuna.samplers.RandomSampler(seed=seed + 500_009)
        self._generator = np.random.default_rng(seed)
        self._drawn = inner
        self._view: StudyView | None = None
        self._seen: dict[tuple[int, int, bool], FrozenTrial] = {}
        #: Number → a running trial as it is shown.
        self._coming: dict[int, FrozenTrial] = {}
        self._reached = {rung: _Reached() for rung in self.rungs}
        #: Number → the trial as it was last looked at, of those that had not ended; and how many there were in all.
        self._open: dict[int, FrozenTrial] = {}
        #: Numbers of those at a rung or beyond.
        self._arrived: dict[int, set[int]] = {rung: set() for rung in self.rungs}
        self._num_seen = 0

    def _show(self, study: optuna.Study) -> optuna.Study:
        """The study as the inner sampler sees it; made anew by `infer_relative_search_space`, for one trial."""
        if self._view is None:
            trials = self._visible(study.get_trials(deepcopy=False), study.directions) if self._looks else []
            self._view = StudyView(study, trials)
        return self._view

    def _visible(self, trials: list[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
        if len(directions) > 1:
            ended = sum(trial.state == TrialState.COMPLETE for trial in trials)
            return trials if ended >= self.num_needed else [*self.earlier, *trials]
        sign = -1 if directions[0] == StudyDirection.MAXIMIZE else 1
        self._look(trials, sign)
        for rung in reversed(self.rungs):
            if len(self._reached[rung].numbers) + len(self._arrived[rung]) >= self.num_needed:
                self.level = rung
                return self._at(trials, rung, sign)
        self.level = None
        if self.earlier:
            return [*self.earlier, *(self._open[number] for number in [*self._open][-MEMORY:])]
        return self._at(trials, self.rungs[0], sign)

    def _look(self, trials: list[FrozenTrial], sign: int) -> None:
        """Sorts what has changed since the last look to the rungs: Optuna's storage in memory never changes a trial, it puts
        another in its place."""
        self._open |= {number: trials[number] for number in range(self._num_seen, len(trials))}
        changed = [number for number, known in self._open.items() if number >= self._num_seen or trials[number] is not known]
        self._num_seen = len(trials)
        for number in changed:
            trial = trials[number]
            epoch, ended = _furthest(trial), trial.state.is_finished()
            for rung in self.rungs:
                self._arrived[rung].discard(number)
                if epoch >= rung and ended:
                    self._reached[rung].add(number, sign * _value_at(trial, rung))
                elif epoch >= rung:
                    self._arrived[rung].add(number)
            self._open[number] = trial
            if ended:
                del self._open[number]

    def _at(self, trials: list[FrozenTrial], rung: int, sign: int) -> list[FrozenTrial]:
        """Trials as they stood at the rung: complete if they reached it, running if they may yet, else left out."""
        ended, arrived = self._reached[rung], self._arrived[rung]
        if len(ended.numbers) + len(arrived) > MEMORY:
            rivals = [(sign * _value_at(trials[number], rung), number) for number in arrived]
            best = {number for _, number in sorted([*ended.by_value[:BEST_REMEMBERED], *rivals])[:BEST_REMEMBERED]}
            old = [number for number in sorted([*ended.numbers[-MEMORY:], *arrived]) if number not in best]
            numbers = sorted([*best, *old[-(MEMORY - BEST_REMEMBERED) :]])
        else:
            numbers = sorted([*ended.numbers, *arrived])
        # Limits are told when a trial ends. What is no longer shown need not be remembered.
        keys = [(number, rung, trials[number].state.is_finished()) for number in numbers]
        self._seen = {key: self._seen.get(key) or _complete(trials[key[0]], _value_at(trials[key[0]], rung)) for key in keys}
        may_yet = (n for n in reversed(self._open) if n not in arrived and trials[n].state == TrialState.RUNNING)
        self._coming = {n: self._coming.get(n) or _running(trials[n]) for n in islice(may_yet, MEMORY) if trials[n].params}
        return sorted([*self._seen.values(), *self._coming.values()], key=lambda trial: trial.number)

    def reseed_rng(self) -> None:
        """As the inner sampler does."""
        self.inner.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """A new trial: the study has moved on since the last."""
        self._view = None
        view = self._show(study)
        self.inner.before_trial(view, trial)
        astray = self.level is not None and self.level < self.rungs[-1]
        # A number is drawn each time, so that the sequence does not hang on when the last rung is reached.
        self._drawn = self._random if self._generator.random() < self._explore and astray else self.inner

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The inner sampler's, of what it is shown, without the fields that a trial shown lacks unless it models branches."""
        view = self._show(study)
        space = self._drawn.infer_relative_search_space(view, trial)
        if self._branches:
            return space
        # Optuna looks at each trial once, in the order of their numbers; here an early one may come into view late.
        begun = [shown for shown in view.get_trials(deepcopy=False) if shown.distributions]
        return {name: found for name, found in space.items() if all(name in shown.distributions for shown in begun)}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The inner sampler's, of what it is shown."""
        return self._drawn.sample_relative(self._show(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The inner sampler's, of what it is shown."""
        return self._drawn.sample_independent(self._show(study), trial, param_name, param_distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """The inner sampler keeps its books."""
        self.inner.after_trial(study, trial, state, values)


def _running(trial: FrozenTrial) -> FrozenTrial:
    """A copy that runs, without what TPE has stored with it: JSON that would be read again for every suggestion, and fields of
    branches that the trial has not taken."""
    return numbered(create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions), trial)


def _furthest(trial: FrozenTrial) -> float:
    """The epoch up to which a trial has values: all of them if it ended by itself, none if it failed."""
    if trial.state == TrialState.COMPLETE:
        return math.inf
    if trial.state in (TrialState.RUNNING, TrialState.PRUNED):
        return max(trial.intermediate_values, default=-1)
    return -1


def _value_at(trial: FrozenTrial, rung: int) -> float:
    """The value reported last at the rung or before; a trial without reports has its final one."""
    steps = [step for step in trial.intermediate_values if step <= rung]
    if steps:
        return float(trial.intermediate_values[max(steps)])
    return math.nan if trial.value is None else float(trial.value)


def _complete(trial: FrozenTrial, value: float) -> FrozenTrial:
    """A copy that has ended with this value."""
    shown = create_trial(
        state=TrialState.COMPLETE,
        value=value,
        params=trial.params,
        distributions=trial.distributions,
        system_attrs=trial.system_attrs,
        user_attrs=trial.user_attrs,
    )
    return numbered(shown, trial)
