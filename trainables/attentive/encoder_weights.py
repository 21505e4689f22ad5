"""VGG-16's pretrained weights, from torchvision or a file, into our blocks: by order, never by name."""

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from models.attentive_network import AttentiveNetwork
from models.vgg import BLOCKS
from spaces.errors import RequestError
from trainables.data.cache import cache_root
from trainables.errors import DataError
from trainables.places import is_writable

#: torchvision's: what its pretrained networks were standardised with.
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CALIBRATION_CHUNK = 8


@dataclass(frozen=True)
class VggWeights:
    """Weights in VGG-16's order.

    Args:    convolutions: (weight, bias) of each convolution, first to last, at least seven.
             norms: scale, shift, mean and variance after each convolution, empty for a plain network.
             dense: (weight, bias) of each dense layer.
             name: where they come from, for messages.
             digest: of convolutions and norms, 16 hexadecimal digits.
    """

    convolutions: tuple[tuple[Tensor, Tensor], ...]
    norms: tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]
    dense: tuple[tuple[Tensor, Tensor], ...]
    name: str
    digest: str


def read_weights(choice: str, *, dense: bool = False) -> VggWeights | None:
    """The weights that a configuration names.

    Args:    choice: "none"; "imagenet", torchvision's `vgg16_bn`, whose norms can be folded away; or a file with torchvision's
                 state dict of `vgg16` or `vgg16_bn`, whole or its beginning.
             dense: whether VGG's dense layers are wanted, half a gigabyte.
    Returns: None for "none".
    Raises:  DataError: when they cannot be had or are no VGG-16.
    """
    if choice == "none":
        return None
    if choice == "imagenet":
        return _download(dense)
    return _read_file(choice, Path(choice).stat().st_mtime_ns if Path(choice).is_file() else 0, dense)


@lru_cache(maxsize=1)
def _read_file(name: str, modified: int, dense: bool) -> VggWeights:
    try:
        state = load_file(name) if name.endswith(".safetensors") else torch.load(name, map_location="cpu", weights_only=True)
    except Exception as error:
        kind = type(error).__name__
        raise DataError(
            f"encoder_weights must be a file that torch.save or safetensors wrote; got {name}, which is none ({kind})"
            " (--set encoder_weights=)"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise DataError(f"encoder_weights must be a state dict of tensors; got another object in {name} (--set encoder_weights=)")
    return in_order(state, Path(name).name, dense=dense)


@lru_cache(maxsize=1)
def _download(dense: bool) -> VggWeights:
    from torchvision import models  # slow to import, and needed only to download

    weights = models.VGG16_BN_Weights.IMAGENET1K_V1
    try:
        state = weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, model_dir=str(_kept_in(weights.url)))
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"encoder_weights imagenet must be downloadable or in torch's cache; got {reason} from {weights.url}"
            " (--set encoder_weights=FILE, or none)"
        ) from error
    return in_order(state, "vgg16_bn, ImageNet", dense=dense)


def _kept_in(url: str) -> Path:
    """Torch's own folder for what it downloads; ours where it has none that can be written."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return folder if (folder / Path(url).name).is_file() or is_writable(folder) else cache_root() / "torch"


def in_order(state: Mapping[str, Tensor], name: str, *, dense: bool = True) -> VggWeights:
    """Sorts a state dict's layers by their numbers: `features.7` is another layer in `vgg16_bn` than in `vgg16`.

    Raises:  DataError: when the convolutions are not those of VGG-16, or fewer than the encoder's seven.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for key in sorted(state, key=_natural):
        prefix, _, part = key.rpartition(".")
        if dense or not (part in ("weight", "bias") and state.get(f"{prefix}.weight", torch.empty(0)).ndim == 2):
            layers.setdefault(prefix, {})[part] = state[key].float()
    convolutions = [_pair(layer) for layer in layers.values() if layer.get("weight", torch.empty(0)).ndim == 4]
    norms = [_norm(layer) for layer in layers.values() if "running_mean" in layer and "running_var" in layer]
    denses = [_pair(layer) for layer in layers.values() if layer.get("weight", torch.empty(0)).ndim == 2]
    found, expected = [tuple(weight.shape) for weight, _ in convolutions], _shapes()
    channels = [shape[0] for shape in found]
    fits = (
        7 <= len(found) <= len(expected)
        and found == expected[: len(found)]
        and [len(bias) for _, bias in convolutions] == channels
        and (not norms or [[len(value) for value in norm] for norm in norms] == [[count] * 4 for count in channels])
        and all(bool(value.isfinite().all()) for layer in layers.values() for value in layer.values())
    )
    if not fits:
        raise DataError(
            f"encoder_weights must hold VGG-16's convolutions in order, the first seven at least, and finite numbers; got"
            f" {len(found)} convolutions and {len(norms)} norms in {name} (--set encoder_weights=)"
        )
    digest = hashlib.sha256()
    for values in (*convolutions, *norms):
        for value in values:
            digest.update(value.contiguous().numpy().tobytes())
    return VggWeights(tuple(convolutions), tuple(norms), tuple(denses), name, digest.hexdigest()[:16])


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[._]", key)]


def _pair(layer: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    weight = layer["weight"]
    return weight, layer.get("bias", torch.zeros(len(weight)))


def _norm(layer: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mean, variance = layer["running_mean"], layer["running_var"]
    return layer.get("weight", torch.ones_like(mean)), layer.get("bias", torch.zeros_like(mean)), mean, variance


def _shapes() -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    before = 3
    for count, channels in BLOCKS:
        for _ in range(count):
            shapes.append((channels, before, 3, 3))
            before = channels
    return shapes


def put_in(network: AttentiveNetwork, weights: VggWeights) -> list[str]:
    """Copies weights into the encoder and, where there are any that fit, into blocks 4 and 5 and VGG's dense layers.

    A batch-norm network's norms are folded into its convolutions where ours has none, which is exact in evaluation.

    Args:    network: on the CPU, its encoder at full width.
    Returns: what starts fresh or is folded, one line each, for the log.
    Raises:  RequestError: when the encoder is narrower.
    """
    if network.encoder.channels != [channels for _, channels in BLOCKS[:3]]:
        raise RequestError(f"an encoder must have its full width for pretrained weights; got {network.encoder.channels} channels")
    notes = []
    layers = [*network.encoder.layers(), *network.diagnosis.blocks.layers()]
    fresh = 0
    with torch.no_grad():
        for position, (convolution, norm) in enumerate(layers):
            known = position < len(weights.convolutions)
            if not known or convolution.weight.shape != weights.convolutions[position][0].shape:
                fresh += 1
                continue
            weight, bias = weights.convolutions[position]
            if weights.norms:
                weight, bias = _with_norm(norm, weight, bias, weights.norms[position])
            convolution.weight.copy_(weight)
            if convolution.bias is not None:
                convolution.bias.copy_(bias)
        if fresh:
            why = "are not in it" if len(weights.convolutions) < len(layers) else "have another width there"
            notes.append(f"{fresh} of the 6 convolutions of blocks 4 and 5 start fresh: they {why} ({weights.name})")
        if weights.norms and not isinstance(layers[0][1], nn.BatchNorm2d):
            notes.append(f"pretrained batch norms are folded into their convolutions ({weights.name})")
        if not fresh and not weights.norms and isinstance(layers[-1][1], nn.BatchNorm2d):
            notes.append(f"the batch norms of blocks 4 and 5 start fresh beside plain weights ({weights.name})")
        dense = [layer for layer in network.diagnosis.layers if isinstance(layer, nn.Linear)][:-1]
        for layer, (weight, bias) in zip(dense, weights.dense, strict=False):
            if layer.weight.shape == weight.shape:
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
        if dense and not (weights.dense and dense[0].weight.shape == weights.dense[0][0].shape):
            notes.append(f"VGG's dense layers start fresh: {weights.name} has none that fit")
    return notes


def _with_norm(
    norm: nn.Module, weight: Tensor, bias: Tensor, values: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    scale, shift, mean, variance = values
    if isinstance(norm, nn.BatchNorm2d):
        _fill(norm, scale, shift, mean, variance)
        return weight, bias
    factor = scale / (variance + 1e-5).sqrt()
    return weight * factor.view(-1, 1, 1, 1), (bias - mean) * factor + shift


def calibrate(network: AttentiveNetwork, images: Tensor) -> str:
    """Starts the encoder's batch norms as the identity on these images: scale √variance, shift mean, of what reaches them.

    Weights of a plain network expect no normalisation; a fresh norm that takes batch statistics would change what they compute
    from the first batch on.

    Args:    network: with a batch-norm encoder that holds plain weights, on the images' device.
             images: N × 3 × height × width of the training set, in [0, 1].
    Returns: a line for the log.
    """
    layers = list(network.encoder.layers())
    ends = set(accumulate(network.encoder.counts))
    totals = [torch.zeros(2, len(convolution.weight), dtype=torch.float64) for convolution, _ in layers]
    counts = [0] * len(layers)
    with torch.no_grad():
        for chunk in torch.split(images, _CALIBRATION_CHUNK):
            maps = (chunk - network.input_mean) / network.input_deviation
            for position, (convolution, _) in enumerate(layers, start=1):
                maps = convolution(maps)
                totals[position - 1] += torch.stack([maps.double().sum((0, 2, 3)), maps.double().square().sum((0, 2, 3))]).cpu()
                counts[position - 1] += maps[:, 0].numel()
                maps = F.max_pool2d(F.relu(maps), 2) if position in ends else F.relu(maps)
        for (_, norm), total, count in zip(layers, totals, counts, strict=True):
            mean, square = total / count
            variance = (square - mean.square()).clamp(min=0).float()
            if isinstance(norm, nn.BatchNorm2d):
                _fill(norm, (variance + norm.eps).sqrt(), mean.float(), mean.float(), variance)
    return f"the encoder's batch norms start as the identity, calibrated on {len(images)} training images"


def _fill(norm: nn.BatchNorm2d, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> None:
    for slot, value in ((norm.weight, scale), (norm.bias, shift), (norm.running_mean, mean), (norm.running_var, variance)):
        if slot is not None:
            slot.copy_(value)


def needs_calibration(network: AttentiveNetwork, weights: VggWeights) -> bool:
    """Whether plain weights sit in an encoder with batch norm."""
    _, norm = next(network.encoder.layers())
    return not weights.norms and isinstance(norm, nn.BatchNorm2d)
