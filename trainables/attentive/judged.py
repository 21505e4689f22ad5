"""What an attentive model said of some cases, against the truth."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from models.attentive_network import Reading
from trainables.attentive.data import AttentiveBatch, AttentiveData
from trainables.attentive.gaze_metrics import GazeReadings, gaze_metrics, read_gazes
from trainables.attentive.structure_metrics import StructureReadings, read_structures, structure_metrics
from trainables.case_readings import concatenated
from trainables.data.isic2017 import MELANOMA
from trainables.metrics import classification_metrics

#: Cases of one forward pass in evaluation, always counted from a split's first, so that the same split gives the same bits.
CHUNK = 16


class Judged(NamedTuple):
    """What a model said of some cases.

    Args:    probabilities: of benign and melanoma.
             structures: what its masks are worth, None without a decoder.
             gazes: where it looked, None without attention.
    """

    probabilities: Float[np.ndarray, "cases 2"]
    structures: StructureReadings | None
    gazes: GazeReadings | None

    def metrics(
        self, labels: Int[np.ndarray, "cases 1"], counts: Int[np.ndarray, "resamples cases"]
    ) -> dict[str, Float[np.ndarray, " resamples"]]:
        """Every metric of these cases, named without the split; NaN where one has no meaning.

        Args:    labels: 0 benign, 1 melanoma.
                 counts: how often each case counts.
        """
        found = classification_metrics(self.probabilities[:, None], labels, (MELANOMA,), MELANOMA.name, counts)
        return {
            **{name: values for name, values in found.items() if name.startswith(f"{MELANOMA.name}/")},
            **(structure_metrics(self.structures, counts) if self.structures is not None else {}),
            **(gaze_metrics(self.gazes, counts) if self.gazes is not None else {}),
        }


def judge(reading: Reading, batch: AttentiveBatch, data: AttentiveData, members: Int[np.ndarray, " batch"]) -> Judged:
    """A batch's reading against the truth."""
    probabilities = reading.diagnosis.double().softmax(-1).cpu().numpy()
    structures = gazes = None
    if reading.masks is not None and reading.structures is not None:
        superpixels = data.superpixel_maps(members)
        structures = read_structures(reading.masks.float(), reading.structures.float(), batch.masks, batch.known, superpixels)
    if reading.attention is not None:
        gazes = read_gazes(reading.attention.float(), reading.structures, batch.masks, batch.known)
    return Judged(probabilities, structures, gazes)


def joined(parts: list[Judged]) -> Judged:
    """Several batches' as one."""
    structures = [part.structures for part in parts if part.structures is not None]
    gazes = [part.gazes for part in parts if part.gazes is not None]
    return Judged(
        np.concatenate([part.probabilities for part in parts]),
        concatenated(structures) if structures else None,
        concatenated(gazes) if gazes else None,
    )
