"""Where the evidence lies: on the lesion, and elsewhere once the weights are shuffled."""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float, UInt8
from scipy import stats
from torch import Tensor

from models.gated_network import GatedNetwork
from spaces.fields import complete
from spaces.gated import GatedSpace
from trainables.attribution import GRID, integrated_gradients, log_odds, summed_over_cells
from trainables.augmentation import to_unit_range
from trainables.contract import Objective, TrialRequest
from trainables.data.derm7pt import TASKS
from trainables.data.derm7pt_synthetic import draw_labels, write
from trainables.data.drawing import draw_lesion, geometry
from trainables.devices import threads
from trainables.explanation import Attribution
from trainables.gated import task as gated

SIZE = 96


def drawn(count: int, seed: int) -> tuple[UInt8[Tensor, "cases 3 size size"], list[np.ndarray], dict[str, list[str]]]:
    """Synthetic lesions, where each one is, and its labels."""
    labels = draw_labels(max(count, 30), np.random.default_rng(seed))
    images, masks = [], []
    for index in range(count):
        case = {task: column[index] for task, column in labels.items()}
        images.append(draw_lesion(case, SIZE, np.random.default_rng([seed, index])))
        masks.append(geometry(SIZE, case["STR"], np.random.default_rng([seed, index])).inside > 0.5)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), masks, labels


def shuffled(model: GatedNetwork) -> GatedNetwork:
    """The same network with the values of each weight in another order."""
    other, generator = copy.deepcopy(model), torch.Generator().manual_seed(7)
    for parameter in other.parameters():
        parameter.data = parameter.data.flatten()[torch.randperm(parameter.numel(), generator=generator)].view_as(parameter)
    return other


def maps_of(model: GatedNetwork, pixels: UInt8[Tensor, "3 size size"]) -> Float[np.ndarray, "tasks rows columns"]:
    image = to_unit_range(pixels[None])[0]
    with threads(1):
        with torch.no_grad():
            said = model(image[None])[0].argmax(-1)
        return integrated_gradients(lambda images: log_odds(model(images), said), image)


def fresh(seed: int) -> GatedNetwork:
    return GatedNetwork(
        num_classes=[len(task.classes) for task in TASKS], width=0.5, dropout=0.0, generator=torch.Generator().manual_seed(seed)
    ).eval()


def test_the_map_changes_with_the_weights() -> None:
    """Adebayo et al. 2018, "Sanity checks for saliency maps": a map that does not hang on the weights explains nothing."""
    image, model = drawn(1, 5)[0][0], fresh(0)
    here, elsewhere = maps_of(model, image), maps_of(shuffled(model), image)
    found = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(here, elsewhere, strict=True)]
    assert abs(float(np.mean(found))) < 0.4, found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trained_networks_evidence_lies_on_the_lesion_more_than_chance_or_shuffled_weights_have_it(tmp_path: Path) -> None:
    write(tmp_path / "a set", 120, SIZE, 0)
    config = complete(GatedSpace, {"size_px": SIZE, "width": 0.5, "batches_per_epoch": 4})
    source = f"derm7pt:{tmp_path / 'a set'}"
    trial = gated.build(TrialRequest("gated", config, source, 1, Objective("valid/auroc_mean", "max"), 10, "cpu", num_threads=2))
    for _ in range(10):
        trial.step()
    trial.save_best(tmp_path / "best")
    images, masks, _ = drawn(4, 9)
    model = gated.load_model(tmp_path / "best")

    def share(network: GatedNetwork) -> float:
        pairs = [(Attribution(one), mask) for image, mask in zip(images, masks, strict=True) for one in maps_of(network, image)]
        return float(np.mean([found for one, mask in pairs if (found := one.within(mask)) is not None]))

    chance = float(np.mean(masks))
    assert share(model) > 1.5 * chance
    assert share(model) > share(shuffled(model))


def test_all_cells_together_are_what_the_image_adds_to_the_score() -> None:
    model, image = fresh(1), drawn(1, 6)[0][0]
    pixels = to_unit_range(image[None])[0]
    with torch.no_grad():
        said = model(pixels[None])[0].argmax(-1)
        even = pixels.mean((1, 2), keepdim=True).expand_as(pixels)
        added = (log_odds(model(pixels[None]), said) - log_odds(model(even[None]), said))[0]
    assert maps_of(model, image).sum((1, 2)) == pytest.approx(added.numpy(), rel=0.1, abs=0.02)


def test_a_score_of_a_few_pixels_has_its_evidence_there() -> None:
    def scores(images: Tensor) -> Tensor:
        return torch.stack([images[:, 0, 4:8, 8:12].sum((1, 2)), 0.0 * images.sum((1, 2, 3))], 1)

    image = torch.full((3, SIZE, SIZE), 0.5)
    image[0, 4:8, 8:12], image[0, 40:44, 8:12] = 0.75, 0.25
    maps = integrated_gradients(scores, image)
    assert maps.shape == (2, GRID, GRID)
    assert maps[0, 1, 2] == pytest.approx(16 * 0.25), "sixteen pixels, each a quarter above the mean"
    assert np.abs(maps[1]).sum() == 0.0, "what does not depend on the image has none"
    found = Attribution(maps[0])
    assert found.peak == pytest.approx((2.5 / GRID, 1.5 / GRID))
    assert found.half_in == pytest.approx(1 / GRID**2)
    assert found.to_json()["for"] == pytest.approx(4.0)
    assert found.to_json()["against"] == 0.0
    assert Attribution(maps[1]).half_in is None


@pytest.mark.parametrize("size", [24, 91, 100, 257])
def test_every_pixel_counts_once_whatever_the_size(size: int) -> None:
    maps = torch.rand(2, size, size, dtype=torch.float64)
    torch.testing.assert_close(summed_over_cells(maps).sum((1, 2)), maps.sum((1, 2)))


ODDS: Mapping[str, tuple[list[list[float]], list[float]]] = {
    "two classes": ([[2.0, 0.5, -np.inf]], [1.5]),
    "three classes": ([[0.0, 0.0, 3.0]], [3.0 - np.log(2.0)]),
    "one class": ([[2.0, -np.inf, -np.inf]], [0.0]),
}


@pytest.mark.parametrize("kind", ODDS)
def test_log_odds_worked_by_hand(kind: str) -> None:
    logits, expected = ODDS[kind]
    given = torch.tensor([logits], requires_grad=True)
    found = log_odds(given, given[0].argmax(-1))
    assert found.tolist() == [pytest.approx(expected)]
    found.sum().backward()
    assert given.grad is not None
    assert bool(torch.isfinite(given.grad).all())


def test_evidence_everywhere_alike_is_half_in_half_the_image() -> None:
    even = Attribution(np.full((4, 4), 1 / 16))
    assert even.half_in == 0.5
    assert even.within(np.repeat(np.arange(8) < 2, 8).reshape(8, 8)) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="a mask must be a multiple of 4 x 4; got 9 x 8"):
        even.within(np.zeros((9, 8), dtype=bool))
