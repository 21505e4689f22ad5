"""Adam as one fused call on every device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainables.torch_internals import fused_adam


@dataclass(frozen=True)
class Group:
    """Parameters that share their settings.

    Args:    parameters: trained leaves.
             rate: step size, above 0.
             weight_decay: gamma_L2, added to the gradient as gamma_L2 · theta (coupled, as in torch.optim.Adam).
    """

    parameters: Sequence[nn.Parameter]
    rate: float
    weight_decay: float = 0.0


@dataclass
class _Moments:
    """Of one parameter.

    Args:    parameter: whose.
             steps: taken so far, a float on the parameter's device.
             first, second: running means of the gradient and its square, in the parameter's strides.
    """

    parameter: nn.Parameter
    steps: Tensor = field(init=False)
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.steps = torch.zeros((), dtype=torch.float32, device=self.parameter.device)
        self.first, self.second = (torch.zeros_like(self.parameter, memory_format=torch.preserve_format) for _ in range(2))

    def named(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"steps": self.steps, "first": self.first, "second": self.second}


class Adam:
    """Adam (Kingma & Ba 2015, Algorithm 1) through torch's fused kernel, bit for bit what `torch.optim.Adam(fused=True)` does.

    `torch.optim` imports torch's compiler before its first step: more than a second of every trial process's start.

    Args:    groups: parameters with their settings; a group may be empty.
             betas: decay of the two moments, each in [0, 1).
             epsilon: added to the root of the second moment.
    """

    def __init__(self, groups: Sequence[Group], *, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> None:
        self.groups, self.betas, self._epsilon = tuple(groups), betas, epsilon
        self._members = [[_Moments(parameter) for parameter in group.parameters] for group in groups]

    @property
    def _moments(self) -> list[_Moments]:
        return [moments for members in self._members for moments in members]

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for moments in self._moments:
            moments.parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Moves every parameter that has a gradient."""
        for group, members in zip(self.groups, self._members, strict=True):
            found = [(moments, moments.parameter.grad) for moments in members]
            moved = [(moments, gradient) for moments, gradient in found if gradient is not None]
            if not moved:
                continue
            for moments, _ in moved:
                moments.steps += 1
            fused_adam(
                [moments.parameter for moments, _ in moved],
                [gradient for _, gradient in moved],
                [moments.first for moments, _ in moved],
                [moments.second for moments, _ in moved],
                [moments.steps for moments, _ in moved],
                rate=group.rate,
                betas=self.betas,
                weight_decay=group.weight_decay,
                epsilon=self._epsilon,
            )

    def state(self) -> dict[str, Tensor]:
        """Its tensors by `<parameter>.<name>`; the settings follow from the configuration."""
        return {
            f"{index}.{name}": value for index, moments in enumerate(self._moments) for name, value in moments.named().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes over what `state` gave; strides stay the parameters' own, since the kernel goes through memory.

        Raises:  KeyError, ValueError: when it is another optimiser's.
        """
        for index, moments in enumerate(self._moments):
            for name, value in moments.named().items():
                found = state[f"{index}.{name}"]
                if found.shape != value.shape:
                    raise ValueError(f"an optimiser's {name} must be of shape {tuple(value.shape)}; got {tuple(found.shape)}")
                value.copy_(found)
