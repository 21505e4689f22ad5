"""Layers with explicit initial weights, made without memory first: torch would draw weights from its global generator."""

import torch
from torch import nn

from models.initialisation import glorot_uniform_, he_normal_


def fresh_convolution(
    channels_in: int, channels: int, *, size: int, padding: int, generator: torch.Generator | None
) -> nn.Conv2d:
    """A convolution as torchvision's VGG starts one: He's normal weights by the outgoing fan, zero bias."""
    layer = nn.Conv2d(channels_in, channels, size, padding=padding, device="meta").to_empty(device="cpu")
    he_normal_(layer.weight, fan=channels * size * size, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def dense(inputs: int, outputs: int, generator: torch.Generator | None, *, deviation: float | None = None) -> nn.Linear:
    """A dense layer with a zero bias.

    Args:    inputs, outputs: units.
             generator: on the CPU; draws the initial weights.
             deviation: of normal weights (torchvision's VGG has 0.01); None for Glorot's uniform ones.
    """
    layer: nn.Linear = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    if deviation is None:
        glorot_uniform_(layer.weight, fan_in=inputs, fan_out=outputs, generator=generator)
    else:
        with torch.no_grad():
            layer.weight.normal_(0.0, deviation, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
