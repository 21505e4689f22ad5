"""The gated network again, told plainly: a loop over tasks, a copy of all maps for each task, one layer at a time.

It shares no code with `models/`. It takes its weights out of a `GatedNetwork` and keeps them task by task, so that a
slip in the fused network's layouts shows. Tests hold the fused network to it; benchmarks time the two side by side.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gated_network import GatedNetwork

STRIDES = (2, 1, 1, 1)
EPSILON = 1e-3


class ReferenceGatedNetwork(nn.Module):
    """Coppola et al. 2020, Fig. 1 and Eq. 3 to 7, without dropout.

    Args:    network: what to copy; it must have its final data type.
             num_classes: classes of each task.
    """

    def __init__(self, network: GatedNetwork, num_classes: list[int]) -> None:
        super().__init__()
        tasks = range(len(num_classes))
        self.num_classes, self.num_tasks = list(num_classes), len(num_classes)
        self.input_mean, self.input_deviation = network.input_mean.flatten().tolist(), network.input_deviation.flatten().tolist()
        self.convolutions, self.reductions, self.raw_gates = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.gamma_g, self.momentum, self.statistics = [], [], []
        for weight, block in zip(network.convolutions, network.blocks, strict=True):
            channels = weight.shape[0] // self.num_tasks
            self.convolutions.append(_own([weight[t * channels : (t + 1) * channels] for t in tasks]))
            self.reductions.append(_own([torch.cat([block.reduction[t, :, i] for i in tasks], dim=1) for t in tasks]))
            raw = block.gates.raw
            # Task t keeps a raw value for each of the others, in the tasks' order.
            others = [[i for i in tasks if i != t] for t in tasks]
            taken = [raw[t, place] for t in tasks for place, _ in enumerate(others[t])] if raw is not None else []
            self.raw_gates.append(_own(taken))
            self.gamma_g.append(block.gates.gamma_g)
            normalised = isinstance(block.norm, nn.BatchNorm2d)
            self.momentum.append(block.norm.momentum if normalised else None)
            self.statistics.append((block.norm.running_mean.clone(), block.norm.running_var.clone()) if normalised else None)
        self.untaught = 1.0 if network.blocks[0].gates.mode == "open" else 0.0
        head, starts = network.head, [sum(num_classes[:t]) for t in tasks]
        rows = [slice(start, start + count) for start, count in zip(starts, num_classes, strict=True)]
        self.hidden_weights, self.hidden_biases = _own(list(head.hidden_weight)), _own(list(head.hidden_bias))
        self.class_weights = _own([head.class_weight[row] for row in rows])
        self.class_biases = _own([head.class_bias[row] for row in rows])

    def gate(self, block: int, taker: int, giver: int, channels: int) -> Tensor:
        """alpha of Eq. 7 for one pair of tasks; 1 for the task's own maps; for others' 0 when the gates are off, 1 when open."""
        like = self.convolutions[block][taker]
        if taker == giver:
            return torch.ones(channels, dtype=like.dtype, device=like.device)
        if len(self.raw_gates[block]) == 0:
            return torch.full((channels,), self.untaught, dtype=like.dtype, device=like.device)
        place = taker * (self.num_tasks - 1) + (giver if giver < taker else giver - 1)
        return torch.sigmoid(self.gamma_g[block] * self.raw_gates[block][place])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Each task's logits."""
        tasks = range(self.num_tasks)
        channels_in = [(images[:, c] - self.input_mean[c]) / self.input_deviation[c] for c in range(3)]
        features = [torch.stack(channels_in, dim=1) for _ in tasks]
        for block, stride in enumerate(STRIDES):
            maps = []
            for t in tasks:
                convolved = F.conv2d(features[t], self.convolutions[block][t], stride=stride)
                maps.append(F.max_pool2d(F.relu(convolved), kernel_size=2))
            channels = maps[0].shape[1]
            everything = self._normalise(block, torch.cat(maps, dim=1))
            for t in tasks:
                gates = torch.cat([self.gate(block, t, i, channels) for i in tasks])
                gated = everything.clone() * gates[None, :, None, None]
                features[t] = F.relu(F.conv2d(gated, self.reductions[block][t][:, :, None, None]))
        logits = []
        for t in tasks:
            pooled = F.adaptive_avg_pool2d(features[t], 1).flatten(1)
            hidden = F.relu(F.linear(pooled, self.hidden_weights[t], self.hidden_biases[t]))
            logits.append(F.linear(hidden, self.class_weights[t], self.class_biases[t]))
        return logits

    def _normalise(self, block: int, maps: Tensor) -> Tensor:
        if self.statistics[block] is None:
            return maps
        mean, variance = self.statistics[block]
        return F.batch_norm(
            maps, mean, variance, training=self.training, momentum=self.momentum[block] if self.training else 0.0, eps=EPSILON
        )

    def gradients(self) -> dict[str, Tensor]:
        """Gradients under the fused network's parameter names and in its layouts, after a backward pass."""
        return self.fused(lambda parameter: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)

    def fused(self, of: Callable[[nn.Parameter], Tensor]) -> dict[str, Tensor]:
        """Something of every parameter, put together as the fused network lays its parameters out."""
        found: dict[str, Tensor] = {}
        for block in range(len(STRIDES)):
            found[f"convolutions.{block}"] = torch.cat([of(weight) for weight in self.convolutions[block]])
            by_task = [of(weight).unflatten(1, (self.num_tasks, -1)) for weight in self.reductions[block]]
            found[f"blocks.{block}.reduction"] = torch.stack(by_task)
            if len(self.raw_gates[block]):
                raw = torch.stack([of(value) for value in self.raw_gates[block]])
                found[f"blocks.{block}.gates.raw"] = raw.unflatten(0, (self.num_tasks, self.num_tasks - 1))
        found["head.hidden_weight"] = torch.stack([of(weight) for weight in self.hidden_weights])
        found["head.hidden_bias"] = torch.stack([of(bias) for bias in self.hidden_biases])
        found["head.class_weight"] = torch.cat([of(weight) for weight in self.class_weights])
        found["head.class_bias"] = torch.cat([of(bias) for bias in self.class_biases])
        return found


def _own(tensors: list[Tensor]) -> nn.ParameterList:
    return nn.ParameterList([nn.Parameter(tensor.detach().clone()) for tensor in tensors])
