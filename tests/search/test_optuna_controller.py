"""The controller: what it asks, what it hears and what stands in the ledger and the study afterwards."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bowl_events import epoch_result, event_of, unstamped
from bowl_search import of_kind, recording
from optuna.trial import TrialState

from search.records.events import Checkpointed, EpochResult, Event
from search.records.ledger import Ledger, read_events
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.study import TRIAL_ATTRIBUTE
from search.strategy.optuna_controller import OptunaController
from search.strategy.study_from_state import study_of
from search.strategy.suggestion import Suggestion
from spaces.bowl import BowlSpace
from spaces.fields import Value, fields_of
from trainables.contract import Objective

FIELDS = fields_of(BowlSpace)
FIXED: dict[str, Value] = {"noise": 0.0, "fault": "none", "idle_epochs": 0, "seconds_per_epoch": 0.0}
PLAN = Plan(
    name="bowls",
    task="bowl",
    source=None,
    preset="demo",
    fixed=FIXED,
    objective=Objective("valid/height", "min"),
    num_trials=20,
    max_epochs=9,
    scheduler="none",
    gpus_per_trial=0.0,
    max_concurrent=1,
    seed=100,
)
Make = Callable[..., OptunaController]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a controller whose ledger is `tmp_path/ledger.jsonl` (or another name), with changes to `PLAN`."""
    opened: list[Ledger] = []

    def _make(ledger: str = "ledger.jsonl", **changes: Any) -> OptunaController:
        plan = replace(PLAN, **changes)
        opened.append(Ledger(tmp_path / ledger))
        return OptunaController(plan, opened[-1])

    yield _make
    for ledger in opened:
        ledger.close()


def _next(controller: OptunaController) -> Suggestion:
    """What to train now; there must be something."""
    suggestion = controller.next()
    assert suggestion is not None
    return suggestion


def _epochs(*scores: float, first: int = 1) -> list[EpochResult]:
    """Epoch reports with these scores; the lowest so far is the best."""
    return [
        epoch_result(
            epoch=first + index,
            metrics={"valid/height": score},
            score=score,
            seconds=0.5,
            is_best=score == min(scores[: index + 1]),
        )
        for index, score in enumerate(scores)
    ]


def _events(tmp_path: Path) -> list[Event]:
    """The ledger's events without their times."""
    return [unstamped(event) for event in read_events(tmp_path / "ledger.jsonl")]


def test_the_first_suggestion_is_the_papers_configuration(make: Make) -> None:
    suggestion = _next(make())
    assert suggestion.trial == "t0000"
    assert suggestion.seed == 100
    assert suggestion.config == {
        "x": 0.0,
        "y": 0.0,
        "shape": "round",
        "tilt": None,
        "rate": 0.3,
        "noise": 0.0,
        "fault": "none",
        "idle_epochs": 0,
        "num_metrics": 1,
        "seconds_per_epoch": 0.0,
    }


def test_the_papers_configuration_gives_way_to_fixed_fields(make: Make) -> None:
    config = _next(make(fixed={**FIXED, "shape": "tilted", "x": 0.25})).config
    assert (config["shape"], config["x"], config["tilt"], config["y"]) == ("tilted", 0.25, 0.9, 0.0)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_fixed_fields_stay_and_inactive_fields_are_none(make: Make, sampler: str) -> None:
    controller = make(fixed={**FIXED, "x": 0.25}, sampler=sampler)
    shapes = set()
    for number in range(20):
        suggestion = _next(controller)
        config = suggestion.config
        assert list(config) == list(FIELDS)
        assert {name: config[name] for name in (*FIXED, "x")} == {**FIXED, "x": 0.25}
        assert (config["tilt"] is None) is (config["shape"] == "round")
        for name in ("y", "rate"):
            FIELDS[name].check(config[name])
        shapes.add(config["shape"])
        controller.report(suggestion.trial, _epochs(float(number)), "max_epochs")
        in_study = controller.study.trials[-1].params
        searched = {name: value for name, value in config.items() if name not in {**FIXED, "x": 0} and value is not None}
        assert in_study == searched
    assert shapes == {"round", "tilted"}


def test_a_report_with_several_epochs_drops_none(make: Make, tmp_path: Path) -> None:
    controller = make()
    trial = _next(controller).trial
    controller.start(trial, {"host": "here"})
    assert controller.report(trial, _epochs(3.0, 2.0, 2.5), None) is False
    assert controller.report(trial, _epochs(1.0, first=4), None) is False
    assert controller.study.trials[0].intermediate_values == {1: 3.0, 2: 2.0, 3: 2.5, 4: 1.0}
    epochs = [epoch.epoch for event in _events(tmp_path) if event.event == "reported" for epoch in event.epochs]
    assert epochs == [1, 2, 3, 4]


def test_a_trial_that_ends_by_itself_is_complete_with_its_best_score(make: Make, tmp_path: Path) -> None:
    controller = make()
    trial = _next(controller).trial
    controller.report(trial, _epochs(3.0, 1.5, 2.0), None)
    assert controller.num_running == 1
    assert controller.report(trial, [replace(_epochs(2.5, first=4)[0], is_best=False)], "patience") is True
    assert controller.num_running == 0
    (told,) = controller.study.trials
    assert (told.state, told.value) == (TrialState.COMPLETE, 1.5)
    assert _events(tmp_path)[-1] == event_of("finished", trial=trial, reason="patience")


def test_the_best_score_is_that_of_the_best_epoch_whatever_the_scores_say(make: Make) -> None:
    """A trailing mean over fewer than three validations never counts as best against one over three."""
    controller = make()
    trial = _next(controller).trial
    epochs = [replace(epoch, is_best=True) for epoch in _epochs(1.0, 2.0, 3.0)]
    controller.report(trial, epochs, "max_epochs")
    assert controller.study.trials[0].value == 3.0


def test_a_trial_outside_the_best_share_is_stopped_and_pruned(make: Make, tmp_path: Path) -> None:
    controller = make(scheduler="asha", max_epochs=9, grace_period=2, reduction=3)
    good, bad = _next(controller).trial, _next(controller).trial
    assert controller.report(good, _epochs(3.0, 1.0), None) is False
    assert controller.report(bad, _epochs(0.5), None) is False
    assert controller.report(bad, _epochs(1.1, first=2), None) is True
    told = controller.study.trials[1]
    assert (told.state, told.value, told.intermediate_values) == (TrialState.PRUNED, 1.1, {1: 0.5, 2: 1.1})
    assert _events(tmp_path)[-1] == event_of("stopped", trial=bad, reason="rung 2")
    assert controller.num_running == 1


def test_more_is_better_when_the_objective_says_so(make: Make) -> None:
    controller = make(objective=Objective("valid/height", "max"), scheduler="asha", grace_period=1)
    good, bad = _next(controller).trial, _next(controller).trial
    assert controller.report(good, _epochs(3.0), None) is False
    assert controller.report(bad, _epochs(1.0), None) is True


def test_a_rung_inside_a_batch_of_epochs_decides(make: Make, tmp_path: Path) -> None:
    controller = make(scheduler="asha", max_epochs=9, grace_period=2, reduction=3)
    first, second = _next(controller).trial, _next(controller).trial
    controller.report(first, _epochs(1.0, 1.0), None)
    assert controller.report(second, _epochs(2.0, 2.0, 0.1), None) is True
    assert controller.study.trials[1].intermediate_values == {1: 2.0, 2: 2.0, 3: 0.1}
    assert _events(tmp_path)[-1].reason == "rung 2"


def test_a_trial_that_ends_at_a_rung_is_finished_and_still_counts_there(make: Make) -> None:
    controller = make(scheduler="asha", max_epochs=9, grace_period=2, reduction=3)
    first, second, third = (_next(controller).trial for _ in range(3))
    controller.report(first, _epochs(1.0, 1.0), None)
    assert controller.report(second, _epochs(2.0, 0.5), "patience") is True
    assert controller.study.trials[1].state is TrialState.COMPLETE
    assert controller.report(third, _epochs(2.0, 0.7), None) is True


def test_a_failed_trial_is_told_with_its_reason(make: Make, tmp_path: Path) -> None:
    controller = make()
    trial = _next(controller).trial
    controller.report(trial, _epochs(1.0), None)
    controller.fail(trial, "TrialDiverged: valid/height must be finite")
    (told,) = controller.study.trials
    assert (told.state, told.value) == (TrialState.FAIL, None)
    assert told.user_attrs["reason"] == "TrialDiverged: valid/height must be finite"
    assert _events(tmp_path)[-1] == event_of("failed", trial=trial, reason=told.user_attrs["reason"])
    assert controller.num_running == 0


def test_an_interruption_ends_all_that_run_and_nothing_else(make: Make, tmp_path: Path) -> None:
    controller = make()
    done, one, two = (_next(controller).trial for _ in range(3))
    controller.report(done, _epochs(1.0), "max_epochs")
    controller.interrupt("Ctrl-C")
    study = study_of(controller.plan, SearchState.of(read_events(tmp_path / "ledger.jsonl"), PLAN.objective))
    assert [told.state for told in study.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    assert [told.user_attrs["reason"] for told in study.trials] == ["max_epochs", "Ctrl-C", "Ctrl-C"]
    assert _events(tmp_path)[-2:] == [event_of("interrupted", trial=trial, reason="Ctrl-C") for trial in (one, two)]
    assert controller.num_running == 0


def test_ledger_and_study_agree_on_ids(make: Make, tmp_path: Path) -> None:
    controller = make()
    for number in range(5):
        controller.report(_next(controller).trial, _epochs(float(number)), "max_epochs")
    suggested = [event for event in _events(tmp_path) if event.event == "suggested"]
    assert [event.trial for event in suggested] == [f"t{number:04d}" for number in range(5)]
    assert [told.user_attrs[TRIAL_ATTRIBUTE] for told in controller.study.trials] == [event.trial for event in suggested]
    for told, event in zip(controller.study.trials, suggested, strict=True):
        assert told.params == {name: event.config[name] for name in told.params}
    assert [event.seed for event in suggested] == [100, 101, 102, 103, 104]


def test_the_ledger_holds_everything_in_the_order_it_happened(make: Make, tmp_path: Path) -> None:
    controller = make()
    one = _next(controller)
    controller.start(one.trial, {"host": "here", "pid": 7}, ("smaller",))
    two = _next(controller)
    epochs = _epochs(3.0, 2.0)
    checkpoint = Checkpointed(trial="t0000", epoch=2, path="trials/t0000/best-00002", sha256="ab")
    controller.report(one.trial, epochs, "max_epochs", checkpoint)
    controller.fail(two.trial, "broke")
    assert _events(tmp_path) == [
        event_of("suggested", trial="t0000", config=one.config, seed=100),
        event_of("started", trial="t0000", where={"host": "here", "pid": 7}, notes=["smaller"]),
        event_of("suggested", trial="t0001", config=two.config, seed=101),
        event_of("reported", trial="t0000", epochs=epochs),
        checkpoint,
        event_of("finished", trial="t0000", reason="max_epochs"),
        event_of("failed", trial="t0001", reason="broke"),
    ]
    state = SearchState.of(read_events(tmp_path / "ledger.jsonl"), PLAN.objective)
    assert [(t.trial, t.state, t.score) for t in state.trials.values()] == [("t0000", "finished", 2.0), ("t0001", "failed", None)]


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_the_same_seed_and_reports_give_the_same_suggestions(make: Make, sampler: str) -> None:
    def suggestions(ledger: str, seed: int) -> list[dict[str, Value]]:
        controller, found = make(ledger, sampler=sampler, seed=seed), []
        for _ in range(15):
            suggestion = _next(controller)
            found.append(dict(suggestion.config))
            controller.report(suggestion.trial, _epochs(float(suggestion.config["x"] or 0) ** 2), "max_epochs")
        return found

    one, same, other = suggestions("one", 5), suggestions("same", 5), suggestions("other", 6)
    assert one == same
    assert one[0] == other[0]
    assert one[1:] != other[1:]


def test_the_number_of_trials_exhausts_the_search(make: Make) -> None:
    controller = make(num_trials=2)
    assert not controller.exhausted
    trials = [_next(controller).trial for _ in range(2)]
    assert trials == ["t0000", "t0001"]
    assert (controller.num_to_come, controller.next()) == (0, None)
    assert not controller.exhausted, "what runs may yet wait at a rung and be taken up again"
    for trial in trials:
        assert not controller.exhausted
        controller.report(trial, _epochs(1.0), "max_epochs")
    assert controller.exhausted


def test_the_epoch_budget_stops_trials_and_exhausts_the_search(make: Make, tmp_path: Path) -> None:
    controller = make(epoch_budget=5)
    one, two, three = (_next(controller).trial for _ in range(3))
    assert controller.report(one, _epochs(3.0, 2.0), None) is False
    assert controller.report(two, _epochs(3.0, 2.0), "patience") is True
    assert not controller.exhausted
    assert controller.report(one, _epochs(1.0, first=3), None) is True
    assert controller.exhausted
    assert _events(tmp_path)[-1] == event_of("stopped", trial=one, reason="epoch budget")
    assert controller.report(three, _epochs(1.0), None) is True
    assert [told.state for told in controller.study.trials] == [TrialState.PRUNED, TrialState.COMPLETE, TrialState.PRUNED]


def _both_rungs(controller: OptunaController, early: Iterable[int], late: Iterable[int]) -> None:
    """New trials that report epochs 1 to 3 at once, with these heights at the first and the last."""
    for first, last in zip(early, late, strict=True):
        controller.report(_next(controller).trial, _epochs(float(first), 5.0, float(last)), None)


def _dropped(tmp_path: Path) -> list[dict[str, Any]]:
    return [event for event in _events(tmp_path) if event.event == "rung_dropped"]


def test_a_first_rung_that_misjudges_the_second_is_dropped_as_soon_as_eight_trials_show_it(make: Make, tmp_path: Path) -> None:
    """Squared differences of ranks sum to 36 + 16 + 0 + 1 + 16 + 4 + 9 + 36 = 118: a correlation of 1 - 6·118 / (8·63) = -0.405.

    Fisher's z -0.4294, its deviation √((1 + 0.1638/2) / 5) = 0.4652: at most tanh(-0.4294 + 1.645 · 0.4652) = 0.324 < 1/3.
    """
    controller = make(scheduler="asha", max_epochs=27)
    late = [6, 5, 2, 4, 0, 7, 3, 1]
    _both_rungs(controller, range(7), late[:7])
    assert controller.rungs == (1, 3, 9)
    _both_rungs(controller, [7], late[7:])
    assert controller.rungs == (3, 9)
    assert _dropped(tmp_path) == [event_of("rung_dropped", rung=1, grace_period=3, correlation=-0.405)]
    found = controller.correlation(1, 3)
    assert found is not None
    assert (found.num_trials, round(found.observed, 5), round(found.high, 3)) == (8, -0.40476, 0.324)
    _both_rungs(controller, range(8), late)
    assert len(_dropped(tmp_path)) == 1, "of the two rungs left, nobody has reached the second"


def test_where_a_first_rung_may_yet_say_something_of_the_second_it_stays(make: Make, tmp_path: Path) -> None:
    """Squared differences sum to 116: the correlation is -0.381, and may be 0.346 > 1/3."""
    controller = make(scheduler="asha")
    _both_rungs(controller, range(8), [1, 7, 6, 4, 5, 2, 0, 3])
    found = controller.correlation(1, 3)
    assert found is not None
    assert (round(found.observed, 3), round(found.high, 3)) == (-0.381, 0.346)
    assert (controller.rungs, _dropped(tmp_path)) == ((1, 3), [])


def test_the_first_of_two_rungs_is_dropped_as_well_and_the_last_one_left_stays(make: Make, tmp_path: Path) -> None:
    controller = make(scheduler="asha")
    _both_rungs(controller, range(8), range(8, 0, -1))
    assert controller.rungs == (3,)
    _both_rungs(controller, range(8), range(8, 0, -1))
    assert controller.rungs == (3,)
    assert len(_dropped(tmp_path)) == 1


def test_after_ten_trials_the_first_rung_is_looked_at_with_every_tenth_more(make: Make) -> None:
    """With ten the correlation may be 0.371; with eleven it would be 0.26 at most, but the next look is at twelve."""
    controller = make(scheduler="asha")
    early, late = [8, 3, 9, 2, 6, 0, 10, 4, 5, 11, 1, 7], [11, 6, 7, 9, 8, 5, 2, 4, 0, 1, 10, 3]
    _both_rungs(controller, early[:10], late[:10])
    found = controller.correlation(1, 3)
    assert found is not None
    assert round(found.high, 3) == 0.371
    _both_rungs(controller, early[10:11], late[10:11])
    found = controller.correlation(1, 3)
    assert found is not None
    assert round(found.high, 2) == 0.26
    assert controller.rungs == (1, 3)
    _both_rungs(controller, early[11:], late[11:])
    assert controller.rungs == (3,)


def test_a_rung_that_was_dropped_before_a_crash_stays_dropped(make: Make, tmp_path: Path) -> None:
    controller = make(scheduler="asha", max_epochs=27)
    _both_rungs(controller, range(8), range(8, 0, -1))
    assert controller.rungs == (3, 9)
    journal, new = recording()
    again = OptunaController(controller.plan, journal, list(read_events(tmp_path / "ledger.jsonl")))
    assert again.rungs == (3, 9)
    assert of_kind(new, "rung_dropped") == []


def test_finalists_are_taken_up_once_nobody_can_arrive_at_the_first_rung_any_more(make: Make) -> None:
    controller = make(scheduler="one-epoch", grace_period=2, num_trials=4)
    trials = [_next(controller).trial for _ in range(3)]
    for height, trial in enumerate(trials, start=1):
        assert controller.report(trial, _epochs(5.0, float(height)), None) is True
    assert _next(controller).trial == "t0003", "a new one before any finalist"
    assert controller.next() is None, "what runs has not been seen at the rung"
    controller.report("t0003", _epochs(5.0), None)
    assert controller.next() is None
    assert not controller.exhausted
    assert controller.report("t0003", _epochs(2.5, first=2), None) is True
    assert not controller.exhausted
    finalists = [_next(controller) for _ in range(3)]
    assert [(found.trial, found.known_epoch) for found in finalists] == [("t0000", 2), ("t0001", 2), ("t0003", 2)]
    assert controller.next() is None
