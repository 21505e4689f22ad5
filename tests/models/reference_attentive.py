"""The attentive network written plainly: one timestep after the other, one convolution for each symbol of the paper.

It takes the weights of a `models.attentive_network.AttentiveNetwork`; nothing else of it is used.
"""

import torch
import torch.nn.functional as F


def convolve(x, weight, bias=None):
    """3×3, reflected borders."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias)


def norm(layer, x):
    """Whatever follows a convolution: batch norm as its own state says, by the batch in training, or nothing."""
    if not hasattr(layer, "running_mean"):
        return x
    if layer.training:
        return F.batch_norm(x, None, None, layer.weight, layer.bias, True, 0.1, layer.eps)
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.1, layer.eps)


def blocks(module, x, counts):
    """VGG blocks; every pooled output."""
    layers, found = iter(zip(module.convolutions, module.norms, strict=True)), []
    for count in counts:
        for _ in range(count):
            convolution, normalisation = next(layers)
            x = F.relu(norm(normalisation, F.conv2d(x, convolution.weight, convolution.bias, padding=1)))
        x = F.max_pool2d(x, 2)
        found.append(x)
    return found


def gaze(cell, features, hidden, memory, scale):
    """Eq. 1 to 9, literally: one step of the attentive ConvLSTM."""
    width = len(cell.attention_bias)
    input_kernels = cell.input_weight.split(width), cell.input_bias.split(width)
    recurrent_kernels = cell.recurrent_weight.split(width), cell.recurrent_bias.split(width)
    u_a, u_i, u_f, u_o, u_g = zip(*recurrent_kernels, strict=True)
    w_i, w_f, w_o, w_g = zip(*input_kernels, strict=True)
    z = convolve(
        torch.tanh(convolve(features, cell.attention_weight, cell.attention_bias) + convolve(hidden, *u_a)), cell.score_weight
    )
    a = torch.exp(z - z.amax((1, 2, 3), keepdim=True))
    a = a / a.sum((1, 2, 3), keepdim=True) * (1 if scale == "sum" else z[0].numel())
    attended = a * features
    i = torch.sigmoid(convolve(attended, *w_i) + convolve(hidden, *u_i))
    f = torch.sigmoid(convolve(attended, *w_f) + convolve(hidden, *u_f))
    o = torch.sigmoid(convolve(attended, *w_o) + convolve(hidden, *u_o))
    g = torch.tanh(convolve(attended, *w_g) + convolve(hidden, *u_g))
    memory = f * memory + i * g
    return o * torch.tanh(memory), memory, attended, a[:, 0]


def decode(decoder, hidden, encoded):
    """Masks and structures, both as logits."""
    maps, pooled = hidden, []
    for position, stage in enumerate(decoder.stages):
        if len(decoder.skips):
            maps = (maps + decoder.skips[position](encoded[-1 - position])) / 2
        pooled.append(maps.mean((2, 3)) if decoder.pooling == "average" else maps.amax((2, 3)))
        maps = F.interpolate(maps, scale_factor=2, mode="nearest")
        for layer in stage:
            if hasattr(layer, "doubling"):
                maps = convolve(maps, layer.weight, layer.bias)
            else:
                maps = F.relu(maps) if isinstance(layer, torch.nn.ReLU) else norm(layer, maps)
    first, last = decoder.classifier
    vector = torch.cat(pooled, 1)
    return maps[:, 0], F.linear(F.linear(vector, first.weight, first.bias), last.weight, last.bias)


def decode_steps(decoder, hidden, encoded):
    """Every timestep's mask and structure: one after the other, or as one batch where its statistics normalise."""
    if not any(hasattr(layer, "running_mean") and layer.training for stage in decoder.stages for layer in stage):
        masks, structures = zip(*(decode(decoder, step, encoded) for step in hidden), strict=True)
        return torch.stack(masks, 1), torch.stack(structures, 1)
    found = decode(decoder, torch.cat(hidden), [maps.repeat(len(hidden), 1, 1, 1) for maps in encoded])
    return tuple(torch.stack(values.chunk(len(hidden)), 1) for values in found)


def forward(network, images):
    """Diagnosis, masks, structures and attention of a network with attention, decoder and pooled head."""
    x = (images - network.input_mean) / network.input_deviation
    encoded = blocks(network.encoder, x, (2, 2, 3))
    features, cell = encoded[-1], network.attention
    hidden = memory = features.new_zeros(len(features), len(cell.attention_bias), *features.shape[-2:])
    states, attended, attention = [], [], []
    for _ in range(cell.timesteps):
        hidden, memory, weighted, weights = gaze(cell, features, hidden, memory, cell.scale)
        for found, value in ((states, hidden), (attended, weighted), (attention, weights)):
            found.append(value)
    masks, structures = decode_steps(network.decoder, states, encoded)
    branch = network.diagnosis
    seen = features if branch._sees_features else attended[-1]
    vector = blocks(branch.blocks, seen, (3, 3))[-1].mean((2, 3))
    pooled = torch.cat([maps.mean((2, 3)) for maps in attended], 1)
    if branch.shrink is not None:
        pooled = F.relu(F.linear(pooled, branch.shrink.weight, branch.shrink.bias))
    last = branch.layers[0]
    diagnosis = F.linear(torch.cat([vector, pooled], 1), last.weight, last.bias)
    return diagnosis, masks, structures, torch.stack(attention, 1)
