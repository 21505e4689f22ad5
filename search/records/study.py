"""The Optuna study: in memory while a search runs, exported to a database for optuna-dashboard at its end."""

from pathlib import Path

import optuna
from optuna.study import StudyDirection

from trainables.contract import Objective

optuna.logging.set_verbosity(optuna.logging.WARNING)
TRIAL_ATTRIBUTE = "trial"


def new_study(name: str, objective: Objective, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """An empty study in memory."""
    direction = StudyDirection.MAXIMIZE if objective.mode == "max" else StudyDirection.MINIMIZE
    return optuna.create_study(study_name=name, direction=direction, sampler=sampler)


def export_study(study: optuna.Study, file: Path) -> None:
    """Writes the study to a sqlite database, for optuna-dashboard; an earlier export is replaced."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{unfinished}")
    try:
        copy = optuna.create_study(storage=storage, study_name=study.study_name, directions=study.directions)
        copy.add_trials(study.trials)
    finally:
        storage.engine.dispose()
    unfinished.rename(file)
