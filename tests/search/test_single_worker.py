"""A worker with one trial, driven without Ray: a reused one equals a fresh one, and it goes on from what was saved."""

import errno
from pathlib import Path
from typing import Any

import pytest
from workers import assignment, config_of, epochs_of, step, worker_of

from search.errors import Superseded, TrialBroke
from search.execution import worker_trial
from search.execution.failures import failure_of
from search.execution.worker_trial import KNOWN_EPOCH, SAVE_FIRST
from search.strategy.retries import Failure
from trainables import checkpoints

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def stay_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tune's trainable would make folders in the home directory and move there."""
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    monkeypatch.setenv("HOME", str(tmp_path))


def failure_in(report: dict[str, Any]) -> Failure:
    """Why the trial cannot go on; its worker lives."""
    assert report["failure"] is not None
    return failure_of(TrialBroke(report["failure"]))


def test_a_reused_worker_equals_a_fresh_one(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    reused = worker_of(assignment(tmp_path / "a", synthetic_derm7pt, seed=1, width=2.0))
    epochs_of(reused)
    assert reused.reset_config(config_of(assignment(tmp_path / "a", synthetic_derm7pt, seed=2)))
    fresh = worker_of(assignment(tmp_path / "b", synthetic_derm7pt, seed=2))
    assert epochs_of(reused) == epochs_of(fresh)
    weights = [(tmp_path / run / "trials" / "t2").glob("best-*/model.safetensors") for run in "ab"]
    assert [file.read_bytes() for file in weights[0]] == [file.read_bytes() for file in weights[1]]


def test_a_trial_that_died_goes_on_from_its_last_rung(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    whole = epochs_of(worker_of(assignment(tmp_path / "a", synthetic_derm7pt, seed=3)))
    died = worker_of(assignment(tmp_path / "b", synthetic_derm7pt, seed=3))
    while step(died)["state"] is None:
        pass
    again = epochs_of(worker_of(assignment(tmp_path / "b", synthetic_derm7pt, seed=3, known_epoch=2)))
    assert again == whole[2:]


def test_a_report_ends_at_a_rung(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    worker = worker_of(assignment(tmp_path, synthetic_derm7pt, seed=4, max_epochs=3))
    assert [epoch["epoch"] for epoch in step(worker)["epochs"]][-1] <= 2


def test_other_sources_than_the_drivers_are_refused_with_a_reason(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    config = assignment(tmp_path, synthetic_derm7pt, seed=5)
    worker = worker_of({**config, "code_version": "other"})
    failure = failure_in(step(worker))
    assert failure.kind == "raised"
    assert failure.reason.startswith("ClusterUnavailable: a worker must run the driver's dermtune (other)")
    assert "check_code_version" in failure.trace


def test_what_moves_to_another_share_goes_on_unchanged(
    synthetic_derm7pt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_trial, "REPORT_INTERVAL_S", 0.0)
    whole = epochs_of(worker_of(assignment(tmp_path / "a", synthetic_derm7pt, seed=6)))
    moved = worker_of({**assignment(tmp_path / "b", synthetic_derm7pt, seed=6), "rungs": [], SAVE_FIRST: True})
    report = step(moved)
    done = len(report["epochs"])
    assert report["state"] == done
    assert epochs_of(worker_of(assignment(tmp_path / "b", synthetic_derm7pt, seed=6, known_epoch=done))) == whole[done:]


def test_a_process_that_was_given_up_writes_no_more(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    config = {**assignment(tmp_path, synthetic_derm7pt, seed=8), "rungs": [1, 2, 3]}
    given_up = worker_of(config)
    assert step(given_up)["state"] == 1
    successor = worker_of({**config, KNOWN_EPOCH: 1})
    assert step(successor)["state"] == 2
    before = sorted(path.name for path in Path(config["folder"]).iterdir())
    assert failure_in(step(given_up)).reason.startswith(Superseded.__name__)
    assert sorted(path.name for path in Path(config["folder"]).iterdir()) == before


def test_behind_a_uri_a_worker_elsewhere_goes_on(
    synthetic_derm7pt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = epochs_of(worker_of(assignment(tmp_path / "a", synthetic_derm7pt, seed=9)))
    home = f"file://{tmp_path}/the storage/trials/t9"
    config = {**assignment(tmp_path / "b", synthetic_derm7pt, seed=9), "home": home}
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "one node"))
    died = worker_of(config)
    while step(died)["state"] is None:
        pass
    there = tmp_path / "the storage" / "trials" / "t9"
    assert {"state-00002"} <= {path.name for path in there.iterdir()}
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path / "another node"))
    successor = worker_of({**config, KNOWN_EPOCH: 2})
    assert epochs_of(successor) == whole[2:]
    assert not (tmp_path / "b").exists()
    successor.cleanup()
    assert not list((tmp_path / "another node" / "trials").iterdir())


def test_a_state_holds_no_second_copy_of_the_best_model(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    config = {**assignment(tmp_path / "a", synthetic_derm7pt, seed=7), "rungs": [1, 2]}
    died = worker_of(config)
    while step(died)["state"] != 2:
        pass
    there = Path(config["folder"])
    names = set(checkpoints.read(there / "state-00002", "state"))
    assert any(name.startswith("optimizer.") for name in names)
    assert not any(name.startswith("best") for name in names)
    assert [path.name for path in there.glob("best-*")], "it lies beside it"


def test_a_state_that_cannot_be_read_this_time_is_not_given_up(
    synthetic_derm7pt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**assignment(tmp_path / "a", synthetic_derm7pt, seed=7), "rungs": [1, 2]}
    died = worker_of(config)
    while step(died)["state"] != 2:
        pass
    state, read = Path(config["folder"]) / "state-00002", Path.read_bytes

    def stale(path: Path) -> bytes:
        if path.name == "state.json":
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", stale)
        assert "Stale file handle" in failure_in(step(worker_of({**config, KNOWN_EPOCH: 2}))).reason
    assert state.is_dir()


def test_a_damaged_state_is_passed_over_for_the_one_before_it(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    config = {**assignment(tmp_path / "a", synthetic_derm7pt, seed=7), "rungs": [1, 2]}
    whole = epochs_of(worker_of(assignment(tmp_path / "b", synthetic_derm7pt, seed=7)))
    died = worker_of(config)
    while step(died)["state"] != 2:
        pass
    newest = Path(config["folder"]) / "state-00002" / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    again = worker_of({**config, KNOWN_EPOCH: 2})
    (note,) = step(again)["notes"]
    assert note.startswith("state-00002 cannot be used, so the trial goes on from what was saved before it")
    # The damaged one has been replaced by one of the same epoch.
    assert epochs_of(worker_of({**config, KNOWN_EPOCH: 2})) == whole[2:]
