"""The gated network's training loss (Coppola et al. 2020, Eq. 8 to 10)."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

_SMALLEST_ERROR = 1e-7
#: b of the effective number of cases; 1 - 1/1000 is right for sets of about a thousand cases.
_CLASS_BALANCE = 0.999


def label_counts(codes: Int[Tensor, "batch tasks"], num_classes: int) -> Float[Tensor, "tasks classes"]:
    """How often each class of each task occurs; a missing label (-1) counts nowhere."""
    classes = torch.arange(num_classes, device=codes.device)
    return (codes.unsqueeze(-1) == classes).sum(0).float()


def inverse_label_weights(counts: Float[Tensor, "tasks classes"]) -> Float[Tensor, "tasks classes"]:
    """Weight of each label: the count of its task's most frequent label over its own, 0 where it does not occur.

    Source: Coppola et al. 2020, Eq. 8: w_j = max(1 y) / (1 y)_j
    Deviations: an absent label gets 0 instead of a division by zero.

    Args:    counts: of a batch (Eq. 8) or of the training set (`inverse_frequency`).
    Returns: 1 or more where the label occurs.
    """
    largest = counts.amax(-1, keepdim=True)
    return torch.where(counts > 0, largest / counts.clamp(min=1), torch.zeros_like(counts))


def effective_label_weights(counts: Float[Tensor, "tasks classes"]) -> Float[Tensor, "tasks classes"]:
    """Weight of each label: one over its effective number of cases, scaled to a mean of 1 over its task's labels that occur.

    Source: Cui et al. 2019, "Class-balanced loss based on effective number of samples", Eq. 4: (1 - b) / (1 - b^n), b = .999
    Deviations: a label that does not occur gets 0 and does not count in the mean.

    Args:    counts: of the training set.
    """
    present = counts > 0
    number = -torch.expm1(counts.double().clamp(min=1) * math.log(_CLASS_BALANCE)) / (1 - _CLASS_BALANCE)
    weights = torch.where(present, 1 / number, torch.zeros_like(number))
    mean = weights.sum(-1, keepdim=True) / present.sum(-1, keepdim=True).clamp(min=1)
    return torch.where(present, weights / mean, weights).to(counts.dtype)


def focal_loss(
    logits: Float[Tensor, "batch tasks classes"],
    codes: Int[Tensor, "batch tasks"],
    label_weights: Float[Tensor, "tasks classes"],
    beta: float | Float[Tensor, " tasks"],
) -> Float[Tensor, " tasks"]:
    """Weighted focal cross-entropy of each task, averaged over its labelled cases.

    Source: Coppola et al. 2020, Eq. 9 and the first term of Eq. 10
    Deviations: a missing label (-1) enters neither the sum nor the count, so b is the number of labelled cases.

    Args:    logits: padded with -inf where a task has fewer classes.
             codes: class codes.
             label_weights: see `inverse_label_weights`; ones for validation.
             beta: focusing exponent, 0 (plain cross-entropy) or more; one for all tasks, or one each.
    Returns: 0 or more; 0 for a task without a labelled case.
    """
    known = codes >= 0
    index = codes.clamp(min=0).unsqueeze(-1)
    log_probability = logits.log_softmax(-1).gather(-1, index).squeeze(-1)
    weights = label_weights.expand(len(codes), -1, -1).gather(-1, index).squeeze(-1)
    # An exponent below 1 has no finite slope at 0, so the error is held a hair above it.
    error = (-torch.expm1(log_probability)).clamp(min=_SMALLEST_ERROR)
    losses = -weights * error**beta * log_probability
    return (losses * known).sum(0) / known.sum(0).clamp(min=1)


def l2_penalty(kernels: Iterable[Tensor], l2: float) -> Tensor:
    """L2 term over the kernels.

    Source: Coppola et al. 2020, second term of Eq. 10: gamma_L2 · sum of ‖θ‖² / 2
    Deviations: training applies it as Adam's coupled weight decay, which adds the same gradient, gamma_L2 · θ.

    Args:    kernels: Theta_K, at least one.
             l2: gamma_L2, 0 or more.
    """
    return l2 * torch.stack([kernel.square().sum() for kernel in kernels]).sum() / 2


def task_weights(num_tasks: int, primary: int, primary_weight: float) -> Float[Tensor, " tasks"]:
    """Loss weight of each task: `primary_weight` against 1 for the others, scaled so that they add up to the tasks.

    Source: Coppola et al. 2020, Eq. 10 sums the tasks with weight 1; the scaling keeps the loss as large as there
    Deviations: none at primary_weight = 1.

    Args:    num_tasks: T.
             primary: position of the primary task.
             primary_weight: above 0.
    """
    weights = torch.ones(num_tasks)
    weights[primary] = primary_weight
    return weights * num_tasks / weights.sum()
