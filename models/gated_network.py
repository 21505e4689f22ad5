"""The gated multi-task network (Coppola et al. 2020, Fig. 1), with tasks as an axis instead of a loop."""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.dropout import drop
from models.gates import GatedBlock, GateMode, sharing_fractions
from models.initialisation import glorot_uniform_
from models.parts import in_parts

KERNELS_AND_STRIDES = ((5, 2), (3, 1), (3, 1), (3, 1))
BASE_FILTERS = (2, 4, 8, 16)
MINIMUM_SIZE_PX = 91
#: For every block the place from which each of its gates to other tasks' maps takes its value.
GateOrder: TypeAlias = Sequence[Int[Tensor, " _"]]


class GatedNetwork(nn.Module):
    """Eight (or any number of) small networks side by side that take from each other what their gates let through.

    Per task: four times [convolution, 2×2 max-pooling, ReLU, concatenation with all tasks, batch normalisation, gate,
    1×1 convolution, ReLU], then global average pooling, dropout, dense, ReLU, dropout, dense. All tasks run as one
    program: grouped convolutions, the gate folded into the reduction (`GatedBlock`), one padded tensor of logits.

    Source: Coppola et al. 2020, Fig. 1, Section 5, and the authors' code for filters and kernels
    Deviations: see `GatedBlock` and `Gates`. ReLU follows the pooling, which is the same function and a quarter of the work.

    Args:    num_classes: classes of each task; its length is the number of tasks.
             width: factor on all filters: 0.5 half, 1 standard, 2 double.
             gates, gamma_g: see `Gates`.
             batch_norm, batch_norm_momentum: see `GatedBlock`.
             dropout: rate before both dense layers, in [0, 1).
             input_mean, input_deviation: per channel; the images are shifted and scaled by them. The defaults leave
                 them as they are, which is the paper's.
             generator: on the CPU; draws the initial weights.
    Raises:  ValueError: when a width leaves no filter, or there is no task.
    """

    def __init__(
        self,
        *,
        num_classes: Sequence[int],
        width: float = 1.0,
        gates: GateMode = "learned",
        gamma_g: float = 3.0,
        batch_norm: bool = True,
        batch_norm_momentum: float = 0.1,
        dropout: float = 0.3,
        input_mean: Sequence[float] = (0.0, 0.0, 0.0),
        input_deviation: Sequence[float] = (1.0, 1.0, 1.0),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        filters = [round(base * width) for base in BASE_FILTERS]
        if not num_classes or min(filters) < 1:
            raise ValueError(f"width must be 0.5 or more and there must be a task; got {width} and {num_classes}")
        self.num_tasks, self.dropout = len(num_classes), dropout
        self.register_buffer("input_mean", torch.tensor(input_mean).view(3, 1, 1))
        self.register_buffer("input_deviation", torch.tensor(input_deviation).view(3, 1, 1))
        self.input_mean: Tensor
        self.input_deviation: Tensor
        self.convolutions, self.blocks = nn.ParameterList(), nn.ModuleList()
        channels_in = 3
        for (kernel, _), channels in zip(KERNELS_AND_STRIDES, filters, strict=True):
            weight = torch.empty(self.num_tasks * channels, channels_in, kernel, kernel)
            area = kernel * kernel
            glorot_uniform_(weight, fan_in=channels_in * area, fan_out=channels * area, generator=generator)
            self.convolutions.append(nn.Parameter(weight))
            self.blocks.append(
                GatedBlock(
                    num_tasks=self.num_tasks,
                    channels=channels,
                    reduced_channels=4 * channels,
                    gamma_g=gamma_g,
                    mode=gates,
                    batch_norm=batch_norm,
                    batch_norm_momentum=batch_norm_momentum,
                    generator=generator,
                )
            )
            channels_in = 4 * channels
        self.head = TaskHeads(num_classes=num_classes, channels=channels_in, generator=generator)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], generator: torch.Generator | None = None, num_parts: int = 1
    ) -> Float[Tensor, "batch tasks classes"]:
        """Logits, padded with -inf where a task has fewer classes than the largest.

        Args:    images: RGB in [0, 1], 91 px or more a side.
                 generator: on the images' device; draws dropout in training mode.
                 num_parts: in which the batch passes between two batch normalisations, to take less memory.
        Raises:  ValueError: when the images are smaller than 91 px.
        """
        return self._onwards(self._before_gates(images, num_parts), None, generator, num_parts)

    def with_shuffled_gates(
        self, images: Float[Tensor, "batch 3 height width"], orders: Sequence[GateOrder]
    ) -> Float[Tensor, "arrangements batch tasks classes"]:
        """Logits with the gates as they are, bit for bit those of `forward`, and then in each order of them.

        Args:    images: RGB in [0, 1], 91 px or more a side.
                 orders: each a place for every gate, block by block; gates that are not learnt stay.
        Raises:  ValueError: when the images are smaller than 91 px.
        """
        features = self._before_gates(images, 1)
        return torch.stack([self._onwards(features, order, None, 1) for order in (None, *orders)])

    def _before_gates(self, images: Tensor, num_parts: int) -> Tensor:
        """The first stage up to its normalisation, which no gate has touched."""
        check_size(min(images.shape[-2:]))
        return cast(Tensor, self._gated_blocks()[0].norm(in_parts(partial(self._between_norms, 0, None), images, num_parts)))

    def _onwards(self, features: Tensor, order: GateOrder | None, generator: torch.Generator | None, num_parts: int) -> Tensor:
        """Logits from the first stage's normalised maps."""
        for stage, block in enumerate(self._gated_blocks()[1:], start=1):
            features = block.norm(in_parts(partial(self._between_norms, stage, order), features, num_parts))
        pooled = in_parts(partial(self._between_norms, len(self.blocks), order), features, num_parts)
        return self.head.forward(pooled, dropout=self.dropout if self.training else 0.0, generator=generator)

    def _between_norms(self, stage: int, order: GateOrder | None, features: Tensor) -> Tensor:
        """From one normalisation to the next, case by case: the last block's gates, then this stage's convolution."""
        blocks = self._gated_blocks()
        if stage:
            features = F.relu(blocks[stage - 1].reduce(features, None if order is None else order[stage - 1]))
        else:
            features = (features - self.input_mean) / self.input_deviation
        if stage == len(blocks):
            return features.mean((2, 3)).reshape(len(features), self.num_tasks, -1)
        groups, (_, stride) = self.num_tasks if stage else 1, KERNELS_AND_STRIDES[stage]
        return F.relu(F.max_pool2d(F.conv2d(features, self.convolutions[stage], stride=stride, groups=groups), 2))

    def gate_parameters(self) -> list[nn.Parameter]:
        """The raw gate values; they train at their own rate and carry no L2."""
        return [block.gates.raw for block in self._gated_blocks() if block.gates.raw is not None]

    def kernel_parameters(self) -> list[nn.Parameter]:
        """Convolution and dense weights, the set Theta_K of Eq. 10."""
        reductions = [block.reduction for block in self._gated_blocks()]
        return [*self.convolutions, *reductions, self.head.hidden_weight, self.head.class_weight]

    def bias_parameters(self) -> list[nn.Parameter]:
        """The dense layers' biases."""
        return [self.head.hidden_bias, self.head.class_bias]

    def sharing(self) -> Float[Tensor, "blocks takers givers"]:
        """Eq. 11 for every block, first to last."""
        return torch.stack([sharing_fractions(block.gates()) for block in self._gated_blocks()])

    def gate_values(self) -> Float[Tensor, " gates"]:
        """Every learnt gate's value alpha, in [0, 1]; none where no gate is learnt."""
        slopes = [(block.gates.gamma_g, block.gates.raw) for block in self._gated_blocks()]
        found = [torch.sigmoid(slope * raw).flatten() for slope, raw in slopes if raw is not None]
        return torch.cat(found) if found else torch.zeros(0)

    def num_gates(self) -> list[int]:
        """Gates to other tasks' maps, block by block, learnt or not."""
        return [block.gates.num_others for block in self._gated_blocks()]

    def _gated_blocks(self) -> list[GatedBlock]:
        return [block for block in self.blocks if isinstance(block, GatedBlock)]


class TaskHeads(nn.Module):
    """Two dense layers per task, all tasks at once; tasks may differ in their number of classes.

    Args:    num_classes: classes of each task.
             channels: pooled maps of one task; the hidden layer has as many units.
             generator: draws the initial weights.
    """

    def __init__(self, *, num_classes: Sequence[int], channels: int, generator: torch.Generator | None) -> None:
        super().__init__()
        tasks, labels = len(num_classes), sum(num_classes)
        self.hidden_weight = nn.Parameter(torch.empty(tasks, channels, channels))
        glorot_uniform_(self.hidden_weight, fan_in=channels, fan_out=channels, generator=generator)
        self.hidden_bias = nn.Parameter(torch.zeros(tasks, channels))
        self.class_weight = nn.Parameter(torch.empty(labels, channels))
        for start, count in zip(accumulate((0, *num_classes)), num_classes, strict=False):
            rows = self.class_weight.data[start : start + count]
            glorot_uniform_(rows, fan_in=channels, fan_out=count, generator=generator)
        self.class_bias = nn.Parameter(torch.zeros(labels))
        task_of_label = torch.repeat_interleave(torch.arange(tasks), torch.tensor(num_classes))
        class_of_label = torch.cat([torch.arange(count) for count in num_classes])
        self.register_buffer("_task_of_label", task_of_label, persistent=False)
        self.register_buffer("_class_of_label", class_of_label, persistent=False)
        self._task_of_label: Tensor
        self._class_of_label: Tensor
        self._shape = (tasks, max(num_classes))

    @property
    def places(self) -> tuple[Tensor, Tensor]:
        """Task and class of every label, in the order of `class_weight`'s rows."""
        return self._task_of_label, self._class_of_label

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Tasks, and classes of the largest."""
        return self._shape

    def forward(
        self, pooled: Float[Tensor, "batch tasks channels"], *, dropout: float, generator: torch.Generator | None
    ) -> Float[Tensor, "batch tasks classes"]:
        """Padded logits, see `GatedNetwork.forward`."""
        hidden = torch.einsum("btc,thc->bth", drop(pooled, dropout, generator), self.hidden_weight) + self.hidden_bias
        hidden = drop(F.relu(hidden), dropout, generator)
        flat = (hidden[:, self._task_of_label] * self.class_weight).sum(-1) + self.class_bias
        padded = flat.new_full((len(flat), *self._shape), float("-inf"))
        padded[:, self._task_of_label, self._class_of_label] = flat
        return padded


def check_size(size_px: int) -> None:
    """Refuses images that four unpadded convolutions and poolings would leave nothing of.

    Raises:  ValueError: when size_px is below 91.
    """
    if size_px < MINIMUM_SIZE_PX:
        raise ValueError(f"size_px must be {MINIMUM_SIZE_PX} or more for the gated network; got {size_px} (--set size_px=)")
