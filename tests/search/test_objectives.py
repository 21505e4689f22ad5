"""Several objectives: the plan, what the controller tells Optuna, scores and front of the trials, and what is reported."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from bowl_events import epoch_result, event_of, unstamped
from optuna.trial import TrialState

from search.analysis.leaderboard import RecordedSearch, trial_rows
from search.cli.main import run
from search.errors import PlanError
from search.execution.planning import prepare_search
from search.execution.result import SearchResult
from search.records.events import EpochResult, Event
from search.records.folder import SearchFolder
from search.records.ledger import Ledger, read_events
from search.records.plan import Plan
from search.records.spec import SearchSpec
from search.records.state import SearchState
from search.records.study import export_study, new_study
from search.records.trials import TrialRecord
from search.strategy.optuna_controller import OptunaController
from search.strategy.samplers import SAMPLERS, STARTUP_TRIALS, make_sampler
from search.strategy.suggestion import Suggestion
from spaces.fields import Value
from trainables.contract import Mode, Objective

GAIN, COST = Objective("valid/gain", "max"), Objective("valid/cost", "min")
FIXED: dict[str, Value] = {"noise": 0.0, "fault": "none", "seconds_per_epoch": 0.0}
PLAN = Plan(
    name="fronts",
    task="bowl",
    source=None,
    preset="demo",
    fixed=FIXED,
    objective=GAIN,
    further_objectives=(COST,),
    num_trials=30,
    max_epochs=9,
    scheduler="none",
    gpus_per_trial=0.0,
    max_concurrent=1,
)
Make = Callable[..., OptunaController]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a controller whose ledger is `tmp_path/ledger.jsonl`, with changes to `PLAN`."""
    opened: list[Ledger] = []

    def _make(**changes: Any) -> OptunaController:
        plan = replace(PLAN, **changes)
        opened.append(Ledger(tmp_path / "ledger.jsonl"))
        return OptunaController(plan, opened[-1])

    yield _make
    for ledger in opened:
        ledger.close()


def _next(controller: OptunaController) -> Suggestion:
    """What to train now; there must be something."""
    suggestion = controller.next()
    assert suggestion is not None
    return suggestion


def _epoch(epoch: int, gain: float, cost: float | None, *, score: float | None = None, is_best: bool = True) -> EpochResult:
    metrics = {"valid/gain": gain} | ({} if cost is None else {"valid/cost": cost})
    return epoch_result(epoch=epoch, metrics=metrics, score=gain if score is None else score, seconds=0.5, is_best=is_best)


def _last(tmp_path: Path) -> Event:
    """The ledger's last event without its time."""
    return unstamped(list(read_events(tmp_path / "ledger.jsonl"))[-1])


def test_a_plan_comes_back_from_json_with_all_objectives_and_notes() -> None:
    plan = replace(PLAN, further_objectives=(COST, Objective("valid/loss", "min")), notes=("two cases left out", "grün"))
    assert Plan.from_json(json.loads(plan.dumps())) == plan
    assert plan.objectives == (GAIN, COST, Objective("valid/loss", "min"))
    alone = replace(PLAN, further_objectives=(), notes=())
    assert Plan.from_json(json.loads(alone.dumps())) == alone
    assert alone.objectives == (GAIN,)


def test_optuna_is_told_both_values_and_no_intermediate_ones(make: Make, tmp_path: Path) -> None:
    controller = make()
    trial = _next(controller).trial
    controller.start(trial, {})
    assert controller.report(trial, [_epoch(1, 0.5, 10.0), _epoch(2, 0.7, 20.0, score=0.6)], None) is False
    assert controller.report(trial, [_epoch(3, 0.9, 60.0, score=0.7), _epoch(4, 0.1, 1.0, score=0.57, is_best=False)], "patience")
    (told,) = controller.study.trials
    assert controller.study.directions == [optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE]
    assert controller.study.metric_names == ["valid/gain", "valid/cost"]
    assert (told.state, told.values) == (TrialState.COMPLETE, [0.7, 30.0])
    assert told.intermediate_values == {}
    assert _last(tmp_path) == event_of("finished", trial=trial, reason="patience")


def test_the_first_objective_decides_at_the_rungs_and_a_stopped_trial_is_pruned(make: Make, tmp_path: Path) -> None:
    controller = make(scheduler="asha", grace_period=2, reduction=3)
    good, cheap = _next(controller).trial, _next(controller).trial
    assert controller.report(good, [_epoch(1, 0.5, 90.0), _epoch(2, 0.8, 90.0)], None) is False
    assert controller.report(cheap, [_epoch(1, 0.9, 1.0), _epoch(2, 0.7, 1.0)], None) is True
    assert _last(tmp_path) == event_of("stopped", trial=cheap, reason="rung 2")
    told = controller.study.trials[1]
    assert (told.state, told.values, told.intermediate_values) == (TrialState.PRUNED, None, {})
    assert controller.num_running == 1


def test_a_budget_prunes_a_trial_of_several_objectives(make: Make) -> None:
    controller = make(epoch_budget=2)
    trial = _next(controller).trial
    assert controller.report(trial, [_epoch(1, 0.5, 1.0), _epoch(2, 0.5, 1.0)], None) is True
    assert controller.study.trials[0].state is TrialState.PRUNED
    assert controller.exhausted


def test_a_trial_that_never_reports_the_second_metric_fails(make: Make, tmp_path: Path) -> None:
    controller = make()
    trial = _next(controller).trial
    assert controller.report(trial, [_epoch(1, 0.5, None)], None) is False
    assert controller.report(trial, [_epoch(2, 0.6, None)], "max_epochs") is True
    reason = "valid/cost must be reported to be an objective; got none at the best epoch (--metric)"
    assert _last(tmp_path) == event_of("failed", trial=trial, reason=reason)
    (told,) = controller.study.trials
    assert (told.state, told.user_attrs["reason"]) == (TrialState.FAIL, reason)
    assert controller.num_running == 0
    state = SearchState.of(read_events(tmp_path / "ledger.jsonl"), GAIN)
    assert (state.count("failed"), state.ranked(), state.pareto(PLAN.objectives)) == (1, [], [])


#: Costs by epoch; the sums of neighbours are easy.
COSTS = (10.0, 20.0, 60.0, 40.0, 1.0)


@pytest.mark.parametrize(("best", "expected"), [(1, 10.0), (2, 15.0), (3, 30.0), (4, 40.0), (5, 101 / 3)])
def test_scores_are_means_over_at_most_three_epochs_up_to_the_best(best: int, expected: float) -> None:
    record = TrialRecord("t0", {}, 0)
    for epoch, cost in enumerate(COSTS, start=1):
        record.add_epoch(_epoch(epoch, 0.0, cost, score=epoch / 10, is_best=epoch == best))
    assert record.scores([GAIN, COST]) == (best / 10, pytest.approx(expected))
    assert record.scores([GAIN]) == (best / 10,)


def test_scores_pass_over_epochs_that_did_not_report_and_are_none_where_none_did() -> None:
    record = TrialRecord("t0", {}, 0)
    assert record.scores([GAIN]) is None
    for epoch, cost in enumerate((10.0, None, 60.0), start=1):
        record.add_epoch(_epoch(epoch, 0.5, cost))
    assert record.scores([GAIN, COST]) == (0.5, 35.0)
    record.epochs = [_epoch(epoch, 0.5, None) for epoch in (1, 2, 3)]
    record.add_epoch(_epoch(4, 0.4, 5.0, is_best=False))
    assert record.scores([GAIN, COST]) is None, "an epoch after the best one does not count"


def _table(modes: Sequence[Mode], trials: dict[str, tuple[float, float | None]], epoch: int = 3) -> SearchState:
    """Trials with a gain and a cost, each at its third epoch; t6 fails."""
    state = SearchState(Objective("valid/gain", modes[0]))
    common = {"time": "", "elapsed_s": 1.0}
    for trial, (gain, cost) in trials.items():
        state.apply(event_of("suggested", trial=trial, config={}, seed=0, **common))
        state.apply(event_of("reported", trial=trial, epochs=[_epoch(epoch, gain, cost)], **common))
    if "t6" in trials:
        state.apply(event_of("failed", trial="t6", reason="broke", **common))
    return state


TRIALS: dict[str, tuple[float, float | None]] = {
    "t0": (0.9, 0.5),
    "t1": (0.8, 0.2),
    "t2": (0.8, 0.3),
    "t3": (0.7, 0.2),
    "t4": (0.6, 0.1),
    "t5": (0.8, 0.2),  # like t1
    "t6": (0.95, 0.05),  # failed
    "t7": (0.99, None),
}


@pytest.mark.parametrize(
    ("modes", "front"),
    [
        # t2 costs more than t1 for as much, t3 gains less for as much.
        (("max", "min"), ["t0", "t1", "t5", "t4"]),
        (("max", "max"), ["t0"]),
        (("min", "min"), ["t4"]),
        (("min", "max"), ["t4", "t3", "t2", "t0"]),
    ],
)
def test_the_front_of_a_hand_worked_table(modes: tuple[Mode, Mode], front: list[str]) -> None:
    objectives = [Objective("valid/gain", modes[0]), Objective("valid/cost", modes[1])]
    assert [trial.trial for trial in _table(modes, TRIALS).pareto(objectives)] == front


def test_the_front_of_one_objective_is_the_best_and_its_equals() -> None:
    assert [trial.trial for trial in _table(["max"], TRIALS).pareto([GAIN])] == ["t7"]
    ties = {"a": (0.5, 1.0), "b": (0.9, 1.0), "c": (0.9, 2.0)}
    assert [trial.trial for trial in _table(["max"], ties).pareto([GAIN])] == ["b", "c"]
    assert _table(["max"], {}).pareto([GAIN]) == []


@pytest.mark.parametrize("objectives", [(GAIN,), (GAIN, COST)])
def test_the_best_trial_is_on_the_front_whatever_lucky_first_epochs_others_had(objectives: tuple[Objective, ...]) -> None:
    """A mean over fewer than three validations never beats one over three, on the front as in the ranking."""
    state = _table(["max"], {"steady": (0.8, 0.2)})
    common = {"time": "", "elapsed_s": 1.0}
    state.apply(event_of("suggested", trial="lucky", config={}, seed=0, **common))
    state.apply(event_of("reported", trial="lucky", epochs=[_epoch(1, 0.9, 0.1)], **common))
    state.apply(event_of("stopped", trial="lucky", reason="rung 1", **common))
    assert state.ranked()[0].trial == "steady"
    assert "steady" in [trial.trial for trial in state.pareto(objectives)]


@pytest.fixture
def recorded(tmp_path: Path) -> RecordedSearch:
    """A search of two objectives with the trials of the hand-worked table."""
    return RecordedSearch(SearchFolder(tmp_path, PLAN.name), PLAN, _table(["max"], {**TRIALS, "t8": (0.1, 0.9)}))


def test_a_summary_names_all_metrics_and_the_front(recorded: RecordedSearch) -> None:
    result = SearchResult(PLAN, recorded.folder, recorded.state, {}, "all trials", "0")
    summary = json.loads(json.dumps(result.summary()))
    assert (summary["metrics"], summary["modes"]) == (["valid/gain", "valid/cost"], ["max", "min"])
    assert summary["pareto"] == ["t0", "t1", "t5", "t4"]
    assert (summary["best_trial"], summary["best_score"]) == ("t7", 0.99)


def test_rows_of_trials_give_every_score_and_who_is_on_the_front(recorded: RecordedSearch) -> None:
    recorded.state.apply(event_of("suggested", trial="t9", config={}, seed=0, time="", elapsed_s=2.0))
    rows = {row["trial"]: row for row in json.loads(json.dumps(trial_rows(recorded)))}
    assert [name for name, row in rows.items() if row["pareto"]] == ["t0", "t1", "t5", "t4"]
    assert rows["t2"]["scores"] == {"valid/gain": 0.8, "valid/cost": 0.3}
    assert rows["t6"]["scores"] == {"valid/gain": 0.95, "valid/cost": 0.05}
    assert (rows["t9"]["scores"], rows["t9"]["pareto"]) == ({}, False)


def test_show_prints_scores_and_front_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = SearchFolder(tmp_path, PLAN.name)
    folder.create(PLAN).release()
    with Ledger(folder.ledger_file) as ledger:
        for trial, (gain, cost) in TRIALS.items():
            ledger.append(event_of("suggested", trial=trial, config={}, seed=0))
            ledger.append(event_of("reported", trial=trial, epochs=[_epoch(3, gain, cost)]))
    assert run(("show", PLAN.name, "--storage", str(tmp_path), "--json")) == 0
    rows = json.loads(capsys.readouterr().out)["trials"]
    assert [row["trial"] for row in rows if row["pareto"]] == ["t6"]
    assert rows[1]["scores"] == {"valid/gain": 0.95, "valid/cost": 0.05}


def test_several_metrics_are_planned_the_first_one_ranking(synthetic_derm7pt: Path) -> None:
    metrics = ["valid/auroc_mean", "valid/DIAG/recall:min", "valid/calibration_error_mean"]
    options = SearchSpec("gated", data=f"derm7pt:{synthetic_derm7pt}", metric=metrics, settings={"size_px": "96"})
    plan = prepare_search(options).plan
    assert plan.objective == Objective("valid/auroc_mean", "max")
    assert plan.further_objectives == (
        Objective("valid/DIAG/recall", "min"),
        Objective("valid/calibration_error_mean", "min"),
    )
    assert Plan.from_json(json.loads(plan.dumps())) == plan
    for sampler in ("gp", "random"):
        assert prepare_search(replace(options, sampler=sampler)).plan.objectives == plan.objectives
    message = r"^--sampler must be one that takes several metrics \(tpe, random, gp, qmc, nsga2\); got cmaes$"
    with pytest.raises(PlanError, match=message):
        prepare_search(replace(options, sampler="cmaes"))
    assert prepare_search(replace(options, sampler="cmaes", metric=metrics[:1])).plan.objectives == (plan.objective,)
    with pytest.raises(PlanError, match=r"^--metric must not move .* got valid/loss "):
        prepare_search(replace(options, metric=["valid/auroc_mean", "valid/loss"]))


@pytest.mark.parametrize("metrics", [["valid/height", "valid/height"], ["valid/height:min", "valid/height:max"]])
def test_a_metric_named_twice_is_refused(metrics: list[str]) -> None:
    with pytest.raises(PlanError, match=rf"^--metric must name each metric once; got {', '.join(metrics)}$"):
        prepare_search(SearchSpec("bowl", metric=metrics))


def test_a_metric_of_several_that_no_trial_reports_is_refused() -> None:
    with pytest.raises(PlanError, match=r"got 'valid/hight' \(did you mean 'valid/height'\?\)$"):
        prepare_search(SearchSpec("bowl", metric=["valid/height", "valid/hight"]))


def test_one_metric_or_none_is_one_objective() -> None:
    assert prepare_search(SearchSpec("bowl")).plan.objectives == (Objective("valid/height", "min"),)
    assert prepare_search(SearchSpec("bowl", metric=["valid/height:max"])).plan.objectives == (Objective("valid/height", "max"),)


def test_the_command_line_takes_several_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(("search", "bowl", "--metric", "valid/height", "--metric", "valid/height:max")) == 2
    assert "--metric must name each metric once; got valid/height, valid/height:max" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def _follow(controller: OptunaController, count: int) -> set[str]:
    """Runs trials whose gain and cost follow from x and y; every fourth is pruned; gives the names of the others."""
    finished = set()
    for number in range(count):
        suggestion = _next(controller)
        x, y = (float(suggestion.config[name] or 0) for name in ("x", "y"))
        epochs = [_epoch(epoch, 1 - (x - 0.3) ** 2, (y + 0.7) ** 2 + x) for epoch in (1, 2, 3)]
        if number % 4 == 3:
            controller.report(suggestion.trial, epochs, None)
            controller.stop(suggestion.trial, "rung 3")
        else:
            controller.report(suggestion.trial, epochs, "max_epochs")
            finished.add(suggestion.trial)
    return finished


@pytest.mark.parametrize("sampler", [name for name, line in SAMPLERS.items() if line.several_objectives])
def test_a_study_of_two_objectives_runs_past_the_random_trials(make: Make, sampler: str, tmp_path: Path) -> None:
    controller = make(sampler=sampler)
    if sampler == "gp":  # seconds a trial once its model takes over
        controller.study.sampler = make_sampler(replace(PLAN, sampler="random"))
    finished = _follow(controller, STARTUP_TRIALS + 4)
    if sampler == "gp":
        controller.study.sampler = make_sampler(replace(PLAN, sampler="gp"))
        finished |= _follow(controller, 1)
    states = {trial.user_attrs["trial"]: trial.state for trial in controller.study.trials}
    assert {name for name, state in states.items() if state is TrialState.COMPLETE} == finished
    assert {state for name, state in states.items() if name not in finished} == {TrialState.PRUNED}
    # Optuna and the ledger tell the same front, but for pruned trials, of which Optuna knows no values.
    state = SearchState.of(read_events(tmp_path / "ledger.jsonl"), GAIN)
    for name in set(states) - finished:
        del state.trials[name]
    ours = {trial.trial for trial in state.pareto(PLAN.objectives)}
    assert ours == {trial.user_attrs["trial"] for trial in controller.study.best_trials}
    assert 1 < len(ours) < len(finished)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_eight_trials_of_two_objectives_are_suggested_alike_by_the_same_seed(sampler: str) -> None:
    def values(seed: int) -> list[list[float]]:
        study = new_study("eight", PLAN.objectives, make_sampler(replace(PLAN, sampler=sampler, seed=seed)))
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), (t.suggest_float("y", 0, 1) - 0.5) ** 2), n_trials=8)
        return [trial.values for trial in study.trials]

    one = values(1)
    assert len(one) == 8
    assert values(1) == one
    assert values(2) != one


def test_an_exported_study_of_two_objectives_comes_back_whole(make: Make, tmp_path: Path) -> None:
    controller = make()
    _follow(controller, 4)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    export_study(controller.study, url)
    back = optuna.load_study(study_name=PLAN.name, storage=url)
    assert back.directions == controller.study.directions
    assert back.metric_names == ["valid/gain", "valid/cost"]
    assert [(trial.state, trial.values) for trial in back.trials] == [(t.state, t.values) for t in controller.study.trials]
