"""A process that dies before any of its changes to the disk: what was acknowledged is there, and the search goes on.

Python tells an audit hook of every file that is opened for writing, renamed, made or removed, before it is done.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bowl_events import epoch_result, event_of
from bowl_search import PLAN

from search.errors import PlanError
from search.records.checkpoint_store import CheckpointStore
from search.records.curves import write_curves
from search.records.folder import SearchFolder
from search.records.ledger import Ledger, read_events
from search.records.state import SearchState
from search.records.study import export_to_file, exported_trials
from search.records.trial_folder import TrialFolder
from search.strategy.study_from_state import study_of
from spaces.fields import complete
from trainables.folders import SUMS, encode_json, read_json, write_folder
from trainables.tasks import TASKS

CONFIG = complete(TASKS["bowl"].space, {})
EPOCHS = 2


class PowerLoss(BaseException):
    """Nothing may catch it."""


@dataclass
class Power:
    """Fails before a change of the disk below a folder.

    Args:    below: that folder.
             left: changes until then, None for ever.
    """

    below: str = "nowhere"
    left: int | None = None
    changes: int = 0

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python's account of what is about to be done."""
        if self.left is None or not self._changes_disk(event, arguments):
            return
        if self.left == 0:
            raise PowerLoss(f"{event} {arguments}")
        self.left -= 1
        self.changes += 1

    def _changes_disk(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, mode, _ = arguments
            if not isinstance(mode, str) or not set(mode) & set("wax+"):
                return False
        elif event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
            path = arguments[0]
        else:
            return False
        return str(path).startswith(self.below)


POWER = Power()
sys.addaudithook(POWER.hear)


@pytest.fixture(autouse=True)
def power_comes_back() -> Iterator[None]:
    """Whatever happened."""
    yield
    POWER.left = None


@dataclass
class Acknowledged:
    """What a search has been told is done."""

    created: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)
    states: list[Path] = field(default_factory=list)


def search(storage: Path, done: Acknowledged) -> None:
    """A search of two trials as its processes write it; takes up whatever is there."""
    folder = SearchFolder(storage, "fragile")
    lock = folder.lock() if folder.exists() else folder.create(PLAN)
    done.created = True
    try:
        state = SearchState(PLAN.objective)
        with Ledger(folder.ledger_file) as ledger:
            for event in ledger.past:
                state.apply(event)
            ledger.subscribe(done.events.append)
            ledger.subscribe(state.apply)
            ledger.subscribe(CheckpointStore(folder, ledger, state, 1).on_event)
            ledger.append(event_of("search_resumed" if ledger.past else "search_started", name="fragile", num_trials=2))
            for trial in ("t0000", "t0001"):
                train(trial, folder, ledger, state, done)
            ledger.append(event_of("search_ended", reason="all trials"))
    finally:
        lock.release()


def train(trial: str, folder: SearchFolder, ledger: Ledger, state: SearchState, done: Acknowledged) -> None:
    """A trial from wherever it is: one epoch after another, a state and a model of each."""
    if trial not in state.trials:
        ledger.append(event_of("suggested", trial=trial, config=dict(CONFIG), seed=0))
    record = state.trials[trial]
    if record.state in ("finished", "stopped", "failed"):
        return
    place = TrialFolder(folder.trial(trial))
    place.claim()
    place.drop_unheard(record.last_epoch)
    states = [read_json(state, "state.json")["epoch"] for state in place.states()]
    # What the ledger has heard of can be gone on from.
    assert (states[0] if states else 0) == record.last_epoch
    ledger.append(event_of("started", trial=trial, where={"host": "here"}, notes=[]))
    for epoch in range(record.last_epoch + 1, EPOCHS + 1):
        contents = encode_json({"epoch": epoch})
        place.save_state(epoch, partial(write_folder, contents={"state.json": contents}))
        best = place.save_best(epoch, partial(write_folder, contents={"config.json": contents}))
        done.states.append(folder.trial(trial) / f"state-{epoch:05d}")
        score = float(-epoch)
        row = epoch_result(epoch=epoch, metrics={"valid/height": score}, score=score, seconds=1.0, is_best=True)
        path = str(best.relative_to(folder.path))
        ledger.extend(
            [
                event_of("reported", trial=trial, epochs=[row]),
                event_of("checkpointed", trial=trial, epoch=epoch, path=path, sha256="aa"),
            ]
        )
    ledger.append(event_of("finished", trial=trial, reason="max_epochs"))


def interrupted(storage: Path, after: int, run: Callable[[Path, Acknowledged], None] = search) -> tuple[Acknowledged, bool]:
    """Runs it until the power fails; says whether it did."""
    done = Acknowledged()
    POWER.below, POWER.left, POWER.changes = str(storage), after, 0
    try:
        run(storage, done)
    except PowerLoss:
        return done, True
    finally:
        POWER.left = None
    return done, False


def num_changes(storage: Path) -> int:
    """Changes of the disk in a whole search."""
    _, failed = interrupted(storage, 10**9)
    assert not failed
    return POWER.changes


@pytest.mark.timeout(60)
def test_a_search_that_dies_before_any_change_of_the_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    whole = num_changes(tmp_path / "whole")
    assert whole > 40
    for after in range(whole):
        storage = tmp_path / f"after {after}"
        done, failed = interrupted(storage, after)
        assert failed
        folder = SearchFolder(storage, "fragile")
        assert not done.created or folder.plan() == PLAN
        events = list(read_events(folder.ledger_file))
        assert events[: len(done.events)] == done.events
        for state in folder.path.glob("trials/*/[!.]*-*"):
            assert (state / SUMS).is_file(), f"half of {state} was left after {after} changes"
        search(storage, Acknowledged())
        assert_whole(folder)


def assert_whole(folder: SearchFolder) -> None:
    """Every trial finished once with every epoch once; the best checkpoint is there, and no other."""
    events = list(read_events(folder.ledger_file))
    state = SearchState.of(events, PLAN.objective)
    assert {name: trial.state for name, trial in state.trials.items()} == {"t0000": "finished", "t0001": "finished"}
    for trial in state.trials:
        told = [epoch.epoch for e in events if e.event == "reported" and e.trial == trial for epoch in e.epochs]
        assert told == [1, 2]
    kept = [trial.checkpoint for trial in state.trials.values() if trial.checkpoint is not None]
    assert [str(path.relative_to(folder.path)) for path in folder.path.glob("trials/*/*-*")] == kept
    assert len(kept) == 1


def test_what_is_written_at_the_end_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    search(tmp_path, Acknowledged())
    folder = SearchFolder(tmp_path, "fragile")
    state = SearchState.of(read_events(folder.ledger_file), PLAN.objective)

    def write(storage: Path, done: Acknowledged) -> None:
        write_curves(state, folder.curves_file)
        export_to_file(study_of(PLAN, state), folder.study_file)

    write(tmp_path, Acknowledged())
    after, failed = 0, True
    while failed:
        _, failed = interrupted(tmp_path, after, write)
        after += 1
        assert len(pd.read_parquet(folder.curves_file)) == 2 * EPOCHS
        trials = exported_trials(folder.study_file, PLAN.name)
        assert trials is not None
        assert len(trials) == 2
    assert after > 3


def test_a_name_whose_search_was_never_begun_is_free_and_any_other_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "fragile").mkdir()
    (tmp_path / "fragile" / "lock").touch()
    SearchFolder(tmp_path, "fragile").create(PLAN).release()
    for name, file in (("mine", "thesis.tex"), ("fragile", None)):
        (tmp_path / name).mkdir(exist_ok=True)
        if file:
            (tmp_path / name / file).touch()
        with pytest.raises(PlanError, match="which is taken"):
            SearchFolder(tmp_path, name).create(PLAN)
