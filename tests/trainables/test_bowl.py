"""The analytic trial: where it sinks to, how it goes on, and what goes wrong on request."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import trainables
from spaces.bowl import BowlSpace
from spaces.fields import complete, fields_of
from trainables import bowl
from trainables.contract import EpochReport, TrialRequest
from trainables.errors import CheckpointError, DataError, TrialDiverged
from trainables.tasks import TASKS


def build(*, seed: int = 0, max_epochs: int = 20, **fields: Any) -> bowl.BowlTrial:
    config = complete(BowlSpace, fields)
    return bowl.build(TrialRequest("bowl", config, None, seed, TASKS["bowl"].objective, max_epochs))


def run(trial: bowl.BowlTrial, epochs: int) -> list[EpochReport]:
    """Reports without the time they took."""
    return [replace(trial.step(), seconds=0.0) for _ in range(epochs)]


def test_a_rehearsal_takes_as_long_as_an_epoch() -> None:
    assert 0.05 <= build(seconds_per_epoch=0.05).rehearse().epoch_s < 1


@pytest.mark.parametrize(
    ("fields", "floor"),
    [
        ({"x": 0.3, "y": -0.7}, 0.0),
        ({"x": 0.0, "y": 0.0}, 0.09 + 0.49),
        ({"x": -0.7, "y": -0.7}, 1.0),
        ({"x": 0.3, "y": -0.7, "shape": "tilted", "tilt": 0.5}, -0.01),
        ({"x": 0.3, "y": 0.3, "shape": "tilted", "tilt": 1.0}, 1.24),
    ],
)
def test_the_floor_of_a_configuration_is_known(fields: dict[str, Any], floor: float) -> None:
    assert bowl.floor_of(complete(BowlSpace, fields)) == pytest.approx(floor)


def test_no_configuration_lies_below_the_known_optimum() -> None:
    grid = [step / 10 for step in range(-10, 11)]
    round_floors = {(x, y): bowl.floor_of(complete(BowlSpace, {"x": x, "y": y})) for x in grid for y in grid}
    assert min(round_floors, key=round_floors.__getitem__) == bowl.LOWEST == (0.3, -0.7)
    tilts = {
        tilt: bowl.floor_of(complete(BowlSpace, {"x": 0.3, "y": -0.7, "shape": "tilted", "tilt": tilt})) for tilt in grid[10:]
    }
    assert min(tilts, key=tilts.__getitem__) == 0.5
    assert min(tilts.values()) == pytest.approx(-0.01)


def test_a_trial_sinks_by_its_rate_towards_its_floor() -> None:
    trial = build(x=0.3, y=0.3, rate=0.5)
    heights = [report.metrics["valid/height"] for report in run(trial, 5)]
    assert heights == pytest.approx([1 + 1.5, 1 + 0.75, 1 + 0.375, 1 + 0.1875, 1 + 0.09375])


def test_reports_are_those_of_the_contract() -> None:
    reports = run(build(x=0.3, y=-0.7, rate=0.5, max_epochs=3), 3)
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert [report.score for report in reports] == pytest.approx([1.5, 1.125, 0.875])
    assert [report.is_best for report in reports] == [True] * 3
    assert [report.ended for report in reports] == [None, None, "max_epochs"]
    assert bowl.prepare({}, None).metrics == tuple(reports[0].metrics)


def test_noise_follows_the_seed() -> None:
    first = run(build(noise=0.5, seed=1), 4)
    assert run(build(noise=0.5, seed=1), 4) == first
    assert run(build(noise=0.5, seed=2), 4) != first
    assert run(build(seed=1), 4) == run(build(seed=2), 4)


@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_a_loaded_trial_goes_on_exactly(stop: int, tmp_path: Path) -> None:
    expected = run(build(noise=0.7), 6)
    first, second = build(noise=0.7), build(noise=0.7, seed=9)
    run(first, stop)
    first.save(tmp_path / "state")
    run(second, 2)
    second.load(tmp_path / "state")
    assert second.epoch == stop
    assert run(second, 6 - stop) == expected[stop:]
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["sha256sums", "state.json"]


@pytest.mark.parametrize("name", ["state.json", "sha256sums"])
def test_a_damaged_state_is_refused(name: str, tmp_path: Path) -> None:
    trial = build()
    run(trial, 2)
    trial.save(tmp_path / "state")
    contents = bytearray((tmp_path / "state" / name).read_bytes())
    contents[len(contents) // 2] ^= 1
    (tmp_path / "state" / name).write_bytes(contents)
    with pytest.raises(CheckpointError, match=r"state\.json must match its hash in sha256sums"):
        build().load(tmp_path / "state")


def test_there_must_be_a_state_to_load(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a checkpoint must be a folder with state\.json and sha256sums; got "):
        build().load(tmp_path / "nothing")


def test_the_best_epoch_is_written_and_read_back(tmp_path: Path) -> None:
    trial = build(x=0.1, rate=1.0, noise=1.0, seed=1)
    reports = run(trial, 8)
    trial.save_best(tmp_path / "best")
    best = [report for report in reports if report.is_best][-1]
    found = trainables.load(tmp_path / "best")
    assert found["task"] == "bowl"
    assert found["config"] == complete(BowlSpace, {"x": 0.1, "rate": 1.0, "noise": 1.0})
    assert (found["epoch"], found["value"]) == (best.epoch, best.metrics["valid/height"])
    assert best.epoch < 8, "the seed must put the best epoch before the last"


def test_fault_raise_breaks_the_third_epoch() -> None:
    trial = build(fault="raise")
    run(trial, 2)
    with pytest.raises(RuntimeError, match="the bowl broke, as fault=raise asked"):
        trial.step()


def test_fault_nan_diverges_at_the_third_epoch() -> None:
    trial = build(fault="nan")
    assert all(math.isfinite(report.metrics["valid/height"]) for report in run(trial, 2))
    with pytest.raises(TrialDiverged, match="valid/height must be finite; got nan at epoch 3"):
        trial.step()


@pytest.mark.skipif("raise_tilted" not in fields_of(BowlSpace)["fault"].choices, reason="the fault is not there yet")
@pytest.mark.parametrize("shape", ["round", "tilted"])
def test_fault_raise_tilted_breaks_the_tilted_trials_only(shape: str) -> None:
    trial = build(fault="raise_tilted", shape=shape)
    run(trial, 2)
    if shape == "round":
        assert trial.step().epoch == 3
    else:
        with pytest.raises(RuntimeError, match="the bowl broke, as fault=raise_tilted asked"):
            trial.step()


def test_a_bowl_takes_the_time_it_was_asked_to() -> None:
    assert build(seconds_per_epoch=0.05).step().seconds >= 0.05


def test_a_bowl_has_no_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="evaluate must be given a checkpoint of a task with data; got a bowl"):
        bowl.evaluate(tmp_path, "derm7pt:x", "valid")
    with pytest.raises(DataError, match="predict must be given a checkpoint of a task with data; got a bowl"):
        bowl.predictor(tmp_path)


def test_a_report_carries_as_many_numbers_as_asked() -> None:
    (report,) = run(build(num_metrics=3, max_epochs=1), 1)
    assert list(report.metrics) == ["valid/height", "valid/further_1", "valid/further_2"]
    assert bowl.prepare({"num_metrics": 3}, None).metrics == tuple(report.metrics)
