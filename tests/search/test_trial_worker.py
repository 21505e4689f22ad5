"""Several trials in one worker, driven without Ray: each as it is alone, whoever comes, goes or fails beside it."""

from pathlib import Path
from typing import Any

import pytest
from workers import assignment, config_of, epochs_of, worker_of

from search.errors import TrialBroke
from search.execution import worker_trial
from search.execution.failures import failure_of
from search.execution.trial_worker import TRIALS, TrialWorker
from search.execution.worker_trial import KNOWN_EPOCH
from spaces.fields import complete
from trainables.contract import Objective, TrialRequest
from trainables.tasks import TASKS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.timeout(60),
]
DOUBLE = {"precision": "float64"}


@pytest.fixture(autouse=True)
def stay_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tune's trainable would make folders in the home directory and move there."""
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report an epoch."""
    monkeypatch.setattr(worker_trial, "REPORT_INTERVAL_S", 0.0)


def fused(*assignments: dict[str, Any], task: str = "gated") -> TrialWorker:
    """A worker whose trials are fused, in this process."""
    return worker_of(*assignments, fused=True, task=task)


def bowl(folder: Path, number: int, known_epoch: int = 0, **settings: Any) -> dict[str, Any]:
    """A bowl's assignment."""
    config = complete(TASKS["bowl"].space, settings)
    request = TrialRequest("bowl", config, None, number, Objective("valid/height", "min"), 6, device="cpu")
    base = assignment(folder, folder, number)
    return {**base, "request": request.to_json(), "rungs": [2], KNOWN_EPOCH: known_epoch}


def names(report: dict[str, Any]) -> list[str]:
    return [told["trial"] for told in report[TRIALS]]


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {told["trial"]: told for told in report[TRIALS]}


@pytest.mark.usefixtures("every_epoch")
def test_fused_trials_report_what_each_reports_alone(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    seeds = (1, 2, 3)
    worker = fused(*(assignment(tmp_path / "a", synthetic_derm7pt, seed, **DOUBLE) for seed in seeds))
    found: dict[str, list[tuple[int, dict[str, float]]]] = {f"t{seed}": [] for seed in seeds}
    for _ in range(4):
        for told in worker.step()[TRIALS]:
            assert told["failure"] is None
            found[told["trial"]] += [(epoch["epoch"], epoch["metrics"]) for epoch in told["epochs"]]
    for seed in seeds:
        alone = epochs_of(worker_of(assignment(tmp_path / "b", synthetic_derm7pt, seed, **DOUBLE)))
        assert [epoch for epoch, _ in found[f"t{seed}"]] == [epoch for epoch, _ in alone] == [1, 2, 3, 4]
        for (_, ours), (_, theirs) in zip(found[f"t{seed}"], alone, strict=True):
            assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-8)
    last = worker.step()[TRIALS]
    assert len({told["where"]["pid"] for told in last}) == 1
    assert len({told["epochs"][-1]["system"]["process_memory_mib"] for told in last}) == 1, "one process, read once"


@pytest.mark.usefixtures("every_epoch")
def test_a_fused_trial_goes_on_alone_from_the_state_that_its_worker_saved(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    worker = fused(*(assignment(tmp_path / "a", synthetic_derm7pt, seed, **DOUBLE) for seed in (1, 2)))
    assert [by_name(worker.step())["t2"]["state"] for _ in range(2)] == [None, 2]
    alone = epochs_of(worker_of(assignment(tmp_path / "b", synthetic_derm7pt, 2, **DOUBLE)))
    again = epochs_of(worker_of(assignment(tmp_path / "a", synthetic_derm7pt, 2, known_epoch=2, **DOUBLE)))
    assert [epoch for epoch, _ in again] == [3, 4]
    for (_, ours), (_, theirs) in zip(again, alone[2:], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-8)


@pytest.mark.usefixtures("every_epoch")
def test_who_joins_takes_the_place_of_who_left(tmp_path: Path) -> None:
    worker = fused(*(bowl(tmp_path, number) for number in range(4)), task="bowl")
    assert names(worker.step()) == ["t0", "t1", "t2", "t3"]
    worker.update(["t1", "t3"], [bowl(tmp_path, 7)])
    report = worker.step()
    assert names(report) == ["t0", "t7", "t2"]
    assert [told["epochs"][-1]["epoch"] for told in report[TRIALS]] == [2, 1, 2]
    worker.update([], [bowl(tmp_path, 8), bowl(tmp_path, 9)])
    assert names(worker.step()) == ["t0", "t7", "t2", "t8", "t9"]
    assert worker.reset_config(config_of(bowl(tmp_path, 5), fused=True, task="bowl"))
    assert names(worker.step()) == ["t5"]


def test_a_report_carries_as_many_epochs_as_fit_until_one_must_be_heard(tmp_path: Path) -> None:
    worker = fused(bowl(tmp_path, 0), bowl(tmp_path, 1), task="bowl")
    assert [[epoch["epoch"] for epoch in told["epochs"]] for told in worker.step()[TRIALS]] == [[1, 2], [1, 2]], "to the rung"
    worker.update([], [bowl(tmp_path, 2)])
    report = by_name(worker.step())
    assert {name: [epoch["epoch"] for epoch in told["epochs"]] for name, told in report.items()} == {
        "t0": [3, 4],
        "t1": [3, 4],
        "t2": [1, 2],
    }


@pytest.mark.usefixtures("every_epoch")
def test_a_fused_trial_that_diverges_or_cannot_be_built_fails_alone(tmp_path: Path) -> None:
    worker = fused(bowl(tmp_path, 0), bowl(tmp_path, 1, fault="nan"), {**bowl(tmp_path, 2), "code_version": "other"}, task="bowl")
    first = by_name(worker.step())
    assert first["t2"]["epochs"] == []
    failure = failure_of(TrialBroke(first["t2"]["failure"]))
    assert (failure.kind, failure.reason.partition(":")[0]) == ("raised", "ClusterUnavailable")
    worker.update(["t2"], [])
    assert all(told["failure"] is None for told in worker.step()[TRIALS])
    third = by_name(worker.step())
    assert third["t1"]["epochs"] == []
    assert failure_of(TrialBroke(third["t1"]["failure"])).kind == "diverged"
    assert [epoch["epoch"] for epoch in third["t0"]["epochs"]] == [3]
    worker.update(["t1"], [])
    assert [epoch["epoch"] for epoch in by_name(worker.step())["t0"]["epochs"]] == [4]


@pytest.mark.usefixtures("every_epoch")
def test_a_fused_trial_whose_folder_was_taken_over_fails_alone(tmp_path: Path) -> None:
    worker = fused(bowl(tmp_path, 0), bowl(tmp_path, 1), task="bowl")
    worker.step()
    (Path(bowl(tmp_path, 1)["folder"]) / "owner").write_text("another")
    report = by_name(worker.step())
    assert report["t1"]["epochs"] == []
    assert failure_of(TrialBroke(report["t1"]["failure"])).reason.startswith("Superseded")
    assert report["t0"]["state"] == 2


@pytest.mark.usefixtures("every_epoch")
def test_what_breaks_the_whole_worker_says_why(tmp_path: Path) -> None:
    worker = fused(bowl(tmp_path, 0), bowl(tmp_path, 1, fault="out_of_memory"), task="bowl")
    for _ in range(2):
        worker.step()
    with pytest.raises(TrialBroke, match="half of a GPU") as caught:
        worker.step()
    assert failure_of(caught.value).kind == "memory"


@pytest.mark.usefixtures("every_epoch")
def test_trials_of_several_shapes_are_stepped_one_shape_after_another(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    wide = [assignment(tmp_path / "a", synthetic_derm7pt, seed, width=2.0) for seed in (1, 2)]
    worker = fused(wide[0], assignment(tmp_path / "a", synthetic_derm7pt, 3), wide[1])
    report = worker.step()
    assert names(report) == ["t1", "t3", "t2"]
    assert [told["epochs"][-1]["epoch"] for told in report[TRIALS]] == [1, 1, 1]
