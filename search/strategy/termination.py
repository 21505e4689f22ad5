"""When to end a search because little more is to be expected of it."""

import warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.terminator import EMMREvaluator, MedianErrorEvaluator, Terminator

#: Ended trials before anyone asks.
_MIN_TRIALS = 20


class Termination:
    """Asks Optuna's terminator: has the expected minimum of the model's regret fallen below that of its first guesses?

    Source: Ishibashi et al. 2023, "A stopping criterion for Bayesian optimization by the gap of expected minimum simple
    regrets" (EMMR), against the median over the first trials

    Args:    study: single-objective, filled by the bridge.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            improvement = EMMREvaluator(seed=0)
            error = MedianErrorEvaluator(improvement, warm_up_trials=10, n_initial_trials=10, threshold_ratio=0.01)
            self._terminator = Terminator(improvement, error, min_n_trials=_MIN_TRIALS)

    def reached(self) -> str | None:
        """Why the search should end, None while it should not."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not self._terminator.should_terminate(self._study):
                return None
        return f"little more is to be expected after {len(self._study.trials)} trials (Optuna's terminator)"
