"""An epoch of several gated trials as one program. Each trial stays itself: its streams, its optimiser, its best epoch."""

import time
from collections.abc import Hashable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from models.fused_gated_network import forward_together, shuffled_together
from spaces.fields import number
from trainables import losses
from trainables.augmentation import random_transforms, to_unit_range
from trainables.contract import EpochReport, step_or_diverged
from trainables.devices import image_layout
from trainables.errors import TrialDiverged
from trainables.gated.learner import CHUNK, GatedLearner
from trainables.gated.metrics import gate_orders
from trainables.loop import TrainedTrial

#: Fewer validation cases at once than a trial alone takes, by as much as there are members; never fewer than these.
_SMALLEST_CHUNK = 16


def fusion_key(trial: TrainedTrial) -> Hashable:
    """What trials must have in common to be fused: whatever decides a tensor's shape, and the data.

    Args:    trial: of the gated task.
    """
    learner = _learner(trial)
    shapes = tuple((tuple(parameter.shape), parameter.dtype) for parameter in learner.model.kernel_parameters())
    return id(learner.data), shapes, learner.batch_size, learner.batches_per_epoch, learner.num_parts


def step_together(trials: Sequence[TrainedTrial]) -> list[EpochReport | TrialDiverged]:
    """What each trial's own `step` gives, to rounding; a trial that diverged gives why, and changes no other.

    Between two calls any trial may leave and any may join, at its own epoch: nothing is kept here. A single trial is stepped as
    it is alone, bit for bit. An epoch's seconds are a trial's part of all of them.

    Source: Wang et al. 2021, "Horizontally fused training array" (MLSys)

    Args:    trials: of one `fusion_key`.
    Raises:  ValueError: when there is no trial, or they are of several keys.
    """
    if len({fusion_key(trial) for trial in trials}) != 1:
        raise ValueError(f"fused trials must be one or more of one key; got {len(trials)} of several (see fusion_key)")
    if len(trials) == 1 or _learner(trials[0]).num_parts > 1:
        # Batches pass in parts for want of memory: then there is none for several.
        return [step_or_diverged(trial) for trial in trials]
    start = time.perf_counter()
    learners = [_learner(trial) for trial in trials]
    for trial in trials:
        trial.begin_epoch()
    total = torch.zeros(len(trials))
    for _ in range(learners[0].batches_per_epoch):
        found = _losses(learners)
        for learner in learners:
            learner.optimizer.zero_grad()
        found.sum().backward()  # type: ignore[no-untyped-call]
        for learner in learners:
            learner.optimizer.step()
        total = total.to(found.device) + found.detach()
    # One wait for the device an epoch, as for a trial alone.
    means = (total.double() / learners[0].batches_per_epoch).tolist()
    logits = _validated(learners)
    each_s = (time.perf_counter() - start) / len(trials)
    return [
        _closed(trial, mean, logits[:, :, place], each_s) for place, (trial, mean) in enumerate(zip(trials, means, strict=True))
    ]


def _learner(trial: TrainedTrial) -> GatedLearner:
    if not isinstance(trial.learner, GatedLearner):
        raise ValueError(f"fused trials must be gated ones; got one of {type(trial.learner).__name__}")
    return trial.learner


def _closed(trial: TrainedTrial, train_loss: float, logits: Tensor, each_s: float) -> EpochReport | TrialDiverged:
    start = time.perf_counter()
    try:
        judged = partial(_learner(trial).judged, logits.contiguous())
        return trial.close_epoch(train_loss, judged, lambda: each_s + time.perf_counter() - start)
    except TrialDiverged as error:
        return error


def _losses(learners: Sequence[GatedLearner]) -> Float[Tensor, " members"]:
    """Every member's own `loss` on its own next batch."""
    images, codes = _batch(learners)
    generators = [learner.torch_generators["device"] for learner in learners]
    logits = forward_together([learner.model for learner in learners], images, generators, image_layout(images.device))
    members, tasks = len(learners), codes.shape[-1]
    flat_codes = codes.flatten(1)
    betas = torch.tensor([number(learner.config, "focal_beta") for learner in learners], device=logits.device, dtype=logits.dtype)
    per_task = losses.focal_loss(
        logits.flatten(1, 2), flat_codes, _label_weights(learners, flat_codes), betas.repeat_interleave(tasks)
    ).view(members, tasks)
    found = (per_task * torch.stack([learner.task_weights for learner in learners])).sum(1)
    if any(learner.gates_l1 for learner in learners):
        found = found + torch.stack([learner.gates_penalty() for learner in learners])
    return found


def _label_weights(
    learners: Sequence[GatedLearner], codes: Int[Tensor, "batch memberstasks"]
) -> Float[Tensor, "memberstasks classes"]:
    fixed = [learner.label_weights for learner in learners]
    num_classes = learners[0].num_classes
    if all(weights is not None for weights in fixed):
        return torch.cat([weights for weights in fixed if weights is not None])
    of_batch = losses.inverse_label_weights(losses.label_counts(codes, num_classes)).view(len(learners), -1, num_classes)
    return torch.cat([of_batch[place] if weights is None else weights for place, weights in enumerate(fixed)])


def _batch(
    learners: Sequence[GatedLearner],
) -> tuple[Float[Tensor, "batch members 3 size size"], Int[Tensor, "batch members tasks"]]:
    """Every member's own cases, turned by its own draws; case by case, so that members lie side by side as channels."""
    data = learners[0].data
    cases = np.stack([learner.draw_cases() for learner in learners], 1)
    pixels = data.batch(cases.ravel())
    images = to_unit_range(pixels).view(*cases.shape, *pixels.shape[1:])
    codes = data.codes[torch.from_numpy(cases).to(data.device)]
    turned = [place for place, learner in enumerate(learners) if learner.strength]
    if not turned:
        return images, codes
    transforms = torch.stack(
        [
            random_transforms(len(cases), learner.strength, learner.sizes, learner.torch_generators["device"], data.device)
            for learner in (learners[place] for place in turned)
        ],
        1,
    )
    chosen = images if len(turned) == len(learners) else images[:, turned]
    flat = chosen.flatten(0, 1)
    grid = F.affine_grid(transforms.flatten(0, 1), list(flat.shape), align_corners=False)
    sampled = F.grid_sample(flat, grid, mode="bilinear", padding_mode="reflection", align_corners=False).view(chosen.shape)
    if len(turned) == len(learners):
        return sampled, codes
    images[:, turned] = sampled
    return images, codes


def _validated(learners: Sequence[GatedLearner]) -> Float[Tensor, "arrangements cases members tasks classes"]:
    """What every member says of the validation cases, which are the same for all (see `GatedLearner.judged`)."""
    data, cases = learners[0].data, learners[0].valid_cases
    models = [learner.model.eval() for learner in learners]
    size = max(_SMALLEST_CHUNK, CHUNK // len(learners))
    orders = next((found for model in models if (found := gate_orders(model))), [])
    with torch.no_grad():
        chunks = (to_unit_range(data.batch(cases[start : start + size])) for start in range(0, len(cases), size))
        return torch.cat([shuffled_together(models, chunk, orders, image_layout(data.device)) for chunk in chunks], 1)
