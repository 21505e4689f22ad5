"""Which cases a training batch draws."""

import numpy as np
import pytest

from trainables import batches
from trainables.data.derm7pt import TASKS

NUM_CLASSES = tuple(len(task.classes) for task in TASKS)
BINARY = (2, *NUM_CLASSES[1:])


def labels_of(num_classes: tuple[int, ...], cases: int = 200, *, missing: float = 0.0, seed: int = 0) -> np.ndarray:
    """Random codes in which every label occurs."""
    generator = np.random.default_rng(seed)
    labels = np.stack([generator.integers(0, count, cases) for count in num_classes], 1)
    labels[generator.random(labels.shape) < missing] = -1
    for column, count in enumerate(num_classes):
        labels[:count, column] = np.arange(count)
    return labels


@pytest.mark.parametrize(("num_classes", "labels", "size"), [(NUM_CLASSES, 24, 144), (BINARY, 21, 126)])
def test_a_balanced_batch_of_the_paper_has_six_cases_a_label(num_classes: tuple[int, ...], labels: int, size: int) -> None:
    assert sum(num_classes) == labels
    assert len(batches.balanced(labels_of(num_classes), 6)(np.random.default_rng(0))) == size


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_every_label_is_in_a_balanced_batch_k_times_or_more(k: int, missing: float) -> None:
    labels = labels_of(NUM_CLASSES, missing=missing)
    draw, generator = batches.balanced(labels, k), np.random.default_rng(1)
    for _ in range(5):
        chosen = labels[draw(generator)]
        for column, count in enumerate(NUM_CLASSES):
            assert (np.bincount(chosen[chosen[:, column] >= 0, column], minlength=count) >= k).all()


def test_the_draws_stand_in_the_order_of_tasks_and_labels() -> None:
    labels = np.array([[0, 1], [1, 0], [1, 1], [2, -1]])
    chosen = batches.balanced(labels, 3)(np.random.default_rng(0))
    assert labels[chosen[:9], 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert labels[chosen[9:], 1].tolist() == [0, 0, 0, 1, 1, 1]


def test_a_missing_label_is_never_drawn_on() -> None:
    labels = np.array([[0, 0], [1, 1], [-1, -1], [0, -1], [-1, 1]])
    draw, generator = batches.balanced(labels, 40), np.random.default_rng(0)
    chosen = draw(generator)
    assert len(chosen) == 4 * 40, "-1 is not a label of its own"
    assert 2 not in chosen
    assert set(chosen) == {0, 1, 3, 4}
    assert -1 not in labels[chosen[:80], 0]
    assert -1 not in labels[chosen[80:], 1]


def test_a_rare_label_is_drawn_again_and_again_and_common_ones_evenly() -> None:
    labels = np.array([[1]] + [[0]] * 4)
    chosen = batches.balanced(labels, 4000)(np.random.default_rng(0))
    counts = np.bincount(chosen, minlength=5)
    assert counts[0] == 4000
    assert counts[1:].sum() == 4000
    assert (abs(counts[1:] - 1000) < 150).all()


def test_a_uniform_batch_holds_each_case_at_most_once_and_all_in_time() -> None:
    draw, generator = batches.uniform(50, 12), np.random.default_rng(0)
    seen: set[int] = set()
    for _ in range(60):
        chosen = draw(generator)
        assert len(chosen) == len(set(chosen)) == 12
        assert 0 <= chosen.min() <= chosen.max() < 50
        seen |= set(chosen.tolist())
    assert seen == set(range(50))


def test_a_set_smaller_than_a_uniform_batch_is_one_batch() -> None:
    assert sorted(batches.uniform(5, 144)(np.random.default_rng(0)).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "rule", [batches.balanced(labels_of(NUM_CLASSES), 2), batches.uniform(200, 30)], ids=["balanced", "uniform"]
)
def test_the_generator_alone_decides(rule: batches.Draw) -> None:
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    np.random.default_rng(6).random()
    first = rule(one)
    assert first.tolist() == rule(other).tolist()
    assert first.tolist() != rule(one).tolist()


@pytest.mark.parametrize(
    ("num_cases", "batch_size", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (3, 5, [3]), (2, 1, [1, 1]), (1, 1, [1])]
)
def test_a_pass_holds_each_case_once_and_its_last_batch_may_be_smaller(num_cases: int, batch_size: int, sizes: list[int]) -> None:
    passes = batches.Passes(num_cases, batch_size, np.random.default_rng(0))
    for _ in range(3):
        drawn = [passes.draw() for _ in sizes]
        assert [len(batch) for batch in drawn] == sizes
        assert sorted(np.concatenate(drawn).tolist()) == list(range(num_cases))


def test_every_pass_has_an_order_of_its_own() -> None:
    passes = batches.Passes(30, 30, np.random.default_rng(0))
    orders = [passes.draw().tolist() for _ in range(4)]
    assert list(range(30)) not in orders
    assert len({tuple(order) for order in orders}) == 4


def test_a_pass_begun_anew_forgets_what_was_left_of_the_last_one() -> None:
    passes = batches.Passes(10, 4, np.random.default_rng(0))
    passes.draw()
    passes.shuffle()
    drawn = [passes.draw() for _ in range(3)]
    assert [len(batch) for batch in drawn] == [4, 4, 2]
    assert sorted(np.concatenate(drawn).tolist()) == list(range(10))


def test_passes_go_on_from_their_generators_state() -> None:
    """At the beginning of a pass the generator is all there is to remember."""
    generator = np.random.default_rng(3)
    passes = batches.Passes(9, 4, generator)
    for _ in range(3):
        passes.draw()
    state = generator.bit_generator.state
    passes.shuffle()
    expected = [passes.draw().tolist() for _ in range(6)]
    other = np.random.default_rng(99)
    other.bit_generator.state = state
    again = batches.Passes(9, 4, other)
    assert [again.draw().tolist() for _ in range(6)] == expected


def test_repeat_factors_by_hand() -> None:
    """Of four cases all have skin, two a network (√2), one streaks (√4)."""
    presence = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]], dtype=bool)
    assert batches.repeat_factors(presence).tolist() == pytest.approx([1.0, 2**0.5, 2.0, 1.0])
    assert batches.repeat_factors(np.zeros((2, 3), dtype=bool)).tolist() == [1.0, 1.0]


def drawn(passes: batches.Passes, count: int) -> np.ndarray:
    """So many passes, each whole."""
    found = []
    for _ in range(count):
        passes.shuffle()
        parts, length = [], 0
        while length < 10:
            parts.append(passes.draw())
            length += len(parts[-1])
        assert [len(part) for part in parts] == [4, 4, 2]
        found.append(np.concatenate(parts))
    return np.array(found)


def test_a_pass_with_shares_is_as_long_and_has_each_case_in_proportion_rounded_up_or_down() -> None:
    shares = np.array([1.0, 1, 1, 1, 1, 1, 1, 1, 2, 5])
    found = drawn(batches.Passes(10, 4, np.random.default_rng(0), shares), 300)
    counts = np.stack([np.bincount(line, minlength=10) for line in found])
    expected = shares * 10 / shares.sum()
    assert (counts >= np.floor(expected)).all()
    assert (counts <= np.ceil(expected)).all()
    assert counts.mean(0) == pytest.approx(expected, abs=0.08)
    assert len({tuple(line) for line in found}) == 300, "in a random order"


def test_without_shares_a_pass_is_the_permutation_that_it_was() -> None:
    found = drawn(batches.Passes(10, 4, np.random.default_rng(0)), 2)
    generator = np.random.default_rng(0)
    assert found.tolist() == [generator.permutation(10).tolist() for _ in range(2)]


def test_passes_with_shares_follow_their_generator() -> None:
    shares = np.arange(1.0, 11)
    first, again = (drawn(batches.Passes(10, 4, np.random.default_rng(5), shares), 3) for _ in range(2))
    assert np.array_equal(first, again)
