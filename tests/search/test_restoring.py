"""A search that is killed after any of its events, and taken up from its journal by another process."""

from collections.abc import Sequence
from functools import cache

import pytest
from bowl_events import epoch_result, event_of, unstamped
from bowl_search import drive, ends, heard_epochs, of_kind, recording, with_changes

from search.records.events import Event
from search.records.ledger import Journal
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.trials import ENDED
from search.strategy.optuna_controller import OptunaController
from search.strategy.study_from_state import study_of

NUM_TRIALS, MAX_EPOCHS, BUDGET = 7, 9, 9
SCHEDULERS = ("asha", "asha-promote", "one-epoch")


def _plan(scheduler: str, **changes: object) -> Plan:
    return with_changes(**{"scheduler": scheduler, "num_trials": NUM_TRIALS, "max_epochs": MAX_EPOCHS, "seed": 10, **changes})


@cache
def _events(plan_of: str, **changes: object) -> tuple[Event, ...]:
    """Everything that happens in a search that nobody kills."""
    journal, events = recording()
    drive(OptunaController(_plan(plan_of, **changes), journal))
    return tuple(events)


def _follow(plan: Plan, past: Sequence[Event], back: int = 0) -> tuple[OptunaController, list[Event]]:
    """Takes a search up and drives it to its end; everything that was written, past and new.

    What is handed out is checked on the way: a trial goes on from the last epoch of the past, and none that has ended.
    """
    journal, new = recording()
    controller = OptunaController(plan, journal, past)
    known, ended = heard_epochs([*past, *new]), ends([*past, *new])
    first: dict[str, int] = {}
    for suggestion in drive(controller, back=back):
        first.setdefault(suggestion.trial, suggestion.known_epoch)
        assert suggestion.trial not in ended
    assert first == {trial: (known.get(trial) or [0])[-1] for trial in first}
    return controller, [*past, *new]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_search_under_test_has_everything_that_can_be_cut(scheduler: str) -> None:
    events = _events(scheduler)
    kinds = {event.event for event in events}
    assert kinds == {"suggested", "started", "reported", "saved", "finished", "stopped"} | (
        set() if scheduler == "asha" else {"paused", "promoted"}
    )
    assert ends(events) == {f"t{number:04d}": 1 for number in range(NUM_TRIALS)}


@pytest.mark.parametrize("back", [0, 2])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_search_killed_after_any_event_ends_each_trial_once_and_counts_no_epoch_twice(scheduler: str, back: int) -> None:
    plan, events = _plan(scheduler), _events(scheduler)
    for cut in range(len(events) + 1):
        controller, whole = _follow(plan, events[:cut], back)
        assert ends(whole) == {f"t{number:04d}": 1 for number in range(NUM_TRIALS)}, cut
        for trial, epochs in heard_epochs(whole).items():
            assert epochs == list(range(1, len(epochs) + 1)), (cut, trial)
        state = SearchState.of(whole, plan.objective)
        assert state.count(*ENDED) == NUM_TRIALS
        assert all(len(trial.epochs) == MAX_EPOCHS for trial in state.trials.values() if trial.state == "finished")
        assert controller.exhausted
        assert controller.num_running == 0


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_search_killed_after_any_event_keeps_its_configurations_and_tries_none_again(scheduler: str, sampler: str) -> None:
    plan, events = _plan(scheduler, sampler=sampler), _events(scheduler, sampler=sampler)
    for cut in range(len(events) + 1):
        before = [unstamped(event) for event in of_kind(events[:cut], "suggested")]
        controller, whole = _follow(plan, events[:cut])
        suggested = [unstamped(event) for event in of_kind(whole, "suggested")]
        assert suggested[: len(before)] == before
        assert [event.trial for event in suggested] == [f"t{number:04d}" for number in range(NUM_TRIALS)]
        assert [event.seed for event in suggested] == [plan.seed + number for number in range(NUM_TRIALS)]
        places = [(event.config["x"], event.config["y"], event.config["rate"]) for event in suggested]
        assert len(set(places)) == NUM_TRIALS, cut
        assert places[0] == (0.0, 0.0, 0.3), "the paper's, whenever it was killed"
        for trial, event in zip(controller.study.trials, suggested, strict=True):
            assert trial.params == {name: event.config[name] for name in trial.params}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_study_of_a_search_that_was_killed_is_that_of_its_ledger(scheduler: str) -> None:
    plan, events = _plan(scheduler), _events(scheduler)
    for cut in range(0, len(events) + 1, 3):
        controller, whole = _follow(plan, events[:cut])
        told = study_of(plan, SearchState.of(whole, plan.objective)).trials
        assert [(t.state, t.values, t.intermediate_values) for t in controller.study.trials] == [
            (t.state, t.values, t.intermediate_values) for t in told
        ], cut


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_verdict_that_was_due_when_the_search_was_killed_is_carried_out(scheduler: str) -> None:
    events, found = _events(scheduler), 0
    for cut in range(1, len(events)):
        due = next((event for event in events[cut:] if event.event != "saved"), events[-1])
        heard = [event for event in events[:cut] if event.event != "saved"][-1]
        is_due = due.event in ("stopped", "paused") and heard.event == "reported" and heard.trial == due.trial
        journal, new = recording()
        controller = OptunaController(_plan(scheduler), journal, events[:cut])
        assert [unstamped(event) for event in new] == ([unstamped(due)] if is_due else []), cut
        found += is_due
        if is_due:
            assert controller.is_paused(due.trial) is (due.event == "paused")
            assert controller.num_running == 0, "what runs no more waits to go on, and takes up no slot yet"
    assert found >= 3


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_epochs_of_the_past_count_towards_the_budget(scheduler: str) -> None:
    """Three trials at once: when the budget is spent, two more may be in the middle of an epoch."""
    plan, events = _plan(scheduler, epoch_budget=BUDGET), _events(scheduler, epoch_budget=BUDGET)
    for cut in range(len(events) + 1):
        controller, whole = _follow(plan, events[:cut])
        assert controller.spent == "epoch budget"
        assert controller.exhausted
        assert BUDGET <= sum(map(len, heard_epochs(whole).values())) <= BUDGET + 2, cut
        if sum(map(len, heard_epochs(events[:cut]).values())) >= BUDGET:
            assert not of_kind(whole[cut:], "reported", "suggested", "continued", "promoted"), cut


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_search_killed_when_its_budget_is_spent_leaves_no_trial_that_has_not_ended(scheduler: str) -> None:
    plan, events = _plan(scheduler, epoch_budget=BUDGET), _events(scheduler, epoch_budget=BUDGET)
    for cut in range(len(events) + 1):
        _, whole = _follow(plan, events[:cut])
        assert ends(whole) == dict.fromkeys(heard_epochs(whole), 1), cut


def test_gpu_seconds_of_the_past_count_towards_the_budget() -> None:
    """An epoch takes 1 to 1.25 s on half a GPU: 10 s of a GPU are 16 to 20 epochs."""
    changes = {"gpus_per_trial": 0.5, "gpu_hours": 10 / 3600, "num_trials": 10}
    plan, events = _plan("asha", **changes), _events("asha", **changes)
    assert 16 <= sum(map(len, heard_epochs(events).values())) <= 22
    for cut in range(0, len(events) + 1, 5):
        controller, whole = _follow(plan, events[:cut])
        assert controller.spent == "GPU hours"
        assert 16 <= sum(map(len, heard_epochs(whole).values())) <= 22, cut


@pytest.mark.parametrize("reports", [1, 2, 7, 10])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_what_was_interrupted_goes_on_before_anything_else(scheduler: str, reports: int) -> None:
    plan = _plan(scheduler)
    journal, past = recording()
    controller = OptunaController(plan, journal)
    drive(controller, until=reports)
    running = controller.num_running
    assert running > 0
    controller.interrupt("Ctrl-C")
    assert controller.num_running == 0
    interrupted = [event.trial for event in of_kind(past, "interrupted")]
    assert len(interrupted) == running
    assert {event.reason for event in of_kind(past, "interrupted")} == {"Ctrl-C"}
    _, whole = _follow(plan, past)
    handed_out = [event.trial for event in of_kind(whole[len(past) :], "suggested", "continued", "promoted")]
    assert handed_out[:running] == interrupted
    assert [event.trial for event in of_kind(whole, "continued")] == interrupted
    assert ends(whole) == {f"t{number:04d}": 1 for number in range(NUM_TRIALS)}
    for trial, epochs in heard_epochs(whole).items():
        assert epochs == list(range(1, len(epochs) + 1)), trial


def test_a_search_that_is_killed_again_and_again_still_ends() -> None:
    """After every nine events a new process takes over."""
    plan, past = _plan("asha-promote"), list[Event]()
    for _ in range(200):
        journal, new = recording()
        controller = OptunaController(plan, journal, past)
        if controller.exhausted:
            controller.settle()
            past += new
            break
        drive(controller, until=9)
        past += new[:9]
    assert ends(past) == {f"t{number:04d}": 1 for number in range(NUM_TRIALS)}
    for trial, epochs in heard_epochs(past).items():
        assert epochs == list(range(1, len(epochs) + 1)), trial


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_search_that_has_ended_and_is_given_more_trials_touches_none_of_the_old(scheduler: str) -> None:
    """Those that waited in vain were ended then; more arrivals at their rung do not bring them back."""
    events, plan = _events(scheduler), _plan(scheduler, num_trials=3 * NUM_TRIALS)
    controller, whole = _follow(plan, events)
    assert ends(whole) == {f"t{number:04d}": 1 for number in range(3 * NUM_TRIALS)}
    assert {event.trial for event in of_kind(whole[len(events) :], "reported")}.isdisjoint(ends(events))
    assert controller.num_to_come == 0


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_nothing_is_written_and_nothing_handed_out_for_a_search_that_has_ended(scheduler: str) -> None:
    journal, new = recording()
    controller = OptunaController(_plan(scheduler), journal, _events(scheduler))
    assert controller.exhausted
    assert controller.next() is None
    controller.settle()
    assert new == []


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_restored_scheduler_judges_as_the_one_that_was_killed(scheduler: str) -> None:
    """The same reports after a crash meet the same verdicts: those before it count at the rungs."""
    events = _events(scheduler)
    last = max(index for index, event in enumerate(events) if event.event == "suggested")
    plan = _plan(scheduler, sampler="random")
    alone, restored = OptunaController(plan, Journal(), events[:last]), OptunaController(plan, Journal(), events[:last])
    for controller in (alone, restored):
        assert controller.scheduler.rungs == ((1,) if scheduler == "one-epoch" else (1, 3))
    suggestion = alone.next(), restored.next()
    assert suggestion[0] == suggestion[1]
    worst = [epoch_result(epoch=1, metrics={"valid/height": 99.0}, score=99.0, seconds=1.0, is_best=True)]
    for controller, given in zip((alone, restored), suggestion, strict=True):
        assert given is not None
        if given.known_epoch == 0:
            assert controller.report(given.trial, worst, None) is True, "worse than all that came before the crash"


@pytest.mark.parametrize("cut", [3, 20, 41])
def test_random_search_goes_on_with_the_trials_that_it_would_have_had(cut: int) -> None:
    whole = _events("none", sampler="random")
    _, again = _follow(_plan("none", sampler="random"), whole[:cut])
    configs = [[event.config for event in of_kind(events, "suggested")] for events in (whole, again)]
    assert configs[0] == configs[1]
    assert len({str(config) for config in configs[0]}) == NUM_TRIALS


def test_a_search_of_many_trials_can_be_taken_up() -> None:
    journal, _ = recording()
    controller = OptunaController(_plan("none", num_trials=5000), journal)
    controller._num_suggested = 4400
    controller._set_sampler()
    assert controller.next() is not None


@pytest.mark.parametrize("kind", ["finished", "stopped", "paused"])
def test_a_search_that_breaks_while_an_end_is_told_goes_on_as_if_it_had_been_killed_there(kind: str) -> None:
    """Output to a pipe that is closed ends the driver on the very line that tells of an end, before the controller does."""
    plan = _plan("asha-promote" if kind == "paused" else "asha")
    journal, events = recording()

    def breaks(event: Event) -> None:
        if event.event == kind:
            raise BrokenPipeError("nobody reads")

    state = SearchState(plan.objective)
    journal.subscribe(state.apply)
    journal.subscribe(breaks)
    controller = OptunaController(plan, journal, state=state)
    with pytest.raises(BrokenPipeError, match="nobody reads"):
        drive(controller)
    (ended,) = of_kind(events, kind)
    controller.interrupt("interrupted")
    assert ended.trial not in {event.trial for event in of_kind(events, "interrupted")}
    # An earlier driver's ledger may have it all the same.
    for more in ([], [event_of("interrupted", trial=ended.trial, reason="interrupted")]):
        _, whole = _follow(plan, [*events, *more])
        assert set(ends(whole).values()) == {1}
        assert len(ends(whole)) == NUM_TRIALS
        assert heard_epochs(whole) == {trial: sorted(set(told)) for trial, told in heard_epochs(whole).items()}
