"""The attentive network and its optimiser as a configuration names them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from models.attentive_network import AttentiveNetwork
from spaces.fields import Value, number
from trainables.adam import Adam, Group


def build_model(
    config: Mapping[str, Value],
    generator: torch.Generator | None = None,
    statistics: tuple[Any, Any] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
) -> AttentiveNetwork:
    """The network that a configuration names, its weights fresh.

    Args:    config: every field of `AttentiveSpace`.
             generator: draws the initial weights.
             statistics: mean and deviation by which images are standardised; a checkpoint holds its own.
    """
    attention, decoder = bool(config["attention"]), bool(config["decoder"])
    given: dict[str, Any] = {name: config[name] for name in ("head", "batch_norm") if config[name] is not None}
    if attention:
        given |= {name: config[name] for name in ("timesteps", "attention_scale", "diagnosis_input")}
        given["pooled_width"] = config["pooled_width"] or 0
    if decoder:
        given |= {name: config[name] for name in ("skips", "structure_pooling")}
    model = AttentiveNetwork(
        attention=attention,
        decoder=decoder,
        width=number(config, "width"),
        # Pretrained weights fit one width only.
        encoder_width=None if config["encoder_weights"] == "none" else 1.0,
        input_mean=statistics[0],
        input_deviation=statistics[1],
        generator=generator,
        **given,
    )
    if config["encoder"] == "frozen":
        model.freeze_encoder()
    return model


def build_optimizer(model: AttentiveNetwork, config: Mapping[str, Value]) -> Adam:
    """Adam with a rate each for encoder, attention and branches.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Section 4.1
    Deviations: a learning rate of 0 means that the encoder is left out altogether.
    """
    parts: list[tuple[nn.Module, str]] = [(model.diagnosis, "branch_learning_rate")]
    if model.decoder is not None:
        parts.append((model.decoder, "branch_learning_rate"))
    if model.attention is not None:
        parts.append((model.attention, "attention_learning_rate"))
    if config["encoder"] == "trained":
        parts.append((model.encoder, "encoder_learning_rate"))
    decay = number(config, "weight_decay")
    groups = [
        Group([parameter for parameter in part.parameters() if parameter.requires_grad], number(config, rate), decay)
        for part, rate in parts
    ]
    return Adam(groups, betas=(number(config, "adam_beta1"), number(config, "adam_beta2")))
