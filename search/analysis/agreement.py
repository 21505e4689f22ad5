"""`dermtune doctor NAME`: do Ray Tune, Optuna and MLflow say the same as the ledger, and if not, what mends it."""

from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from search.analysis.leaderboard import RecordedSearch
from search.errors import PlanError
from search.records.curves import write_curves
from search.records.ledger import read_events
from search.records.study import REASON_ATTRIBUTE, TRIAL_ATTRIBUTE, export_to_file, exported_trials
from search.records.tracking.agreement import mend_mlflow, mlflow_differences
from search.records.trials import ENDED, TrialRecord
from search.records.tune_record import ERROR, LOST, RUNNING, TERMINATED, mark_lost, statuses
from search.strategy.study_from_state import study_of

_TUNE = {
    "finished": (TERMINATED, LOST),
    "stopped": (TERMINATED, LOST),
    "failed": (ERROR, TERMINATED, LOST),
    "running": (RUNNING, LOST),
    "paused": (RUNNING, TERMINATED, LOST),
    "interrupted": (RUNNING, LOST, None),
    "suggested": (RUNNING, LOST, None),
}


@dataclass(frozen=True)
class Difference:
    """One thing on which a projection and the ledger do not agree.

    Args:    where: "tune", "optuna" or "mlflow".
             trial: its id, "" where it is about the whole search.
             text: what differs.
    """

    where: str
    trial: str
    text: str


def differences(found: RecordedSearch, tracking_uri: str) -> list[Difference]:
    """Everything on which Tune, Optuna and MLflow differ from the ledger.

    Args:    found: the search.
             tracking_uri: MLflow's store.
    Raises:  PlanError: when the search runs, or the store cannot be opened.
    """
    if found.status == "running":
        raise PlanError(f"NAME must be a search that has ended; got {found.plan.name!r}, which runs (dermtune stop)")
    mlflow = mlflow_differences(tracking_uri, found.plan, found.folder.storage, found.state)
    in_mlflow = [Difference("mlflow", trial, text) for trial, text in mlflow]
    return [*_tune_differences(found), *_optuna_differences(found), *in_mlflow]


def _tune_differences(found: RecordedSearch) -> list[Difference]:
    said = statuses(found.folder.tune_file)
    strangers = [Difference("tune", trial, "the ledger does not know it") for trial in said.keys() - found.state.trials.keys()]
    return strangers + [
        Difference("tune", trial, f"{said.get(trial)}, the ledger says {record.state}")
        for trial, record in found.state.trials.items()
        if said.get(trial) not in _TUNE[record.state]
    ]


def _optuna_differences(found: RecordedSearch) -> list[Difference]:
    exported = exported_trials(found.folder.study_file, found.plan.name)
    if exported is None:
        return [Difference("optuna", "", "no study.db")]
    expected = study_of(found.plan, found.state).get_trials(deepcopy=False)
    result = []
    if len(exported) != len(expected):
        result.append(Difference("optuna", "", f"{len(exported)} trials, the ledger has {len(expected)}"))
    for own, theirs in zip(expected, exported, strict=False):
        if _facts(own) != _facts(theirs):
            wrong = [name for name, value in _facts(own).items() if _facts(theirs)[name] != value]
            result.append(Difference("optuna", own.user_attrs[TRIAL_ATTRIBUTE], f"differs in {', '.join(wrong)}"))
    return result


def _facts(trial: FrozenTrial) -> dict[str, object]:
    return {
        "number": trial.number,
        "state": trial.state,
        "values": trial.values if trial.state != TrialState.FAIL else None,
        "parameters": trial.params,
        "intermediate values": trial.intermediate_values,
        "trial": trial.user_attrs.get(TRIAL_ATTRIBUTE),
        "reason": trial.user_attrs.get(REASON_ATTRIBUTE),
        "constraints": trial.constraints,
    }


def repair(found: RecordedSearch, tracking_uri: str) -> None:
    """Makes Tune's record, the Optuna study, the curves and MLflow agree with the ledger, which is never changed.

    Args:    found: the search; locked while it is mended.
             tracking_uri: MLflow's store.
    Raises:  PlanError: when the search runs, or MLflow does not take what is missing.
    """
    wrong = differences(found, tracking_uri)
    with found.folder.lock():
        lost = [d.trial for d in wrong if d.where == "tune" and _may_be_lost(found.state.trials.get(d.trial))]
        mark_lost(found.folder.tune_file, lost)
        export_to_file(study_of(found.plan, found.state), found.folder.study_file)
        write_curves(found.state, found.folder.curves_file)
        trials = sorted({d.trial for d in wrong if d.where == "mlflow"})
        if trials:
            events = list(read_events(found.folder.ledger_file))
            failure = mend_mlflow(tracking_uri, found.plan, found.folder.storage, events, trials)
            if failure is not None:
                raise PlanError(f"--tracking-uri must be a store that takes what is missing; got {failure}")


def _may_be_lost(record: TrialRecord | None) -> bool:
    """Whether a trial that Tune did not see end has ended: its driver died before it could write so."""
    return record is not None and record.state in ENDED
