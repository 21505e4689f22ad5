"""How fast is a training step of the attentive network, against the plain step-by-step reference of the tests?

Forward, Eq. 14, backward and Adam at the paper's size (224 px, T = 5, width 1, Deco_GAP_3, encoder frozen; batch 2 where the
paper has 8), taking turns in one run. The reference is measured twice: with the encoder's gradients, which a learning rate of
0 computes and throws away, and without; in single precision whatever ours does; all with our allocator's settings. The last
line is the ratio to the faster one. Needs no Ray, Optuna or MLflow.

    python benchmarks/attentive_step.py [--batch 2] [--size 224] [--steps 4] [--device cuda --bf16]

Exits 1 when ours is less than 1.5 times as fast on a CPU, less than 5 times on a GPU, or learns something else.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "models"), str(REPOSITORY / "benchmarks")]

import measuring  # noqa: E402
import reference_attentive  # noqa: E402

from models.attentive_network import AttentiveNetwork, Reading  # noqa: E402
from trainables.attentive import structure_losses  # noqa: E402
from trainables.attentive.learner import diagnosis_loss  # noqa: E402
from trainables.devices import choose_device, image_layout, laid_out  # noqa: E402

BARS = {"cpu": 1.5, "cuda": 5.0}
#: Largest difference of a loss that rounding explains, single precision and bfloat16.
TOLERANCES = {False: 1e-4, True: 5e-2}


def eq_14(reading: Reading, masks: Tensor, melanoma: Tensor) -> Tensor:
    """The paper's loss with its weights, every structure equal in the batch."""
    iou = structure_losses.soft_iou(reading.masks.float().sigmoid(), masks)
    matched = structure_losses.match(iou, masks.flatten(2).any(-1))
    pairs = structure_losses.pair_losses(matched, iou, reading.structures)
    weights = torch.ones(masks.shape[1], device=masks.device)
    structures = structure_losses.structures_loss(pairs, weights=weights, balancing="minibatch", segmentation_share=0.75)
    return 0.25 * diagnosis_loss(reading.diagnosis.float(), melanoma, 2.0) + 0.75 * structures


class Contestant:
    """A network with its optimiser, and how it is called."""

    def __init__(
        self, name: str, network: AttentiveNetwork, call: Callable[[Tensor], Reading], bf16: bool, fused: bool = False
    ) -> None:
        self.name, self.network, self.call, self.bf16 = name, network, call, bf16
        parameters = [p for p in network.parameters() if p.requires_grad]
        encoder = set(network.encoder.parameters())
        groups = [
            {"params": [p for p in parameters if p not in encoder], "lr": 1e-4},
            {"params": [p for p in parameters if p in encoder], "lr": 0.0},
        ]
        self.optimizer = torch.optim.Adam([g for g in groups if g["params"]], betas=(0.92, 0.96), fused=fused)
        self.losses: list[float] = []

    def step(self, images: Tensor, masks: Tensor, melanoma: Tensor) -> None:
        """One training step."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            reading = self.call(images)
        loss = eq_14(reading, masks, melanoma)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.losses.append(float(loss.detach()))


def contestants(device: torch.device, bf16: bool) -> list[Contestant]:
    """Ours and the two references, with the same weights."""
    network = AttentiveNetwork(generator=torch.Generator().manual_seed(0)).to(device)
    ours, plain, literal = (copy.deepcopy(network).train() for _ in range(3))
    ours.to(memory_format=image_layout(device))
    ours.freeze_encoder()
    plain.encoder.requires_grad_(False)

    def step_by_step(network: AttentiveNetwork) -> Callable[[Tensor], Reading]:
        return lambda images: Reading(*reference_attentive.forward(network, images))

    return [
        Contestant("ours", ours, lambda images: ours(laid_out(images)), bf16, fused=True),
        Contestant("reference, encoder at learning rate 0", literal, step_by_step(literal), False),
        Contestant("reference, encoder without gradients", plain, step_by_step(plain), False),
    ]


def main() -> int:
    """Runs the steps; the ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=4, help="timed; some go before them")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--bf16", action="store_true", help="run ours under bfloat16 autocast")
    given = parser.parse_args()
    device = choose_device(given.device)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(given.batch, 3, given.size, given.size, generator=generator).to(device)
    masks = (torch.rand(given.batch, 6, given.size, given.size, generator=generator) < 0.2).float().to(device)
    melanoma = (torch.arange(given.batch) % 2).to(device)
    found = contestants(device, given.bf16)
    calls = {contestant.name: partial(contestant.step, images, masks, melanoma) for contestant in found}
    best = {name: min(seconds) for name, seconds in measuring.take_turns(calls, given.steps, device).items()}
    print(f"{measuring.machine(device)}; {given.size} px, batch {given.batch}, T = 5{', bf16' if given.bf16 else ''}")
    limits = measuring.limits(device, torch.bfloat16 if given.bf16 else torch.float32)
    ours, literal, plain = found
    gap = max(abs(a - b) for other in (literal, plain) for a, b in zip(ours.losses, other.losses, strict=True))
    for name, call in calls.items():
        print(f"{name}: {1000 * best[name]:.0f} ms a step; {limits.shares(measuring.work_of(call), best[name])}")
    same = gap <= TOLERANCES[given.bf16]
    print(f"largest difference of the loss over {len(ours.losses)} steps: {gap:.1e}: {'equal' if same else 'NOT EQUAL'}")
    print(f"reference at learning rate 0 over ours: {best[literal.name] / best[ours.name]:.2f}")
    ratio, bar = best[plain.name] / best[ours.name], BARS[device.type]
    print(f"{'met' if ratio >= bar else 'MISSED'} (at least {bar}): reference over ours, ratio: {ratio:.2f}")
    return 0 if ratio >= bar and same else 1


if __name__ == "__main__":
    sys.exit(main())
