"""The Optuna study: in memory while a search runs, exported to a database for optuna-dashboard at its end."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection

from trainables.contract import Objective

optuna.logging.set_verbosity(optuna.logging.WARNING)
TRIAL_ATTRIBUTE = "trial"


def new_study(name: str, objectives: Sequence[Objective], sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """An empty study in memory."""
    directions = [StudyDirection.MAXIMIZE if o.mode == "max" else StudyDirection.MINIMIZE for o in objectives]
    study = optuna.create_study(study_name=name, directions=directions, sampler=sampler)
    _name_metrics(study, [objective.metric for objective in objectives])
    return study


def export_study(study: optuna.Study, file: Path) -> None:
    """Writes the study to a sqlite database, for optuna-dashboard; an earlier export is replaced."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{unfinished}")
    try:
        copy = optuna.create_study(storage=storage, study_name=study.study_name, directions=study.directions)
        _name_metrics(copy, study.metric_names or [])
        copy.add_trials(study.trials)
    finally:
        storage.engine.dispose()
    unfinished.rename(file)


def _name_metrics(study: optuna.Study, names: Sequence[str]) -> None:
    """Metric names for optuna-dashboard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(names))
