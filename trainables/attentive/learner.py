"""What the training loop needs of the attentive network: model, optimiser, batches, loss, validation."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.attentive_network import AttentiveNetwork, Reading
from models.structure_decoder import StructureDecoder
from spaces.fields import Value, number
from trainables import losses
from trainables.attentive import encoder_weights, structure_losses
from trainables.attentive.data import AttentiveBatch, AttentiveData
from trainables.attentive.judged import CHUNK, joined, judge
from trainables.attentive.model import build_model, build_optimizer
from trainables.augmentation import Crop, Turning
from trainables.batches import Passes, repeat_factors
from trainables.contract import parts_note
from trainables.counted import of_all
from trainables.data.segmented import NUM_GENERIC, STRUCTURES
from trainables.devices import image_layout
from trainables.errors import TrialDiverged
from trainables.streams import Streams

#: Training images that show a pretrained encoder's batch norms what to expect.
_CALIBRATION_IMAGES = 32


class AttentiveLearner:
    """Model, loss, batches and validation of one configuration (see `trainables.loop.Learner`).

    Args:    config: every field of `AttentiveSpace`.
             data: on the training device.
             seed: of every random stream.
             num_parts: in which a training batch passes, to take less memory.
    """

    def __init__(self, config: Mapping[str, Value], data: AttentiveData, seed: int, num_parts: int = 1) -> None:
        self._config, self._data, self._num_parts = config, data, num_parts
        streams = Streams.of(seed, data.device)
        self.numpy_generators: Mapping[str, np.random.Generator] = {"batches": streams.batches}
        self.torch_generators: Mapping[str, torch.Generator] = {"device": streams.device}
        self._train, self._valid = data.splits["train"], data.splits["valid"]
        is_melanoma = data.segmented.cases.labels[self._train, 0] == 1
        repeats = np.where(is_melanoma, int(number(config, "melanoma_repeats")), 1)
        # The cases of an epoch, and how much more often than others each is drawn; None where it comes once.
        self._pool, shares = np.repeat(self._train, repeats), None
        if config["structure_sampling"] == "rare_structures":
            shares = np.repeat(repeat_factors(data.segmented.presence[self._train]), repeats)
        size = min(int(number(config, "batch_size")), len(self._pool))
        self.batches_per_epoch = math.ceil(len(self._pool) / size)
        self._passes = Passes(len(self._pool), size, streams.batches, shares)
        self._epoch, self._weights_digest = 1, ""
        self.notes: list[str] = []
        self.model = self._build(streams.weights)
        self.notes += self._parts_note()
        self.optimizer = build_optimizer(self.model, config)
        self._balancing = str(config["balancing"])
        weights = structure_losses.structure_weights(data.segmented.training_presence(), self._balancing)
        self._structure_weights = weights.to(data.device)

    def _build(self, generator: torch.Generator) -> AttentiveNetwork:
        """The network with its pretrained weights, on the device."""
        config, data = self._config, self._data
        imagenet = encoder_weights.IMAGENET_MEAN, encoder_weights.IMAGENET_DEVIATION
        statistics = imagenet if config["input_normalisation"] == "imagenet" else data.channel_statistics
        model = build_model(config, generator, statistics)
        whole = config["head"] == "fully_connected"
        weights = encoder_weights.read_weights(str(config["encoder_weights"]), dense=whole)
        if weights is not None:
            self.notes += encoder_weights.put_in(model, weights)
            self._weights_digest = weights.digest
        model.to(data.device, memory_format=image_layout(data.device))  # type: ignore[call-overload]
        if weights is not None and encoder_weights.needs_calibration(model, weights):
            shown = self._train[np.linspace(0, len(self._train) - 1, min(_CALIBRATION_IMAGES, len(self._train))).astype(int)]
            self.notes.append(encoder_weights.calibrate(model, data.batch(shown).images))
        if weights is None and config["encoder"] == "frozen":
            self.notes.append("the encoder is frozen with random weights (the paper's are ImageNet's: --set encoder_weights=)")
        if isinstance(model.decoder, StructureDecoder) and model.decoder.projects_skips:
            self.notes.append(
                "1×1 convolutions fit the encoder's skips to the narrower decoder (the paper averages them as they are)"
            )
        return model

    def _parts_note(self) -> list[str]:
        """What is said of a trial whose batches are to pass in parts; normalised by their own statistics they cannot."""
        if self._num_parts == 1 or not self.model.takes_batch_statistics:
            return parts_note(self._num_parts)
        return ["batches to pass in parts, for want of memory, are normalised whole (--set batch_norm=frozen_statistics)"]

    def begin(self, epoch: int) -> None:
        """Shuffles the training cases; early epochs may leave out the diagnosis or the attributes."""
        self._epoch = epoch
        self._passes.shuffle()

    def draw_batch(self) -> AttentiveBatch:
        """The next cases of this epoch's pass, turned and flipped."""
        members, config = self._pool[self._passes.draw()], self._config
        turning, crop = cast(Turning, config["augmentation"]), cast(Crop, config["crop"])
        return self._data.batch(members, turning, self.torch_generators["device"], crop)

    def loss(self, batch: AttentiveBatch) -> Tensor:
        """Eq. 14, or what is trained of it in this epoch."""
        reading = self.model(batch.images, self.torch_generators["device"], self._num_parts)
        early = self.model.decoder is not None
        generic_only = early and self._epoch <= number(self._config, "generic_first_epochs")
        structures_only = early and self._epoch <= number(self._config, "decoder_first_epochs")
        diagnosis, pairs = self._losses(reading, batch, generic_only=generic_only)
        return self._combined(diagnosis, pairs, structures_only=structures_only)

    def _losses(
        self, reading: Reading, batch: AttentiveBatch, *, generic_only: bool = False, evaluating: bool = False
    ) -> tuple[Tensor, structure_losses.PairLosses | None]:
        """The diagnosis loss, and those of masks and structures, None without a decoder.

        Args:    reading, batch: what was said, and the truth.
                 generic_only: whether only lesion and skin are learnt.
                 evaluating: whether masks take a structure each, with repetition, instead of sharing them out.
        """
        theta, weight = number(self._config, "focal_theta"), number(self._config, "melanoma_weight")
        diagnosis = diagnosis_loss(reading.diagnosis.float(), batch.melanoma, theta, weight)
        if reading.masks is None or reading.structures is None:
            return diagnosis, None
        truth = batch.masks
        if generic_only:  # "lesion" is then the whole of it: where attributes cover it, less them nothing would be left
            truth = torch.cat([batch.lesion.unsqueeze(1), truth[:, 1:]], 1)
        present = truth.flatten(2).any(-1)
        present[:, NUM_GENERIC:] &= batch.known.unsqueeze(-1) & (not generic_only)
        iou = structure_losses.soft_iou(reading.masks.float().sigmoid(), truth)
        pair = structure_losses.most_overlapped if evaluating else structure_losses.match
        return diagnosis, structure_losses.pair_losses(pair(iou, present), iou, reading.structures)

    def _combined(self, diagnosis: Tensor, pairs: structure_losses.PairLosses | None, *, structures_only: bool = False) -> Tensor:
        """Eq. 14."""
        if pairs is None:
            return diagnosis
        structures = structure_losses.structures_loss(
            pairs,
            weights=self._structure_weights,
            balancing=self._balancing,
            segmentation_share=number(self._config, "segmentation_share"),
        )
        if structures_only:
            return structures
        alpha = number(self._config, "diagnosis_weight")
        return alpha * diagnosis + (1 - alpha) * structures

    @property
    def valid_batches(self) -> float:
        """Training batches that the validation split would fill."""
        return len(self._valid) * self.batches_per_epoch / len(self._pool)

    def validate(self) -> dict[str, float]:
        """Metrics of the validation split and Eq. 14 on it, whole whatever the epoch trains, balanced over the split.

        Source: Esteve-Cogollos & Fernández-Torres 2020, Section 3.2: in evaluation structures are paired with repetition
        Deviations: none.

        Raises:  TrialDiverged: when the loss is not finite.
        """
        self.model.eval()
        diagnosis, pairs, parts = 0.0, [], []
        for start in range(0, len(self._valid), CHUNK):
            members = self._valid[start : start + CHUNK]
            batch = self._data.batch(members)
            with torch.no_grad():
                reading = self.model(batch.images)
                part, found = self._losses(reading, batch, evaluating=True)
            diagnosis += float(part) * len(members)
            pairs += [] if found is None else [found]
            structures = 0.0 if found is None else float(found.masks.sum() + found.named.sum())
            if not math.isfinite(diagnosis + structures):
                raise TrialDiverged(f"valid/loss must be finite; got NaN or infinity at epoch {self._epoch}")
            parts.append(judge(reading, batch, self._data, members))
        mean = torch.tensor(diagnosis / len(self._valid), device=self._data.device)
        together = structure_losses.PairLosses(*map(torch.cat, zip(*pairs, strict=True))) if pairs else None
        labels = self._data.segmented.cases.labels[self._valid]
        metrics = of_all(partial(joined(parts).metrics, labels), len(labels))
        loss = float(self._combined(mean, together))
        return {"valid/loss": loss, **{f"valid/{name}": value for name, value in metrics.items()}}

    def shown(self) -> Mapping[str, Tensor]:
        """Nothing: what this network shows depends on the image."""
        return {}

    def diagnose(self) -> Reading:
        """What the network reads in the first validation case."""
        return cast(Reading, self.model(self._data.batch(self._valid[:1]).images))

    def description(self) -> dict[str, Any]:
        """Classes, structures, fingerprint of the data and of the pretrained weights."""
        return {
            "classes": {task.name: list(task.classes) for task in self._data.segmented.cases.tasks},
            "structures": list(STRUCTURES),
            "data_fingerprint": self._data.fingerprint,
            "encoder_weights_digest": self._weights_digest,
        }


def diagnosis_loss(
    logits: Float[Tensor, "batch 2"], melanoma: Int[Tensor, " batch"], theta: float, melanoma_weight: float = 1.0
) -> Float[Tensor, ""]:
    """Focal loss of the diagnosis, the mean over cases.

    Source: Esteve-Cogollos & Fernández-Torres 2020, Eq. 12; theta = 0 is Eq. 11
    Deviations: none at melanoma_weight = 1.

    Args:    logits: of benign and melanoma.
             melanoma: y, 0 or 1.
             theta: 0 or more.
             melanoma_weight: of a melanoma's loss, beside 1 for others.
    """
    weights = torch.tensor([[1.0, melanoma_weight]], device=logits.device)
    return losses.focal_loss(logits.unsqueeze(1), melanoma.unsqueeze(1), weights, theta)[0]
