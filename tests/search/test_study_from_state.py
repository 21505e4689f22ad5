"""The study that a ledger tells of is the study that was searched with, also after its way through a file."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from bowl_events import BEGUN, begun, config_of, epoch_of, event_of, plan_of, reported, state_after
from bowl_search import bowl_curves, bowl_epochs, recording, with_changes
from optuna.trial import FrozenTrial, TrialState

from search.errors import PlanError
from search.records.constraints import Constraint
from search.records.events import Event
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.study import FAR_BEYOND, export_study, export_to_file, exported_trials
from search.strategy.optuna_controller import OptunaController
from search.strategy.simulation import Curve, simulate
from search.strategy.study_from_state import study_of
from search.strategy.suggestion import Suggestion
from trainables.contract import Objective

COST = Objective("valid/cost", "max")


def _told(trial: FrozenTrial) -> Mapping[str, Any]:
    """All of a trial but Optuna's own attributes and times."""
    names = ("number", "state", "values", "params", "distributions", "intermediate_values", "user_attrs", "constraints")
    return {name: getattr(trial, name) for name in names}


def _study(study: optuna.Study) -> list[Mapping[str, Any]]:
    return [_told(trial) for trial in study.trials]


def _search(plan: Plan, fail: str | None = None) -> tuple[OptunaController, list[Event]]:
    """A simulated search with three workers.

    Args:    fail: a trial whose worker breaks after its first epoch.
    """

    def more(suggestion: Suggestion, epoch: int, height: float) -> dict[str, float]:
        return {"valid/cost": float(suggestion.config["x"] or 0) * epoch, "valid/loss": height / 2}

    class Breaking(OptunaController):
        def report(self, trial: str, epochs: Any, *rest: Any, **more: Any) -> bool:
            over = super().report(trial, epochs, *rest, **more)
            if trial == fail and not over:
                self.fail(trial, "RuntimeError: broke")
                return True
            return over

    journal, events = recording()
    controller = Breaking(plan, journal)
    simulate(controller, bowl_curves(plan, more), 3)
    return controller, events


_SEARCHED_DELAY = {name: value for name, value in with_changes().fixed.items() if name != "idle_epochs"}
CASES: dict[str, dict[str, Any]] = {
    "stopped and finished": {},
    "all finished": {"scheduler": "none", "num_trials": 6},
    "paused": {"scheduler": "asha-promote"},
    "best three": {"scheduler": "one-epoch"},
    "more is better": {"objective": Objective("valid/height", "max")},
    "out of budget": {"epoch_budget": 30},
    "narrowed": {"space": {"x": "-0.5..0.5", "rate": "0.1|0.5", "shape": "tilted|round"}, "sampler": "random"},
    "fixed": {"fixed": {**with_changes().fixed, "shape": "tilted", "rate": 0.5}},
    "limited": {"constraints": (Constraint("valid/cost", "<=", 0.0), Constraint("valid/loss", "<=", 9.0))},
    "beyond a limit": {"constraints": (Constraint("valid/none", ">=", 1.0),), "scheduler": "none", "num_trials": 6},
    "two objectives": {"further_objectives": (COST,), "scheduler": "none", "num_trials": 12},
    "two objectives, stopped": {"further_objectives": (COST,), "sampler": "random"},
    "delayed": {"fixed": _SEARCHED_DELAY, "space": {"idle_epochs": "int:0..4"}, "sampler": "random"},
    "three objectives": {"further_objectives": (COST, Objective("valid/loss", "min")), "sampler": "random"},
}


@pytest.mark.parametrize("case", CASES)
def test_the_ledgers_study_is_the_live_one(case: str) -> None:
    plan = with_changes(**CASES[case])
    controller, events = _search(plan)
    state = SearchState.of(events, plan.objective, plan.constraints)
    study = study_of(plan, state)
    assert _study(study) == _study(controller.study)
    assert study.directions == controller.study.directions
    assert study.metric_names == controller.study.metric_names == [objective.metric for objective in plan.objectives]
    assert study.study_name == controller.study.study_name == "bowls"
    finished = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert [trial.user_attrs["trial"] for trial in finished] == [t.trial for t in state.trials.values() if t.state == "finished"]
    assert all(len(trial.values) == len(plan.objectives) for trial in finished)
    if plan.scheduler != "none":
        assert {trial.state for trial in study.trials} >= {TrialState.PRUNED}


def test_a_failed_trial_is_told_alike_with_what_it_reported() -> None:
    plan = with_changes(sampler="random", num_trials=6, grace_period=2)
    controller, events = _search(plan, fail="t0000")
    study = study_of(plan, SearchState.of(events, plan.objective))
    assert _study(study) == _study(controller.study)
    failed = study.trials[0]
    assert (failed.state, failed.values, list(failed.intermediate_values)) == (TrialState.FAIL, None, [1])
    assert failed.user_attrs == {"trial": "t0000", "reason": "RuntimeError: broke"}


def test_a_restored_search_has_the_ledgers_study() -> None:
    plan = with_changes(sampler="random", num_trials=9)
    _, events = _search(plan)
    cut = len(events) // 2
    journal, new = recording()
    controller = OptunaController(plan, journal, events[:cut])
    simulate(controller, lambda suggestion: _rest(plan, suggestion), 3)
    told = study_of(plan, SearchState.of([*events[:cut], *new], plan.objective))
    assert _study(told) == _study(controller.study)


def _rest(plan: Plan, suggestion: Suggestion) -> Curve:
    epochs = bowl_epochs(plan, suggestion)
    return Curve(epochs[min(suggestion.known_epoch, len(epochs) - 1) :])


def test_trials_that_have_not_ended_are_told_as_failed_with_where_they_stand() -> None:
    plan = with_changes(scheduler="asha-promote", sampler="random")
    journal, events = recording()
    controller = OptunaController(plan, journal)
    suggested, started, paused, interrupted = (suggestion for _ in range(4) if (suggestion := controller.next()) is not None)
    for suggestion in (started, paused, interrupted):
        controller.start(suggestion.trial, {})
    controller.report(paused.trial, bowl_epochs(plan, paused)[:1], None)
    controller.interrupt("Ctrl-C")
    events = [event for event in events if event.event != "interrupted" or event.trial == interrupted.trial]
    trials = study_of(plan, SearchState.of(events, plan.objective)).trials
    assert {trial.state for trial in trials} == {TrialState.FAIL}
    assert [trial.user_attrs["reason"] for trial in trials] == ["suggested", "running", "rung 1", "Ctrl-C"]
    assert [trial.user_attrs["trial"] for trial in trials] == [s.trial for s in (suggested, started, paused, interrupted)]
    assert [len(trial.intermediate_values) for trial in trials] == [0, 0, 1, 0]


def test_the_study_of_an_empty_ledger_is_empty() -> None:
    plan = with_changes()
    assert study_of(plan, SearchState(plan.objective)).trials == []


@pytest.mark.parametrize("case", ["stopped and finished", "narrowed", "limited", "two objectives", "two objectives, stopped"])
def test_an_exported_study_comes_back_whole(case: str, tmp_path: Path) -> None:
    plan = with_changes(**{"num_trials": 10, "grace_period": 2, **CASES[case]})
    controller, events = _search(plan, fail="t0001")
    file = tmp_path / "study.db"
    export_to_file(study_of(plan, SearchState.of(events, plan.objective, plan.constraints)), file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.db"]
    back = exported_trials(file, plan.name)
    assert back is not None
    assert [_told(trial) for trial in back] == _study(controller.study)
    assert {trial.state for trial in back} >= {TrialState.COMPLETE, TrialState.FAIL}


def test_an_export_replaces_the_one_before_and_whatever_an_unfinished_one_left(tmp_path: Path) -> None:
    plan = with_changes(sampler="random", num_trials=3, scheduler="none")
    file = tmp_path / "study.db"
    controller, _ = _search(plan)
    export_to_file(controller.study, file)
    file.with_suffix(".unfinished").write_bytes(b"half of a database")
    longer, _ = _search(replace(plan, num_trials=5))
    export_to_file(longer.study, file)
    back = exported_trials(file, plan.name)
    assert back is not None
    assert [_told(trial) for trial in back] == _study(longer.study)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.db"]


def test_no_trials_come_from_what_is_no_export_or_one_of_another_search(tmp_path: Path) -> None:
    plan = with_changes(sampler="random", num_trials=2, scheduler="none")
    file = tmp_path / "study.db"
    assert exported_trials(file, plan.name) is None
    controller, _ = _search(plan)
    export_to_file(controller.study, file)
    assert exported_trials(file, "another") is None
    file.write_bytes(b"no database at all, and long enough not to be taken for an empty one" * 20)
    assert exported_trials(file, plan.name) is None


def test_an_export_takes_the_place_of_a_file_that_another_has_locked(tmp_path: Path) -> None:
    plan, file = with_changes(sampler="random", scheduler="none"), tmp_path / "study.db"
    before, _ = _search(replace(plan, num_trials=3))
    export_to_file(before.study, file)
    with closing(sqlite3.connect(file, isolation_level=None)) as dashboard:
        dashboard.execute("BEGIN EXCLUSIVE")
        after, _ = _search(replace(plan, num_trials=5))
        export_to_file(after.study, file)
        dashboard.execute("COMMIT")
    back = exported_trials(file, plan.name)
    assert back is not None
    assert len(back) == 5


def test_a_database_that_another_has_locked_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "everybodys.db"
    controller, _ = _search(with_changes(sampler="random", num_trials=2, scheduler="none"))
    export_study(controller.study, f"sqlite:///{file}")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(PlanError, match=r"--to must be a database that Optuna can use; got .*database is locked") as caught:
            export_study(controller.study, f"sqlite:///{file}?timeout=0.1")
    assert len(str(caught.value).splitlines()) == 1
    export_study(controller.study, f"sqlite:///{file}")


def test_of_a_trial_that_never_validated_no_limit_is_told() -> None:
    plan = with_changes(sampler="random", constraints=(Constraint("valid/cost", "<=", 0.0),))
    journal, events = recording()
    controller = OptunaController(plan, journal)
    broken, silent = (suggestion.trial for _ in range(2) if (suggestion := controller.next()) is not None)
    controller.fail(broken, "RuntimeError: broke")
    controller.report(silent, bowl_epochs(plan, Suggestion(silent, controller.records[silent].config, 0))[:1], None)
    told = study_of(plan, SearchState.of(events, plan.objective, plan.constraints)).trials
    assert [trial.constraints for trial in told] == [{}, {"valid/cost<=0": FAR_BEYOND}]


def test_trials_of_an_export_began_and_ended_when_the_ledger_says(tmp_path: Path) -> None:
    """As optuna-dashboard's timeline reads them: local times without a zone, through Optuna and its database."""
    plan = plan_of()
    events = [
        *begun("t0000", 10.0),
        *begun("t0001", 20.0),
        reported("t0000", 30.0, epoch_of(1, 4.0, 4.0, True)),
        reported("t0001", 50.5, epoch_of(1, 4.0, 4.0, True)),
        event_of("finished", 40.0, trial="t0000", reason="max_epochs"),
        event_of("suggested", 60.0, trial="t0002", config=config_of()),
    ]
    export_to_file(study_of(plan, state_after(plan, events)), tmp_path / "study.db")
    study = optuna.load_study(study_name=plan.name, storage=f"sqlite:///{tmp_path / 'study.db'}")

    def elapsed_s(local: datetime | None) -> float:
        assert local is not None
        return (local.astimezone(UTC) - BEGUN) / timedelta(seconds=1)

    times = [(elapsed_s(trial.datetime_start), elapsed_s(trial.datetime_complete)) for trial in study.trials]
    assert times == [(10.0, 40.0), (20.0, 50.5), (60.0, 60.0)]
