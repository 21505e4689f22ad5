"""The attentive network against a plain step-by-step reference, its variants, and what stays frozen."""

from collections.abc import Iterator
from typing import Any

import pytest
import reference_attentive
import torch
from torch import Tensor, nn

from models.attentive_network import AttentiveNetwork, check_size
from models.vgg import FrozenAffineBatchNorm
from spaces.attentive import VARIANTS, AttentiveSpace
from spaces.fields import complete
from trainables.attentive.model import build_model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(*, seed: int = 0, **settings: Any) -> AttentiveNetwork:
    """A network in evaluation with everything that starts at a constant (V, biases, norms) moved off it."""
    generator = seeded(seed)
    network = AttentiveNetwork(generator=generator, **{"width": 0.125, "timesteps": 3, **settings})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
                module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
        if network.attention is not None:
            weight = network.attention.score_weight
            weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
    return network.eval()


def images_of(count: int, height: int, width: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=seeded(seed))


CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no skips": {"skips": False},
    "norms trained": {"batch_norm": "trained"},
    "statistics frozen": {"batch_norm": "frozen_statistics"},
    "norms trained, no skips": {"batch_norm": "trained", "skips": False},
    "no norms": {"batch_norm": "none"},
    "no norms, no skips": {"batch_norm": "none", "skips": False},
    "maps average 1": {"attention_scale": "mean"},
    "maps average 1, norms trained": {"attention_scale": "mean", "batch_norm": "trained"},
    "maximum pooling": {"structure_pooling": "maximum"},
    "diagnosis from features": {"diagnosis_input": "features"},
    "pooled width": {"pooled_width": 16, "attention_scale": "mean"},
    "encoder wider": {"encoder_width": 0.25},
    "encoder narrower, maximum, norms trained": {
        "encoder_width": 0.0625,
        "structure_pooling": "maximum",
        "batch_norm": "trained",
    },
    "all at once": {
        "skips": False,
        "batch_norm": "trained",
        "diagnosis_input": "features",
        "pooled_width": 5,
        "structure_pooling": "maximum",
        "attention_scale": "mean",
        "timesteps": 2,
    },
    "two gazes, standardised": {"timesteps": 2, "input_mean": (0.7, 0.5, 0.4), "input_deviation": (0.3, 0.2, 0.1)},
}


def outputs_and_gradients(network: AttentiveNetwork, outputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    weights = [torch.randn(output.shape, generator=seeded(9)) / output.shape[0] for output in outputs]
    loss = torch.stack([(output * weight).sum() for output, weight in zip(outputs, weights, strict=True)]).sum()
    network.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
def test_network_equals_the_step_by_step_reference(settings: dict[str, Any]) -> None:
    check_against_reference(make(**settings), images_of(2, 40, 32))


@pytest.mark.parametrize("case", ["defaults", "no skips", "norms trained", "statistics frozen", "encoder wider", "all at once"])
def test_network_equals_the_reference_in_training_too(case: str) -> None:
    """In double precision: a bias that a norm takes away again has no gradient but what rounding leaves."""
    check_against_reference(make(**CASES[case]).double().train(), images_of(2, 40, 32).double())


def check_against_reference(network: AttentiveNetwork, images: Tensor) -> None:
    """Outputs and gradients."""
    expected = reference_attentive.forward(network, images)
    expected_gradients = outputs_and_gradients(network, expected)
    found = network(images)
    for name, wanted, value in zip(found._fields, expected_order(expected), found, strict=True):
        assert value.shape == wanted.shape, name
        assert (value - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.detach().abs().max())), name
    gradients = outputs_and_gradients(network, tuple(found))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert set(gradients) == set(expected_gradients) == trained
    for name, wanted in expected_gradients.items():
        assert float(wanted.abs().max()) > 0, f"{name} has no gradient to compare"
        assert (gradients[name] - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max())), name


def expected_order(reference: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    diagnosis, masks, structures, attention = reference
    return diagnosis, masks, structures, attention


def test_skips_change_the_masks_and_projections_exist_only_where_widths_differ() -> None:
    assert make().decoder.projects_skips is False
    assert make(encoder_width=0.25).decoder.projects_skips is True
    assert make(encoder_width=0.25, skips=False).decoder.projects_skips is False
    with_skips, without = make(), make(skips=False)
    images = images_of(1, 32, 32)
    assert not torch.allclose(with_skips(images).masks, without(images).masks)


def test_shapes_for_a_rectangular_image() -> None:
    reading = make(timesteps=4)(images_of(2, 48, 32))
    assert reading.diagnosis.shape == (2, 2)
    assert reading.masks.shape == (2, 4, 48, 32)
    assert reading.structures.shape == (2, 4, 6)
    assert reading.attention.shape == (2, 4, 6, 4)


@pytest.mark.parametrize(("scale", "total"), [("sum", 1.0), ("mean", 24.0)])
def test_attention_maps_sum_to_one_or_average_one(scale: str, total: float) -> None:
    attention = make(attention_scale=scale)(images_of(2, 48, 32)).attention
    torch.testing.assert_close(attention.sum((2, 3)), torch.full((2, 3), total), rtol=1e-5, atol=0)
    assert attention.std() > 0


def test_fresh_maps_are_uniform() -> None:
    network = AttentiveNetwork(width=0.125, generator=seeded(0)).eval()
    attention = network(images_of(2, 48, 32)).attention
    torch.testing.assert_close(attention, torch.full((2, 5, 6, 4), 1 / 24))


def test_vector_lengths_are_the_papers_at_width_1() -> None:
    network = AttentiveNetwork(generator=seeded(0))
    assert network.encoder.channels == [64, 128, 256]
    assert network.decoder.pooled_channels == 448
    assert [network.decoder.classifier[0].in_features, network.decoder.classifier[0].out_features] == [448, 224]
    assert network.decoder.classifier[1].out_features == 6
    assert network.diagnosis.vector_length == 512 + 256 * 5 == 1792
    assert network.diagnosis.layers[0].in_features == 1792
    kernels = [
        [tuple(layer.weight.shape[:2]) for layer in stage if hasattr(layer, "doubling")] for stage in network.decoder.stages
    ]
    assert kernels == [[(256, 256), (256, 256), (128, 256)], [(128, 128), (64, 128)], [(64, 64), (1, 64)]]
    assert network.attention.recurrent_weight.shape == (5 * 256, 256, 3, 3)


@pytest.mark.parametrize(("timesteps", "pooled_width", "length"), [(2, 0, 512 + 512), (5, 64, 512 + 64), (5, 0, 1792)])
def test_vector_length_scales(timesteps: int, pooled_width: int, length: int) -> None:
    branch = AttentiveNetwork(width=0.125, timesteps=timesteps, pooled_width=pooled_width, generator=seeded(0)).diagnosis
    pooled = pooled_width or (length - 512) // 8
    assert branch.vector_length == 64 + pooled


def test_five_gazes_of_a_224_px_image_see_784_cells() -> None:
    with torch.no_grad():
        reading = make(timesteps=1, width=0.0625)(images_of(1, 224, 224))
    assert reading.attention.shape == (1, 1, 28, 28)
    assert reading.masks.shape == (1, 1, 224, 224)


ABSENT = {
    "VGG": {"masks", "structures", "attention"},
    "VGG_GAP": {"masks", "structures", "attention"},
    "VGG_AttentiveConvLSTM": {"masks", "structures"},
    "VGG_AttentiveConvLSTM_GAP": {"masks", "structures"},
    "VGG_AttentiveConvLSTM_Deco_GAP_3": set(),
    "VGG_AttentiveConvLSTM_Deco_GAP_5": set(),
    "VGG_AttentiveConvLSTM_Deco_GAP_17": set(),
}


def test_the_paper_has_seven_variants() -> None:
    assert set(VARIANTS) == set(ABSENT)


@pytest.mark.parametrize("variant", ABSENT)
def test_variants_build_and_run(variant: str) -> None:
    config = complete(AttentiveSpace, {**VARIANTS[variant], "width": 0.125, "encoder_weights": "none"})
    model = build_model(config, seeded(0))
    reading = model(images_of(2, 32, 32), seeded(1))
    assert {name for name, value in reading._asdict().items() if value is None} == ABSENT[variant]
    assert reading.diagnosis.shape == (2, 2)
    assert all(torch.isfinite(value).all() for value in reading if value is not None)
    assert not any(p.requires_grad for p in model.encoder.parameters()), "the paper's encoder is not trained"


def variant(name: str, **more: Any) -> AttentiveNetwork:
    settings = {**VARIANTS[f"VGG_AttentiveConvLSTM_{name}"], "width": 0.125, "encoder_weights": "none", **more}
    return build_model(complete(AttentiveSpace, settings), seeded(0))


def test_variants_have_the_papers_parts() -> None:
    third, fifth, last = (variant(f"Deco_GAP_{number}") for number in (3, 5, 17))
    assert [len(model.decoder.skips) for model in (third, fifth, last)] == [3, 0, 0]
    norms = [{type(norm) for _, norm in model.encoder.layers()} for model in (third, fifth, last)]
    assert norms == [{FrozenAffineBatchNorm}, {nn.BatchNorm2d}, {nn.BatchNorm2d}]
    assert [model.diagnosis._sees_features for model in (third, fifth, last)] == [False, False, True]
    assert [model.diagnosis.shrink is None for model in (third, fifth, last)] == [True, True, False]
    assert last.diagnosis.vector_length == 64 + 256


def test_diagnosis_input_decides_what_blocks_4_and_5_see() -> None:
    """V of the attention moves what they see only when they see attended maps."""
    images = images_of(1, 32, 32)
    for diagnosis_input, moves in (("attended", True), ("features", False)):
        network = make(diagnosis_input=diagnosis_input, attention_scale="mean")
        with torch.no_grad():
            network.diagnosis.layers[0].weight[:, 64:] = 0.0
            before = network(images).diagnosis
            network.attention.score_weight.mul_(-3)
            after = network(images).diagnosis
        assert (before - after).abs().max().item() > 1e-4 if moves else torch.equal(before, after)


def test_a_fully_connected_head_is_vggs_and_drops_out_only_in_training() -> None:
    network = make(decoder=False, attention=False, head="fully_connected", width=0.03125)
    images = images_of(2, 32, 32)
    assert [(layer.in_features, layer.out_features) for layer in network.diagnosis.layers] == [
        (16 * 49, 128),
        (128, 128),
        (128, 2),
    ]
    assert torch.equal(network(images).diagnosis, network(images).diagnosis)
    network.train()
    first, again, other = (network(images, seeded(seed)).diagnosis for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("batch_norm", ["trained", "frozen", "frozen_statistics"])
def test_a_frozen_encoder_has_no_gradient_and_its_norms_do_as_they_are_told(batch_norm: str) -> None:
    """The authors' `model.train()` turns batch statistics on in the encoder, too, unless they are frozen."""
    network = make(batch_norm=batch_norm)
    network.freeze_encoder()
    network.train()
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    reading = network(images_of(4, 32, 32))
    (reading.diagnosis.sum() + reading.masks.sum()).backward()
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    assert network.attention.input_weight.grad is not None
    moved = {name for name, value in network.encoder.state_dict().items() if not torch.equal(value, before[name])}
    statistics = {name for name in before if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")}
    assert moved == (set() if batch_norm == "frozen_statistics" else statistics)


def test_frozen_norms_follow_the_batch_in_encoder_decoder_and_diagnosis_whether_or_not_the_encoder_is_trained() -> None:
    for freeze in (False, True):
        network = make(batch_norm="frozen")
        if freeze:
            network.freeze_encoder()
        network.train()
        assert network.takes_batch_statistics
        before = {name: value.clone() for name, value in network.state_dict().items()}
        images = images_of(4, 32, 32)
        reading = network(images)
        (reading.diagnosis.sum() + reading.masks.sum()).backward()
        changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
        norms = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
        assert len(norms) == 7 + 6 + 6
        assert changed == {f"{name}.{part}" for name in norms for part in ("running_mean", "running_var", "num_batches_tracked")}
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.weight.grad is None, name
                assert module.bias.grad is None, name
        assert (network.encoder.convolutions[0].weight.grad is None) is freeze
        alone = network(images[:1])
        assert not torch.allclose(alone.diagnosis, reading.diagnosis[:1]), "a case stands in its batch"
        network.eval()
        torch.testing.assert_close(network(images).diagnosis[:1], network(images[:1]).diagnosis, rtol=1e-4, atol=1e-5)


def test_an_encoder_that_is_not_frozen_moves() -> None:
    network = make(batch_norm="trained").train()
    before = network.encoder.norms[0].running_mean.clone()
    network(images_of(4, 32, 32)).masks.sum().backward()
    assert not torch.equal(network.encoder.norms[0].running_mean, before)
    assert network.encoder.convolutions[0].weight.grad.abs().max() > 0


def test_trained_norms_of_the_decoder_take_their_statistics_over_batch_and_time() -> None:
    network = make(batch_norm="trained").train()
    images = images_of(3, 32, 32)
    with torch.no_grad():
        hidden = network.attention(network.encoder(images)[-1]).hidden
        network.eval()
        encoded = network.encoder(images)
        first = network.decoder.stages[0][0]
        mixed = (hidden + encoded[-1].unsqueeze(1)) / 2
        maps = first(mixed.flatten(0, 1))
        norm = network.decoder.stages[0][1]
        expected = 0.9 * norm.running_mean + 0.1 * maps.mean((0, 2, 3))
        network.decoder.train()
        network.decoder(hidden, encoded)
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-4, atol=1e-5)


def test_a_frozen_encoder_gives_the_same_values() -> None:
    network, images = make(), images_of(2, 32, 32)
    before = network(images)
    network.freeze_encoder()
    for name, left, right in zip(before._fields, before, network(images), strict=True):
        assert torch.equal(left, right), name


@pytest.mark.parametrize("size_px", [32, 40, 224, 256])
def test_check_size_takes_multiples_of_8(size_px: int) -> None:
    check_size(size_px)


@pytest.mark.parametrize("size_px", [0, 24, 31, 33, 36, 220])
def test_check_size_refuses(size_px: int) -> None:
    with pytest.raises(ValueError, match=rf"size_px must be a multiple of 8, 32 or more.*; got {size_px} \(--set size_px=\)"):
        check_size(size_px)


def test_the_network_checks_both_sides() -> None:
    network = make()
    with pytest.raises(ValueError, match="got 36"):
        network(images_of(1, 32, 36))
    with pytest.raises(ValueError, match="got 24"):
        network(images_of(1, 24, 32))


def test_a_decoder_needs_attention() -> None:
    with pytest.raises(ValueError, match=r"attention must be on for a decoder; got attention off \(--set decoder=false\)"):
        AttentiveNetwork(attention=False, decoder=True, width=0.125)


def test_a_width_must_leave_a_channel() -> None:
    with pytest.raises(ValueError, match=r"width must leave every layer a channel; got 0\.005 of 64"):
        AttentiveNetwork(width=0.005)


def test_a_gaze_is_needed() -> None:
    with pytest.raises(ValueError, match="timesteps must be 1 or more; got 0"):
        AttentiveNetwork(width=0.125, timesteps=0)


@pytest.mark.parametrize(
    "settings",
    [{}, {"encoder_width": 0.25, "pooled_width": 8}, {"decoder": False, "head": "fully_connected", "width": 0.03125}],
    ids=["plain", "projections and dense layer", "fully connected"],
)
def test_weights_depend_on_the_generator_alone(settings: dict[str, Any]) -> None:
    states = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        network = AttentiveNetwork(**{"width": 0.125, "generator": seeded(5), **settings})
        assert torch.equal(torch.get_rng_state(), before), "the global generator was drawn from"
        states.append(network.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    other = AttentiveNetwork(**{"width": 0.125, "generator": seeded(6), **settings}).state_dict()
    assert not torch.equal(other["encoder.convolutions.0.weight"], states[0]["encoder.convolutions.0.weight"])


def test_a_case_does_not_depend_on_its_neighbours_in_evaluation() -> None:
    network, images = make(batch_norm="trained"), images_of(3, 32, 32)
    with torch.no_grad():
        together, alone = network(images), network(images[1:2])
    for name, left, right in zip(together._fields, together, alone, strict=True):
        torch.testing.assert_close(left[1:2], right, rtol=1e-4, atol=1e-5, msg=name)


def test_standardisation_is_part_of_the_network() -> None:
    images = images_of(1, 32, 32)
    inside = make(input_mean=(0.1, 0.2, 0.3), input_deviation=(0.5, 0.25, 2.0))
    outside = make()
    moved = (images - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.25, 2.0]).view(3, 1, 1)
    torch.testing.assert_close(inside(images).masks, outside(moved).masks)
    assert torch.equal(inside.state_dict()["input_mean"].flatten(), torch.tensor([0.1, 0.2, 0.3]))
