"""Which checkpoints stay on disk: the best K of the search and those of running trials."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from search.records.folder import SearchFolder
from search.records.ledger import Event, Ledger
from search.records.trials import ENDED, TrialTable
from trainables.contract import Objective

BEST, STATE = "best", "state"


def best_folder(trial_folder: Path, epoch: int) -> Path:
    """Where a trial writes the model of its best epoch."""
    return trial_folder / f"{BEST}-{epoch:05d}"


def state_folder(trial_folder: Path, epoch: int) -> Path:
    """Where a trial writes what it needs to go on."""
    return trial_folder / f"{STATE}-{epoch:05d}"


def states(trial_folder: Path) -> list[Path]:
    """The folders to go on from, newest first."""
    return sorted(trial_folder.glob(f"{STATE}-*"), reverse=True)


def drop_older_states(trial_folder: Path) -> None:
    """Keeps the newest folder to go on from and the one before it, in case the newest is damaged."""
    for folder in states(trial_folder)[2:]:
        shutil.rmtree(folder, ignore_errors=True)


def drop_unheard(trial_folder: Path, known_epoch: int) -> None:
    """Deletes what a worker wrote after the last report that reached the ledger: it will be trained, and told, again."""
    for folder in (*trial_folder.glob(f"{STATE}-*"), *trial_folder.glob(f"{BEST}-*")):
        if int(folder.name.rpartition("-")[2]) > known_epoch:
            shutil.rmtree(folder)


class CheckpointStore:
    """Deletes what is no longer needed, as the search goes; listens to the ledger.

    Args:    folder: of the search.
             ledger: told when a trial's best checkpoint is deleted.
             table: already up to date when this listener is called.
             keep: best checkpoints kept; with several objectives the Pareto front comes first.
             objectives: of the search.
    """

    def __init__(
        self, folder: SearchFolder, ledger: Ledger, table: TrialTable, keep: int, objectives: Sequence[Objective] = ()
    ) -> None:
        self._folder, self._ledger, self._table, self._keep, self._objectives = folder, ledger, table, keep, objectives
        self._kept: set[str] | None = None

    def on_event(self, event: Event) -> None:
        """Tidies up after a new best checkpoint and after the end of a trial."""
        if event["event"] == "checkpointed":
            self._drop_earlier_bests(event)
        elif event["event"] in ENDED:
            trial_folder = self._folder.trial(event["trial"])
            for state in trial_folder.glob(f"{STATE}-*"):
                shutil.rmtree(state, ignore_errors=True)
            self._keep_best(event["trial"])

    def _drop_earlier_bests(self, event: Event) -> None:
        for folder in self._folder.trial(event["trial"]).glob(f"{BEST}-*"):
            if folder.name < Path(event["path"]).name:
                shutil.rmtree(folder, ignore_errors=True)

    def _keep_best(self, ended: str) -> None:
        """Deletes the checkpoint that is no longer among the best.

        Running trials keep theirs anyway; counted here, one that fails later would have cost an ended trial its place. The
        rank of an ended trial never changes, so with one objective only those kept so far compete with the one that ended.
        """
        trials = self._table.trials
        if len(self._objectives) > 1:
            rivals = [trial for trial in self._table.front_first(self._objectives) if trial.state in ENDED]
            others = [trial for trial in trials.values() if trial.state in ENDED]
        else:
            if self._kept is None:
                self._kept = {trial.trial for trial in trials.values() if trial.state in ENDED}
            others = [trials[name] for name in sorted({*self._kept, ended})]
            rivals = self._table.ranked(others)
        kept = {trial.trial for trial in rivals[: self._keep]}
        self._kept = kept
        for trial in others:
            if trial.trial not in kept and trial.checkpoint is not None:
                path = trial.checkpoint
                shutil.rmtree(self._folder.path / path, ignore_errors=True)
                self._ledger.append("checkpoint_deleted", trial=trial.trial, path=path)
