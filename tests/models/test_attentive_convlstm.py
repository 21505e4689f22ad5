"""Eq. 1 to 9 against a loop that keeps every symbol of the paper apart."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.attentive_convlstm import AttentiveConvLstm


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(*, channels: int = 3, hidden: int = 4, timesteps: int = 4, scale: str = "sum") -> AttentiveConvLstm:
    cell = AttentiveConvLstm(channels=channels, hidden=hidden, timesteps=timesteps, scale=scale, generator=seeded(0))
    generator = seeded(1)
    with torch.no_grad():
        for parameter in (cell.attention_bias, cell.input_bias, cell.recurrent_bias, cell.score_weight):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return cell


def reflected_index(index: int, length: int) -> int:
    return -index if index < 0 else 2 * length - 2 - index if index >= length else index


def convolve(maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """3×3 with reflected borders, tap by tap, for one case: channels × height × width."""
    _, height, width = maps.shape
    total = torch.zeros(len(weight), height, width)
    for dy in range(3):
        for dx in range(3):
            rows = [reflected_index(y + dy - 1, height) for y in range(height)]
            columns = [reflected_index(x + dx - 1, width) for x in range(width)]
            shifted = maps[:, rows][:, :, columns]
            total = total + torch.einsum("oc,chw->ohw", weight[:, :, dy, dx], shifted)
    return total if bias is None else total + bias.view(-1, 1, 1)


def literal(cell: AttentiveConvLstm, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, attended maps and attention maps of one case."""
    n = len(cell.attention_bias)
    w_i, w_f, w_o, w_g = cell.input_weight.split(n)
    c_i, c_f, c_o, c_g = cell.input_bias.split(n)
    u_a, u_i, u_f, u_o, u_g = cell.recurrent_weight.split(n)
    b_a, b_i, b_f, b_o, b_g = cell.recurrent_bias.split(n)
    _, height, width = features.shape
    hidden = memory = torch.zeros(n, height, width)
    found: list[list[Tensor]] = [[], [], []]
    for _ in range(cell.timesteps):
        inner = convolve(features, cell.attention_weight, cell.attention_bias) + convolve(hidden, u_a, b_a)
        z = convolve(torch.tanh(inner), cell.score_weight, None)[0]  # Eq. 1
        a = z.exp() / z.exp().sum()  # Eq. 2
        if cell.scale == "mean":
            a = a * (height * width)
        attended = a * features  # Eq. 3
        i = torch.sigmoid(convolve(attended, w_i, c_i) + convolve(hidden, u_i, b_i))  # Eq. 4
        f = torch.sigmoid(convolve(attended, w_f, c_f) + convolve(hidden, u_f, b_f))  # Eq. 5
        o = torch.sigmoid(convolve(attended, w_o, c_o) + convolve(hidden, u_o, b_o))  # Eq. 6
        g = torch.tanh(convolve(attended, w_g, c_g) + convolve(hidden, u_g, b_g))  # Eq. 7
        memory = f * memory + i * g  # Eq. 8
        hidden = o * torch.tanh(memory)  # Eq. 9
        for values, value in zip(found, (hidden, attended, a), strict=True):
            values.append(value)
    hidden_all, attended_all, attention_all = (torch.stack(values) for values in found)
    return hidden_all, attended_all, attention_all


@pytest.mark.parametrize("scale", ["sum", "mean"])
@pytest.mark.parametrize("shape", [(5, 4), (4, 7), (2, 2)])
def test_equations_1_to_9(scale: str, shape: tuple[int, int]) -> None:
    cell = make(scale=scale)
    features = torch.randn(2, 3, *shape, generator=seeded(2))
    found = cell(features)
    for case in range(2):
        for name, value, wanted in zip(found._fields, found, literal(cell, features[case]), strict=True):
            torch.testing.assert_close(value[case], wanted, rtol=1e-5, atol=1e-5, msg=name)


def test_gradients_are_those_of_the_equations() -> None:
    features = torch.randn(1, 3, 4, 5, generator=seeded(2))
    gradients = []
    for literally in (True, False):
        cell, seen = make(), features.clone().requires_grad_()
        outputs = literal(cell, seen[0]) if literally else [output[0] for output in cell(seen)]
        weights = [torch.randn(output.shape, generator=seeded(7)) for output in outputs]
        torch.stack([(output * weight).sum() for output, weight in zip(outputs, weights, strict=True)]).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in cell.named_parameters()} | {"features": seen.grad})
    for name, wanted in gradients[0].items():
        assert wanted.abs().max() > 0, name
        torch.testing.assert_close(gradients[1][name], wanted, rtol=1e-4, atol=1e-5, msg=name)


def test_fresh_weights() -> None:
    cell = AttentiveConvLstm(channels=3, hidden=4, timesteps=2, generator=seeded(0))
    assert not cell.score_weight.any()
    assert not any(bias.any() for bias in (cell.attention_bias, cell.input_bias, cell.recurrent_bias))
    for kernel in cell.recurrent_weight.split(4):
        rows = kernel.flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(4), rtol=0, atol=1e-5)
    bound = math.sqrt(6 / (9 * 3 + 9 * 4))
    assert 0.9 * bound < cell.input_weight.abs().max() <= bound
    assert 0.9 * bound < cell.attention_weight.abs().max() <= bound
    attention = cell(torch.randn(2, 3, 4, 5, generator=seeded(1))).attention
    torch.testing.assert_close(attention, torch.full((2, 2, 4, 5), 0.05))


def test_first_state_by_hand() -> None:
    """One channel of ones on 2×2 cells: a = 1/4, so each kernel sums 9 × 1/4 = 2.25 times its tap."""
    cell = AttentiveConvLstm(channels=1, hidden=1, timesteps=1, generator=seeded(0))
    with torch.no_grad():
        cell.input_weight.copy_(torch.tensor([0.1, 0.7, -0.2, 0.3]).view(4, 1, 1, 1).expand(4, 1, 3, 3))
        cell.input_bias.copy_(torch.tensor([0.0, 5.0, 0.45, 0.0]))
    gaze = cell(torch.ones(1, 1, 2, 2))
    memory = torch.sigmoid(torch.tensor(0.225)) * torch.tanh(torch.tensor(0.675))
    expected = torch.sigmoid(torch.tensor(0.0)) * torch.tanh(memory)
    torch.testing.assert_close(gaze.hidden, expected.expand(1, 1, 1, 2, 2))
    torch.testing.assert_close(gaze.attended, torch.full((1, 1, 1, 2, 2), 0.25))


def test_attention_of_huge_scores_stays_finite() -> None:
    cell = make()
    with torch.no_grad():
        cell.score_weight.mul_(1e4)
    attention = cell(torch.randn(1, 3, 4, 4, generator=seeded(2))).attention
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(1, 4))


def test_channels_last_gives_the_same() -> None:
    cell, features = make(), torch.randn(2, 3, 6, 5, generator=seeded(2))
    last = make().to(memory_format=torch.channels_last)
    for left, right in zip(cell(features), last(features.to(memory_format=torch.channels_last)), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_a_gaze_is_needed() -> None:
    with pytest.raises(ValueError, match=r"timesteps must be 1 or more; got 0 \(--set timesteps=\)"):
        AttentiveConvLstm(channels=1, hidden=1, timesteps=0)


def test_reference_convolution_reflects_as_torch_does() -> None:
    maps, weight = torch.randn(3, 4, 5, generator=seeded(0)), torch.randn(2, 3, 3, 3, generator=seeded(1))
    expected = F.conv2d(F.pad(maps.unsqueeze(0), (1, 1, 1, 1), mode="reflect"), weight)[0]
    torch.testing.assert_close(convolve(maps, weight, None), expected, rtol=1e-5, atol=1e-5)
