"""The training loop with a learner of one weight: when it begins an epoch, and what it writes of its notes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables import checkpoints, loop
from trainables.adam import Adam, Group
from trainables.contract import Objective, TrialRequest
from trainables.loop import TRACE, Learner, TrainedTrial


class OneWeight:
    """Learns nothing; remembers what the loop asked of it."""

    batches_per_epoch = 2
    numpy_generators: Mapping[str, np.random.Generator]
    torch_generators: Mapping[str, torch.Generator]

    def __init__(self, notes: list[str]) -> None:
        self.model: nn.Module = nn.Linear(1, 1)
        self.optimizer = Adam([Group(list(self.model.parameters()), 0.1)])
        self.numpy_generators, self.torch_generators = {}, {}
        self.notes = notes
        self.calls: list[Any] = []
        self.num_validated = 0

    @property
    def valid_batches(self) -> float:
        """Any number."""
        return 2.5

    def begin(self, epoch: int) -> None:
        """Remembers the epoch and whether the model trains."""
        self.calls.append((epoch, self.model.training))

    def draw_batch(self) -> Tensor:
        """One number."""
        self.calls.append("batch")
        return torch.ones(1, 1)

    def loss(self, batch: Tensor) -> Tensor:
        """Of any kind."""
        return self.model(batch).square().sum()

    def validate(self) -> dict[str, float]:
        """The same for ever."""
        self.model.eval()
        self.num_validated += 1
        return {"valid/gain": 0.5}

    def shown(self) -> Mapping[str, Tensor]:
        """How often it has validated."""
        return {"validated": torch.tensor(self.num_validated)}

    def diagnose(self) -> Tensor:
        """Of one number."""
        return self.model(torch.ones(1, 1))

    def description(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def trial_of(learner: OneWeight) -> TrainedTrial:
    objective = Objective("valid/gain", "max")
    request = TrialRequest("gated", {"selection": "metric", "patience": 9}, None, 0, objective, 9, device="cpu")
    return TrainedTrial(learner, request)


def test_a_learner_is_told_of_every_epoch_before_its_first_batch() -> None:
    learner = OneWeight([])
    assert isinstance(learner, Learner)
    trial = trial_of(learner)
    for _ in range(2):
        trial.step()
    assert learner.calls == [(1, True), "batch", "batch", (2, True), "batch", "batch"]


def test_a_resumed_trial_begins_the_epoch_that_would_have_followed(tmp_path: Path) -> None:
    first = trial_of(OneWeight([]))
    for _ in range(3):
        first.step()
    first.save(tmp_path / "state")
    learner = OneWeight([])
    resumed = trial_of(learner)
    resumed.load(tmp_path / "state")
    resumed.step()
    assert learner.calls[0] == (4, True)


class Clock:
    """A time that passes only where a test lets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        """What `time` has under this name."""
        return self.now


class Slow(OneWeight):
    """What it does takes the next of given seconds."""

    def __init__(self, clock: Clock, trained: list[float], seen: float, validated: float, batches: int) -> None:
        super().__init__([])
        self.clock, self.trained, self.seen, self.validated, self.batches_per_epoch = clock, trained, seen, validated, batches

    def draw_batch(self) -> Tensor:
        """One number, after a second."""
        self.clock.now += 1.0
        return super().draw_batch()

    def loss(self, batch: Tensor) -> Tensor:
        """Of any kind, after some time."""
        self.clock.now += self.trained.pop(0) if torch.is_grad_enabled() else self.seen
        return super().loss(batch)

    def validate(self) -> dict[str, float]:
        """The same for ever."""
        self.clock.now += self.validated
        return super().validate()


@pytest.mark.parametrize(
    ("batches", "seen", "epoch_s"),
    [
        # A second to draw and the middle of 7, 3 and 5 but for the first; a validation of 2.5 batches is short, and measured.
        (40, 1.0, 40 * 6.0 + 4.0),
        (1, 1.0, 1 * 6.0 + 4.0),
        # One that is expected to be long is not: 2.5 batches of 2 s.
        (3, 2.0, 3 * 6.0 + 5.0),
    ],
)
def test_a_rehearsal_multiplies_what_a_batch_takes(
    batches: int, seen: float, epoch_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    learner = Slow(clock, [25.0, 7.0, 3.0, 5.0], seen, 4.0, batches)
    trial = trial_of(learner)
    found = trial.rehearse()
    assert found.epoch_s == pytest.approx(epoch_s)
    assert found.cold_s == pytest.approx(26.0 - 6.0), "what the first batch paid for what is made once"
    # Each batch is the first of a pass, never its small last one, in an epoch in which everything is trained.
    assert learner.calls == [(9, True), "batch"] * 4
    assert trial.epoch == 0


@pytest.mark.parametrize("notes", [[], ["weights are random", "größer als im Artikel"]])
def test_a_learners_notes_are_the_trials_and_stand_in_every_config(tmp_path: Path, notes: list[str]) -> None:
    trial = trial_of(OneWeight(notes))
    assert list(trial.notes) == notes
    trial.step()
    trial.save(tmp_path / "state")
    trial.save_best(tmp_path / "best")
    for name in ("state", "best"):
        assert json.loads((tmp_path / name / "config.json").read_text())["notes"] == notes


def test_notes_do_not_keep_a_state_from_being_taken_over(tmp_path: Path) -> None:
    """They say what happened on a machine, for instance which weights were found there."""
    trial = trial_of(OneWeight(["weights are random"]))
    trial.step()
    trial.save(tmp_path / "state")
    other = trial_of(OneWeight([]))
    other.load(tmp_path / "state")
    assert other.epoch == 1


def test_a_best_checkpoint_holds_what_was_shown_up_to_its_epoch(tmp_path: Path) -> None:
    trial = trial_of(OneWeight([]))
    for _ in range(3):
        trial.step()
    trial.save(tmp_path / "state")
    resumed = trial_of(OneWeight([]))
    resumed.load(tmp_path / "state")
    for folder, later in (("own", trial), ("resumed", resumed)):
        later.step()  # no better than the third, the first whose score is a mean of three
        later.save_best(tmp_path / folder)
        traced = checkpoints.read(tmp_path / folder, TRACE)
        assert {name: tensor.tolist() for name, tensor in traced.items()} == {"epoch": [0, 1, 2, 3], "validated": [0, 1, 2, 3]}
