"""Which checkpoints stay on disk: the best K of the search, and of trials that go on the newest state that the ledger knows."""

from collections.abc import Callable, Sequence
from pathlib import Path

from search.records.events import CheckpointDeleted, Checkpointed, Event, Failed, Finished, Saved, SearchResumed, Stopped
from search.records.folder import SearchFolder
from search.records.ledger import Ledger, read_events
from search.records.mirror import Mirror
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.trial_folder import BEST, STATE
from search.records.trials import ENDED, TrialRecord
from trainables.contract import Objective
from trainables.errors import CheckpointError
from trainables.folders import digest, read_json, remove_folder, verify


class CheckpointStore:
    """Deletes what is no longer needed, as the search goes; listens to the ledger.

    Args:    folder: of the search.
             ledger: told when a trial's best checkpoint is deleted.
             state: already up to date when this listener is called.
             keep: best checkpoints kept; with several objectives the Pareto front comes first.
             objectives: of the search.
             mirror: of a storage behind a URI, None where the folder is in the storage.
    """

    def __init__(
        self,
        folder: SearchFolder,
        ledger: Ledger,
        state: SearchState,
        keep: int,
        objectives: Sequence[Objective] = (),
        mirror: Mirror | None = None,
    ) -> None:
        self._mirror = mirror
        self._folder, self._ledger, self._state, self._keep, self._objectives = folder, ledger, state, keep, objectives
        self._kept: set[str] | None = None

    def on_event(self, event: Event) -> None:
        """Tidies up after a new best checkpoint or state, after the end of a trial and after a driver that was killed."""
        match event:
            case SearchResumed():
                self._catch_up()
            case Checkpointed():
                self._drop(event.trial, _earlier_than(Path(event.path).name))
            case Saved():
                newest = f"{STATE}-{event.epoch:05d}"
                self._drop(event.trial, lambda name: name.startswith(f"{STATE}-") and name < newest)
            case Finished() | Stopped() | Failed():
                self._drop(event.trial, _all_but(_kept(self._state.trials[event.trial])))
                self._keep_best(event.trial)

    def tell_untold(self) -> list[Checkpointed]:
        """Tells the ledger of models that it was cut off before it could tell of (see `untold_best`), before it goes on."""
        untold = [found for trial in self._state.trials.values() if (found := untold_best(self._folder, trial)) is not None]
        self._ledger.extend(untold)
        return untold

    def _catch_up(self) -> None:
        """Removes what a killed driver had still to delete: the ledger is always written, and copied, first."""
        self._keep_best()
        for trial in list(self._state.trials.values()):
            kept = _kept(trial)
            self._drop(trial.trial, _all_but(kept) if trial.state in ENDED else _no_model_but(kept), at_once=True)

    def _drop(self, trial: str, unneeded: Callable[[str], bool], *, at_once: bool = False) -> None:
        """Removes folders of a trial, here and, once the ledger has been copied, behind the URI.

        Args:    at_once: since it has been copied, and from now on the trial may write folders of such names.
        """
        place = self._folder.trial(trial)
        for found in [*place.iterdir()] if place.is_dir() else []:
            if "-" in found.name and unneeded(found.name):
                remove_folder(found)
        if self._mirror is not None and self._folder.remote is not None:
            there = self._folder.remote / "trials" / trial

            def drop() -> None:
                kept = _kept(self._state.trials[trial])  # by now it may be one that was not needed then
                for name in there.folders():
                    if unneeded(name) and name != kept:
                        (there / name).delete()

            if at_once:
                drop()
            else:
                self._mirror.after_copy(drop)

    def _keep_best(self, *ended: str) -> None:
        """Deletes the checkpoint that is no longer among the best, now that these trials have ended.

        Running trials keep theirs anyway; counted here, one that fails later would have cost an ended trial its place. The
        rank of an ended trial never changes, so with one objective only those kept so far compete with the one that ended.
        """
        trials = self._state.trials
        if len(self._objectives) > 1:
            others = [trial for trial in trials.values() if trial.state in ENDED]
            rivals = self._state.front_first(self._objectives, others)
        else:
            if self._kept is None:
                self._kept = {trial.trial for trial in trials.values() if trial.state in ENDED}
            others = [trials[name] for name in sorted({*self._kept, *ended})]
            rivals = self._state.ranked(others)
        kept = {trial.trial for trial in rivals[: self._keep]}
        self._kept = kept
        for trial in others:
            if trial.trial not in kept and trial.checkpoint is not None:
                self._ledger.append(CheckpointDeleted(trial=trial.trial, path=trial.checkpoint))
                self._drop(trial.trial, lambda name: name.startswith(f"{BEST}-"))


def untold_best(folder: SearchFolder, trial: TrialRecord) -> Checkpointed | None:
    """The model of a trial's best epoch where the ledger ends between the report of that epoch and what it tells of the model.

    A model is there before its epoch is reported, so a trial that goes on from a later state would never make it again.

    Returns: what the ledger should have told of it, None where nothing is missing.
    Raises:  LocationError: when the storage cannot be read.
    """
    name = f"{BEST}-{trial.best_epoch:05d}"
    if trial.best_epoch in (0, trial.checkpoint_epoch):
        return None
    if folder.remote is not None and name not in (folder.remote / "trials" / trial.trial).folders():
        return None
    path = f"trials/{trial.trial}/{name}"
    try:
        place = folder.fetched(path)
        verify(place)
        metrics, sha256 = read_json(place, "config.json").get("metrics"), digest(place)
    except CheckpointError:
        return None
    found = Checkpointed(trial=trial.trial, epoch=trial.best_epoch, path=path, sha256=sha256, metrics=metrics)
    return trial.beside(trial.epochs, found)


def read_state(folder: SearchFolder, plan: Plan) -> SearchState:
    """The trials of a search that need not run, with the models that its ledger was cut off before it could tell of."""
    state = SearchState.of(read_events(folder.ledger_file), plan.objective, plan.constraints)
    for trial in state.trials.values():
        if (untold := untold_best(folder, trial)) is not None:
            state.apply(untold)
    return state


def _kept(trial: TrialRecord) -> str:
    """The name of its model's folder, "" where it has none."""
    return "" if trial.checkpoint is None else Path(trial.checkpoint).name


def _earlier_than(newest: str) -> Callable[[str], bool]:
    """Of a trial's models."""
    return lambda name: name.startswith(f"{BEST}-") and name < newest


def _no_model_but(kept: str) -> Callable[[str], bool]:
    """Of a trial's models."""
    return lambda name: name.startswith(f"{BEST}-") and name != kept


def _all_but(kept: str) -> Callable[[str], bool]:
    """Of a trial's states and models, those included that were never finished."""
    return lambda name: name.removeprefix(".").startswith((f"{BEST}-", f"{STATE}-")) and name != kept
