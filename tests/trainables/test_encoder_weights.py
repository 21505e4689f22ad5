"""VGG-16's weights by order, folded, calibrated, and everything that is no VGG-16."""

import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save, save_file
from torch import Tensor, nn

from models.attentive_network import AttentiveNetwork
from models.vgg import FrozenStatisticsBatchNorm
from trainables.attentive import encoder_weights
from trainables.attentive.encoder_weights import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    calibrate,
    in_order,
    needs_calibration,
    put_in,
    read_weights,
)
from trainables.errors import DataError

#: Layers of torchvision's features up to and including pool3.
POOL3 = {"plain": 17, "bn": 24}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def torchvision_features(kind: str) -> nn.Sequential:
    """The features of torchvision's `vgg16` or `vgg16_bn` with weights of their own everywhere, in evaluation."""
    configuration = torchvision.models.vgg.cfgs["D"]
    features = torchvision.models.vgg.make_layers(configuration, batch_norm=kind == "bn")
    generator = seeded(11)
    with torch.no_grad():
        for module in features:
            if isinstance(module, nn.Conv2d):
                deviation = (2 / (9 * module.in_channels)) ** 0.5
                module.weight.copy_(deviation * torch.randn(module.weight.shape, generator=generator))
                module.bias.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))
            elif isinstance(module, nn.BatchNorm2d):
                for values, shift in ((module.weight, 0.5), (module.running_var, 0.5)):
                    values.copy_(shift + torch.rand(values.shape, generator=generator))
                for values in (module.bias, module.running_mean):
                    values.copy_(0.2 * torch.randn(values.shape, generator=generator))
    return features.eval()


@pytest.fixture(scope="module")
def plain() -> nn.Sequential:
    return torchvision_features("plain")


@pytest.fixture(scope="module")
def normalised() -> nn.Sequential:
    return torchvision_features("bn")


def state_of(features: nn.Sequential, convolutions: int = 13) -> dict[str, Tensor]:
    """The state dict as torchvision names it, cut after some convolutions."""
    numbers = [int(position) for position, layer in enumerate(features) if isinstance(layer, nn.Conv2d)]
    end = numbers[convolutions] if convolutions < len(numbers) else len(features)
    return {f"features.{key}": value for key, value in features.state_dict().items() if int(key.split(".")[0]) < end}


def network_of(batch_norm: str, **settings: Any) -> AttentiveNetwork:
    """A narrow network beside a whole encoder."""
    chosen = {"attention": False, "decoder": False, "width": 0.125, "encoder_width": 1.0, **settings}
    return AttentiveNetwork(batch_norm=batch_norm, generator=seeded(0), **chosen).eval()


def images_of(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=seeded(seed))


def encoded(network: AttentiveNetwork, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network.encoder((images - network.input_mean) / network.input_deviation)[-1]


@pytest.mark.parametrize(("kind", "third"), [("plain", 5), ("bn", 7)])
def test_the_state_dicts_are_named_as_torchvisions(kind: str, third: int, request: pytest.FixtureRequest) -> None:
    """The third convolution is `features.5` in `vgg16` and `features.7` in `vgg16_bn`."""
    with torch.device("meta"):
        real = (torchvision.models.vgg16_bn if kind == "bn" else torchvision.models.vgg16)(init_weights=False)
    features = request.getfixturevalue("normalised" if kind == "bn" else "plain")
    wanted = {key: value.shape for key, value in real.state_dict().items() if key.startswith("features.")}
    state = state_of(features)
    assert {key: value.shape for key, value in state.items()} == wanted
    assert state[f"features.{third}.weight"].shape == (128, 64, 3, 3)


@pytest.mark.parametrize("kind", ["plain", "bn"])
@pytest.mark.parametrize("reverse", [False, True])
def test_layers_are_sorted_by_number(kind: str, reverse: bool, request: pytest.FixtureRequest) -> None:
    """As text, `features.10` stands before `features.2`."""
    features = request.getfixturevalue("normalised" if kind == "bn" else "plain")
    state = dict(sorted(state_of(features).items(), reverse=reverse))
    weights = in_order(state, "given")
    layers = [layer for layer in features if isinstance(layer, nn.Conv2d)]
    assert len(weights.convolutions) == 13
    assert all(torch.equal(weight, layer.weight) for (weight, _), layer in zip(weights.convolutions, layers, strict=True))
    assert all(torch.equal(bias, layer.bias) for (_, bias), layer in zip(weights.convolutions, layers, strict=True))
    norms = [layer for layer in features if isinstance(layer, nn.BatchNorm2d)]
    for values, norm in zip(weights.norms, norms, strict=True):
        for value, wanted in zip(values, (norm.weight, norm.bias, norm.running_mean, norm.running_var), strict=True):
            assert torch.equal(value, wanted)


def test_order_counts_and_not_names(plain: nn.Sequential) -> None:
    """The authors' own blocks may be named otherwise, so long as they are numbered in order."""
    renamed = {re.sub(r"features\.(\d+)", r"enc.block\1", key): value for key, value in state_of(plain, 7).items()}
    with_numbers = {key.replace("block", "block."): value for key, value in renamed.items()}
    weights = in_order(with_numbers, "renamed")
    assert torch.equal(weights.convolutions[6][0], [layer for layer in plain if isinstance(layer, nn.Conv2d)][6].weight)


@pytest.mark.parametrize("batch_norm", ["none", "frozen", "frozen_statistics"])
def test_plain_weights_give_torchvisions_features(batch_norm: str, plain: nn.Sequential) -> None:
    network, images = network_of(batch_norm), images_of(2)
    notes = put_in(network, in_order(state_of(plain), "vgg16"))
    with torch.no_grad():
        expected = plain[: POOL3["plain"]](images)
    assert expected.shape == (2, 256, 4, 4)
    # A fresh frozen norm divides by √(1 + 1e-5), seven times.
    torch.testing.assert_close(encoded(network, images), expected, rtol=2e-4, atol=1e-4)
    assert notes == ["6 of the 6 convolutions of blocks 4 and 5 start fresh: they have another width there (vgg16)"]


@pytest.mark.parametrize("batch_norm", ["none", "frozen_statistics", "frozen", "trained"])
def test_weights_with_norms_give_torchvisions_features(batch_norm: str, normalised: nn.Sequential) -> None:
    network, images = network_of(batch_norm), images_of(2)
    weights = in_order(state_of(normalised), "vgg16_bn")
    notes = put_in(network, weights)
    folded = "pretrained batch norms are folded into their convolutions (vgg16_bn)"
    assert (folded in notes) is (batch_norm == "none")
    with torch.no_grad():
        expected = normalised[: POOL3["bn"]](images)
    torch.testing.assert_close(encoded(network, images), expected, rtol=1e-4, atol=1e-4)
    assert not needs_calibration(network, weights)


@pytest.mark.parametrize("batch_norm", ["frozen", "frozen_statistics"])
def test_frozen_norms_copy_scale_shift_and_statistics(batch_norm: str, normalised: nn.Sequential) -> None:
    network = network_of(batch_norm)
    put_in(network, in_order(state_of(normalised), "vgg16_bn"))
    theirs = [layer for layer in normalised if isinstance(layer, nn.BatchNorm2d)]
    for (_, ours), wanted in zip(network.encoder.layers(), theirs[:7], strict=True):
        assert isinstance(ours, FrozenStatisticsBatchNorm) is (batch_norm == "frozen_statistics")
        for name in ("weight", "bias", "running_mean", "running_var"):
            assert torch.equal(getattr(ours, name), getattr(wanted, name)), name
    evaluated, trained = encoded(network, images_of(2)), encoded(network.train(), images_of(2))
    if batch_norm == "frozen_statistics":
        assert torch.equal(trained, evaluated)
    else:
        assert not torch.allclose(trained, evaluated, rtol=0.1), "in training the statistics are the batch's"


FOLDED = "pretrained batch norms are folded into their convolutions (whole)"
FRESH_NORMS = "the batch norms of blocks 4 and 5 start fresh beside plain weights (whole)"


@pytest.mark.parametrize(
    ("kind", "batch_norm", "notes"),
    [
        ("plain", "none", []),
        ("bn", "trained", []),
        ("bn", "frozen", []),
        ("bn", "frozen_statistics", []),
        ("bn", "none", [FOLDED]),
    ],
)
def test_blocks_4_and_5_are_filled_at_full_width(
    kind: str, batch_norm: str, notes: list[str], request: pytest.FixtureRequest
) -> None:
    features = request.getfixturevalue("normalised" if kind == "bn" else "plain")
    network, images = network_of(batch_norm, width=1.0), images_of(1)
    assert put_in(network, in_order(state_of(features), "whole")) == notes
    with torch.no_grad():
        found = network.diagnosis.blocks(encoded(network, images))[-1]
        torch.testing.assert_close(found, features(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("batch_norm", ["trained", "frozen", "frozen_statistics"])
def test_fresh_norms_of_blocks_4_and_5_beside_plain_weights_are_noted(batch_norm: str, plain: nn.Sequential) -> None:
    assert put_in(network_of(batch_norm, width=1.0), in_order(state_of(plain), "whole")) == [FRESH_NORMS]


def test_a_narrow_encoder_takes_no_weights(plain: nn.Sequential) -> None:
    network = network_of("none", encoder_width=0.125)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"an encoder must have its full width for pretrained weights; got \[8, 16, 32\]"):
        put_in(network, in_order(state_of(plain), "vgg16"))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_dense_layers_are_kept_only_where_they_are_wanted(suffix: str, plain: nn.Sequential, tmp_path: Path) -> None:
    state = {**state_of(plain), "classifier.0.weight": torch.ones(5, 4), "classifier.0.bias": torch.ones(5)}
    assert not in_order(state, "without", dense=False).dense
    assert len(in_order(state, "with").dense) == 1
    file = tmp_path / f"weights.{suffix}"
    torch.save(state, file) if suffix == "pt" else save_file(state, file)
    without, having = read_weights(str(file)), read_weights(str(file), dense=True)
    assert (len(without.dense), len(having.dense)) == (0, 1)
    assert len(without.convolutions) == len(having.convolutions) == 13


def test_the_input_statistics_are_torchvisions() -> None:
    preset = torchvision.models.VGG16_Weights.IMAGENET1K_V1.transforms()
    assert tuple(preset.mean) == IMAGENET_MEAN
    assert tuple(preset.std) == IMAGENET_DEVIATION


@pytest.mark.parametrize("batch_norm", ["trained", "frozen", "frozen_statistics"])
def test_calibrated_norms_are_the_identity(batch_norm: str, plain: nn.Sequential) -> None:
    standardised = {"input_mean": (0.5, 0.4, 0.3), "input_deviation": (0.2, 0.3, 0.25)}
    weights = in_order(state_of(plain, 7), "vgg16")
    without, network = network_of("none", **standardised), network_of(batch_norm, **standardised)
    for each in (without, network):
        put_in(each, weights)
    assert needs_calibration(network, weights)
    assert not needs_calibration(without, weights)
    shown = images_of(11)
    line = calibrate(network, shown)
    assert line == "the encoder's batch norms start as the identity, calibrated on 11 training images"
    other = 0.3 * images_of(3, seed=8)
    torch.testing.assert_close(encoded(network.eval(), other), encoded(without, other), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(encoded(network.train(), shown), encoded(without, shown), rtol=1e-3, atol=1e-3)


def test_calibration_is_what_keeps_the_features(plain: nn.Sequential) -> None:
    weights = in_order(state_of(plain, 7), "vgg16")
    without, network = network_of("none"), network_of("trained")
    for each in (without, network):
        put_in(each, weights)
    images = images_of(4)
    assert not torch.allclose(encoded(network.train(), images), encoded(without, images), rtol=0.05, atol=0.05)


def test_calibration_by_hand(plain: nn.Sequential) -> None:
    """Scale √(variance + eps) and shift the mean, of what the first two convolutions give."""
    network = network_of("trained")
    put_in(network, in_order(state_of(plain, 7), "vgg16"))
    images = images_of(10)
    calibrate(network, images)
    with torch.no_grad():
        first = plain[0](images)
        second = plain[2](first.clamp(min=0))
    for position, maps in enumerate((first, second)):
        norm = network.encoder.norms[position]
        mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), unbiased=False)
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(norm.running_var, variance, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(norm.weight.detach(), (variance + 1e-5).sqrt(), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(norm.bias.detach(), mean, rtol=1e-4, atol=1e-4)


def test_calibration_leaves_the_weights_and_blocks_4_and_5(plain: nn.Sequential) -> None:
    network = network_of("trained")
    put_in(network, in_order(state_of(plain, 7), "vgg16"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    calibrate(network, images_of(3))
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.rsplit(".", 2)[0] for name in moved} == {"encoder.norms"}


def test_the_shared_file_holds_blocks_1_to_3(shared_data: Path) -> None:
    file = shared_data / "vgg16_blocks1-3.pt"
    if not file.is_file():
        pytest.skip(f"needs {file}, which is not part of the repository")
    weights = read_weights(str(file))
    assert weights is not None
    assert len(weights.convolutions) == 7
    assert weights.name == "vgg16_blocks1-3.pt"
    assert not weights.dense
    assert re.fullmatch("[0-9a-f]{16}", weights.digest)
    network = network_of("none")
    notes = put_in(network, weights)
    assert notes == ["6 of the 6 convolutions of blocks 4 and 5 start fresh: they are not in it (vgg16_blocks1-3.pt)"]
    for (convolution, _), (weight, bias) in zip(network.encoder.layers(), weights.convolutions, strict=True):
        assert torch.equal(convolution.weight, weight)
        assert torch.equal(convolution.bias, bias)
    assert needs_calibration(network_of("trained"), weights) is (not weights.norms)


def test_part_of_block_4_is_used(plain: nn.Sequential) -> None:
    network = network_of("none", width=1.0)
    notes = put_in(network, in_order(state_of(plain, 9), "nine"))
    assert notes == ["4 of the 6 convolutions of blocks 4 and 5 start fresh: they are not in it (nine)"]
    ninth = [layer for layer in plain if isinstance(layer, nn.Conv2d)][8]
    assert torch.equal(network.diagnosis.blocks.convolutions[1].weight, ninth.weight)


def test_dense_layers_that_do_not_fit_are_named(plain: nn.Sequential) -> None:
    network = network_of("none", head="fully_connected", width=0.03125)
    notes = put_in(network, in_order(state_of(plain), "vgg16"))
    assert notes[-1] == "VGG's dense layers start fresh: vgg16 has none that fit"


def test_dense_layers_that_fit_are_copied_but_the_last(plain: nn.Sequential) -> None:
    network = network_of("none", head="fully_connected", width=0.03125)
    shapes = [(128, 16 * 49), (128, 128), (1000, 128)]
    dense = {}
    for number, shape in zip((0, 3, 6), shapes, strict=True):
        dense |= {f"classifier.{number}.weight": torch.randn(shape), f"classifier.{number}.bias": torch.randn(shape[0])}
    last = network.diagnosis.layers[2].weight.clone()
    notes = put_in(network, in_order({**dense, **state_of(plain)}, "vgg16"))
    assert len(notes) == 1
    assert torch.equal(network.diagnosis.layers[0].weight, dense["classifier.0.weight"])
    assert torch.equal(network.diagnosis.layers[1].bias, dense["classifier.3.bias"])
    assert torch.equal(network.diagnosis.layers[2].weight, last)


def test_none_reads_nothing() -> None:
    assert read_weights("none") is None


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_reads_back(suffix: str, plain: nn.Sequential, tmp_path: Path) -> None:
    file, state = tmp_path / f"my weights.{suffix}", state_of(plain, 7)
    if suffix == "pt":
        torch.save(state, file)
    else:
        save_file(state, file)
    weights = read_weights(str(file))
    assert weights.digest == in_order(state, "other name").digest
    assert weights.name == file.name


def test_a_file_that_changed_is_read_again(plain: nn.Sequential, tmp_path: Path) -> None:
    file, state = tmp_path / "weights.pt", state_of(plain, 7)
    torch.save(state, file)
    first = read_weights(str(file))
    torch.save({**state, "features.0.bias": state["features.0.bias"] + 1}, file)
    os.utime(file, (1, 1))
    second = read_weights(str(file))
    assert first.digest != second.digest
    assert torch.equal(second.convolutions[0][1], first.convolutions[0][1] + 1)


def test_the_digest_covers_the_norms(normalised: nn.Sequential) -> None:
    """Two files that differ only in a batch norm make two different encoders."""
    state = state_of(normalised, 7)
    other = {**state, "features.1.running_mean": state["features.1.running_mean"] + 1}
    assert in_order(state, "one").digest != in_order(other, "other").digest


def refused(file: Path) -> str:
    with pytest.raises(DataError, match=r"^encoder_weights must .*; got .*\(--set encoder_weights=\)$") as caught:
        read_weights(str(file))
    text = str(caught.value)
    assert "\n" not in text
    return text


def saved(tmp_path: Path, value: object) -> Path:
    file = tmp_path / "given.pt"
    torch.save(value, file)
    return file


def test_too_few_convolutions(plain: nn.Sequential, tmp_path: Path) -> None:
    text = refused(saved(tmp_path, state_of(plain, 6)))
    assert "the first seven at least, and finite numbers; got 6 convolutions and 0 norms in given.pt" in text


def test_wrong_shapes(plain: nn.Sequential, tmp_path: Path) -> None:
    state = state_of(plain, 7)
    state["features.2.weight"] = torch.zeros(64, 64, 5, 5)
    assert "must hold VGG-16's convolutions in order" in refused(saved(tmp_path, state))


def test_another_networks_convolutions(tmp_path: Path) -> None:
    configuration = torchvision.models.vgg.cfgs["A"]
    state = torchvision.models.vgg.make_layers(configuration).state_dict()
    assert "got 8 convolutions" in refused(saved(tmp_path, state))


def test_norms_that_are_missing_somewhere(normalised: nn.Sequential, tmp_path: Path) -> None:
    state = {key: value for key, value in state_of(normalised, 7).items() if not key.startswith("features.1.")}
    assert "got 7 convolutions and 6 norms" in refused(saved(tmp_path, state))


@pytest.mark.parametrize("value", [{}, {"a": torch.zeros(3)}], ids=["empty", "no convolution"])
def test_no_convolution(value: dict[str, Tensor], tmp_path: Path) -> None:
    assert "got 0 convolutions" in refused(saved(tmp_path, value))


@pytest.mark.parametrize(
    "value", [[torch.zeros(3)], torch.zeros(3), {"state_dict": {"a": torch.zeros(3)}}], ids=["list", "tensor", "nested"]
)
def test_no_state_dict(value: object, tmp_path: Path) -> None:
    assert "must be a state dict of tensors" in refused(saved(tmp_path, value))


def test_keys_that_are_no_text(tmp_path: Path) -> None:
    assert "must be a state dict of tensors" in refused(saved(tmp_path, {0: torch.zeros(3)}))


def test_norms_without_scale_and_shift(plain: nn.Sequential, tmp_path: Path) -> None:
    """As `BatchNorm2d(affine=False)` writes them."""
    statistics = {"features.1.running_mean": torch.zeros(64), "features.1.running_var": torch.ones(64)}
    assert "got 7 convolutions and 1 norms" in refused(saved(tmp_path, {**state_of(plain, 7), **statistics}))


def test_norms_of_the_wrong_size(normalised: nn.Sequential, tmp_path: Path) -> None:
    """Each norm must fit its convolution: a whole network's worth of them is no proof."""
    state = state_of(normalised, 7)
    for part in ("weight", "bias", "running_mean", "running_var"):
        state[f"features.1.{part}"] = torch.ones(32)
    assert "got 7 convolutions and 7 norms" in refused(saved(tmp_path, state))


@pytest.mark.parametrize("text", ["VGG16 weights go here\n", "hello\n", "a list of weights\n", "", "<html>404</html>"])
def test_a_text_file(text: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_text(text)
    assert str(file) in refused(file)


def test_the_message_does_not_advise_to_run_code(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_text("VGG16 weights go here\n")
    assert "arbitrary code execution" not in refused(file)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_a_damaged_file(name: str, plain: nn.Sequential, tmp_path: Path) -> None:
    file, whole = tmp_path / name, tmp_path / "whole.pt"
    torch.save(state_of(plain, 2), whole)
    content = save(state_of(plain, 2)) if name.endswith(".safetensors") else whole.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert str(file) in refused(file)


class Touch:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("by", ["pickle", "torch"])
def test_code_in_a_pickle_is_not_run(by: str, tmp_path: Path) -> None:
    trace, file = tmp_path / "trace", tmp_path / "weights.pt"
    if by == "pickle":
        file.write_bytes(pickle.dumps({"a": Touch(trace)}, protocol=2))
    else:
        torch.save({"a": Touch(trace)}, file)
    refused(file)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Touch(trace)))
    assert trace.exists(), "the trap itself must work"


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert "FileNotFoundError" in refused(tmp_path / "missing.pt")
    assert str(tmp_path) in refused(tmp_path)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("error", [URLError("Name or service not known"), OSError("not known"), RuntimeError("hash not known")])
def test_a_failing_download_is_one_clear_line(dense: bool, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", fail)
    monkeypatch.setattr(encoder_weights, "_download", encoder_weights._download.__wrapped__)
    wanted = r"encoder_weights imagenet must be downloadable or in torch's cache; got .*not known.* from https?://.*vgg16_bn-"
    with pytest.raises(DataError, match=wanted) as caught:
        read_weights("imagenet", dense=dense)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("(--set encoder_weights=FILE, or none)")


@pytest.mark.parametrize("batch_norm", ["none", "trained", "frozen", "frozen_statistics"])
def test_imagenet_is_the_network_with_norms_whatever_ours_has(
    batch_norm: str, normalised: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"VGG16_BN_Weights": state_of(normalised)}
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda self, **_: given[type(self).__name__])
    monkeypatch.setattr(encoder_weights, "_download", encoder_weights._download.__wrapped__)
    weights = read_weights("imagenet")
    assert len(weights.norms) == 13
    notes = put_in(network_of(batch_norm, width=1.0), weights)
    folded = ["pretrained batch norms are folded into their convolutions (vgg16_bn, ImageNet)"]
    assert notes == (folded if batch_norm == "none" else [])
