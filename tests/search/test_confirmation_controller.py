"""A race of configurations: who runs when, who is out of it, and that a race taken up again stands as it stood."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import pytest
from bowl_events import epoch_result, event_of
from bowl_search import PLAN, bowl_epochs, drive, ends, heard_epochs, of_kind, recording
from hypothesis import given
from hypothesis import strategies as st

from search.errors import PlanError
from search.records.events import Event
from search.records.ledger import Journal
from search.records.plan import Candidate, Confirmation, Plan
from search.strategy.confirmation_controller import ConfirmationController, PlannedRun, looks, out_of_race, planned_runs
from spaces.fields import Value

#: The lowest place with noise, one like it, and one that is clearly worse.
CONFIGS: dict[str, dict[str, Value]] = {
    "good": {"x": 0.3, "y": -0.7, "noise": 0.05},
    "alike": {"x": 0.31, "y": -0.7, "noise": 0.05},
    "worse": {"x": -1.0, "y": 1.0, "noise": 0.05},
}
EPOCHS = {"good": 4, "alike": 5, "worse": 3}


def _plan(names: Sequence[str] = ("good", "alike", "worse"), num_seeds: int = 4, num_folds: int = 1) -> Plan:
    """A confirmation of these configurations, from seed 100 on."""
    common: dict[str, Value] = {"shape": "round", "tilt": None, "rate": 0.9, "fault": "none", "num_metrics": 1, "idle_epochs": 0}
    common["seconds_per_epoch"] = 0.0
    order = list(PLAN.fields)
    candidates = tuple(
        Candidate(name, {field: {**common, **CONFIGS[name]}[field] for field in order}, EPOCHS[name], 0.5) for name in names
    )
    confirmation = Confirmation("bowls", candidates, num_seeds, num_folds)
    number = len(names) * num_seeds * num_folds
    return replace(PLAN, seed=100, max_epochs=max(EPOCHS.values()), confirmation=confirmation, num_trials=number)


def test_all_candidates_run_on_a_seed_and_fold_before_any_runs_on_the_next() -> None:
    assert planned_runs(_plan(("good", "worse"), num_seeds=2, num_folds=3)) == [
        PlannedRun(candidate, block, seed, fold, f"{('good', 'worse')[candidate]}-seed{seed}-fold{fold}")
        for block, (seed, fold) in enumerate([(100, 1), (100, 2), (100, 3), (101, 1), (101, 2), (101, 3)])
        for candidate in (0, 1)
    ]
    assert [
        (planned.candidate, planned.seed, planned.fold) for planned in planned_runs(_plan(("good", "worse"), num_seeds=2))
    ] == [
        (0, 100, None),
        (1, 100, None),
        (0, 101, None),
        (1, 101, None),
    ]
    assert [planned.trial for planned in planned_runs(_plan(("good", "worse"), num_seeds=1))] == ["good-seed100", "worse-seed100"]


@pytest.mark.parametrize(
    ("num_seeds", "expected"), [(1, ()), (2, ()), (3, ()), (4, (3,)), (5, (3,)), (6, (3,)), (7, (4,)), (10, (5,))]
)
def test_a_race_looks_once_half_way_and_never_before_three_seeds(num_seeds: int, expected: tuple[int, ...]) -> None:
    assert looks(num_seeds) == expected


def test_a_confirmation_whose_runs_an_earlier_version_named_is_refused_in_a_line() -> None:
    past = [event_of("suggested", trial="t0000", config={}, seed=100)]
    with pytest.raises(
        PlanError,
        match=r"^a confirmation must be of this version of dermtune; got \S+ with the run 't0000', which an earlier version has"
        r" named \(dermtune confirm \S+ makes another\)$",
    ):
        ConfirmationController(_plan(), recording()[0], past)


def test_the_heats_of_a_search_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^a confirmation must be planned as one; got the search bowls$"):
        planned_runs(PLAN)


def _gains(*rows: Sequence[float]) -> dict[int, dict[int, float]]:
    """Candidate → block → gain from a row for each candidate."""
    return {candidate: dict(enumerate(row)) for candidate, row in enumerate(rows)}


def test_who_is_clearly_worse_is_out_by_hand() -> None:
    """Means 0.90, 0.91 and 0.50; residuals of candidate and block:

        0.00, 0.01, -0.01 about 0.90, 0.01, -0.01, 0.00 about 0.91 and 0.00, 0.01, -0.01 about 0.50, less the blocks' means
        0.01/3, 0.01/3 and -0.02/3: their squares sum to 0.0004. Freedom 2·2 = 4, deviation 0.01.
    With two rivals and two looks t(1 - 0.05/4, 4) = 3.495, so the reach is 3.495 · 0.01 · √(2/3) = 0.0285.
    """
    gains = _gains([0.90, 0.91, 0.89], [0.92, 0.90, 0.91], [0.50, 0.51, 0.49])
    assert out_of_race(gains, {0, 1, 2}, 2) == {2}
    edge = [0.91 - 0.0285 + 0.0001 + d for d in (0.0, 0.01, -0.01)]
    assert out_of_race(_gains([0.90, 0.91, 0.89], [0.92, 0.90, 0.91], edge), {0, 1, 2}, 2) == set()
    beyond = [gain - 0.0003 for gain in edge]
    assert out_of_race(_gains([0.90, 0.91, 0.89], [0.92, 0.90, 0.91], beyond), {0, 1, 2}, 2) == {2}


def test_more_looks_and_more_rivals_ask_for_more() -> None:
    """Two candidates, differences 0.10, 0.06 and 0.08: mean 0.08, deviation of a difference 0.02, of a residual 0.02/√2.

    Freedom 2: t(0.95) = 2.920 reaches 0.0337; t(1 - 0.05/12) = 10.9 reaches 0.126.
    """
    gains = _gains([0.90, 0.90, 0.90], [0.80, 0.84, 0.82])
    assert out_of_race(gains, {0, 1}, 1) == {1}
    assert out_of_race(gains, {0, 1}, 12) == set()


@pytest.mark.parametrize(
    ("rows", "standing"),
    [
        ([[0.90, 0.92, 0.88], [0.91, 0.89, 0.90]], {0, 1}),  # near-equal
        ([[0.9, 0.9, 0.9], [0.9, 0.9, 0.9]], {0, 1}),  # equal
        ([[0.9], [0.1]], {0, 1}),  # one block
        ([[0.9, 0.9, 0.9], [0.1]], {0, 1}),  # one shared block
        ([[], []], {0, 1}),
        ([[0.9, 0.9], [0.1, 0.1]], {0}),  # nobody to lose to
        ([[0.9, 0.9], [0.1, 0.1]], set()),
        ([[0.9, 0.8, 0.9], [0.1, 0.2, 0.1], []], {0, 1, 2}),  # one has run on none
    ],
)
def test_nobody_is_out_when_seeds_may_explain_it_or_too_few_are_shared(rows: list[list[float]], standing: set[int]) -> None:
    assert out_of_race(_gains(*rows), standing, 2) == set()


def test_who_does_not_stand_is_not_compared() -> None:
    gains = _gains([0.9, 0.8, 0.9], [0.1, 0.2, 0.1], [])
    assert out_of_race(gains, {0, 1}, 2) == {1}


def test_only_blocks_that_all_share_count() -> None:
    """Block 3, where the leader alone has run and done badly, says nothing."""
    gains: Mapping[int, Mapping[int, float]] = {0: {0: 0.9, 1: 0.8, 2: 0.9, 3: -9.0}, 1: {0: 0.1, 1: 0.2, 2: 0.1}}
    assert out_of_race(gains, {0, 1}, 2) == {1}


@given(
    st.lists(st.lists(st.floats(-10, 10), min_size=4, max_size=4), min_size=2, max_size=5),
    st.floats(-100, 100),
    st.integers(1, 5),
)
def test_the_leader_stays_and_who_is_worse_than_one_that_is_out_is_out(
    rows: list[list[float]], shift: float, num_looks: int
) -> None:
    means = [math.fsum(row) / 4 for row in rows]
    out = out_of_race(_gains(*rows), range(len(rows)), num_looks)
    assert len(out) < len(rows)
    for one, other in product(range(len(rows)), repeat=2):
        if one in out and means[other] < means[one] - 1e-9:
            assert other in out


def test_every_candidate_runs_on_the_same_seeds_to_its_own_epoch() -> None:
    journal, events = recording()
    handed_out = drive(ConfirmationController(_plan(("good", "alike")), journal), only_last=True)
    assert [(suggestion.trial, suggestion.seed) for suggestion in handed_out] == [
        (f"{name}-seed{100 + block}", 100 + block) for block in range(4) for name in ("good", "alike")
    ]
    assert [suggestion.epochs for suggestion in handed_out] == [4, 5] * 4
    assert [event.epochs for event in of_kind(events, "suggested")] == [4, 5] * 4
    assert [suggestion.config["x"] for suggestion in handed_out] == [0.3, 0.31] * 4
    assert {tuple(suggestion.config) for suggestion in handed_out} == {tuple(PLAN.fields)}
    assert [len(epochs) for epochs in heard_epochs(events).values()] == [4, 5] * 4
    assert {event.reason for event in of_kind(events, "finished")} == {"max_epochs"}
    assert of_kind(events, "out_of_race", "stopped") == []


def test_who_is_out_runs_no_further_and_what_runs_is_brought_to_its_end() -> None:
    journal, events = recording()
    drive(ConfirmationController(_plan(), journal), only_last=True)
    assert [(event.candidate, event.reason) for event in of_kind(events, "out_of_race")] == [
        ("worse", "dropped after 3 of 4 seeds to save time, which is no finding")
    ]
    out_at = next(index for index, event in enumerate(events) if event.event == "out_of_race")
    seeds: dict[float, list[int]] = {}
    for event in of_kind(events, "suggested"):
        seeds.setdefault(event.config["x"], []).append(event.seed)
    assert seeds[0.3] == seeds[0.31] == [100, 101, 102, 103]
    assert seeds[-1.0] == [100, 101, 102]
    assert all(event.config["x"] != -1.0 for event in of_kind(events[out_at:], "suggested"))
    assert ends(events) == dict.fromkeys(heard_epochs(events), 1)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_objectives_mode_says_who_is_worse(mode: str) -> None:
    plan = _plan(("good", "worse"), num_seeds=6)
    plan = replace(plan, objective=replace(plan.objective, mode=mode))
    journal, events = recording()
    drive(ConfirmationController(plan, journal), only_last=True)
    assert [event.candidate for event in of_kind(events, "out_of_race")] == [{"min": "worse", "max": "good"}[mode]]


def test_a_candidate_that_fails_is_out_at_once() -> None:
    journal, events = recording()
    controller = ConfirmationController(_plan(("good", "alike")), journal)
    first, second = controller.next(), controller.next()
    assert first is not None
    assert second is not None
    assert controller.num_to_come == 6
    controller.fail(second.trial, "broke")
    assert [(event.candidate, event.reason) for event in of_kind(events, "out_of_race")] == [
        ("alike", "failed on seed 100: broke")
    ]
    assert controller.num_to_come == 3
    controller.report(first.trial, bowl_epochs(controller.plan, first, only_last=True), "max_epochs")
    rest = drive(controller, only_last=True)
    assert [(s.trial, s.seed, s.epochs) for s in rest] == [(f"good-seed{seed}", seed, 4) for seed in (101, 102, 103)]
    assert controller.exhausted
    assert len(of_kind(events, "out_of_race")) == 1


def _follow(plan: Plan, past: Sequence[Event]) -> list[Event]:
    journal, new = recording()
    drive(ConfirmationController(plan, journal, past), only_last=True)
    return [*past, *new]


def _told(events: Sequence[Event]) -> dict[str, tuple[int, int, str]]:
    """Trial → seed, epochs and end."""
    ended = {event.trial: event.event for event in of_kind(events, "finished", "stopped", "failed")}
    epochs = heard_epochs(events)
    return {event.trial: (event.seed, len(epochs[event.trial]), ended[event.trial]) for event in of_kind(events, "suggested")}


def test_a_race_killed_after_any_event_goes_on_with_the_same_standings() -> None:
    plan = _plan()
    journal, events = recording()
    drive(ConfirmationController(plan, journal), only_last=True)
    names = [event.candidate for event in of_kind(events, "out_of_race")]
    assert names == ["worse"]
    suggested = [event.trial for event in of_kind(events, "suggested")]
    out_at = next(index for index, event in enumerate(events) if event.event == "out_of_race")
    for cut in range(len(events) + 1):
        whole = _follow(plan, events[:cut])
        told = _told(whole)
        assert ends(whole) == dict.fromkeys(told, 1), cut
        assert all(epochs == list(range(1, len(epochs) + 1)) for epochs in heard_epochs(whole).values()), cut
        good = [seed for trial, (seed, *_) in told.items() if trial.startswith("good")]
        assert all(epochs == EPOCHS[trial.partition("-")[0]] for trial, (_, epochs, _) in told.items())
        assert {end for *_, end in told.values()} == {"finished"}
        assert good == [100, 101, 102, 103], cut
        if cut >= out_at:
            assert set(told) == set(suggested), cut


def test_a_race_killed_after_any_event_writes_down_who_is_out() -> None:
    """Also when it was killed between the end that decided it and the note of it: the report reads the ledger."""
    plan = _plan()
    journal, events = recording()
    drive(ConfirmationController(plan, journal), only_last=True)
    for cut in range(len(events) + 1):
        whole = _follow(plan, events[:cut])
        assert [event.candidate for event in of_kind(whole, "out_of_race")] == ["worse"], cut


def test_a_failure_that_was_not_yet_noted_as_the_end_of_its_candidate_is_noted_after_a_crash() -> None:
    journal, events = recording()
    controller = ConfirmationController(_plan(("good", "alike")), journal)
    trials = [suggestion.trial for _ in range(2) if (suggestion := controller.next()) is not None]
    controller.fail(trials[1], "broke")
    assert events[-1].event == "out_of_race"
    again, new = recording()
    restored = ConfirmationController(_plan(("good", "alike")), again, events[:-1])
    assert restored.num_to_come == 3
    assert [event.candidate for event in of_kind(new, "out_of_race")] == ["alike"]


def test_a_race_that_has_ended_hands_out_nothing() -> None:
    journal, events = recording()
    drive(ConfirmationController(_plan(), journal), only_last=True)
    controller = ConfirmationController(_plan(), Journal(), events)
    assert controller.exhausted
    assert controller.next() is None
    assert controller.num_to_come == 0


def test_two_shared_blocks_are_enough() -> None:
    """Differences 0.80 and 0.79: residuals of 0.0025 each, freedom 1, deviation 0.005; t(0.95, 1) = 6.314 reaches 0.0316."""
    assert out_of_race(_gains([0.90, 0.91], [0.10, 0.12]), {0, 1}, 1) == {1}
    assert out_of_race(_gains([0.90, 0.91], [0.875, 0.875]), {0, 1}, 1) == set(), "0.025 and 0.035: 0.03 on average"


def _end(controller: ConfirmationController, value: float) -> None:
    """The next run ends with this value."""
    suggestion = controller.next()
    assert suggestion is not None
    epoch = epoch_result(epoch=suggestion.epochs, metrics={"valid/height": value}, score=value, seconds=1.0, is_best=True)
    assert controller.report(suggestion.trial, [epoch], "max_epochs") is True


@pytest.mark.parametrize("num_seeds", [2, 3])
def test_a_race_of_three_seeds_or_fewer_drops_nobody(num_seeds: int) -> None:
    """However clear it is: with fewer seeds than three a configuration could not be compared."""
    journal, events = recording()
    controller = ConfirmationController(_plan(("good", "alike"), num_seeds=num_seeds), journal)
    for _ in range(num_seeds):
        _end(controller, 0.1)
        _end(controller, 0.9)
    assert controller.exhausted
    assert of_kind(events, "out_of_race") == []


def test_a_race_of_five_seeds_drops_after_the_third() -> None:
    """Three differences of 0.05 on average, residuals 0.0025, 0.0025 and 0: deviation √(2 · 2 · 0.0025² / 2) = 0.0035.

    One look asks for t(0.95, 2) = 2.920, a reach of 2.920 · 0.0035 · √(2/3) = 0.0084.
    """
    journal, events = recording()
    controller = ConfirmationController(_plan(("good", "alike"), num_seeds=5), journal)
    for value in (0.500, 0.545, 0.500, 0.555, 0.500):
        _end(controller, value)
    assert of_kind(events, "out_of_race") == []
    _end(controller, 0.550)
    assert [event.candidate for event in of_kind(events, "out_of_race")] == ["alike"]
    assert controller.num_to_come == 2


def test_nobody_is_dropped_whose_runs_have_all_begun() -> None:
    """With a slot for each run there is no time to save, and nobody "dropped after 3 of 4 seeds" who ran on four."""
    journal, events = recording()
    drive(ConfirmationController(_plan(), journal), workers=12, only_last=True)
    assert of_kind(events, "out_of_race") == []
    assert len(of_kind(events, "finished")) == 12


def test_the_look_asks_whole_seeds_of_all_folds() -> None:
    """Three seeds of two folds are six runs of each; what the leader has run beyond them says nothing."""
    journal, events = recording()
    controller = ConfirmationController(_plan(("good", "alike"), num_seeds=4, num_folds=2), journal)
    for _ in range(5):
        _end(controller, 0.500)
        _end(controller, 0.550)
    assert of_kind(events, "out_of_race") == []
    _end(controller, 0.500)
    assert of_kind(events, "out_of_race") == []
    _end(controller, 0.551)
    assert [event.candidate for event in of_kind(events, "out_of_race")] == ["alike"]


def test_a_race_looks_once_only() -> None:
    """Who is not dropped half-way runs to the end, however bad the rest is."""
    journal, events = recording()
    controller = ConfirmationController(_plan(("good", "alike"), num_seeds=6), journal)
    for value in (0.500, 0.501, 0.500, 0.499, 0.500, 0.500, *(0.5, 0.9) * 3):
        _end(controller, value)
    assert controller.exhausted
    assert of_kind(events, "out_of_race") == []


def test_when_one_fails_the_others_that_waited_for_it_are_looked_at() -> None:
    """Two have run on three seeds and the third on two when it fails: nobody waits for it any longer."""
    journal, events = recording()
    controller = ConfirmationController(_plan(num_seeds=4), journal)
    for _ in range(2):
        for value in (0.500, 0.900, 0.500):
            _end(controller, value)
    for value in (0.500, 0.901):
        _end(controller, value)
    assert of_kind(events, "out_of_race") == []
    suggestion = controller.next()
    assert suggestion is not None
    controller.fail(suggestion.trial, "broke")
    assert [event.candidate for event in of_kind(events, "out_of_race")] == ["worse", "alike"]


def test_a_candidate_alone_runs_on_its_seeds() -> None:
    journal, events = recording()
    controller = ConfirmationController(_plan(("good",), num_seeds=1), journal)
    assert controller.num_to_come == 1
    _end(controller, 0.5)
    assert (controller.num_to_come, controller.next(), controller.exhausted) == (0, None, True)
    assert of_kind(events, "out_of_race") == []


@pytest.mark.parametrize("reason", ["failed on seed 100: broke", "dropped after 3 of 4 seeds to save time, which is no finding"])
def test_what_is_noted_after_a_crash_is_why_a_candidate_is_out(reason: str) -> None:
    plan = _plan(("good", "alike"))
    journal, events = recording()
    controller = ConfirmationController(plan, journal)
    if reason.startswith("failed"):
        _end(controller, 0.5)
        suggestion = controller.next()
        assert suggestion is not None
        controller.fail(suggestion.trial, "broke")
    else:
        for value in (0.500, 0.545, 0.500, 0.555, 0.500, 0.550):
            _end(controller, value)
    assert events[-1].event == "out_of_race"
    journal, new = recording()
    ConfirmationController(plan, journal, events[:-1])
    assert [(event.event, event.candidate, event.reason) for event in new] == [("out_of_race", "alike", reason)]
    journal, new = recording()
    ConfirmationController(plan, journal, events)
    assert new == []


def test_a_candidate_that_the_ledger_says_is_out_stays_out_whatever_would_be_decided_now() -> None:
    plan = _plan(("good", "alike"))
    journal, events = recording()
    controller = ConfirmationController(plan, journal)
    for value in (0.500, 0.501):
        _end(controller, value)
    journal.append(event_of("out_of_race", candidate="alike", reason="by an older rule"))
    again = ConfirmationController(plan, recording()[0], events)
    assert again.num_to_come == 3
    following = again.next()
    assert following is not None
    assert (following.trial, following.seed) == ("good-seed101", 101)
    assert again.num_to_come == 2
