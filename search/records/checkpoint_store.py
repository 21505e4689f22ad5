"""Which checkpoints stay on disk: the best K of the search and those of running trials."""

from collections.abc import Callable, Sequence
from pathlib import Path

from search.records.folder import SearchFolder
from search.records.ledger import Event, Ledger
from search.records.mirror import Mirror
from search.records.trial_folder import BEST, STATE
from search.records.trials import ENDED, TrialTable
from trainables.contract import Objective
from trainables.folders import remove_folder


class CheckpointStore:
    """Deletes what is no longer needed, as the search goes; listens to the ledger.

    Args:    folder: of the search.
             ledger: told when a trial's best checkpoint is deleted.
             table: already up to date when this listener is called.
             keep: best checkpoints kept; with several objectives the Pareto front comes first.
             objectives: of the search.
             mirror: of a storage behind a URI, None where the folder is in the storage.
    """

    def __init__(
        self,
        folder: SearchFolder,
        ledger: Ledger,
        table: TrialTable,
        keep: int,
        objectives: Sequence[Objective] = (),
        mirror: Mirror | None = None,
    ) -> None:
        self._mirror = mirror
        self._folder, self._ledger, self._table, self._keep, self._objectives = folder, ledger, table, keep, objectives
        self._kept: set[str] | None = None

    def on_event(self, event: Event) -> None:
        """Tidies up after a new best checkpoint, after the end of a trial and after a driver that was killed."""
        if event["event"] == "search_resumed":
            self._catch_up()
        elif event["event"] == "checkpointed":
            self._drop_earlier_bests(event)
        elif event["event"] in ENDED:
            # Hidden ones are halves that a killed process has left.
            self._drop(event["trial"], lambda name: name.startswith((f"{STATE}-", ".")))
            self._keep_best(event["trial"])

    def _catch_up(self) -> None:
        """Removes what a killed driver had still to delete: the ledger is always written first."""
        self._keep_best()
        for trial in list(self._table.trials.values()):
            kept = "" if trial.checkpoint is None else Path(trial.checkpoint).name
            self._drop(trial.trial, _all_but(kept) if trial.state in ENDED else _earlier_than(kept))

    def _drop_earlier_bests(self, event: Event) -> None:
        self._drop(event["trial"], _earlier_than(Path(event["path"]).name))

    def _drop(self, trial: str, unneeded: Callable[[str], bool]) -> None:
        """Removes folders of a trial, here and, once the ledger has been copied, behind the URI."""
        place = self._folder.trial(trial)
        for found in [*place.iterdir()] if place.is_dir() else []:
            if "-" in found.name and unneeded(found.name):
                remove_folder(found)
        if self._mirror is not None and self._folder.remote is not None:
            there = self._folder.remote / "trials" / trial

            def drop() -> None:
                for name in there.folders():
                    if unneeded(name):
                        (there / name).delete()

            self._mirror.after_copy(drop)

    def _keep_best(self, *ended: str) -> None:
        """Deletes the checkpoint that is no longer among the best, now that these trials have ended.

        Running trials keep theirs anyway; counted here, one that fails later would have cost an ended trial its place. The
        rank of an ended trial never changes, so with one objective only those kept so far compete with the one that ended.
        """
        trials = self._table.trials
        if len(self._objectives) > 1:
            others = [trial for trial in trials.values() if trial.state in ENDED]
            rivals = self._table.front_first(self._objectives, others)
        else:
            if self._kept is None:
                self._kept = {trial.trial for trial in trials.values() if trial.state in ENDED}
            others = [trials[name] for name in sorted({*self._kept, *ended})]
            rivals = self._table.ranked(others)
        kept = {trial.trial for trial in rivals[: self._keep]}
        self._kept = kept
        for trial in others:
            if trial.trial not in kept and trial.checkpoint is not None:
                self._ledger.append("checkpoint_deleted", trial=trial.trial, path=trial.checkpoint)
                self._drop(trial.trial, lambda name: name.startswith(f"{BEST}-"))


def _earlier_than(newest: str) -> Callable[[str], bool]:
    """Of a trial's models."""
    return lambda name: name.startswith(f"{BEST}-") and name < newest


def _all_but(kept: str) -> Callable[[str], bool]:
    """Of a trial's states and models, those included that were never finished."""
    return lambda name: name.removeprefix(".").startswith((f"{BEST}-", f"{STATE}-")) and name != kept
