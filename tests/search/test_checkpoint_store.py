"""The checkpoint store: the best K stay, what ended or was beaten goes, what runs is left alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from bowl_events import epoch_result, event_of

from search.errors import Superseded
from search.records.checkpoint_store import CheckpointStore
from search.records.folder import SearchFolder, storage_folder
from search.records.ledger import Ledger, read_events
from search.records.mirror import Mirror
from search.records.state import SearchState
from search.records.trial_folder import TrialFolder, epoch_of
from trainables.contract import Objective
from trainables.locations import RemoteFolder


class Search:
    """A search folder with a ledger, a table and a store that keeps two, driven by hand."""

    def __init__(
        self,
        storage: Path,
        keep: int,
        past: bool = False,
        objectives: Sequence[Objective] = (),
    ) -> None:
        self.folder = SearchFolder(storage, "some-search")
        self.folder.path.mkdir(parents=True, exist_ok=past)
        events = read_events(self.folder.ledger_file) if past else []
        self.ledger = Ledger(self.folder.ledger_file)
        self.state = SearchState.of(events, Objective("valid/auroc", "max"))
        self.ledger.subscribe(self.state.apply)
        remote = self.folder.remote
        self.mirror = None if remote is None else Mirror(remote, self.folder.path, self.folder.stop_file, lambda line: None)
        store = CheckpointStore(self.folder, self.ledger, self.state, keep, objectives, self.mirror)
        self.ledger.subscribe(store.on_event)
        store.tell_untold()

    def start(self, trial: str) -> None:
        self.ledger.append(event_of("suggested", trial=trial, config={}, seed=0))
        self.ledger.append(event_of("started", trial=trial, where={}, notes=[]))

    def report(self, trial: str, epoch: int, score: float, **more: float) -> None:
        """The trial's best epoch so far: writes its model and a state, then tells the ledger."""
        place = self.folder.trial(trial)
        for folder in (place / f"best-{epoch:05d}", place / f"state-{epoch:05d}"):
            folder.mkdir(parents=True)
            (folder / "weights").write_text(trial)
        metrics = {"valid/auroc": score, **{f"valid/{name}": value for name, value in more.items()}}
        row = epoch_result(epoch=epoch, metrics=metrics, score=score, seconds=1.0, is_best=True)
        self.ledger.append(event_of("reported", trial=trial, epochs=[row]))
        path = (place / f"best-{epoch:05d}").relative_to(self.folder.path)
        self.ledger.append(event_of("checkpointed", trial=trial, epoch=epoch, path=str(path), sha256="aa"))

    def end(self, trial: str, kind: str = "finished") -> None:
        self.ledger.append(event_of(kind, trial=trial, reason="because"))

    def run(self, trial: str, score: float, kind: str = "finished", **more: float) -> None:
        self.start(trial)
        self.report(trial, 3, score, **more)
        self.end(trial, kind)

    def on_disk(self) -> dict[str, list[str]]:
        """Trial → its checkpoint folders."""
        places = sorted((self.folder.path / "trials").iterdir())
        return {place.name: names for place in places if (names := sorted(path.name for path in place.iterdir()))}


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    """A search that keeps the best two."""
    made = Search(tmp_path / "run folder", 2)
    yield made
    made.ledger.close()


def test_the_best_two_stay_and_the_others_go(search: Search) -> None:
    for trial, score in (("t0", 0.5), ("t1", 0.7), ("t2", 0.6), ("t3", 0.4), ("t4", 0.9)):
        search.run(trial, score)
    assert search.on_disk() == {"t1": ["best-00003"], "t4": ["best-00003"]}
    deleted = [event for event in read_events(search.folder.ledger_file) if event.event == "checkpoint_deleted"]
    assert [(event.trial, event.path) for event in deleted] == [
        ("t0", "trials/t0/best-00003"),
        ("t3", "trials/t3/best-00003"),
        ("t2", "trials/t2/best-00003"),
    ]


def test_the_table_knows_exactly_the_checkpoints_on_disk(search: Search) -> None:
    for number, score in enumerate((0.5, 0.7, 0.6, 0.4, 0.9, 0.65)):
        search.run(f"t{number}", score, "stopped" if number % 2 else "finished")
        known = {t.checkpoint for t in search.state.trials.values() if t.checkpoint is not None}
        assert known == {f"trials/{trial}/{name}" for trial, names in search.on_disk().items() for name in names}
    replayed = SearchState.of(read_events(search.folder.ledger_file), search.state.objective)
    assert replayed.trials == search.state.trials


def test_a_new_best_replaces_the_earlier_one_of_the_same_trial(search: Search) -> None:
    search.start("t0")
    for epoch in (3, 9, 10, 100):
        search.report("t0", epoch, epoch / 1000)
        assert [name for name in search.on_disk()["t0"] if name.startswith("best")] == [f"best-{epoch:05d}"]
    assert search.state.trials["t0"].checkpoint == "trials/t0/best-00100"


def test_of_a_trial_that_goes_on_only_the_newest_state_that_the_ledger_knows_stays(search: Search) -> None:
    search.start("t0")
    for epoch in (3, 9, 10, 100):
        search.report("t0", epoch, epoch / 1000)
        assert f"state-{epoch:05d}" in search.on_disk()["t0"]
        before = [name for name in search.on_disk()["t0"] if name.startswith("state") and name != f"state-{epoch:05d}"]
        assert len(before) == (epoch > 3), "until the ledger knows the new one, the trial may have to go on from the one before"
        search.ledger.append(event_of("saved", trial="t0", epoch=epoch))
        assert search.on_disk()["t0"] == [f"best-{epoch:05d}", f"state-{epoch:05d}"]
    search.ledger.append(event_of("paused", trial="t0", reason="rung 100"))
    assert search.on_disk()["t0"] == ["best-00100", "state-00100"], "it may be promoted"


def test_behind_a_uri_an_earlier_state_goes_once_the_ledger_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "cache"))
    search = Search(storage_folder(f"file://{tmp_path}/bucket"), 2)
    remote, mirror = search.folder.remote, search.mirror
    assert remote is not None
    assert mirror is not None
    mirror.start()
    there = remote / "trials" / "t0"
    for epoch in (3, 9):
        (there / f"state-{epoch:05d}").write("weights", b"those")
    search.start("t0")
    heard: list[bool] = []
    mirror.after_copy(lambda: heard.append(b'"saved"' in (remote.read("ledger.jsonl") or b"")))
    search.ledger.append(event_of("saved", trial="t0", epoch=9))
    assert mirror.close() is None
    assert heard == [True]
    assert there.folders() == ["state-00009"]
    search.ledger.close()


@pytest.mark.parametrize("kind", ["finished", "stopped", "failed"])
def test_states_of_ended_trials_go(search: Search, kind: str) -> None:
    search.run("t0", 0.5, kind)
    assert not any(name.startswith("state") for names in search.on_disk().values() for name in names)


def test_a_failed_trial_keeps_no_checkpoint(search: Search) -> None:
    search.run("t0", 0.9, "failed")
    assert search.on_disk() == {}
    assert search.state.trials["t0"].checkpoint is None


def test_running_trials_keep_all_they_need(search: Search) -> None:
    search.start("t9")
    search.report("t9", 3, 0.01)
    for trial, score in (("t0", 0.5), ("t1", 0.7), ("t2", 0.6)):
        search.run(trial, score)
    assert search.on_disk()["t9"] == ["best-00003", "state-00003"]
    search.end("t9")
    assert "t9" not in search.on_disk()


def test_interrupted_trials_can_be_gone_on_with(search: Search) -> None:
    search.run("t0", 0.9)
    search.run("t1", 0.8)
    search.start("t2")
    search.report("t2", 3, 0.1)
    search.end("t2", "interrupted")
    search.run("t3", 0.7)
    assert search.on_disk()["t2"] == ["best-00003", "state-00003"]


def test_a_running_leader_that_fails_costs_no_ended_trial_its_checkpoint(search: Search) -> None:
    """The best two of those that can win stay; a trial that runs can still fail and be out."""
    search.run("t0", 0.8)
    search.run("t1", 0.7)
    search.start("t2")
    search.report("t2", 3, 0.9)
    search.run("t3", 0.1)
    search.end("t2", "failed")
    assert search.on_disk() == {"t0": ["best-00003"], "t1": ["best-00003"]}


def test_what_a_killed_driver_had_still_to_delete_goes_when_its_search_resumes(search: Search) -> None:
    for trial, score in (("t0", 0.5), ("t1", 0.7), ("t2", 0.6)):
        search.run(trial, score)
    search.start("t3")
    search.report("t3", 3, 0.1)
    search.ledger.close()
    # As if the driver had died after its line of the ledger and before the files had gone, and once before both.
    for left in ("t0/best-00003", "t1/state-00003", "t1/best-00002", "t2/owner-file"):
        (search.folder.path / "trials" / left).mkdir(parents=True)
    with (search.folder.path / "ledger.jsonl").open() as file:
        lines = file.readlines()
    (search.folder.path / "ledger.jsonl").write_text("".join(line for line in lines if "checkpoint_deleted" not in line))
    resumed = Search(search.folder.path.parent, 2, past=True)
    resumed.ledger.append(event_of("search_resumed", name="some-search", num_trials=4, code_version=""))
    resumed.ledger.close()
    assert resumed.on_disk() == {
        "t1": ["best-00003"],
        "t2": ["best-00003", "owner-file"],
        "t3": ["best-00003", "state-00003"],
    }
    assert resumed.state.trials["t0"].checkpoint is None


def test_the_newest_two_states_stay_while_a_trial_runs(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "t0")
    folder.claim()
    assert list(folder.states()) == []
    for epoch in (1, 9, 10, 100):
        folder.save_state(epoch, Path.mkdir)
    assert [path.name for path in folder.states()] == ["state-00100", "state-00010"]
    folder.drop_unheard(99)
    assert [path.name for path in folder.states()] == ["state-00010"]


def test_a_model_newer_than_the_one_heard_of_stays(search: Search) -> None:
    """A trial may have written its next best model before the ledger is told of the one before it."""
    search.start("t0")
    (search.folder.trial("t0") / "best-00009").mkdir(parents=True)
    search.report("t0", 3, 0.5)
    assert [name for name in search.on_disk()["t0"] if name.startswith("best")] == ["best-00003", "best-00009"]


def test_what_is_no_state_or_model_stays_when_a_trial_ends(search: Search) -> None:
    search.start("t0")
    search.report("t0", 3, 0.5)
    for name in ("owner", ".hidden"):
        (search.folder.trial("t0") / name).write_text("of somebody")
    (search.folder.trial("t0") / ".state-00004.unfinished").mkdir()
    search.end("t0")
    assert search.on_disk()["t0"] == [".hidden", "best-00003", "owner"]


def test_with_several_objectives_the_front_is_kept_before_what_ranks_better(tmp_path: Path) -> None:
    """t1 has a better first objective than t2, and t0 beats it in both; nobody equals t2 in the second."""
    objectives = (Objective("valid/auroc", "max"), Objective("valid/size", "min"))
    search = Search(tmp_path / "runs", 2, objectives=objectives)
    for trial, score, size in (("t0", 0.9, 5.0), ("t1", 0.8, 6.0), ("t2", 0.7, 1.0)):
        search.run(trial, score, size=size)
    search.start("t3")
    search.report("t3", 3, 0.05, size=20.0)
    search.run("t4", 0.1, size=9.0)
    search.ledger.close()
    assert search.on_disk() == {"t0": ["best-00003"], "t2": ["best-00003"], "t3": ["best-00003", "state-00003"]}


def test_a_running_trial_on_the_front_costs_no_ended_trial_its_checkpoint(tmp_path: Path) -> None:
    """t3 beats everybody while it runs, and then fails: the front of those that have ended is what it was."""
    objectives = (Objective("valid/auroc", "max"), Objective("valid/size", "min"))
    search = Search(tmp_path / "runs", 2, objectives=objectives)
    for trial, score, size in (("t0", 0.9, 5.0), ("t1", 0.8, 6.0), ("t2", 0.7, 1.0)):
        search.run(trial, score, size=size)
    search.start("t3")
    search.report("t3", 3, 0.95, size=0.5)
    search.run("t4", 0.1, size=9.0)
    search.end("t3", "failed")
    search.ledger.close()
    assert search.on_disk() == {"t0": ["best-00003"], "t2": ["best-00003"]}


def test_behind_a_uri_nothing_goes_before_the_ledger_that_does_without_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "cache"))
    search = Search(storage_folder(f"file://{tmp_path}/bucket"), 1)
    remote, mirror = search.folder.remote, search.mirror
    assert remote is not None
    assert mirror is not None
    mirror.start()
    for trial, score in (("t0", 0.5), ("t1", 0.7)):
        for name in ("best-00003", "state-00003", "notes"):
            (remote / "trials" / trial / name).write("weights", b"those")
        search.run(trial, score)
    heard: list[bool] = []
    mirror.after_copy(lambda: heard.append(b"checkpoint_deleted" in (remote.read("ledger.jsonl") or b"")))
    places = {trial: remote / "trials" / trial for trial in ("t0", "t1")}
    assert search.on_disk() == {"t1": ["best-00003"]}
    assert mirror.close() is None
    search.ledger.close()
    assert heard == [True]
    assert {trial: place.folders() for trial, place in places.items()} == {"t0": ["notes"], "t1": ["best-00003", "notes"]}


def test_behind_a_uri_checkpoints_are_there_until_the_ledger_has_been_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "cache"))
    search = Search(storage_folder(f"file://{tmp_path}/bucket"), 1)
    remote = search.folder.remote
    assert remote is not None
    (remote / "trials" / "t0" / "state-00003").write("weights", b"those")
    search.run("t0", 0.5)
    search.ledger.close()
    assert (remote / "trials" / "t0").folders() == ["state-00003"]


def test_the_epoch_is_the_last_number_of_a_name() -> None:
    assert [epoch_of(name) for name in ("best-00012", "state-00100")] == [12, 100]


@pytest.mark.parametrize("far", [False, True])
def test_a_trial_whose_owner_is_another_or_gone_is_written_no_more(tmp_path: Path, far: bool) -> None:
    home = f"file://{tmp_path}/bucket/t0" if far else None
    first, second = TrialFolder(tmp_path / "t0", home), TrialFolder(tmp_path / "t0", home)
    with pytest.raises(Superseded, match=r"^a trial must be trained by one process at a time; got another on t0 "):
        first.check_owner()
    first.claim()
    first.check_owner()
    second.claim()
    second.check_owner()
    with pytest.raises(Superseded, match=r"^a trial must be trained by one process at a time; got another on t0 "):
        first.save_state(1, Path.mkdir)
    assert list(second.states()) == []


def write_weights(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "weights").write_text(folder.name)


def test_behind_a_uri_the_newest_four_states_stay(tmp_path: Path) -> None:
    home = RemoteFolder(f"file://{tmp_path}/bucket/t0")
    folder = TrialFolder(tmp_path / "node" / "t0", str(home))
    folder.claim()
    for epoch in range(1, 7):
        folder.save_state(epoch, write_weights)
    folder.save_best(5, write_weights)
    assert [path.name for path in folder.path.iterdir()] == ["best-00005"], "the node keeps no copy of its states"
    assert home.folders() == ["best-00005", *(f"state-{epoch:05d}" for epoch in range(3, 7))]
    folder.drop_unheard(4)
    assert home.folders() == ["state-00003", "state-00004"]
    folder.forget()
    folder.forget()
    assert not folder.path.exists()
    assert [(state / "weights").read_text() for state in folder.states()] == ["state-00004", "state-00003"]


def test_other_folders_of_a_trial_are_no_states(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "t0")
    folder.claim()
    folder.save_state(1, write_weights)
    for name in ("notes-00001", "state-later"):
        (folder.path / name).mkdir()
    folder.drop_unheard(0)
    assert sorted(path.name for path in folder.path.iterdir()) == ["notes-00001", "owner", "state-later"]
    folder.forget()
    assert folder.path.exists(), "it is no copy"
