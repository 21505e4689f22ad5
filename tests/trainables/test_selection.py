"""The best epoch and the end of patience, on sequences worked by hand."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.contract import Objective
from trainables.errors import TrialDiverged
from trainables.selection import BestEpoch, rank_key, window_of

MAX, MIN = Objective("valid/auroc_mean", "max"), Objective("valid/height", "min")


def follow(best: BestEpoch, values: list[float], losses: list[float] | None = None) -> list[tuple[float, bool]]:
    """(score, is best) of each epoch."""
    losses = losses or [1.0] * len(values)
    return [
        best.observe(epoch, {best.objective.metric: value, "valid/loss": loss})
        for epoch, (value, loss) in enumerate(zip(values, losses, strict=True), start=1)
    ]


def test_selection_by_metric_takes_the_best_trailing_mean_of_three() -> None:
    best = BestEpoch(MAX, selection="metric", patience=5)
    #          epoch:        1    2    3    4     5    6
    found = follow(best, [0.5, 0.8, 0.2, 0.8, 0.8, 0.5])
    assert [score for score, _ in found] == pytest.approx([0.5, 0.65, 0.5, 0.6, 0.6, 0.7])
    assert [flag for _, flag in found] == [True, True, True, True, False, True]
    assert best.epoch == 6
    assert (best.kept, best.value) == (5, 0.8), "of the epochs in the mean the last of the best value"
    assert best.score == pytest.approx(0.7)


def test_a_mean_of_fewer_than_three_never_beats_one_of_three() -> None:
    best = BestEpoch(MAX, selection="metric", patience=5)
    found = follow(best, [0.9, 0.9, 0.0, 0.1])
    # The third epoch's 0.6 is below the second's 0.9, yet it is the first that counts in full.
    assert [flag for _, flag in found] == [True, True, True, False]
    assert best.epoch == 3
    assert rank_key(3, 0.1, 1) > rank_key(2, 0.9, 1) > rank_key(1, 0.99, 1)
    assert rank_key(3, 0.2, 1) > rank_key(3, 0.1, 1)
    assert rank_key(3, 0.1, -1) > rank_key(3, 0.2, -1)
    assert [window_of({"epoch": epoch}) for epoch in (1, 2, 3, 4)] == [1, 2, 3, 3]
    assert window_of({"epoch": 4, "window": 0}) == 0


def test_a_score_that_is_only_equal_is_no_better() -> None:
    best = BestEpoch(MAX, selection="metric", patience=2)
    assert [flag for _, flag in follow(best, [0.5] * 5)] == [True, True, True, False, False]


def test_less_is_better_in_min_mode() -> None:
    best = BestEpoch(MIN, selection="metric", patience=5)
    found = follow(best, [3.0, 6.0, 3.0, 0.0, 9.0, 0.0, 0.0])
    assert [score for score, _ in found] == pytest.approx([3.0, 4.5, 4.0, 3.0, 4.0, 3.0, 3.0])
    assert [flag for _, flag in found] == [True, True, True, True, False, False, False]
    assert (best.epoch, best.value) == (4, 0.0)


def test_selection_by_loss_takes_the_lowest_loss_whatever_the_metric() -> None:
    best = BestEpoch(MAX, selection="loss", patience=5)
    found = follow(best, [0.9, 0.1, 0.2, 0.8, 0.9], losses=[2.0, 1.0, 1.5, 1.0, 0.5])
    assert [flag for _, flag in found] == [True, True, False, False, True]
    assert [score for score, _ in found] == pytest.approx([0.9, 0.5, 0.4, 1.1 / 3, 1.9 / 3])
    assert (best.epoch, best.value, best.loss) == (5, 0.9, 0.5)


def test_epochs_before_the_objective_is_trained_are_never_the_best_once_one_after_them_is_there() -> None:
    """Two epochs of delay: the third is the first that counts, and no mean reaches back."""
    best, windows, found = BestEpoch(MAX, selection="metric", patience=5, delay=2), [], []
    for epoch, value in enumerate([0.9, 0.8, 0.1, 0.3, 0.2, 0.6], start=1):
        found.append(best.observe(epoch, {"valid/auroc_mean": value, "valid/loss": 1.0}))
        windows.append(best.window)
    assert windows == [0, 0, 1, 2, 3, 3]
    assert [score for score, _ in found] == pytest.approx([0.9, 0.85, 0.1, 0.2, 0.2, 1.1 / 3])
    assert [flag for _, flag in found] == [True, False, True, True, True, True]
    assert (best.epoch, best.best_window) == (6, 3)


def test_by_loss_too_the_first_epoch_that_counts_is_better_than_all_before() -> None:
    best = BestEpoch(MAX, selection="loss", patience=5, delay=1)
    assert [flag for _, flag in follow(best, [0.5] * 4, losses=[0.1, 2.0, 3.0, 1.5])] == [True, True, False, True]


def test_patience_waits_for_the_objective() -> None:
    best, tired = BestEpoch(MAX, selection="metric", patience=1, delay=3), []
    for epoch, value in enumerate([0.9, 0.5, 0.4, 0.3, 0.2, 0.9], start=1):
        best.observe(epoch, {"valid/auroc_mean": value, "valid/loss": 1.0})
        tired.append(best.out_of_patience(epoch))
    assert tired == [False] * 6, "the fifth is a mean over two, the sixth over three"


def test_patience_counts_epochs_since_the_best() -> None:
    best = BestEpoch(MAX, selection="loss", patience=3)
    tired = []
    for epoch, loss in enumerate([3.0, 2.0, 2.5, 2.4, 1.9, 5.0, 5.0, 5.0], start=1):
        best.observe(epoch, {"valid/auroc_mean": 0.5, "valid/loss": loss})
        tired.append(best.out_of_patience(epoch))
    assert tired == [False, False, False, False, False, False, False, True]


def test_patience_of_one_ends_at_the_first_epoch_that_is_no_better() -> None:
    best = BestEpoch(MAX, selection="metric", patience=1)
    follow(best, [0.1, 0.2, 0.3])
    assert not best.out_of_patience(3)
    best.observe(4, {"valid/auroc_mean": 0.0})
    assert best.out_of_patience(4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["valid/auroc_mean", "valid/PN/recall"])
def test_a_metric_that_is_not_finite_ends_the_trial_and_is_named(bad: float, name: str) -> None:
    best = BestEpoch(MAX, selection="metric", patience=3)
    follow(best, [0.5])
    with pytest.raises(TrialDiverged, match=f"{name} must be finite; got {bad} at epoch 2"):
        best.observe(2, {"valid/auroc_mean": 0.6, "valid/PN/recall": 0.1, name: bad})
    assert (best.epoch, best.recent) == (1, [0.5])


def test_an_objective_that_nobody_reports_is_refused_with_those_that_are() -> None:
    best = BestEpoch(MAX, selection="metric", patience=3)
    expected = r"--metric must be one that the trials report \(valid/f1, valid/loss\); got 'valid/auroc_mean'"
    with pytest.raises(ValueError, match=expected):
        best.observe(1, {"valid/loss": 1.0, "valid/f1": 0.5})


@pytest.mark.parametrize("selection", ["metric", "loss"])
@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 2, 3, 5])
def test_a_state_put_back_from_json_goes_on_as_if_nothing_had_happened(selection: str, stop: int, delay: int) -> None:
    values, losses = [0.5, 0.8, 0.3, 0.7, 0.9, 0.2, 1.0], [3.0, 1.0, 2.0, 0.5, 0.7, 0.1, 0.2]
    unbroken, first = (BestEpoch(MAX, selection=selection, patience=4, delay=delay) for _ in range(2))
    expected = follow(unbroken, values, losses)
    follow(first, values[:stop], losses[:stop])
    second = BestEpoch(MAX, selection=selection, patience=4, delay=delay)
    second.restore(json.loads(json.dumps(first.state())))
    metrics = [{"valid/auroc_mean": value, "valid/loss": loss} for value, loss in zip(values, losses, strict=True)]
    rest = [second.observe(epoch, metrics[epoch - 1]) for epoch in range(stop + 1, len(values) + 1)]
    assert rest == expected[stop:]
    assert second.state() == unbroken.state()


VALUES = st.lists(st.integers(0, 9).map(lambda value: value / 10), min_size=1, max_size=12)


@given(VALUES, st.sampled_from([MAX, MIN]), st.integers(0, 4))
def test_the_epoch_kept_is_no_worse_than_the_mean_and_was_a_candidate_until_then(
    values: list[float], objective: Objective, delay: int
) -> None:
    best, held = BestEpoch(objective, selection="metric", patience=99, delay=delay), set[int]()
    for epoch, value in enumerate(values, start=1):
        before = best.kept
        best.observe(epoch, {objective.metric: value})
        assert best.kept in {*held, epoch}, "its model is still there"
        assert before <= best.kept <= best.epoch
        assert best.value == values[best.kept - 1]
        assert objective.sign * best.value >= objective.sign * best.score - 1e-12
        held = {best.kept, *best.candidates(epoch)}
        assert len(held) <= 3


def test_by_loss_and_in_a_confirmation_the_epoch_itself_is_kept() -> None:
    best = BestEpoch(MAX, selection="loss", patience=5)
    follow(best, [0.9, 0.1, 0.5], [3.0, 2.0, 4.0])
    assert (best.epoch, best.kept, best.value, best.candidates(3)) == (2, 2, 0.1, [])
    last = BestEpoch(MAX, selection="metric", patience=5, only=3)
    follow(last, [0.9, 0.1, 0.5])
    assert (last.kept, last.value, last.candidates(3)) == (3, 0.5, [])
