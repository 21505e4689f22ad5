"""Several resamples at once: in chunks that hold every one of them once and take little memory."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables import counted
from trainables.attentive.gaze_metrics import GazeReadings
from trainables.attentive.judged import Judged
from trainables.attentive.structure_metrics import StructureReadings
from trainables.data.cases import LabelTask
from trainables.data.segmented import ATTRIBUTES, STRUCTURES
from trainables.gated.metrics import gated_metrics

TASKS = tuple(
    LabelTask(name, tuple("abcde"[:classes])) for name, classes in zip("stuvwxyz", (5, 3, 2, 3, 3, 3, 3, 2), strict=True)
)
MOST_MB = 100


@given(st.integers(1, 1000), st.integers(1, 300_000))
def test_chunks_hold_every_resample_once(num_resamples: int, num_cases: int) -> None:
    found = counted.chunks(num_resamples, num_cases)
    assert np.concatenate(found).tolist() == list(range(num_resamples))
    assert all(len(chunk) == 1 or len(chunk) * num_cases <= 100_000 for chunk in found)


def test_metrics_of_all_cases_are_those_that_have_a_meaning() -> None:
    found = counted.of_all(lambda counts: {"sum": counts.sum(1) * 1.0, "none": np.full(len(counts), np.nan)}, 4)
    assert found == {"sum": 4.0}
    assert type(found["sum"]) is float


def test_sums_and_means_over_what_there_is() -> None:
    counts, table = np.array([[1, 0, 2], [0, 0, 0]]), np.array([[0.5, 1.0], [7.0, 7.0], [0.25, 3.0]])
    assert counted.sums(counts, table).tolist() == [[1.0, 7.0], [0.0, 0.0]]
    assert counted.numbers(counts, table > 0.4).tolist() == [[1.0, 3.0], [0.0, 0.0]]
    np.testing.assert_array_equal(counted.ratio(np.array([1, 0, 0]), np.array([4, 2, 0])), [0.25, 0.0, np.nan])
    np.testing.assert_array_equal(counted.mean_of(np.array([[1.0, np.nan, np.nan], [4.0, 3.0, np.nan]])), [2.5, 3.0, np.nan])


def test_a_mean_is_the_same_whatever_is_computed_beside_it() -> None:
    """Otherwise gates that are all alike would not score exactly 0."""
    values = np.random.default_rng(0).random((8, 40, 3))
    beside = counted.mean_of(values)
    alone = [[counted.mean_of(values[:, row, column, None])[0] for column in range(3)] for row in range(40)]
    assert beside.tolist() == alone


def measures(num_cases: int) -> dict[str, counted.Measure]:
    """Of a gated checkpoint of eight tasks, and of an attentive one of five gazes at maps of 28 x 28 cells."""
    generator = np.random.default_rng(0)
    codes = np.stack([generator.integers(0, len(task.classes), num_cases) for task in TASKS], 1)
    said = [generator.random((num_cases, len(TASKS), 5)) for _ in range(3)]
    melanoma, hits = generator.random(num_cases), [generator.integers(0, 4, (num_cases, 4, 3)) for _ in range(3)]
    confusion = generator.integers(0, 4, (num_cases, len(STRUCTURES), len(STRUCTURES)))
    pixels = [np.ones((num_cases, *shape, 2, 512)) for shape in ((len(ATTRIBUTES),), (), (len(ATTRIBUTES),))]
    structures = StructureReadings(generator.random((num_cases, len(STRUCTURES))), *hits, confusion, *pixels)
    gazes = GazeReadings(
        points=generator.integers(0, 784, (num_cases, 5)),
        claims=generator.integers(0, len(STRUCTURES), (num_cases, 5)),
        named=np.ones(num_cases, dtype=bool),
        occupied=generator.random((num_cases, len(STRUCTURES), 784)) < 0.5,
        known=np.ones(num_cases, dtype=bool),
        entropy=generator.random(num_cases),
        repeated=generator.integers(1, 3, (num_cases, 2)),
    )
    judged = Judged(np.stack([1 - melanoma, melanoma], 1), structures, gazes)
    return {
        "gated": lambda counts: gated_metrics(said, codes, TASKS, "s", counts),
        "attentive": partial(judged.metrics, (melanoma[:, None] > 0.7).astype(np.int64)),
    }


@pytest.mark.parametrize("task", ["gated", "attentive"])
@pytest.mark.parametrize("num_cases", [100, 600])
def test_a_chunk_takes_little_memory(task: str, num_cases: int) -> None:
    """A thousand of 600 cases at once would take more."""
    measure = measures(num_cases)[task]
    counts = np.random.default_rng(0).integers(0, 3, (len(counted.chunks(1000, num_cases)[0]), num_cases))
    tracemalloc.start()
    try:
        measure(counts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MB * 1e6
