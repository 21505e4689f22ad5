"""What is left of a search, as a range: by hand where nothing is left to chance, and against the true rest of simulated ones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bowl_events import begun, epoch_of, event_of, plan_of, reported, state_after

from benchmarks.time_left import Look, looks_of_a_simulation, searches
from search.records.events import Event
from search.records.plan import Candidate, Confirmation
from search.strategy.forecast import NOTHING, Span, TimeLeft, forecast, time_left
from search.strategy.simulation import SimulatedClock
from search.strategy.standing import Standing, Underway, standing_of

PLAN = plan_of(num_trials=4, max_epochs=9, scheduler="none", max_concurrent=2)


def _exactly(seconds: float) -> Any:
    """A span without chance."""
    return pytest.approx(Span(*[seconds] * 3).__dict__)


def _found(standing: Standing, **changes: Any) -> dict[str, float]:
    return vars(forecast(replace(PLAN, **changes), standing))


def test_what_runs_and_what_is_to_come_by_hand() -> None:
    """Nine epochs of 2 s a trial, two slots: one trial has 3 epochs left, one 9, two are to come."""
    underway = [Underway("t0000", 6, 2.0), Underway("t0001", 0, 2.0)]
    # Slot 1: 6 s, then 18 s; slot 2: 18 s, then 18 s.
    assert _found(Standing(2, 2, [2.0], underway=underway)) == _exactly(36.0)
    assert _found(Standing(2, 2, [2.0], 1.0, underway=underway)) == _exactly(38.0), "both trials of a slot begin"
    assert _found(Standing(0, 2, [2.0], underway=underway)) == _exactly(18.0)
    assert _found(Standing(0, 2, [2.0], underway=[Underway("t0000", 6, 2.0, silent_s=1.5)])) == _exactly(4.5)
    assert _found(Standing(0, 2, [2.0], underway=[Underway("t0000", 8, 2.0, silent_s=9.0)])) == _exactly(0.0)
    assert _found(Standing(0, 1, [2.0], underway=[Underway(f"t{n}", 8, 2.0) for n in range(3)])) == _exactly(6.0)


def test_budgets_end_it() -> None:
    assert _found(Standing(4, 2, [2.0]), epoch_budget=10) == _exactly(10.0)
    assert _found(Standing(4, 2, [2.0], epochs_done=8), epoch_budget=10) == _exactly(2.0)
    assert _found(Standing(4, 2, [2.0]), gpu_hours=0.001, gpus_per_trial=0.5) == _exactly(3.6)


def test_patience_may_end_a_trial_sooner_and_what_has_ended_says_when() -> None:
    patient = {**PLAN.fixed, "patience": 3}
    unknown = forecast(replace(PLAN, fixed=patient), Standing(0, 1, [2.0], underway=[Underway("t0000", 2, 2.0)]))
    assert 2.0 <= unknown.low_s < unknown.high_s <= 14.0
    known = Standing(0, 1, [2.0], underway=[Underway("t0000", 2, 2.0)], lengths=[5, 5, 5, 1])
    assert _found(known, fixed=patient) == _exactly(6.0)


def test_a_rung_costs_the_worse_trials_their_rest() -> None:
    asha = replace(PLAN, scheduler="asha", grace_period=3)
    before = {f"t{number:04d}": float(number) for number in range(8)}
    bad, good = (
        Standing(0, 1, [2.0], underway=[Underway("mine", 4, 2.0)], judged={3: {**before, "mine": score}}) for score in (-1.0, 9.0)
    )
    assert vars(forecast(asha, good)) == _exactly(10.0)
    assert vars(forecast(asha, bad)) == _exactly(10.0), "it is past the rung: judged once only"
    at_rung = Standing(0, 1, [2.0], underway=[Underway("mine", 2, 2.0)], judged={3: before})
    found = forecast(asha, at_rung)
    assert found.low_s == 2.0
    assert 2.0 < found.expected_s < 10.0
    assert vars(forecast(asha, at_rung, pruned=False)) == _exactly(14.0)


def test_nobody_is_stopped_at_a_rung_that_has_been_dropped() -> None:
    asha = replace(PLAN, scheduler="asha", grace_period=3, max_epochs=27)
    judged = {3: {f"t{number:04d}": float(number) for number in range(8)}}
    standing = Standing(0, 1, [2.0], underway=[Underway("mine", 2, 2.0)], judged=judged)
    assert forecast(asha, standing).low_s == 2.0
    assert forecast(asha, replace(standing, dropped_rungs=1)).low_s > 14.0


def test_paused_trials_may_still_be_promoted() -> None:
    plan = replace(PLAN, scheduler="one-epoch", grace_period=3)
    paused = [Underway(f"t{number:04d}", 3, 2.0) for number in range(5)]
    judged = {3: {trial.trial: float(number) for number, trial in enumerate(paused)}}
    # Three of five train their six further epochs, two at a time.
    assert vars(forecast(plan, Standing(0, 2, [2.0], paused=paused, judged=judged))) == _exactly(24.0)


def test_the_runs_of_a_confirmation_end_at_their_candidates_epoch() -> None:
    confirmation = Confirmation("mine", tuple(Candidate(f"t{n}", {}, 4, 0.5) for n in range(2)), 2, 1)
    plan = replace(PLAN, confirmation=confirmation, max_epochs=4)
    assert vars(forecast(plan, Standing(3, 1, [2.0], underway=[Underway("t0-seed1", 1, 2.0, whole=4)]))) == _exactly(30.0)


def test_a_large_search_is_worked_out_without_a_game() -> None:
    plan = replace(PLAN, num_trials=10_000, scheduler="asha", grace_period=3)
    found = forecast(plan, Standing(10_000, 100, [2.0]))
    assert found.expected_s == pytest.approx(10_000 * (3 + 6 / 3) * 2 / 100)
    assert found.low_s < found.expected_s < found.high_s


def _events() -> list[Event]:
    return [
        *begun("t0000", 1.0),
        *begun("t0001", 1.0),
        reported("t0000", 20.0, epoch_of(1, 4.0, 4.0, True, seconds=12.0)),
        reported("t0000", 24.0, epoch_of(2, 4.0, 4.0, False, seconds=2.0), epoch_of(3, 4.0, 4.0, False, seconds=2.0)),
    ]


def test_the_first_epoch_of_a_process_and_the_start_of_a_slot_say_nothing_of_later_ones() -> None:
    """A search said "about 4 min left" 20 s after its start, and took 90: it had multiplied its first trial, start included."""
    plan = replace(PLAN, max_epochs=3)
    events = [*_events(), event_of("finished", 24.0, trial="t0000", reason="max_epochs")]
    standing = standing_of(plan, state_after(plan, events), 25.0)
    assert standing is not None
    assert (standing.epoch_s, standing.begin_s) == ([2.0], 0.0)
    assert standing.underway == [Underway("t0001", 0, None, 24.0)]
    assert (standing.num_to_come, standing.slots, standing.lengths) == (2, 2, [3])
    left = time_left(plan, state_after(plan, events), 25.0)
    assert left is not None
    assert left.high_s < 25.0


def test_nothing_is_said_before_the_first_epoch() -> None:
    assert time_left(PLAN, state_after(PLAN, begun("t0000", 1.0)), 10.0) is None


def test_a_trial_that_has_taken_a_slot_over_says_how_long_beginning_takes() -> None:
    more = [
        event_of("finished", 24.0, trial="t0000", reason="max_epochs"),
        *begun("t0002", 24.0),
        reported("t0002", 33.0, epoch_of(1, 4.0, 4.0, True, seconds=4.0), epoch_of(2, 4.0, 4.0, True, seconds=2.0)),
        event_of("stopped", 33.0, trial="t0002", reason="rung 2"),
    ]
    standing = standing_of(PLAN, state_after(PLAN, [*_events(), *more]), 33.0)
    assert standing is not None
    assert standing.begin_s == pytest.approx(3.0)


def test_what_is_left_shrinks_with_the_clock_and_ends_with_what_follows_on_training() -> None:
    clock, closing = SimulatedClock(24.0), Span(10.0, 15.0, 20.0)
    left = TimeLeft(PLAN, state_after(PLAN, _events()), closing, clock)
    for each in _events():
        left.on_event(each)
    begin = left()
    clock.now_s += 1.0
    later = left()
    assert begin is not None
    assert later is not None
    assert later.high_s == pytest.approx(begin.high_s - 1.0)
    assert later.low_s > closing.low_s
    clock.now_s += 1e6
    end = left()
    assert end is not None
    assert end.low_s > closing.low_s
    assert vars(NOTHING + closing) == vars(closing)


def test_a_time_budget_ends_it() -> None:
    plan = replace(PLAN, time_budget_s=30.0)
    left = time_left(plan, state_after(plan, _events()), 24.0)
    assert left is not None
    assert left.high_s == 6.0


def _simulated(num_seeds: int, every: int, schedulers: Sequence[str]) -> list[Look]:
    plans = [(plan, seed) for plan, seed in searches(60) if plan.scheduler in schedulers and plan.num_trials <= 12]
    return [look for plan, seed in plans[:num_seeds] for look in looks_of_a_simulation(plan, seed, every)]


def test_the_true_rest_of_simulated_searches_lies_within_the_span() -> None:
    looks = _simulated(8, 4, ["asha", "none"])
    assert len(looks) >= 12
    held = [span.low_s - 1 <= rest <= span.high_s + 1 for span, rest in looks]
    assert sum(held) >= 0.7 * len(held)
    assert sum(span.high_s < 4 * max(span.low_s, 1.0) for span, _ in looks) >= 0.7 * len(looks), "and the span says something"
