"""How much each hyperparameter matters, and how much of that would be there if nothing did."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState, create_trial

from search.records.plan import Plan
from search.records.state import SearchState
from search.records.trials import TrialRecord
from search.strategy.distributions import distribution_of

#: Fewer trials say nothing, of a search or of a field that is active in some of them only. Of searches in which one field decides
#: all but the noise, it stands out of shuffled scores in 1 of 10 with 10 trials, 1 of 3 with 20 and 3 of 5 with 30.
FEWEST = 30
SHUFFLES = 20


@dataclass(frozen=True)
class Importance:
    """PED-ANOVA's importance of hyperparameters.

    Source: Watanabe et al. 2023, as Optuna computes it: how far the values of the best tenth differ from those of all

    Args:    num_trials: with a score, stopped ones counted with their best so far.
             shares: field → share, all together 1. A conditional field is judged over the trials in which it is active.
             noise: field → the share that 95 % of runs with shuffled scores stay below.
             left_out: searched field → trials in which it is active; those that have one value in all of these, or too few.
    """

    num_trials: int
    shares: Mapping[str, float]
    noise: Mapping[str, float]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def doubt(self) -> str:
        """A sentence where no share is above its noise, "" where one is."""
        if any(share > self.noise[name] for name, share in self.shares.items()):
            return ""
        return (
            f"Nothing can be told apart from chance with {self.num_trials} trials: no hyperparameter is beyond its mark of noise."
        )


def importance_of(plan: Plan, state: SearchState, *, seed: int = 0) -> Importance | None:
    """Importance of every field that varies in enough trials; None with too few trials to say anything.

    Args:    plan, state: of the search.
             seed: of the shuffling.
    """
    trials = state.ranked()
    active = {f.name: [v for t in trials if (v := t.config.get(f.name)) is not None] for f in plan.searched}
    names = [name for name, values in active.items() if len(values) >= FEWEST and len(set(values)) > 1]
    if not names:
        return None
    scores = np.array([float(trial.score or 0.0) for trial in trials])
    generator = np.random.default_rng(seed)
    shares = _shares(plan, trials, scores, names)
    shuffled = [_shares(plan, trials, generator.permutation(scores), names) for _ in range(SHUFFLES)]
    noise = {name: float(np.quantile([found[name] for found in shuffled], 0.95)) for name in names}
    return Importance(len(trials), shares, noise, {name: len(values) for name, values in active.items() if name not in names})


def _shares(plan: Plan, trials: Sequence[TrialRecord], scores: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    raw = {name: _one(plan, trials, scores, name) for name in names}
    total = sum(raw.values())
    return {name: value / total if total > 0 else 0.0 for name, value in raw.items()}


def _one(plan: Plan, trials: Sequence[TrialRecord], scores: np.ndarray, name: str) -> float:
    """One field's importance over the trials in which it is active."""
    distribution = distribution_of(plan.fields[name])
    chosen = [
        (trial.config[name], score) for trial, score in zip(trials, scores, strict=True) if trial.config.get(name) is not None
    ]
    study = optuna.create_study(direction="maximize" if plan.objective.mode == "max" else "minimize")
    study.add_trials(
        [
            create_trial(state=TrialState.COMPLETE, params={name: value}, distributions={name: distribution}, value=float(score))
            for value, score in chosen
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = PedAnovaImportanceEvaluator().evaluate(study, params=[name])
    return float(found[name]) * len(chosen) / len(trials)
