"""Learnable gates between tasks and the gated block (Coppola et al. 2020, Section 4.1)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.initialisation import glorot_uniform_

GateMode = Literal["learned", "off", "open"]


class Gates(nn.Module):
    """How much of every other task's feature maps each task takes.

    Source: Coppola et al. 2020, Eq. 6 and 7: alpha = sigmoid(gamma_g * alpha_hat), alpha_hat starts at 0
    Deviations: the paper holds the own-task alpha_hat at a constant 100 and `gates-off` holds the others at -100; at a
        small gamma_g neither saturates, so the own-task gate is exactly 1 and a closed gate exactly 0 here. "open" is not
        the paper's: every gate is exactly 1, a control that shares everything and learns nothing of it.

    Args:    num_tasks: T, 1 or more.
             channels: C, feature maps of one task.
             gamma_g: slope of the sigmoid, above 0.
             mode: "learned", or without a parameter: "off" for independent networks, "open" for networks that take all of
                 each other's maps.
    Raises:  ValueError: when gamma_g is not above 0 while the gates are learned.
    """

    def __init__(self, *, num_tasks: int, channels: int, gamma_g: float, mode: GateMode) -> None:
        super().__init__()
        if mode == "learned" and not gamma_g > 0:
            raise ValueError(f"gamma_g must be above 0; got {gamma_g} (field gamma_g)")
        self.num_tasks, self.channels, self.gamma_g, self.mode = num_tasks, channels, gamma_g, mode
        learned = mode == "learned" and num_tasks > 1
        self.raw = nn.Parameter(torch.zeros(num_tasks, num_tasks - 1, channels)) if learned else None
        takers, givers = torch.where(~torch.eye(num_tasks, dtype=torch.bool))
        self.register_buffer("_takers", takers, persistent=False)
        self.register_buffer("_givers", givers, persistent=False)
        fixed = torch.ones(num_tasks, num_tasks) if mode == "open" else torch.eye(num_tasks)
        self.register_buffer("_fixed", fixed.unsqueeze(-1).repeat(1, 1, channels), persistent=False)
        self._takers: Tensor
        self._givers: Tensor
        self._fixed: Tensor

    @property
    def fixed(self) -> Float[Tensor, "takers givers channels"]:
        """What the gates are where nothing is learnt: 1 for a task's own maps, for others' 1 if they are open, else 0."""
        return self._fixed

    @property
    def others(self) -> tuple[Tensor, Tensor]:
        """Takers and givers of the learnt gates, in the order of `raw` with its first two axes as one."""
        return self._takers, self._givers

    @property
    def num_others(self) -> int:
        """Gates to other tasks' maps, learnt or not."""
        return len(self._takers) * self.channels

    def forward(self, order: Int[Tensor, " others"] | None = None) -> Float[Tensor, "takers givers channels"]:
        """Gate values alpha in [0, 1]; axis 0 is the task that takes, axis 1 the task that gives.

        Args:    order: of the learnt gates, to see what becomes of a network when each has another's value; None for their own.
        """
        if self.raw is None:
            return self._fixed
        alpha = torch.sigmoid(self.gamma_g * self.raw)
        alpha = (alpha if order is None else alpha.flatten()[order].view_as(alpha)).flatten(0, 1)
        return self._fixed.index_put((self._takers, self._givers), alpha)


class GatedBlock(nn.Module):
    """Normalises all tasks' maps, gates them for each task and reduces them by a 1×1 convolution.

    The gate is folded into the reduction's kernel: W·(alpha·F) = (W·alpha)·F. One dense 1×1 convolution then serves all
    tasks, and no task needs its own copy of the concatenated tensor.

    Source: Coppola et al. 2020, Eq. 3 to 7 and Fig. 3; the 1×1 reduction of Section 4.1
    Deviations: batch normalisation without the authors' batch renormalisation.

    Args:    num_tasks: T.
             channels: C, maps each task brings.
             reduced_channels: R, maps each task leaves with.
             gamma_g, mode: see `Gates`.
             batch_norm: whether the concatenated maps are normalised (without scale and shift).
             batch_norm_momentum: weight of the newest batch in the running statistics, 0 to 1 (PyTorch's sense).
             generator: draws the kernel.
    """

    def __init__(
        self,
        *,
        num_tasks: int,
        channels: int,
        reduced_channels: int,
        gamma_g: float,
        mode: GateMode,
        batch_norm: bool,
        batch_norm_momentum: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        total = num_tasks * channels
        # eps is TensorFlow's default, which the authors trained with.
        self.norm: nn.Module = (
            nn.BatchNorm2d(total, eps=1e-3, momentum=batch_norm_momentum, affine=False) if batch_norm else nn.Identity()
        )
        self.gates = Gates(num_tasks=num_tasks, channels=channels, gamma_g=gamma_g, mode=mode)
        self.reduction = nn.Parameter(torch.empty(num_tasks, reduced_channels, num_tasks, channels))
        glorot_uniform_(self.reduction, fan_in=total, fan_out=reduced_channels, generator=generator)

    def forward(self, features: Float[Tensor, "batch concatenated height width"]) -> Float[Tensor, "batch reduced height width"]:
        """All tasks' gated, reduced maps, task-major, before any non-linearity: T·C maps in, T·R out."""
        return self.reduce(self.norm(features))

    def reduce(
        self, normed: Float[Tensor, "batch concatenated height width"], order: Int[Tensor, " others"] | None = None
    ) -> Float[Tensor, "batch reduced height width"]:
        """`forward` without its normalisation, which is all that looks at more than one case.

        Args:    order: see `Gates.forward`.
        """
        kernel = (self.reduction * self.gates(order).unsqueeze(1)).flatten(2).flatten(0, 1)
        return F.conv2d(normed, kernel[:, :, None, None])


def sharing_fractions(gates: Float[Tensor, "takers givers channels"]) -> Float[Tensor, "takers givers"]:
    """Share of each giving task's maps that each taking task uses.

    Source: Coppola et al. 2020, Eq. 11: SF_i^t = mean over channels of alpha_{i,c}^t
    Deviations: none; the diagonal is 1 because the own-task gate is.

    Args:    gates: alpha, in [0, 1].
    Returns: tasks × tasks in [0, 1], row t takes, column i gives.
    """
    return gates.mean(-1)
