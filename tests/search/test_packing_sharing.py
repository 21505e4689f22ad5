"""Shares of a GPU, shares of a cluster, and which failures are tried again."""

from collections.abc import Sequence
from typing import Any

import pytest
from bowl_events import event_of, state_of
from hypothesis import given
from hypothesis import strategies as st

from search.execution.slots import Shares
from search.records.events import Event
from search.records.state import SearchState
from search.strategy.packing import DEFAULT_SHARE, MOST_PER_GPU, Memory, Packing, larger_share, packed_share, with_advice
from search.strategy.retries import LIMITS, Failure, may_retry
from search.strategy.sharing import fair_parts, granted_trials
from spaces.fields import Value

GIB = 1024.0


@pytest.mark.parametrize(
    ("peak_mib", "gpu_mib", "per_gpu"),
    [
        # (peak × 1.25 + 600) MiB each
        (900, 16 * GIB, 9),
        (2 * GIB, 16 * GIB, 5),
        (5 * GIB, 16 * GIB, 2),
        (7 * GIB, 16 * GIB, 1),
        (20 * GIB, 16 * GIB, 1),
        (2 * GIB, 24 * GIB, 7),
        (2 * GIB, 141 * GIB, MOST_PER_GPU),
        (10, 16 * GIB, MOST_PER_GPU),
        (30 * GIB, 80 * GIB, 2),
    ],
)
def test_the_packing_rule_by_hand(peak_mib: float, gpu_mib: float, per_gpu: int) -> None:
    assert packed_share(peak_mib, gpu_mib) == pytest.approx(1 / per_gpu)


@pytest.mark.parametrize(
    ("share", "larger"), [(0.25, 0.5), (0.5, 1.0), (0.4, 0.8), (0.6, 1.0), (1.0, None), (2.0, None), (0.0, None)]
)
def test_more_memory_by_hand(share: float, larger: float | None) -> None:
    assert larger_share(share) == larger


def observed(packing: Packing, state: SearchState, peak_mib: float | None, gpu_mib: float | None) -> bool:
    """Whether what a process used changes what trials get, which is then written down."""
    share = packing.observe(peak_mib, gpu_mib)
    if share is not None:
        state.apply(event_of("packed", gpus_per_trial=share))
    return share is not None


def test_the_first_report_decides_and_a_hungrier_trial_corrects() -> None:
    state = state_of()
    packing = Packing(None, state)
    assert (packing.measured, packing.of("t0")) == (False, Memory(1.0))
    assert observed(packing, state, 2 * GIB, 16 * GIB)
    assert (packing.measured, packing.of("t1")) == (True, Memory(0.2))
    assert not observed(packing, state, 1 * GIB, 16 * GIB)
    assert observed(packing, state, 5 * GIB, 16 * GIB)
    assert packing.share == 0.5
    assert not observed(packing, state, None, None)


def test_what_nobody_can_measure_gets_the_default() -> None:
    assert Packing(None, state_of()).observe(None, None) == DEFAULT_SHARE


@pytest.mark.parametrize(("peak_mib", "gpu_mib"), [(None, 16 * GIB), (2 * GIB, None), (0.0, 16 * GIB), (2 * GIB, 0.0)])
def test_half_a_measurement_gives_the_default(peak_mib: float | None, gpu_mib: float | None) -> None:
    assert Packing(None, state_of()).observe(peak_mib, gpu_mib) == DEFAULT_SHARE


def test_a_trial_that_uses_as_much_as_the_first_changes_nothing() -> None:
    state = state_of()
    packing = Packing(None, state)
    assert observed(packing, state, 2 * GIB, 16 * GIB)
    assert not observed(packing, state, 2 * GIB, 16 * GIB)
    assert packing.share == 0.2


def test_what_was_asked_for_stays() -> None:
    packing = Packing(0.5, state_of(event_of("packed", gpus_per_trial=0.25)))
    assert packing.measured
    assert packing.observe(15 * GIB, 16 * GIB) is None
    assert packing.of("t0") == Memory(0.5)


@pytest.mark.parametrize("share", [0.0, 1.0, 2.0])
def test_where_there_is_no_more_memory_batches_pass_in_smaller_parts_until_that_helps_no_more(share: float) -> None:
    memory, parts = Memory(share).more(splits=True), []
    while memory is not None:
        parts.append(memory)
        memory = memory.more(splits=True)
    assert parts == [Memory(share, 2), Memory(share, 4), Memory(share, 8)]


def test_what_cannot_pass_in_parts_gets_a_larger_share_and_no_parts() -> None:
    assert [Memory(share).more(splits=False) for share in (0.25, 0.5, 1.0, 0.0)] == [Memory(0.5), Memory(1.0), None, None]
    assert Memory(0.25, 2).more(splits=True) == Memory(0.5, 2)


@pytest.mark.parametrize(
    ("config", "share", "expected"),
    [
        ({"batch_size": 32}, 1.0, "OutOfMemory: no room (it needs less memory: --set batch_size= below 32)"),
        (
            {"batch_size": 32},
            0.0,
            "OutOfMemory: no room (it needs less memory: --set batch_size= below 32 or fewer trials at once by --max-concurrent)",
        ),
        ({}, 1.0, "OutOfMemory: no room"),
    ],
)
def test_a_trial_that_nothing_relieves_ends_with_what_helps(config: dict[str, Value], share: float, expected: str) -> None:
    assert with_advice(Failure("memory", "OutOfMemory: no room"), config, share).reason == expected
    raised = Failure("raised", "RuntimeError: broke")
    assert with_advice(raised, config, share) == raised


def retried(trial: str, kind: str, reason: str = "so it was", **memory: Any) -> Event:
    return event_of("retried", trial=trial, kind=kind, reason=reason, **{"gpus_per_trial": 0.0, **memory})


def begun(*trials: str) -> list[Event]:
    return [event_of("suggested", trial=trial) for trial in trials]


def test_shares_outlive_the_process() -> None:
    """What a failure has given a trial stays its own; a retry for another reason only says what the trial had."""
    state = state_of(
        *begun("t0", "t3", "t4", "t5"),
        event_of("packed", gpus_per_trial=0.2),
        retried("t3", "memory", gpus_per_trial=0.4),
        retried("t4", "memory", gpus_per_trial=1.0),
        retried("t4", "memory", gpus_per_trial=1.0, batch_parts=2),
        retried("t4", "memory", gpus_per_trial=1.0, batch_parts=4),
        retried("t5", "lost", gpus_per_trial=1.0),
    )
    packing = Packing(None, state)
    assert packing.measured
    assert [packing.of(trial) for trial in ("t0", "t3", "t4", "t5", "t6")] == [
        Memory(0.2),
        Memory(0.4),
        Memory(1.0, 4),
        Memory(0.2),
        Memory(0.2),
    ]
    whole = state_of(
        *begun("t3"), retried("t3", "memory", gpus_per_trial=1.0, batch_parts=2), event_of("packed", gpus_per_trial=0.2)
    )
    assert Packing(None, whole).of("t3") == Memory(0.2, 2), "the whole GPU was not its own: nothing had been measured yet"
    without = state_of(*begun("t3"), retried("t3", "memory", gpus_per_trial=0.0, batch_parts=2))
    assert Packing(0.0, without).of("t3") == Memory(0.0, 2)


def may_go_on(failures: Sequence[Failure], *past: Event) -> list[bool]:
    """Whether a trial may be tried again after each of these failures, every retry being written down."""
    state, answers = state_of(*begun("t0"), *past), []
    for failure in failures:
        answers.append(may_retry(state.trials["t0"], failure))
        if answers[-1]:
            state.apply(retried("t0", failure.kind, failure.reason))
    return answers


def test_a_lost_node_is_nobodys_fault_and_an_error_is() -> None:
    lost = Failure("lost", "NodeLost: gone")
    assert may_go_on([lost, lost], *[retried("t0", "lost")] * (LIMITS["lost"] - 1)) == [True, False]
    assert may_go_on([Failure("diverged", "TrialDiverged: nan"), Failure("memory", "OutOfMemory: more")]) == [False, True]


def test_a_trial_that_dies_is_tried_so_often_and_one_that_says_the_same_again_but_once() -> None:
    dead = Failure("died", "WorkerDied: no message")
    assert may_go_on([dead] * 4) == [True, True, True, False]
    assert may_go_on([dead] * 4, retried("t0", "died", "killed")) == [True, True, False, False]
    same, other = Failure("raised", "RuntimeError: no"), Failure("raised", "RuntimeError: nor this")
    assert may_go_on([same, same]) == [True, False]
    assert may_go_on([same, other, same, other]) == [True, True, True, False]
    assert may_go_on([same, other], retried("t0", "raised", same.reason)) == [False, True]


def test_a_failure_that_may_have_been_anothers_costs_no_retry() -> None:
    raised = Failure("raised", "RuntimeError: one of them")
    assert may_go_on([raised], *[retried("t0", "raised", raised.reason, suspects=("t0", 2))] * 5) == [True]


@pytest.mark.parametrize(
    ("wanted", "parts"),
    [
        ({"a": 1.0}, {"a": 1.0}),
        ({"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.5}),
        ({"a": 0.1, "b": 1.0}, {"a": 0.1, "b": 0.9}),
        ({"a": 0.2, "b": 0.3}, {"a": 0.2, "b": 0.3}),
        ({"a": 1.0, "b": 0.3, "c": 1.0}, {"a": 0.35, "b": 0.3, "c": 0.35}),
        ({}, {}),
    ],
)
def test_fair_parts_by_hand(wanted: dict[str, float], parts: dict[str, float]) -> None:
    assert fair_parts(wanted) == pytest.approx(parts)


@given(st.dictionaries(st.text("abcdef", min_size=1), st.floats(0, 1), max_size=8))
def test_nobody_can_get_more_without_taking_from_one_with_less(wanted: dict[str, float]) -> None:
    parts = fair_parts(wanted)
    assert sum(parts.values()) <= 1 + 1e-9
    assert all(0 <= parts[name] <= wanted[name] + 1e-9 for name in wanted)
    short = [name for name in wanted if parts[name] < wanted[name] - 1e-9]
    assert all(parts[name] >= max(parts.values()) - 1e-9 for name in short)
    assert not short or sum(parts.values()) == pytest.approx(1)


@pytest.mark.parametrize(("part", "capacity", "trials"), [(0.5, 6, 3), (0.5, 3, 2), (1.0, 4, 4), (0.01, 4, 1), (0.34, 6, 2)])
def test_trials_of_a_part_by_hand(part: float, capacity: int, trials: int) -> None:
    assert granted_trials(part, capacity) == trials


def test_a_search_that_falls_silent_leaves_its_part() -> None:
    now = [0.0]
    shares = Shares(lambda: now[0])
    assert shares.beat("a", 1.0) == 1.0
    assert shares.beat("b", 1.0) == 0.5
    assert shares.beat("a", 1.0) == 0.5
    now[0] = 14.0
    assert shares.beat("a", 1.0) == 0.5
    now[0] = 16.0
    assert shares.beat("a", 1.0) == 1.0
    assert shares.beat("c", 0.25) == 0.25
    assert shares.beat("a", 1.0) == 0.75
    assert shares.beat("c", 0.0) == 0.0
    assert shares.beat("a", 1.0) == 1.0
