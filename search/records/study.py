"""The Optuna study: in memory while a search runs, exported to a database for optuna-dashboard at its end."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from search.errors import PlanError
from search.records.database import alone, check_url, masked
from trainables.contract import Objective

optuna.logging.set_verbosity(optuna.logging.WARNING)
TRIAL_ATTRIBUTE, REASON_ATTRIBUTE = "trial", "reason"
#: What Optuna hears of a limit on a metric that was not reported: it takes no infinity into a database.
FAR_BEYOND = 1e9


def new_study(name: str, objectives: Sequence[Objective], sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """An empty study in memory."""
    directions = [StudyDirection.MAXIMIZE if o.mode == "max" else StudyDirection.MINIMIZE for o in objectives]
    study = optuna.create_study(study_name=name, directions=directions, sampler=sampler)
    _name_metrics(study, [objective.metric for objective in objectives])
    return study


def export_study(study: optuna.Study, url: str) -> None:
    """Writes the study to a database, for optuna-dashboard; a study of that name there is replaced.

    Args:    study: in memory.
             url: of SQLAlchemy's kind: `sqlite:///study.db`, `postgresql://host/database`.
    Raises:  PlanError: when the database cannot be opened.
    """
    with open_storage(url) as storage:
        known = {found.study_name for found in optuna.get_all_study_summaries(storage)}
        if study.study_name in known:
            optuna.delete_study(study_name=study.study_name, storage=storage)
        copy = optuna.create_study(storage=storage, study_name=study.study_name, directions=study.directions)
        _name_metrics(copy, study.metric_names or [])
        copy.add_trials(study.trials)


def export_to_file(study: optuna.Study, file: Path) -> None:
    """Writes the study to a sqlite file of its own, whole or not at all; an earlier export is replaced."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    export_study(study, f"sqlite:///{unfinished}")
    unfinished.rename(file)


def exported_trials(file: Path, name: str) -> list[FrozenTrial] | None:
    """The trials of an exported study, None where there is none."""
    if not file.is_file():
        return None
    try:
        with open_storage(f"sqlite:///{file}") as storage:
            return optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    except (KeyError, PlanError):
        return None


@contextmanager
def open_storage(url: str) -> Iterator[RDBStorage]:
    """Optuna's database at that place; closed afterwards.

    Raises:  PlanError: when it cannot be opened, read or written: away, locked by another, or of another kind.
    """
    check_url(url, "--to")
    storage = None
    try:
        # A file of one's own needs no lock, and shall have none beside it.
        with nullcontext() if url.startswith("sqlite:") else alone(url):
            storage = RDBStorage(url)
        yield storage
    except (ImportError, SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        reason = masked(" ".join(str(error.__cause__ or error).splitlines()[0].split()))
        raise PlanError(f"--to must be a database that Optuna can use; got {masked(url)}: {reason}") from error
    finally:
        if storage is not None:
            storage.engine.dispose()


def _name_metrics(study: optuna.Study, names: Sequence[str]) -> None:
    """Metric names for optuna-dashboard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(names))
