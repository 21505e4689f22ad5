"""Trials as one program against each of them alone: twenty steps, metrics, whoever leaves, joins or diverges on the way."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from spaces.fields import complete
from spaces.gated import GatedSpace
from trainables.contract import EpochReport, TrialRequest
from trainables.errors import TrialDiverged
from trainables.gated import task as gated
from trainables.gated.fused import fusion_key, step_together
from trainables.loop import TrainedTrial
from trainables.tasks import TASKS

pytestmark = pytest.mark.timeout(60)
SMALL = {"precision": "float64", "size_px": 96, "k": 2, "batches_per_epoch": 2, "width": 0.5}
#: Whatever may differ between fused trials.
CONFIGS: list[dict[str, Any]] = [
    {},
    {"gamma_g": 0.5, "learning_rate": 1e-2, "augmentation": 0.0},
    {"augmentation_sizes": "wide", "augmentation": 0.7, "gates_l1": 0.02, "label_weights": "effective_number"},
    {"gates": "off", "l2": 1e-2, "label_weights": "none"},
    {"focal_beta": 0.5, "dropout": 0.0, "input_normalisation": "training_set", "label_weights": "inverse_frequency"},
    {"gates": "open"},
    {"batch_norm": False, "primary_task_weight": 3.0, "gate_learning_rate": 0.01},
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def source(synthetic_derm7pt: Path) -> str:
    return f"derm7pt:{synthetic_derm7pt}"


def trial_of(source: str, number: int, **fields: Any) -> TrainedTrial:
    """In double precision: what differs is a mistake, not rounding."""
    given = {**SMALL, **CONFIGS[number % len(CONFIGS)], **fields}
    config = complete(GatedSpace, given)
    request = TrialRequest("gated", config, source, 100 + number, TASKS["gated"].objective, 50, device="cpu")
    return gated.build(request)


def trials_of(source: str, numbers: Sequence[int], **fields: Any) -> list[TrainedTrial]:
    return [trial_of(source, number, **fields) for number in numbers]


def assert_same(found: EpochReport | TrialDiverged, expected: EpochReport, tolerance: float = 1e-8) -> None:
    """A report of a fused trial, and of the trial alone."""
    assert isinstance(found, EpochReport), found
    assert found.metrics.keys() == expected.metrics.keys()
    for name, value in expected.metrics.items():
        assert found.metrics[name] == pytest.approx(value, abs=tolerance, rel=tolerance), name
    assert (found.epoch, found.is_best, found.ended) == (expected.epoch, expected.is_best, expected.ended)
    assert found.score == pytest.approx(expected.score, abs=tolerance)


def assert_same_weights(one: TrainedTrial, other: TrainedTrial) -> None:
    theirs = other.learner.model.state_dict()
    for name, value in one.learner.model.state_dict().items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-8, atol=1e-9, msg=name)


@pytest.mark.parametrize(
    ("count", "epochs"),
    [
        (5, 2),
        pytest.param(2, 3, marks=pytest.mark.slow),
        pytest.param(16, 1, marks=pytest.mark.slow),
        pytest.param(5, 10, marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
        pytest.param(16, 10, marks=[pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(300)]),
    ],
)
def test_an_array_equals_its_members_alone_over_two_steps_an_epoch(count: int, epochs: int, source: str) -> None:
    together, alone = trials_of(source, range(count)), trials_of(source, range(count))
    for _ in range(epochs):
        found = step_together(together)
        for report, trial in zip(found, alone, strict=True):
            assert_same(report, trial.step())
    for one, other in zip(together, alone, strict=True):
        assert_same_weights(one, other)
        for name, generator in one.learner.torch_generators.items():
            assert torch.equal(generator.get_state(), other.learner.torch_generators[name].get_state())
        state = one.learner.numpy_generators["batches"].bit_generator.state
        assert state == other.learner.numpy_generators["batches"].bit_generator.state


def test_whoever_leaves_or_joins_changes_nothing_for_the_others(source: str, tmp_path: Path) -> None:
    short = {"batches_per_epoch": 1}
    together, alone = trials_of(source, range(6), **short), trials_of(source, range(6), **short)
    expected = [[trial.step() for _ in range(epochs)] for trial, epochs in zip(alone, (4, 2, 4, 3, 3, 2), strict=True)]
    # Member by epoch: the second leaves after two, the fifth joins at the second call and the last at the third.
    present = [[0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 2, 3, 4, 5], [5, 0, 4]]
    done = [0] * 6
    for members in present:
        for number, report in zip(members, step_together([together[n] for n in members]), strict=True):
            assert_same(report, expected[number][done[number]])
            done[number] += 1
    assert done == [4, 2, 3, 3, 3, 2]
    # One that left is saved, loaded and goes on alone, as if it had always been.
    together[2].save(tmp_path / "state")
    resumed = trial_of(source, 2, **short)
    resumed.load(tmp_path / "state")
    assert_same(resumed.step(), expected[2][3])


def test_a_member_that_diverges_says_so_and_changes_nothing(source: str) -> None:
    together, alone = (trials_of(source, range(3), batches_per_epoch=1) for _ in range(2))
    with torch.no_grad():
        together[1].learner.model.kernel_parameters()[0].fill_(float("nan"))
    found = step_together(together)
    assert isinstance(found[1], TrialDiverged)
    assert "train/loss must be finite" in str(found[1])
    for number in (0, 2):
        assert_same(found[number], alone[number].step())
    found = step_together([together[0], together[2]])
    for report, number in zip(found, (0, 2), strict=True):
        assert_same(report, alone[number].step())


def test_a_single_trial_is_stepped_as_it_is_alone_bit_for_bit(source: str) -> None:
    one, other = trial_of(source, 0), trial_of(source, 0)
    (found,), expected = step_together([one]), other.step()
    assert isinstance(found, EpochReport)
    assert found.metrics == expected.metrics
    for name, value in one.learner.model.state_dict().items():
        assert torch.equal(value, other.learner.model.state_dict()[name])


def test_what_changes_a_shape_keeps_trials_apart(source: str) -> None:
    base = trial_of(source, 0)
    assert all(fusion_key(trial_of(source, number)) == fusion_key(base) for number in range(len(CONFIGS)))
    others = {
        "sampling": {"sampling": "uniform", "batch_size": 20, "k": None},
        "k": {"k": 3},
        "batch_size": {"sampling": "uniform", "batch_size": 21, "k": None},
        "width": {"width": 1.0},
        "batches_per_epoch": {"batches_per_epoch": 3},
        "size_px": {"size_px": 100},
        "primary_task": {"primary_task": "PN"},
        "binary": {"binary": True},
        "precision": {"precision": "float32"},
    }
    assert tuple(others) == TASKS["gated"].shapes, "the fields that a search keeps apart"
    trials = [base, *(trial_of(source, 0, **fields) for fields in others.values())]
    assert len({fusion_key(trial) for trial in trials}) == len(trials)
    with pytest.raises(ValueError, match=r"^fused trials must be one or more of one key; got 2 of several"):
        step_together([base, trial_of(source, 1, width=1.0)])
    with pytest.raises(ValueError, match=r"^fused trials must be one or more of one key; got 0"):
        step_together([])


def test_seconds_are_a_members_part_of_the_arrays(source: str) -> None:
    trials, begun = trials_of(source, range(4)), time.perf_counter()
    seconds = [report.seconds for report in step_together(trials) if isinstance(report, EpochReport)]
    assert len(seconds) == 4
    assert min(seconds) > 0
    assert sum(seconds) <= time.perf_counter() - begun, "together they took no longer than the step"
