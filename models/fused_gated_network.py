"""Several gated networks of one shape as one program: a member axis beside the tasks, so that a GPU has enough to do at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.gated_network import KERNELS_AND_STRIDES, GatedNetwork, GateOrder, check_size
from models.gates import GatedBlock

_EPSILON = 1e-3


def forward_together(
    networks: Sequence[GatedNetwork],
    images: Float[Tensor, "batch members 3 height width"] | Float[Tensor, "batch 3 height width"],
    generators: Sequence[torch.Generator | None] | None = None,
    layout: torch.memory_format = torch.contiguous_format,
) -> Float[Tensor, "batch members tasks classes"]:
    """What each network's own `forward` gives, to rounding, in as many kernels as one of them takes.

    Members and tasks fold into the groups of each convolution. Weights are stacked on the way, so that every gradient arrives at
    its own network's parameters; in training mode each network's running statistics move by its own momentum.

    Source: Wang et al. 2021, "Horizontally fused training array" (MLSys), Section 3
    Deviations: members stay modules of their own, which is what lets one leave or join between any two batches.

    Args:    networks: of the same tasks and width, all in training or all in evaluation mode. What else may differ: the gates,
                 their slope, batch normalisation and its momentum, dropout, input statistics.
             images: RGB in [0, 1], each member's own or the same for all; 91 px or more a side.
             generators: one a member, on the images' device; draw dropout in training mode.
             layout: of the maps in memory, as the convolutions of the device want it.
    Raises:  ValueError: when the networks do not fit each other, or the images are smaller than 91 px.
    """
    fused = _FusedNetworks(networks)
    return fused.onwards(fused.before_gates(images, layout), None, generators or [None] * fused.num_members)


def shuffled_together(
    networks: Sequence[GatedNetwork],
    images: Float[Tensor, "batch 3 height width"],
    orders: Sequence[GateOrder],
    layout: torch.memory_format = torch.contiguous_format,
) -> Float[Tensor, "arrangements batch members tasks classes"]:
    """What each network's own `with_shuffled_gates` gives, to rounding.

    Args:    networks, images, layout: see `forward_together`.
             orders: the same for every member.
    """
    fused = _FusedNetworks(networks)
    features, nothing = fused.before_gates(images, layout), [None] * fused.num_members
    return torch.stack([fused.onwards(features, order, nothing) for order in (None, *orders)])


@dataclass(frozen=True)
class _FusedNetworks:
    """Networks of one shape."""

    networks: Sequence[GatedNetwork]

    def __post_init__(self) -> None:
        shapes = {tuple(tuple(p.shape) for p in (*n.kernel_parameters(), *n.bias_parameters())) for n in self.networks}
        modes = {network.training for network in self.networks}
        if len(shapes) != 1 or len(modes) != 1:
            raise ValueError("networks must have the same tasks, width and mode to be fused; got several")

    @property
    def num_members(self) -> int:
        return len(self.networks)

    @property
    def num_tasks(self) -> int:
        return self.networks[0].num_tasks

    @property
    def training(self) -> bool:
        return self.networks[0].training

    def before_gates(self, images: Tensor, layout: torch.memory_format) -> Tensor:
        """The first stage up to its normalisation."""
        check_size(min(images.shape[-2:]))
        features, groups = self._enter(images)
        return self._normed_stage(0, features.contiguous(memory_format=layout), groups)

    def onwards(self, features: Tensor, order: GateOrder | None, generators: Sequence[torch.Generator | None]) -> Tensor:
        """Logits from the first stage's normalised maps."""
        for stage in range(len(KERNELS_AND_STRIDES)):
            if stage:
                features = self._normed_stage(stage, features, self.num_members * self.num_tasks)
            features = F.relu(_reduced(self._blocks(stage), features, None if order is None else order[stage]))
        pooled = features.mean((2, 3)).reshape(len(features), self.num_members, self.num_tasks, -1)
        return self._classified(pooled, generators)

    def _blocks(self, stage: int) -> list[GatedBlock]:
        return [cast(GatedBlock, network.blocks[stage]) for network in self.networks]

    def _normed_stage(self, stage: int, features: Tensor, groups: int) -> Tensor:
        """One stage's convolution, pooling and normalisation."""
        weight = torch.cat([network.convolutions[stage] for network in self.networks])
        features = F.conv2d(features, weight, stride=KERNELS_AND_STRIDES[stage][1], groups=groups)
        return self._normed([block.norm for block in self._blocks(stage)], F.relu(F.max_pool2d(features, 2)))

    def _enter(self, images: Tensor) -> tuple[Tensor, int]:
        """Shifted and scaled images as the first convolution wants them, and its groups: one where all see the same."""
        mean, deviation = (
            torch.stack([getattr(network, name) for network in self.networks]) for name in ("input_mean", "input_deviation")
        )
        if images.dim() == 4:
            if bool((mean == mean[0]).all() and (deviation == deviation[0]).all()):
                return (images - mean[0]) / deviation[0], 1
            images = images.unsqueeze(1)
        return ((images - mean) / deviation).flatten(1, 2), self.num_members

    def _normed(self, norms: Sequence[nn.Module], features: Tensor) -> Tensor:
        """Batch normalisation of the members that have it."""
        has = [isinstance(norm, nn.BatchNorm2d) for norm in norms]
        if not any(has):
            return features
        channels = features.shape[1] // self.num_members
        if self.training:
            mean, variance = features.new_zeros(features.shape[1]), features.new_ones(features.shape[1])
            # With momentum 1 these become the batch's own statistics.
            normed = F.batch_norm(features, mean, variance, training=True, momentum=1.0, eps=_EPSILON)
            self._follow(norms, mean.view(self.num_members, channels), variance.view(self.num_members, channels))
        else:
            known = [norm if isinstance(norm, nn.BatchNorm2d) else None for norm in norms]
            zeros, ones = features.new_zeros(channels), features.new_ones(channels)
            mean = torch.cat([zeros if norm is None else cast(Tensor, norm.running_mean) for norm in known])
            variance = torch.cat([ones if norm is None else cast(Tensor, norm.running_var) for norm in known])
            normed = F.batch_norm(features, mean, variance, training=False, eps=_EPSILON)
        if all(has):
            return normed
        chosen = torch.tensor(has, device=features.device).repeat_interleave(channels).view(1, -1, 1, 1)
        return torch.where(chosen, normed, features)

    @staticmethod
    @torch.no_grad()
    def _follow(norms: Sequence[nn.Module], mean: Tensor, variance: Tensor) -> None:
        """Moves every member's running statistics."""
        for norm, own_mean, own_variance in zip(norms, mean, variance, strict=True):
            if isinstance(norm, nn.BatchNorm2d):
                momentum = cast(float, norm.momentum)
                cast(Tensor, norm.running_mean).lerp_(own_mean, momentum)
                cast(Tensor, norm.running_var).lerp_(own_variance, momentum)
                cast(Tensor, norm.num_batches_tracked).add_(1)

    def _classified(
        self, pooled: Float[Tensor, "batch members tasks channels"], generators: Sequence[torch.Generator | None]
    ) -> Float[Tensor, "batch members tasks classes"]:
        """Both dense layers of every task of every member."""
        heads = [network.head for network in self.networks]
        hidden_weight, hidden_bias = torch.stack([h.hidden_weight for h in heads]), torch.stack([h.hidden_bias for h in heads])
        class_weight, class_bias = torch.stack([h.class_weight for h in heads]), torch.stack([h.class_bias for h in heads])
        hidden = torch.einsum("bmtc,mthc->bmth", self._dropped(pooled, generators), hidden_weight) + hidden_bias
        hidden = self._dropped(F.relu(hidden), generators)
        task, label = heads[0].places
        flat = (hidden[:, :, task] * class_weight).sum(-1) + class_bias
        padded = flat.new_full((*flat.shape[:2], *heads[0].padded_shape), float("-inf"))
        padded[:, :, task, label] = flat
        return padded

    def _dropped(self, values: Float[Tensor, "batch members *rest"], generators: Sequence[torch.Generator | None]) -> Tensor:
        """Dropout at each member's rate, drawn from its own stream as it would draw alone."""
        rates = [network.dropout if self.training else 0.0 for network in self.networks]
        if not any(rates):
            return values
        shape = (len(values), *values.shape[2:])
        masks = [
            torch.ones(shape, device=values.device, dtype=torch.bool)
            if rate == 0
            else torch.rand(shape, generator=generator, device=values.device) >= rate
            for rate, generator in zip(rates, generators, strict=True)
        ]
        kept = 1 - torch.tensor(rates, device=values.device, dtype=values.dtype).view(-1, *(1,) * (values.dim() - 2))
        return values * torch.stack(masks, 1) / kept


def _reduced(blocks: Sequence[GatedBlock], normed: Tensor, order: Tensor | None) -> Tensor:
    """Every member's gates folded into its reduction (see `GatedBlock.reduce`)."""
    kernel = torch.stack([block.reduction for block in blocks]) * _gates(blocks, order).unsqueeze(2)
    return F.conv2d(normed, kernel.flatten(3).flatten(0, 2)[:, :, None, None], groups=len(blocks))


def _gates(blocks: Sequence[GatedBlock], order: Tensor | None) -> Float[Tensor, "members takers givers channels"]:
    """Every member's gate values alpha; those of a member whose gates are not learnt are what they always are."""
    gates = [block.gates for block in blocks]
    raw = [gate.raw for gate in gates]
    shape = next((known.shape for known in raw if known is not None), None)
    fixed = torch.stack([gate.fixed for gate in gates])
    if shape is None:
        return fixed
    slopes = torch.tensor([gate.gamma_g for gate in gates], device=fixed.device, dtype=fixed.dtype).view(-1, 1, 1, 1)
    stacked = torch.stack([fixed.new_zeros(shape) if known is None else known for known in raw])
    learned = torch.tensor([known is not None for known in raw], device=fixed.device).view(-1, 1, 1)
    takers, givers = gates[0].others
    alpha = torch.sigmoid(slopes * stacked)
    alpha = alpha if order is None else alpha.flatten(1)[:, order].view_as(alpha)
    alpha = torch.where(learned, alpha.flatten(1, 2), fixed[:, takers, givers])
    member = torch.arange(len(blocks), device=fixed.device).unsqueeze(1)
    return fixed.index_put((member, takers, givers), alpha)
