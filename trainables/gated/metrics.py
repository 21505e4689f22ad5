"""What gates are worth as an explanation: does what the network knows hang on which gate is open?"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from models.gated_network import GatedNetwork, GateOrder
from trainables import metrics
from trainables.counted import mean_of
from trainables.data.cases import LabelTask

DECISIVENESS, SHARING = "model/gate_decisiveness", "model/gate_sharing"
#: Named without the split.
CONTRIBUTION = "gates/contribution"
#: Fixed orders of the gates, beside their own; few, since each costs about half a validation.
NUM_ORDERS = 2


def gate_metrics(model: GatedNetwork) -> dict[str, float]:
    """How far gates are from half open, and how much tasks share; nothing where no gate is learnt. They describe, no more.

    `model/gate_decisiveness`: mean distance of a gate from half open, times two: 0 as they begin, 1 when each is open or shut;
    it follows gamma_g whatever the gates were taught. `model/gate_sharing`: mean gate, the share of other tasks' features that
    a task takes (Coppola et al. 2020, Eq. 11).
    """
    with torch.no_grad():
        gates = model.gate_values().double()
    if not len(gates):
        return {}
    return {DECISIVENESS: float((2 * gates - 1).abs().mean()), SHARING: float(gates.mean())}


def gate_orders(model: GatedNetwork) -> list[GateOrder]:
    """Orders in which the gates of each block have changed places at random, the same for every network of one shape.

    None where no gate is learnt. No stream of a trial is drawn from.
    """
    if not model.gate_parameters():
        return []
    generators = [torch.Generator().manual_seed(seed) for seed in range(NUM_ORDERS)]
    device = model.gate_parameters()[0].device
    return [[torch.randperm(count, generator=each).to(device) for count in model.num_gates()] for each in generators]


def gate_contribution(
    auroc_mean: Float[np.ndarray, " resamples"],
    shuffled: Sequence[Float[np.ndarray, "cases tasks classes"]],
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    counts: Int[np.ndarray, "resamples cases"],
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """`gates/contribution`: the AUROC, mean over tasks, that is lost when a block's gates change places with each other.

    Exactly 0 while all gates are alike, and 0 up to the luck of the cases where gates are random or were taught on labels that
    have nothing to do with the images: nothing is known there that could be lost, however decided the gates are. It says that
    the network relies on which gates are open, as an explanation that shows them must; not that another training would open
    the same ones.

    Source: -; permuting what is to be explained is Breiman 2001, "Random forests", Section 10
    Deviations: not of the paper.

    Args:    auroc_mean: with the gates as they are, NaN where there is none.
             shuffled: probabilities in each order of `gate_orders`; empty where no gate is learnt.
             codes: class codes, -1 where missing.
             tasks: names and classes.
             counts: how often each case counts.
    Returns: in AUROC, NaN where there is none; nothing where no gate is learnt.
    """
    if not len(shuffled):
        return {}
    found = [metrics.auroc_mean(probabilities, codes, tasks, counts) for probabilities in shuffled]
    return {CONTRIBUTION: auroc_mean - mean_of(np.array(found))}


def gated_metrics(
    arrangements: Sequence[Float[np.ndarray, "cases tasks classes"]],
    codes: Int[np.ndarray, "cases tasks"],
    tasks: Sequence[LabelTask],
    primary: str,
    counts: Int[np.ndarray, "resamples cases"],
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Every metric of a split, named without the split.

    Args:    arrangements: probabilities with the gates as they are, and in each order of `gate_orders` where gates are learnt.
             codes, tasks, primary, counts: see `trainables.metrics.classification_metrics`.
    """
    found = metrics.classification_metrics(arrangements[0], codes, tasks, primary, counts)
    area = found.get("auroc_mean", np.full(len(counts), np.nan))
    return {**found, **gate_contribution(area, arrangements[1:], codes, tasks, counts)}
