"""What a search will cost: expected epochs by hand, and an estimate from what a trial rehearses."""

from dataclasses import replace
from pathlib import Path

import pytest

from search.analysis.dry_run import estimate, expected_epochs
from search.errors import PlanError
from search.records.plan import Plan
from trainables.bowl import BowlTrial
from trainables.contract import Objective

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


def test_an_estimate_multiplies_a_measured_epoch() -> None:
    found = estimate(replace(PLAN, fixed={**PLAN.fixed, "seconds_per_epoch": 0.05}))
    assert 0.05 <= found.epoch_s < 1
    assert found.hours_at_most == pytest.approx(20 * 81 * found.epoch_s / 3600 / 2)
    assert found.hours == pytest.approx(20 * (1 + 4 * 2 / 3) * found.epoch_s / 3600 / 2)
    assert 0 < found.disk_mib < 1
    assert found.trials_at_once == 2


def test_an_estimate_rehearses_and_trains_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BowlTrial, "rehearse", lambda _: 7.0)
    monkeypatch.setattr(BowlTrial, "step", lambda _: pytest.fail("an epoch was trained"))
    found = estimate(PLAN)
    assert found.epoch_s == 7.0
    assert found.hours_at_most == pytest.approx(20 * 81 * 7 / 3600 / 2)


def test_every_number_of_an_estimate_is_positive() -> None:
    document = estimate(PLAN).to_json()
    assert list(document) == ["epoch_s", "hours", "hours_at_most", "disk_mib", "trials_at_once"]
    assert all(value >= 0 for value in document.values())
    assert all(value > 0 for value in vars(estimate(replace(PLAN, num_trials=2000))).values())


def test_a_budget_caps_what_is_expected() -> None:
    found = estimate(replace(PLAN, epoch_budget=10))
    assert found.hours == found.hours_at_most == pytest.approx(10 * found.epoch_s / 3600 / 2)
    assert estimate(replace(PLAN, time_budget_s=1e-6)).hours_at_most == pytest.approx(1e-6 / 3600)


def test_a_cluster_that_has_not_been_looked_at_cannot_be_estimated() -> None:
    with pytest.raises(PlanError, match="--dry-run must be of a search on this machine"):
        estimate(replace(PLAN, max_concurrent=None))


def test_a_scheduler_that_stops_nothing_costs_the_most() -> None:
    found = estimate(replace(PLAN, scheduler="none"))
    assert found.hours == found.hours_at_most


def test_an_estimate_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    estimate(PLAN)
    assert list(tmp_path.iterdir()) == []
