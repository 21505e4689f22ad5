"""When to end a search because little more is to be expected of it."""

import warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.terminator import BestValueStagnationEvaluator, StaticErrorEvaluator, Terminator

#: Ended trials in a row that were no better before a search ends.
STAGNATION = 30


class Termination:
    """Asks Optuna's terminator: has the best value stood for so long that no improvement is to be expected?

    Optuna's model-based evaluators (regret bound, expected minimum simple regret) were tried first: on eighty trials of the
    bowl the estimated improvement never fell below half of its first value, so they would never have ended a search.

    Args:    study: single-objective, filled by the controller.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.simplefilter("ignore", FutureWarning)  # Optuna 6 is to have it no more
            # Optuna ends a study at the trial after so many.
            evaluator = BestValueStagnationEvaluator(max_stagnation_trials=STAGNATION - 1)
            self._terminator = Terminator(evaluator, StaticErrorEvaluator(0), min_n_trials=STAGNATION)

    def reached(self) -> str | None:
        """Why the search should end, None while it should not."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not self._terminator.should_terminate(self._study):
                return None
        return f"ends: none of the last {STAGNATION} trials to finish was better (--terminate)"
