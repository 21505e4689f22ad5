"""Shares of a GPU, shares of a cluster, and which failures are tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.execution.slots import Shares
from search.strategy.packing import DEFAULT_SHARE, MOST_PER_GPU, Packing, larger_share, packed_share
from search.strategy.retries import LIMITS, Failure, Retries
from search.strategy.sharing import fair_parts, granted_trials

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


def test_the_first_report_decides_and_a_hungrier_trial_corrects() -> None:
    packing = Packing(None)
    assert (packing.measured, packing.share_of("t0")) == (False, 1.0)
    assert packing.observe(2 * GIB, 16 * GIB)
    assert (packing.measured, packing.share_of("t1")) == (True, 0.2)
    assert not packing.observe(1 * GIB, 16 * GIB)
    assert packing.observe(5 * GIB, 16 * GIB)
    assert packing.share == 0.5
    assert not packing.observe(None, None)


def test_what_nobody_can_measure_gets_the_default() -> None:
    packing = Packing(None)
    assert packing.observe(None, None)
    assert packing.share == DEFAULT_SHARE


@pytest.mark.parametrize(("peak_mib", "gpu_mib"), [(None, 16 * GIB), (2 * GIB, None), (0.0, 16 * GIB), (2 * GIB, 0.0)])
def test_half_a_measurement_gives_the_default(peak_mib: float | None, gpu_mib: float | None) -> None:
    packing = Packing(None)
    assert packing.observe(peak_mib, gpu_mib)
    assert packing.share == DEFAULT_SHARE


def test_a_trial_that_uses_as_much_as_the_first_changes_nothing() -> None:
    packing = Packing(None)
    assert packing.observe(2 * GIB, 16 * GIB)
    assert not packing.observe(2 * GIB, 16 * GIB)
    assert packing.share == 0.2


def test_what_was_asked_for_stays() -> None:
    packing = Packing(0.5)
    assert packing.measured
    assert not packing.observe(15 * GIB, 16 * GIB)
    assert packing.relieve("t0", 0.5)
    assert (packing.share_of("t0"), packing.share_of("t1")) == (1.0, 0.5)
    assert (packing.parts_of("t0"), packing.parts_of("t1")) == (1, 1)


@pytest.mark.parametrize("share", [0.0, 1.0, 2.0])
def test_where_there_is_no_more_memory_batches_pass_in_smaller_parts_until_that_helps_no_more(share: float) -> None:
    packing, parts = Packing(share), []
    while packing.relieve("t0", share):
        parts.append(packing.parts_of("t0"))
    assert parts == [2, 4, 8]
    assert (packing.share_of("t0"), packing.parts_of("t1")) == (share, 1)


def test_shares_outlive_the_process() -> None:
    past = [
        {"event": "packed", "gpus_per_trial": 0.2},
        {"event": "retried", "trial": "t3", "kind": "memory", "gpus_per_trial": 0.4, "batch_parts": 1},
        {"event": "retried", "trial": "t4", "kind": "memory", "gpus_per_trial": 1.0, "batch_parts": 4},
    ]
    packing = Packing(None, past)
    assert (packing.measured, packing.share_of("t0"), packing.share_of("t3")) == (True, 0.2, 0.4)
    assert (packing.parts_of("t0"), packing.parts_of("t3"), packing.parts_of("t4")) == (1, 1, 4)
    without = [{"event": "retried", "trial": "t3", "kind": "lost", "gpus_per_trial": 0.0, "batch_parts": 1}]
    assert Packing(0.0, without).share_of("t3") == 0.0


def test_a_lost_node_is_nobodys_fault_and_an_error_is() -> None:
    retries = Retries([{"event": "retried", "trial": "t0", "kind": "lost", "reason": "gone"}] * (LIMITS["lost"] - 1))
    assert retries.again("t0", Failure("lost", "NodeLost: gone"))
    assert not retries.again("t0", Failure("lost", "NodeLost: gone"))
    assert retries.again("t1", Failure("lost", "NodeLost: gone"))
    assert not retries.again("t1", Failure("diverged", "TrialDiverged: nan"))
    assert retries.again("t1", Failure("memory", "OutOfMemory: more"))


def test_a_trial_that_dies_is_tried_so_often_and_one_that_says_the_same_again_but_once() -> None:
    retries = Retries([{"event": "retried", "trial": "t0", "kind": "died", "reason": "killed"}])
    dead = Failure("died", "WorkerDied: no message")
    assert [retries.again("t0", dead) for _ in range(4)] == [True, True, False, False]
    assert [retries.again("t1", dead) for _ in range(4)] == [True, True, True, False]
    same, other = Failure("raised", "RuntimeError: no"), Failure("raised", "RuntimeError: nor this")
    assert [retries.again("t0", error) for error in (same, same)] == [True, False]
    assert [retries.again("t1", error) for error in (same, other, same, other)] == [True, True, True, False]
    resumed = Retries([{"event": "retried", "trial": "t0", "kind": "raised", "reason": same.reason}])
    assert not resumed.again("t0", same)
    assert resumed.again("t0", other)


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
