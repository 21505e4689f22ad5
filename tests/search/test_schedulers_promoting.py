"""The schedulers that promote, the median rule and Hyperband by hand-worked tables, and what holds for every scheduler."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from bowl_events import epoch_result
from bowl_search import bowl_epochs, ends, recording, with_changes
from hypothesis import given
from hypothesis import strategies as st

from search.records.ledger import Journal
from search.strategy.optuna_controller import OptunaController
from search.strategy.rungs import rungs
from search.strategy.schedulers import (
    FINALISTS,
    SCHEDULERS,
    Asha,
    AshaPromote,
    Hyperband,
    Ladder,
    MedianRule,
    OneEpoch,
    Scheduler,
)
from search.strategy.simulation import Curve, simulate


@pytest.mark.parametrize(
    ("grace_period", "max_epochs", "reduction", "expected"),
    [
        (1, 243, 3, (1, 3, 9, 27, 81)),
        (1, 243, 4, (1, 4, 16, 64)),
        (1, 100, 3, (1, 3, 9, 27, 81)),
        (1, 100, 4, (1, 4, 16, 64)),
        (5, 243, 3, (5, 15, 45, 135)),
        (5, 100, 4, (5, 20, 80)),
        (7, 7, 3, ()),
    ],
)
def test_every_scheduler_has_the_rungs_of_the_table_or_the_first_of_them(
    grace_period: int, max_epochs: int, reduction: int, expected: tuple[int, ...]
) -> None:
    assert rungs(grace_period, max_epochs, reduction) == expected
    ladder = Ladder(grace_period, max_epochs, reduction)
    found = {name: make(ladder).rungs for name, make in SCHEDULERS.items()}
    assert found == {
        "asha": expected,
        "asha-promote": expected,
        "hyperband": expected,
        "median": expected[:1],
        "none": (),
        "one-epoch": expected[:1],
    }


#: Arrivals at rung 1 with reduction 3: trial, score, verdict, and who is to be promoted before the next one arrives.
PROMOTING = [
    ("a", 0.5, "pause", None),  # n = 1: a third, rounded down, is nobody
    ("b", 0.7, "pause", None),  # n = 2: still nobody
    ("c", 0.6, "pause", "b"),  # n = 3: the best one is b, which waits
    ("d", 0.4, "pause", None),  # n = 4: the best one is b, which has gone on
    ("e", 0.9, "go on", None),  # n = 5: the best one is e itself
    ("f", 0.3, "pause", None),  # n = 6: the best two, e and b, have gone on
    ("g", 0.8, "go on", None),  # n = 7: the best two are e and g
    ("h", 0.2, "pause", None),  # n = 8: the best two, e and g, have gone on
    ("i", 0.1, "pause", None),  # n = 9: the best three, e, g and b, have gone on
    ("j", 0.5, "pause", None),  # n = 10: likewise
    ("k", 0.0, "pause", None),  # n = 11: likewise
    ("l", 0.05, "pause", "c"),  # n = 12: the best four are e, g, b and c, which waits
    ("m", 0.04, "pause", None),
    ("n", 0.03, "pause", None),  # n = 14
    ("o", 0.02, "pause", "a"),  # n = 15: a and j are equal; a came first
    ("p", 0.01, "pause", None),
    ("q", 0.01, "pause", None),
    ("r", 0.01, "pause", "j"),  # n = 18: then j
]


def test_the_promoting_kind_decides_as_worked_by_hand() -> None:
    scheduler = AshaPromote(Ladder(1, 27, 3))
    found = []
    for trial, score, _, _ in PROMOTING:
        scheduler.enter(trial)
        verdict, promoted = scheduler.judge(trial, 1, score), scheduler.promotable(True)
        assert promoted == scheduler.promotable(False), "to promote does not hang on what is to come"
        if promoted is not None:
            scheduler.promote(promoted)
        assert scheduler.promotable(True) is None
        found.append((trial, score, verdict, promoted))
    assert found == PROMOTING


def test_the_highest_rung_promotes_first_and_rungs_are_judged_apart() -> None:
    scheduler = AshaPromote(Ladder(1, 27, 3))
    assert [scheduler.judge(*report) for report in (("a", 3, 0.1), ("b", 3, 0.2), ("c", 3, 0.3))] == ["pause", "pause", "go on"]
    for trial, score in (("d", 0.9), ("e", 0.8), ("f", 0.7)):
        assert scheduler.judge(trial, 1, score) == "pause"
    assert scheduler.promotable(True) == "d", "b and a wait at rung 3 behind c, which is its best third"
    for trial, score in (("g", 0.15), ("h", 0.12), ("i", 0.11)):
        assert scheduler.judge(trial, 3, score) == "pause"
    assert scheduler.promotable(True) == "b", "the best two of six at rung 3 are c and b; d at rung 1 comes after it"
    scheduler.promote("b")
    assert scheduler.promotable(True) == "d"
    scheduler.promote("d")
    assert scheduler.promotable(True) is None


def test_a_promoted_trial_is_judged_again_at_the_next_rung() -> None:
    scheduler = AshaPromote(Ladder(1, 27, 3))
    for trial, score in (("a", 0.9), ("b", 0.8), ("c", 0.7)):
        assert scheduler.judge(trial, 1, score) == "pause"
    assert scheduler.promotable(True) == "a"
    scheduler.promote("a")
    assert [scheduler.judge("a", epoch, 0.1) for epoch in (2, 3)] == ["go on", "pause"]
    assert scheduler.promotable(True) is None, "it waits at rung 3, where it is alone, and no longer at rung 1"


def test_epochs_between_rungs_pause_nobody() -> None:
    scheduler = AshaPromote(Ladder(2, 27, 3))
    assert {scheduler.judge("a", epoch, -1.0) for epoch in (1, 3, 4, 5, 7, 17, 19, 26, 27)} == {"go on"}
    assert [scheduler.judge("a", epoch, -1.0) for epoch in (2, 6, 18)] == ["pause"] * 3


def test_one_epoch_promotes_nobody_before_all_have_been_seen_and_then_the_best_three() -> None:
    scheduler = OneEpoch(Ladder(2, 27, 3))
    for trial, score in (("a", 0.3), ("b", 0.9), ("c", 0.5), ("d", 0.5), ("e", 0.7), ("f", 0.1)):
        scheduler.enter(trial)
        assert [scheduler.judge(trial, 1, 1.0), scheduler.judge(trial, 2, score)] == ["go on", "pause"]
        assert scheduler.promotable(True) is None
    promoted = []
    for _ in range(FINALISTS):
        assert scheduler.promotable(True) is None
        trial = scheduler.promotable(False)
        assert trial is not None
        scheduler.promote(trial)
        promoted.append(trial)
    assert promoted == ["b", "e", "c"], "c came before its equal d"
    assert scheduler.promotable(False) is None
    assert {scheduler.judge("b", epoch, -9.0) for epoch in (3, 6, 18, 27)} == {"go on"}, "a finalist trains to the end"


#: Reports in order, grace period 2: trial, epoch, score, stopped. Beside each: the others' means, their median, the best.
MEDIAN: list[tuple[str, int, float, bool]] = [
    ("a", 1, 0.2, False),
    ("b", 1, 0.4, False),
    ("c", 1, 0.6, False),
    ("d", 1, 0.1, False),  # others 0.2, 0.4, 0.6: 0.1 is below their median, but in the grace period
    ("a", 2, 0.4, False),  # nobody else has come as far
    ("b", 2, 0.4, False),
    ("d", 2, 0.1, False),  # two others: too few
    ("c", 2, 0.0, False),  # others 0.3, 0.4, 0.1: median 0.3; best so far 0.6
    ("e", 1, 0.1, False),
    ("e", 2, 0.29, True),  # others 0.3, 0.4, 0.1, 0.3: median 0.3; best so far 0.29
    ("f", 1, 0.3, False),
    ("f", 2, 0.3, False),  # others 0.3, 0.4, 0.1, 0.3, 0.195: median 0.3; best so far 0.3 is not worse
    ("g", 1, 0.0, False),
    ("g", 2, 0.299, True),  # one 0.3 more: median 0.3
]


def test_the_median_rule_decides_as_worked_by_hand() -> None:
    scheduler = MedianRule(Ladder(2, 27, 3))
    assert scheduler.rungs == (2,)
    for trial, epoch, score, stopped in MEDIAN:
        if epoch == 1:
            scheduler.enter(trial)
        assert (scheduler.judge(trial, epoch, score) == "stop") is stopped, (trial, epoch)


def _bracket_rungs(scheduler: Hyperband, num_trials: int) -> list[int | None]:
    """Where each trial stops, when each is worse than all before it: at the first rung of its bracket.

    None: nowhere, the first trial of a bracket and those of the bracket that has no rung.
    """
    trials = [f"t{number:04d}" for number in range(num_trials)]
    for trial in trials:
        scheduler.enter(trial)
    found: list[int | None] = []
    for number, trial in enumerate(trials):
        verdicts = ((epoch, scheduler.judge(trial, epoch, -float(number))) for epoch in range(1, 28))
        found.append(next((epoch for epoch, verdict in verdicts if verdict == "stop"), None))
    return found


def test_hyperbands_first_trials_go_to_the_bracket_furthest_behind_its_share() -> None:
    """Shares of the brackets that begin at 1, 3, 9 and 27: 3³·4/4 = 27, 3²·4/3 = 12, 3·4/2 = 6 and 1·4/1 = 4.

    (trials + 1) / share is least: 1/27 and 2/27 at 1; 1/12 at 3; 3/27 and 4/27 at 1; 2/12 at 3, before its equal, 1/6 at 9;
    5/27 and 6/27 at 1; 3/12 at 3, before its equal, 1/4 at 27.
    """
    nowhere = None  # the first of a bracket
    by_hand = [nowhere, 1, nowhere, 1, 1, 3, nowhere, 1, 1, 3, nowhere]
    assert _bracket_rungs(Hyperband(Ladder(1, 27, 3)), len(by_hand)) == by_hand


def test_hyperbands_brackets_take_trials_in_their_shares() -> None:
    """Of 49, each bracket stops all but its first; the bracket without a rung stops none of its four."""
    found = Counter(_bracket_rungs(Hyperband(Ladder(1, 27, 3)), 49))
    assert found == {1: 26, 3: 11, 9: 5, None: 3 + 4}
    assert Hyperband(Ladder(1, 27, 3)).rungs == (1, 3, 9)


def test_hyperbands_brackets_judge_apart() -> None:
    scheduler = Hyperband(Ladder(1, 27, 3))
    for trial in ("a", "b", "c"):  # brackets 1, 1 and 3
        scheduler.enter(trial)
    assert scheduler.judge("a", 1, 0.9) == "go on"
    assert scheduler.judge("a", 3, 0.9) == "go on"
    assert scheduler.judge("b", 1, 0.1) == "stop"
    assert scheduler.judge("c", 1, 0.1) == "go on", "its bracket has no rung there"
    assert scheduler.judge("c", 3, 0.1) == "go on", "the first of its bracket, whatever others had at this rung"


@pytest.mark.parametrize("name", ["asha", "asha-promote"])
def test_after_the_first_rung_is_dropped_nobody_is_judged_there(name: str) -> None:
    scheduler = SCHEDULERS[name](Ladder(1, 27, 3))
    held_back = {"asha": "stop", "asha-promote": "pause"}[name]
    assert scheduler.drops_rungs
    scheduler.judge("a", 1, 0.9)
    assert scheduler.judge("b", 1, 0.1) == held_back
    scheduler.drop_first_rung()
    assert scheduler.rungs == (3, 9)
    assert scheduler.judge("c", 1, 0.0) == "go on"
    scheduler.judge("a", 3, 0.9)
    assert scheduler.judge("c", 3, 0.0) == held_back
    scheduler.drop_first_rung()
    assert scheduler.rungs == (9,)
    scheduler.judge("a", 9, 0.9)
    assert scheduler.judge("d", 9, 0.1) == held_back


def test_who_waits_at_a_dropped_rung_is_still_promoted_when_among_its_best() -> None:
    scheduler = AshaPromote(Ladder(1, 27, 3))
    for trial, score in (("a", 0.7), ("b", 0.9), ("c", 0.8)):
        assert scheduler.judge(trial, 1, score) == "pause"
    scheduler.drop_first_rung()
    for trial in ("d", "e", "f"):
        assert scheduler.judge(trial, 1, 1.0) == "go on"
    assert scheduler.promotable(True) == "b"
    scheduler.promote("b")
    assert scheduler.promotable(True) is None, "those that passed unjudged do not count there"


@pytest.mark.parametrize("name", ["hyperband", "median", "none", "one-epoch"])
def test_the_others_drop_no_rung(name: str) -> None:
    scheduler = SCHEDULERS[name](Ladder(1, 27, 3))
    assert not scheduler.drops_rungs


def _reports(*scores: float, first: int = 1) -> list[dict[str, Any]]:
    """Epochs with these scores, from one on, each the best so far."""
    return [
        epoch_result(epoch=epoch, metrics={"valid/height": score}, score=score, seconds=1.0, is_best=True)
        for epoch, score in enumerate(scores, start=first)
    ]


@pytest.mark.parametrize("name", ["asha-promote", "one-epoch"])
def test_a_trial_that_ended_at_a_rung_is_never_promoted(name: str) -> None:
    """It ran out of patience where it would have had to wait: there is nothing to go on with."""
    controller = OptunaController(with_changes(scheduler=name, num_trials=3, sampler="random"), Journal())
    trials = [suggestion.trial for _ in range(3) if (suggestion := controller.next()) is not None]
    assert controller.report(trials[0], _reports(0.1), "patience") is True, "the best of all"
    for trial, height in zip(trials[1:], (0.2, 0.3), strict=True):
        controller.report(trial, _reports(height), None)
    promoted = []
    while (suggestion := controller.next()) is not None:
        promoted.append(suggestion.trial)
    assert trials[0] not in promoted


@pytest.mark.parametrize("name", ["asha-promote", "one-epoch"])
@pytest.mark.parametrize("length", [1, 3])
def test_a_trial_whose_curve_is_cut_short_at_a_rung_is_replayed_no_further(name: str, length: int) -> None:
    """As in the replay of a search whose own scheduler had stopped its trials at the same rungs."""
    plan = with_changes(scheduler=name, num_trials=12, sampler="random")
    journal, events = recording()
    controller = OptunaController(plan, journal)
    observed = simulate(controller, lambda suggestion: Curve(bowl_epochs(plan, suggestion)[:length], cut_short=True), 4)
    assert len(observed) <= 12 * length
    assert ends(events) == {f"t{number:04d}": 1 for number in range(12)}


#: One step of a search: which of the trials at hand reports (0 begins a new one), its score, whether who can is promoted.
STEPS = st.lists(st.tuples(st.integers(0, 4), st.floats(-100, 100), st.booleans(), st.booleans()), max_size=80)
Said = tuple[str, int, str, str | None, str | None]


def _play(scheduler: Scheduler, steps: Sequence[tuple[int, float, bool, bool]], max_epochs: int) -> list[Said]:
    """What is said after each step of a search in which every trial reports every epoch, in order, until it is held back."""
    numbers, epochs, waiting, said = count(), dict[str, int](), set[str](), list[Said]()
    for pick, score, more_to_come, promote in steps:
        if pick == 0 or not epochs:
            epochs[name := f"t{next(numbers):04d}"] = 0
            scheduler.enter(name)
        trial = list(epochs)[(pick - 1) % len(epochs)]
        epochs[trial] += 1
        verdict = scheduler.judge(trial, epochs[trial], score)
        assert verdict == "go on" or epochs[trial] in scheduler.rungs or isinstance(scheduler, MedianRule)
        assert (verdict == "go on") or epochs[trial] < max_epochs
        epoch = epochs[trial]
        if verdict == "pause":
            waiting.add(trial)
        if verdict != "go on" or epoch == max_epochs:
            del epochs[trial]
        coming, over = scheduler.promotable(True), scheduler.promotable(False)
        said.append((trial, epoch, verdict, coming, over))
        assert {coming, over} <= {*waiting, None}, "only who waits can be promoted"
        chosen = coming if more_to_come else over
        if promote and chosen is not None:
            scheduler.promote(chosen)
            waiting.discard(chosen)
            epochs[chosen] = next(was for who, was, said_then, *_ in reversed(said) if (who, said_then) == (chosen, "pause"))
    return said


@pytest.mark.parametrize("name", SCHEDULERS)
@given(steps=STEPS, length=st.integers(0, 80), reduction=st.integers(2, 4), grace_period=st.integers(1, 3))
def test_what_is_said_never_depends_on_what_came_later(
    name: str, steps: list[tuple[int, float, bool, bool]], length: int, reduction: int, grace_period: int
) -> None:
    """Nor on another search that was led before by a scheduler of the same kind."""
    ladder = Ladder(grace_period, 10, reduction)
    whole = _play(SCHEDULERS[name](ladder), steps, 10)
    assert _play(SCHEDULERS[name](ladder), steps[:length], 10) == whole[:length]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60), st.integers(2, 5))
def test_whoever_is_among_the_best_share_of_a_rung_has_gone_on(scores: list[float], reduction: int) -> None:
    """Promoting at every chance, those that go on are all of the best share and nobody that was never in it."""
    scheduler, gone_on, ever = AshaPromote(Ladder(1, 9, reduction)), set(), set()
    for number, score in enumerate(scores):
        trial = f"t{number:04d}"
        if scheduler.judge(trial, 1, score) == "go on":
            gone_on.add(trial)
        best = sorted(range(number + 1), key=lambda i: (-scores[i], i))[: (number + 1) // reduction]
        ever |= {f"t{i:04d}" for i in best}
        while (promoted := scheduler.promotable(True)) is not None:
            scheduler.promote(promoted)
            gone_on.add(promoted)
        assert gone_on == ever


def test_asha_judges_a_rung_that_it_dropped_no_more_even_for_who_comes_late() -> None:
    scheduler = Asha(Ladder(1, 9, 3))
    scheduler.drop_first_rung()
    assert {scheduler.judge(f"t{number}", 1, -float(number)) for number in range(9)} == {"go on"}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_slow_node_holds_nobody_up(scheduler: str) -> None:
    """One slot in four is a hundred times as slow; the others judge at every rung and go on without it."""
    plan = with_changes(scheduler=scheduler, num_trials=25, max_epochs=9)
    journal, _ = recording()
    controller = OptunaController(plan, journal)
    slow = "t0002"

    def curve(suggestion: Any) -> Curve:
        factor = 100 if suggestion.trial == slow else 1
        return Curve([replace(epoch, seconds=factor * epoch.seconds) for epoch in bowl_epochs(plan, suggestion)])

    seen = simulate(controller, curve, 4)
    first_of_slow = next(found.time_s for found in seen if found.trial == slow)
    before = [found for found in seen if found.time_s < first_of_slow]
    assert {found.trial for found in before} == {f"t{number:04d}" for number in range(25)} - {slow}
    # Three slots that never wait train one epoch after another until there is nothing left to train.
    busy_s = sum(found.epoch.seconds for found in before)
    assert busy_s >= 0.8 * 3 * before[-1].time_s


def test_three_others_are_enough_for_the_median_rule() -> None:
    scheduler = MedianRule(Ladder(2, 27, 3))
    for trial, score in (("a", 0.4), ("b", 0.5), ("c", 0.6)):
        assert [scheduler.judge(trial, epoch, score) for epoch in (1, 2)] == ["go on", "go on"]
    assert [scheduler.judge("d", epoch, 0.45) for epoch in (1, 2)] == ["go on", "stop"], "the median of the others is 0.5"
