"""A ledger that was cut off between the report of a best epoch and what it tells of that epoch's model; a best that goes back."""

from dataclasses import replace
from pathlib import Path

import pytest
from bowl_events import config_of, epoch_of, event_of, plan_of

from search.analysis.leaderboard import best_rows, open_search
from search.records.checkpoint_store import CheckpointStore
from search.records.events import Checkpointed
from search.records.folder import SearchFolder, storage_folder
from search.records.ledger import Ledger, read_events
from search.records.mirror import Mirror
from search.records.state import SearchState
from search.records.trial_folder import TrialFolder
from trainables.folders import digest, encode_json, read_json, write_folder
from trainables.locations import RemoteFolder

PLAN = plan_of(name="torn", created="2026-03-01T12:00:00+00:00", num_trials=1)


class Driver:
    """One process's part of a search of the trial `t0000`, whose worker writes where it would."""

    def __init__(self, storage: Path) -> None:
        self.folder = SearchFolder(storage, PLAN.name)
        if not self.folder.exists():
            self.folder.create(PLAN).release()
        self.ledger = Ledger(self.folder.ledger_file)
        self.state = SearchState.of(self.ledger.past, PLAN.objective)
        remote = self.folder.remote
        mirror = None if remote is None else Mirror(remote, self.folder.path, self.folder.stop_file, lambda line: None)
        store = CheckpointStore(self.folder, self.ledger, self.state, 1, PLAN.objectives, mirror)
        self.ledger.subscribe(self.state.apply)
        self.ledger.subscribe(store.on_event)
        self.told: list[Checkpointed] = store.tell_untold()
        self.mirror = mirror
        if mirror is not None:
            mirror.start()
        if self.ledger.past:
            self.ledger.append(event_of("search_resumed"))
        else:
            self.ledger.append(event_of("suggested", trial="t0000", config=config_of(), seed=0))
            self.ledger.append(event_of("started", trial="t0000", where={}, notes=[]))
        self.trial = TrialFolder(self.folder.trial("t0000"), self.folder.home("t0000"))
        self.trial.claim()

    def best(self, epoch: int, value: float, *, told: bool = True, kept: int | None = None) -> str:
        """A worker's epoch that is the best; gives the hash of its model."""
        model, path = kept or epoch, self.folder.path / f"trials/t0000/best-{kept or epoch:05d}"
        row = replace(epoch_of(epoch, value, value, True), kept=kept or 0)
        document = {"epoch": model, "metrics": row.metrics}
        self.trial.save_state(epoch, lambda folder: write_folder(folder, {"state.json": encode_json({"epoch": epoch})}))
        self.trial.save_best(model, lambda folder: write_folder(folder, {"config.json": encode_json(document)}))
        checkpoint = {"epoch": model, "path": str(path.relative_to(self.folder.path)), "sha256": digest(path)}
        self.ledger.append(event_of("reported", trial="t0000", epochs=[row]))
        if told:
            self.ledger.append(event_of("checkpointed", trial="t0000", **checkpoint))
            self.ledger.append(event_of("saved", trial="t0000", epoch=epoch))
        return str(checkpoint["sha256"])

    def close(self) -> None:
        self.ledger.close()
        if self.mirror is not None:
            assert self.mirror.close() is None

    def models(self) -> list[str]:
        """Where the storage is."""
        home = self.folder.home("t0000")
        names = [path.name for path in self.folder.trial("t0000").iterdir()] if home is None else RemoteFolder(home).folders()
        return sorted(name for name in names if name.startswith("best"))


@pytest.fixture(params=["a folder", "a bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "cache"))
    return storage_folder(str(tmp_path / "runs") if request.param == "a folder" else f"file://{tmp_path}/bucket")


@pytest.mark.parametrize("first", [True, False])
def test_the_model_of_a_best_epoch_whose_telling_was_cut_off_is_the_one_that_is_kept(storage: Path, first: bool) -> None:
    """The trial goes on from the state of that epoch, or is stopped at once, and would never make it again."""
    killed = Driver(storage)
    if not first:
        killed.best(3, 5.0)
    sha256 = killed.best(5, 4.0, told=False)
    killed.close()
    (row,) = best_rows(open_search(storage, "torn"), 1)
    assert (row["value"], row["epoch"], row["sha256"]) == (4.0, 5, sha256), "before anybody resumes it"
    assert read_json(Path(row["checkpoint"]), "config.json")["metrics"] == {"valid/height": 4.0}
    resumed = Driver(storage)
    assert [event.sha256 for event in resumed.told] == [sha256]
    resumed.ledger.append(event_of("stopped", trial="t0000", reason="rung 5"))
    resumed.close()
    trial = SearchState.of(read_events(resumed.folder.ledger_file), PLAN.objective).trials["t0000"]
    assert (trial.value, trial.checkpoint, trial.sha256) == (4.0, "trials/t0000/best-00005", sha256)
    assert resumed.models() == ["best-00005"]


def test_a_damaged_model_of_which_nothing_was_told_is_none(storage: Path) -> None:
    killed = Driver(storage)
    killed.best(3, 5.0)
    killed.best(5, 4.0, told=False)
    home = killed.folder.home("t0000")
    if home is not None:
        (RemoteFolder(home) / "best-00005").write("config.json", b"{}")
    (killed.folder.trial("t0000") / "best-00005" / "config.json").write_text("{}")
    killed.close()
    resumed = Driver(storage)
    resumed.close()
    assert resumed.told == []
    assert resumed.models() == ["best-00003"]


def test_a_model_that_was_told_is_told_once(storage: Path) -> None:
    killed = Driver(storage)
    killed.best(3, 5.0)
    killed.close()
    resumed = Driver(storage)
    resumed.close()
    assert resumed.told == []


@pytest.mark.parametrize("how", ["resumed", "ended"])
def test_a_model_that_is_kept_no_more_since_an_earlier_epoch_is_goes(how: str, storage: Path) -> None:
    """Trained again after a crash, rounded otherwise, an earlier epoch may be the one of the best value."""
    driver = Driver(storage)
    driver.best(4, 5.5)
    driver.best(5, 5.0)
    driver.best(6, 4.0, kept=4)
    if how == "resumed":
        driver.close()
        driver = Driver(storage)
    else:
        driver.ledger.append(event_of("finished", trial="t0000", reason="max_epochs"))
    driver.close()
    assert driver.models() == ["best-00004"]


def test_behind_a_uri_a_model_that_is_recorded_is_not_overwritten_when_its_epoch_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another node, and rounded otherwise: the ledger has the hash of the first one."""
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "cache"))
    storage = storage_folder(f"file://{tmp_path}/bucket")
    driver = Driver(storage)
    sha256 = driver.best(3, 5.0)
    home = RemoteFolder(str(driver.folder.home("t0000")))

    def again(number: int) -> Path:
        node = TrialFolder(tmp_path / f"node {number}" / "t0000", str(home))
        node.claim()
        return node.save_best(3, lambda folder: write_folder(folder, {"config.json": encode_json({"epoch": 3, "loss": number})}))

    assert digest(again(1)) == sha256
    home.download(tmp_path / "there")
    assert digest(tmp_path / "there" / "best-00003") == sha256
    (home / "best-00003").write("config.json", b"{}")
    assert read_json(again(2), "config.json") == {"epoch": 3, "loss": 2}
    assert (home / "best-00003").read("config.json") == encode_json({"epoch": 3, "loss": 2})
    driver.close()
