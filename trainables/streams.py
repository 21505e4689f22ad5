"""A trial's own random streams, so that whatever else its process draws changes nothing."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Streams:
    """Independent generators that follow from one seed.

    Args:    weights: of the initial weights, on the CPU.
             batches: of the batches.
             device: of augmentation and dropout, on the training device.
    """

    weights: torch.Generator
    batches: np.random.Generator
    device: torch.Generator

    @staticmethod
    def of(seed: int, device: torch.device) -> "Streams":
        """The streams of a trial.

        Args:    seed: the trial's.
                 device: where it trains.
        """
        weights, batches, on_device = (int(s.generate_state(1)[0]) for s in np.random.SeedSequence(seed).spawn(3))
        return Streams(
            weights=torch.Generator().manual_seed(weights),
            batches=np.random.default_rng(batches),
            device=torch.Generator(device).manual_seed(on_device),
        )
