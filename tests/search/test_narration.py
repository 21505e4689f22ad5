"""What is told of what tasks share: the change since the start, and of several networks only what they agree on."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from models.gated_network import GatedNetwork
from search.analysis.common_explanations import spread_of, stability_by_chance
from search.analysis.narration import model_text, sharing_text, spread_text
from search.analysis.trial_figures import pictures_of_sharing
from trainables.data.cases import LabelTask
from trainables.explanation import Explanation
from trainables.gated.reading import sharing_of
from trainables.sharing import Sharing

TASKS = ("DIAG", "PN", "BWV", "VS", "PIG", "STR")
START = np.where(np.eye(len(TASKS), dtype=bool), 1.0, 0.5)[None]


def trained(change: np.ndarray, early: np.ndarray | None = None) -> Sharing:
    """A network that began with every gate half open."""
    middle = change if early is None else early
    return Sharing(TASKS, START + change, (0, 2, 18), np.stack([START, START + middle, START + change]))


def noise(seed: int, size: float = 0.2) -> np.ndarray:
    found = np.random.default_rng(seed).uniform(-size, size, START.shape)
    found[:, np.eye(len(TASKS), dtype=bool)] = 0.0
    return found


LEARNT = noise(99)


def networks(*changes: np.ndarray) -> str:
    spread = spread_of([trained(change) for change in changes])
    assert spread is not None
    return spread_text(spread)


def test_one_networks_change_is_told_and_what_was_there_before_is_not() -> None:
    change = np.zeros_like(START)
    change[0, 0, 1], change[0, 2, 3], change[0, 4, 5] = 0.3, -0.25, 0.02
    early = np.zeros_like(START)
    early[0, 0, 1] = 0.3
    text = sharing_text(trained(change, early))
    assert "took 50 % of another's features on average" in text
    assert "More than before: DIAG of PN +30 (percentage points)." in text
    assert "Less than before: BWV of VS -25 (percentage points)." in text
    assert "PIG of STR" not in text, "two percentage points are no change"
    off = ~np.eye(len(TASKS), dtype=bool)
    correlation = np.corrcoef(early[0][off], change[0][off])[0, 1]
    assert f"The change after epoch 2 correlates {correlation:.2f} with this one" in text


@pytest.mark.parametrize("step", [0.0, 0.02])
def test_a_network_whose_gates_have_not_moved_has_learnt_nothing_to_share(step: float) -> None:
    """The control: a fresh network, and one whose gates have all but stayed."""
    tasks = [LabelTask(name, ("no", "yes")) for name in TASKS]
    model = GatedNetwork(num_classes=[2] * len(tasks))
    start = sharing_of(model, tasks)
    for index, gate in enumerate(model.gate_parameters()):
        gate.data += step * torch.randn(gate.shape, generator=torch.Generator().manual_seed(index)).sign()
    end = sharing_of(model, tasks)
    assert start is not None
    assert end is not None
    sharing = Sharing(TASKS, end.blocks, (0, 3), np.stack([start.blocks, end.blocks]))
    assert sharing_text(sharing).startswith("Nothing was learnt to be shared that its start did not have")
    assert pictures_of_sharing(sharing) == {}
    spread = spread_of([sharing, sharing, sharing])
    assert spread is not None
    assert spread_text(spread).startswith("Nothing was learnt to be shared that the start did not have")


def test_networks_that_agree_are_told_where_they_do() -> None:
    text = networks(LEARNT, LEARNT + noise(1, 0.03), LEARNT + noise(2, 0.03))
    assert text.startswith("The 3 networks agree on who takes what")
    taker, giver = np.unravel_index(LEARNT[0].argmax(), LEARNT[0].shape)
    assert f"{TASKS[taker]} of {TASKS[giver]} +" in text


@pytest.mark.parametrize("seed", range(5))
def test_networks_each_with_its_own_luck_are_told_to_have_nothing_in_common(seed: int) -> None:
    text = networks(*(noise(10 * seed + number) for number in range(4)))
    assert text.startswith("Nothing can be said of who takes what: the 4 networks do not agree more than chance")
    assert " of " + TASKS[0] not in text


def test_a_pattern_that_all_networks_began_with_is_not_taken_for_learnt() -> None:
    """What the levels correlate by is the start; the changes are each network's own."""
    begun, sharings = START + noise(5, 0.3), list[Sharing]()
    for seed in range(4):
        end = begun + noise(20 + seed, 0.06)
        sharings.append(Sharing(TASKS, end, (0, 9), np.stack([begun, end])))
    levels = np.array([sharing.blocks.mean(0) for sharing in sharings])
    off = ~np.eye(len(TASKS), dtype=bool)
    assert np.corrcoef(levels[:, off]).min() > 0.8
    spread = spread_of(sharings)
    assert spread is not None
    assert not spread.agreed
    assert "do not agree" in spread_text(spread)


def test_without_a_record_of_the_start_nothing_is_told_of_what_was_learnt() -> None:
    old = Sharing(TASKS, START + LEARNT, (2, 18), np.stack([START, START + LEARNT]))
    assert "not recorded" in sharing_text(old)
    spread = spread_of([old, trained(LEARNT)])
    assert spread is not None
    assert "not recorded" in spread_text(spread)


def test_two_tasks_that_can_only_change_names_never_agree_beyond_chance() -> None:
    two = np.array([[[1.0, 0.7], [0.2, 1.0]]] * 3)
    assert stability_by_chance(two) == pytest.approx(1.0)


def texts_of(found: Sequence[Explanation]) -> list[str]:
    return [model_text(one) for one in found]


def test_a_model_with_nothing_to_explain_says_so_in_one_sentence() -> None:
    note = "gates=off: there is nothing to explain."
    assert texts_of([Explanation("", 0, note=note), Explanation("", 0)]) == [note, ""]
