"""What a search will cost: expected epochs by hand, and an estimate from what a trial rehearses."""

from dataclasses import replace
from pathlib import Path

import pytest

from search.analysis.dry_run import _disk_mib, closing, closing_here, estimate
from search.analysis.rehearsal import Measured, _sizes
from search.errors import PlanError
from search.records.plan import Plan
from search.strategy.forecast import expected_epochs
from spaces.fields import complete
from trainables.bowl import BowlTrial
from trainables.contract import Objective, Rehearsal, TrialRequest
from trainables.tasks import TASKS

PLAN = Plan(
    name="bowls",
    task="bowl",
    source=None,
    preset="demo",
    fixed={"noise": 0.0, "fault": "none", "idle_epochs": 0, "seconds_per_epoch": 0.0},
    objective=Objective("valid/height", "min"),
    num_trials=20,
    max_epochs=81,
    gpus_per_trial=0.0,
    max_concurrent=2,
)


@pytest.mark.parametrize(
    ("scheduler", "grace_period", "max_epochs", "reduction", "expected"),
    [
        ("none", 1, 81, 3, 81),
        # 1 epoch for all; 2 more for a third; 6 for a ninth; 18 for a 27th; 54 for an 81st: 1 + 4 × 2/3
        ("asha", 1, 81, 3, 1 + 4 * 2 / 3),
        # 3 for all; 6 for a third; 18 for a ninth; 3 for a 27th
        ("asha", 3, 30, 3, 3 + 2 + 2 + 3 / 27),
        ("asha", 1, 100, 4, 1 + 3 / 4 + 12 / 16 + 48 / 64 + 36 / 256),
        ("asha", 20, 200, 3, 20 + 40 / 3 + 120 / 9 + 20 / 27),
        ("asha", 30, 30, 3, 30),
        ("asha", 50, 30, 3, 30),
        ("asha", 29, 30, 2, 29.5),
    ],
)
def test_expected_epochs_by_hand(scheduler: str, grace_period: int, max_epochs: int, reduction: int, expected: float) -> None:
    plan = replace(PLAN, scheduler=scheduler, grace_period=grace_period, max_epochs=max_epochs, reduction=reduction)
    assert expected_epochs(plan) == pytest.approx(expected)


def _rehearsing(monkeypatch: pytest.MonkeyPatch, *epoch_s: float, cold_s: float = 0.0) -> None:
    """The first bowl that rehearses takes the first of these for an epoch, the others take the last ones in turn."""
    left = list(epoch_s)
    monkeypatch.setattr(BowlTrial, "rehearse", lambda _: Rehearsal(left.pop(0) if len(left) > 1 else left[0], cold_s))


def test_an_estimate_multiplies_measured_epochs_and_counts_what_stands_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    _rehearsing(monkeypatch, 10.0)
    found = estimate(PLAN)
    training_s = 20 * (1 + 4 * 2 / 3) * 10 / 2
    assert found.epoch_s == 10.0
    assert found.trials_at_once == 2
    # The first trials at a rung go on unchallenged: more epochs than one in three at each.
    assert training_s < 3600 * found.hours < 5 * training_s
    assert 3600 * found.hours_at_most > 20 * 81 * 10 / 2
    assert 3 < found.disk_mib < 12, "records, pictures and a page; a bowl has next to no model"


def test_configurations_that_take_longer_than_the_papers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """3 s were announced and 18 taken: the paper's alone had been measured, and the fastest of its batches."""
    _rehearsing(monkeypatch, 10.0)
    alike = estimate(PLAN)
    _rehearsing(monkeypatch, 10.0, 40.0)
    slower = estimate(PLAN)
    assert slower.epoch_s == 10.0
    assert slower.hours > 3 * alike.hours
    assert slower.hours_low > 2 * alike.hours_low


def test_start_slow_first_epochs_and_what_follows_on_the_last_trial_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    _rehearsing(monkeypatch, 1e-6)
    short = estimate(PLAN)
    assert 3600 * short.hours_low > 5
    assert 3600 * short.hours_high < 60
    _rehearsing(monkeypatch, 1e-6, cold_s=100.0)
    assert 3600 * estimate(PLAN).hours_high > 100
    assert 3600 * estimate(PLAN, pictures=False).hours < 3600 * estimate(PLAN).hours


def test_each_checkpoint_that_is_kept_adds_pictures_and_a_model() -> None:
    few, many = (closing(replace(PLAN, task="gated", keep_checkpoints=keep)) for keep in (1, 5))
    assert many.low_s > few.low_s
    assert many.high_s > few.high_s
    assert closing(PLAN).high_s < few.high_s + 10, "a bowl has no images"
    assert closing(PLAN, pictures=False).high_s < closing(PLAN).high_s


def test_a_start_that_took_long_says_that_pictures_will_as_well() -> None:
    usual, slow, fast = (closing_here(PLAN, pictures=True, start_s=seconds) for seconds in (12.0, 36.0, 3.0))
    assert vars(usual) == vars(closing(PLAN))
    assert (slow.low_s, slow.expected_s, slow.high_s) == (usual.low_s, 3 * usual.expected_s, 3 * usual.high_s)
    assert (fast.low_s, fast.high_s) == (usual.low_s / 4, usual.high_s)


def test_an_estimate_rehearses_and_trains_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    _rehearsing(monkeypatch, 7.0)
    monkeypatch.setattr(BowlTrial, "step", lambda _: pytest.fail("an epoch was trained"))
    assert estimate(PLAN).epoch_s == 7.0


def test_every_number_of_an_estimate_is_positive() -> None:
    document = estimate(PLAN).to_json()
    names = ["epoch_s", "hours", "hours_low", "hours_high", "hours_at_most", "disk_mib", "trials_at_once"]
    assert list(document) == names
    assert all(value >= 0 for value in document.values())
    assert all(value > 0 for value in vars(estimate(replace(PLAN, num_trials=2000))).values())
    assert document["hours_low"] <= document["hours"] <= document["hours_high"] <= document["hours_at_most"]


def test_a_budget_caps_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    _rehearsing(monkeypatch, 100.0)
    around_s = 60
    few = estimate(replace(PLAN, epoch_budget=10))
    assert 10 * 100 / 2 < 3600 * few.hours < 10 * 100 / 2 + around_s
    assert 3600 * estimate(replace(PLAN, time_budget_s=30.0)).hours_at_most < 30 + around_s


def test_a_cluster_that_has_not_been_looked_at_cannot_be_estimated() -> None:
    with pytest.raises(PlanError, match="--dry-run must be of a search on this machine"):
        estimate(replace(PLAN, max_concurrent=None))


def test_a_scheduler_that_stops_nothing_costs_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    _rehearsing(monkeypatch, 10.0)
    found = estimate(replace(PLAN, scheduler="none"))
    assert found.hours_high == pytest.approx(found.hours_at_most)
    assert estimate(PLAN).hours_high < found.hours_at_most


def test_a_state_is_never_larger_than_it_is_said_to_be(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    """Of an epoch that is not the best, it holds the model of the one that may yet be kept."""
    small = {"size_px": 96, "batches_per_epoch": 1, "sampling": "uniform", "batch_size": 8}
    config = complete(TASKS["gated"].space, small)
    objective = Objective("valid/auroc_mean", "max")
    trial = TASKS["gated"].load().build(TrialRequest("gated", config, f"derm7pt:{synthetic_derm7pt}", 0, objective, 9, "cpu"))
    best_mib, state_mib = _sizes(trial)
    sizes = []
    for epoch in range(1, 9):
        trial.step()
        trial.save(tmp_path / f"{epoch}", with_best=False)
        sizes.append(sum(file.stat().st_size for file in (tmp_path / f"{epoch}").iterdir()) / 2**20)
    assert max(sizes) == pytest.approx(state_mib, rel=0.02)
    assert min(sizes) == pytest.approx(state_mib - best_mib, rel=0.02), "the newest is the best, and the model itself"


def test_disk_is_what_there_is_at_most_at_a_time() -> None:
    """Of a gated search four models of 2.6 MiB, 2.5 MiB of pictures each and a page of 12 MiB twice were 52 MiB."""
    plan = replace(PLAN, task="gated", num_trials=4)
    measured = Measured(Rehearsal(1.0), (1.0,), 0.0, best_mib=2.6, state_mib=3.0)
    with_all = _disk_mib(plan, measured, 2, pictures=True)
    assert 52 < with_all < 80
    training = 2.6 * 4 + 2 * 2 * (2.6 + 3.0)
    assert _disk_mib(plan, measured, 2, pictures=False) == pytest.approx(3 + training)
    assert _disk_mib(plan, replace(measured, state_mib=300.0), 2, pictures=True) == pytest.approx(3 + 2.6 * 4 + 4 * 302.6)
    for scheduler in ("asha-promote", "one-epoch"):
        promoting = _disk_mib(replace(plan, scheduler=scheduler), measured, 2, pictures=False)
        assert promoting == pytest.approx(3 + training + 4 * (2.6 + 3.0)), "who is paused keeps its state"


def test_an_estimate_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    estimate(PLAN)
    assert list(tmp_path.iterdir()) == []
