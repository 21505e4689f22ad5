"""The attentive ConvLSTM: where to look next, given where one has looked."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.initialisation import glorot_uniform_, orthogonal_
from models.reflected import convolve_reflected, reflect
from models.weighted_convolution import WeightedConvolution

AttentionScale = Literal["sum", "mean"]


class Gazes(NamedTuple):
    """What the attentive ConvLSTM gives for every timestep.

    Args:    hidden: H_t, batch × time × hidden channels × height × width.
             attended: X̃'_t, batch × time × channels × height × width.
             attention: A_t, batch × time × height × width.
    """

    hidden: Tensor
    attended: Tensor
    attention: Tensor


class AttentiveConvLstm(nn.Module):
    """Attention over a feature map, and a convolutional LSTM that is fed what it attends to.

    Written for the hardware: W_a * X' does not change over time and is computed once; the four input convolutions are one, of
    which each step takes a weighted sum (`WeightedConvolution`), and the five recurrent ones are one; before the first step
    the hidden state is zero, so only their biases count there; padding X' once and the attention map each time is padding
    their product.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Eq. 1 to 9 (after Cornia et al. 2018); 3×3 kernels, reflected borders
    Deviations: none.

    Args:    channels: of the feature map X'.
             hidden: channels of H and C, and of the attention's inner maps.
             timesteps: T, 1 or more.
             scale: "sum": the attention map sums to 1 over its cells (Eq. 2); "mean": it averages to 1.
             generator: on the CPU; draws the initial weights. V starts at zero, so the first maps are uniform.
    Raises:  ValueError: when timesteps is below 1.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: int,
        timesteps: int,
        scale: AttentionScale = "sum",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if timesteps < 1:
            raise ValueError(f"timesteps must be 1 or more; got {timesteps} (--set timesteps=)")
        self.timesteps, self.scale, self._hidden = timesteps, scale, hidden
        # Rows in the order attention, input gate, forget gate, output gate, candidate.
        self.attention_weight = nn.Parameter(_kernels(1, channels, hidden, generator))
        self.attention_bias = nn.Parameter(torch.zeros(hidden))
        self.input_weight = nn.Parameter(_kernels(4, channels, hidden, generator))
        self.input_bias = nn.Parameter(torch.zeros(4 * hidden))
        recurrent = [orthogonal_(torch.empty(hidden, hidden, 3, 3), generator) for _ in range(5)]
        self.recurrent_weight = nn.Parameter(torch.cat(recurrent))
        self.recurrent_bias = nn.Parameter(torch.zeros(5 * hidden))
        self.score_weight = nn.Parameter(torch.zeros(1, hidden, 3, 3))

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Gazes:
        """Looks T times.

        Args:    features: X', 2 cells or more a side.
        """
        padded = reflect(features)
        static = F.conv2d(padded, self.attention_weight, self.attention_bias)
        convolve_attended = WeightedConvolution(padded, self.input_weight)
        input_bias = self.input_bias.view(1, -1, 1, 1)
        recurrent = self.recurrent_bias.view(1, -1, 1, 1).expand(len(features), -1, *features.shape[-2:])
        cell = torch.zeros((), device=features.device, dtype=features.dtype)
        hidden: list[Tensor] = []
        attended: list[Tensor] = []
        attention: list[Tensor] = []
        for step in range(self.timesteps):
            if step:
                recurrent = F.conv2d(reflect(hidden[-1]), self.recurrent_weight, self.recurrent_bias)
            toward, gates = torch.split(recurrent, [self._hidden, 4 * self._hidden], 1)
            score = convolve_reflected(torch.tanh(static + toward), self.score_weight)
            weights = self._normalise(score)
            inputs = convolve_attended(reflect(weights)) + input_bias
            in_gate, forget_gate, out_gate, candidate = (inputs + gates).chunk(4, 1)
            cell = forget_gate.sigmoid() * cell + in_gate.sigmoid() * candidate.tanh()
            hidden.append(out_gate.sigmoid() * cell.tanh())
            attended.append(features * weights)
            attention.append(weights[:, 0])
        return Gazes(torch.stack(hidden, 1), torch.stack(attended, 1), torch.stack(attention, 1))

    def _normalise(self, score: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Eq. 2: softmax over all cells, in single precision whatever the autocast."""
        weights = score.float().flatten(1).softmax(1).view(score.shape)
        return weights if self.scale == "sum" else weights * weights[0].numel()


def _kernels(count: int, channels_in: int, channels: int, generator: torch.Generator | None) -> Tensor:
    """Several 3×3 kernels in one weight, each with its own fans."""
    weight = torch.empty(count * channels, channels_in, 3, 3)
    return glorot_uniform_(weight, fan_in=9 * channels_in, fan_out=9 * channels, generator=generator)
