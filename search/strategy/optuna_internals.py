"""What is taken of Optuna that Optuna does not promise to keep; nothing else of `search` touches its underscores.

`tests/search/test_internals.py` says what must hold of each.
"""

from collections.abc import Container

import optuna
from optuna.trial import FrozenTrial, TrialState


class StudyView(optuna.Study):
    """A study that shows other trials than it has; whatever a sampler stores goes to the study itself.

    A study of its own, filled with `add_trials` for each suggestion, would copy every trial that it shows.

    Args:    study: whose storage, directions and name it has.
             trials: that a sampler sees.
    """

    def __init__(self, study: optuna.Study, trials: list[FrozenTrial]) -> None:
        self.__dict__.update(study.__dict__)
        self._shown = trials

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """The trials shown."""
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]


def numbered(shown: FrozenTrial, trial: FrozenTrial) -> FrozenTrial:
    """A trial made by hand, under the number and id of the one that it stands for.

    Args:    shown: is changed.
             trial: of the study.
    """
    shown.number, shown._trial_id = trial.number, trial._trial_id
    return shown
