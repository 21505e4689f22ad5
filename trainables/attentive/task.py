"""The attentive task: Esteve-Cogollos & Fernández-Torres's network on images with masks of dermoscopic structures."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from spaces.fields import Value, number
from trainables.attentive import data as attentive_data
from trainables.attentive import encoder_weights
from trainables.attentive.data import AttentiveData
from trainables.attentive.gaze_metrics import AGREEMENT, ENTROPY, POINTING, REPEATED
from trainables.attentive.judged import CHUNK, Judged
from trainables.attentive.learner import AttentiveLearner
from trainables.attentive.reading import AttentivePredictor, explain, explain_images, explain_model, judge_split, load_model
from trainables.attentive.structure_metrics import read_structures, structure_metrics
from trainables.bootstrap import bootstrap
from trainables.case_readings import concatenated
from trainables.contract import COSTS, Predictor, Prepared, TrialRequest
from trainables.counted import of_all
from trainables.data import check_same, needed
from trainables.data.images import Progress, upright_size
from trainables.data.inspection import notes_unless_leaking
from trainables.data.isic2017 import MELANOMA
from trainables.data.segmented import STRUCTURES, SegmentedCases
from trainables.devices import choose_device
from trainables.evaluation import CasePredictions, Casewise, Confusions, Evaluation
from trainables.loop import TrainedTrial

__all__ = ["build", "casewise", "evaluate", "explain", "explain_images", "explain_model", "load_model", "predictor", "prepare"]

_MELANOMA_METRICS = ("accuracy", "recall", "precision", "f1", "calibration_error")
#: Metrics that are absent where the masks overlap no such structure, or are said to be what was not annotated.
_SAID = ("/class_accuracy", "pixel_auroc", "/pixel_auroc_mean")
#: Share of an image that a crop may lose without a word; the paper's loses 23 %.
_MOST_LOST = 1 / 3
_RANKED_METRICS = ("auroc", "average_precision", "sensitivity_at_95_specificity")


def prepare(config: Mapping[str, Value], source: str | None, progress: Progress | None = None) -> Prepared:
    """Reads the data, decodes images and masks and looks at the pretrained weights, so that whatever is wrong with them is
    said before the first trial.

    Args:    config: a complete configuration; its data fields decide.
             source: `FORMAT:PATH`.
             progress: called with (done, all) while images and masks are decoded.
    Raises:  DataError: with every problem found.
             ValueError: when a data field does not fit.
    """
    encoder_weights.read_weights(str(config["encoder_weights"]))
    data = attentive_data.load(config, needed(source), torch.device("cpu"), progress)
    notes = notes_unless_leaking(data.segmented.cases, data.segmented.leaks(), data.contents)
    valid = data.splits["valid"]
    return Prepared(
        fingerprint=data.fingerprint,
        metrics=(
            "train/loss",
            "valid/loss",
            *(f"valid/{name}" for name in _metric_names(data, config)),
            *COSTS,
        ),
        num_train=len(data.splits["train"]),
        num_valid=len(valid),
        num_test=len(data.splits.get("test", ())),
        num_labels=sum(len(task.classes) for task in data.segmented.cases.tasks),
        notes=(*_notes(data.segmented), *_crop_note(config, data.segmented), *notes),
    )


def _metric_names(data: AttentiveData, config: Mapping[str, Value]) -> list[str]:
    """What every validation reports, whatever the network says."""
    valid = data.splits["valid"]
    melanoma = data.segmented.cases.labels[valid, 0]
    names = [f"melanoma/{name}" for name in _MELANOMA_METRICS]
    if 0 < melanoma.sum() < len(melanoma):
        names += [f"melanoma/{name}" for name in _RANKED_METRICS]
    if config["attention"]:
        names += [POINTING, ENTROPY, REPEATED]
    if not config["decoder"]:
        return names
    # A network that says nothing has every metric that does not hang on what is said.
    parts = []
    for start in range(0, len(valid), CHUNK):
        members = valid[start : start + CHUNK]
        batch = data.batch(members)
        silent = torch.zeros_like(batch.masks[:, :1]), torch.zeros(len(members), 1, len(STRUCTURES))
        parts.append(read_structures(*silent, batch.masks, batch.known, data.superpixel_maps(members)))
    found = of_all(partial(structure_metrics, concatenated(parts)), len(valid))
    promised = [name for name in found if name.endswith("superpixel_auroc") or not name.endswith(_SAID)]
    # Where attributes are annotated every mask is judged, whatever it is said to be.
    judged = ["structures/class_accuracy"] if data.segmented.attributes_known[valid].any() else []
    return [*names, AGREEMENT, *promised, *judged]


def _notes(segmented: SegmentedCases) -> tuple[str, ...]:
    unknown = int((~segmented.attributes_known).sum())
    if not unknown:
        return ()
    return (
        f"{unknown} of {len(segmented.lesions)} cases have no superpixels or features: their attributes are unknown and enter no"
        " loss and no metric; lesion and skin do",
    )


def _crop_note(config: Mapping[str, Value], segmented: SegmentedCases) -> tuple[str, ...]:
    """What is said of a network that hardly sees the whole image."""
    size_px, crop_from_px = int(number(config, "size_px")), int(number(config, "crop_from_px"))
    seen, after = (size_px / crop_from_px) ** 2, ""
    if config["resize"] == "keep_aspect":
        sides = sorted(upright_size(segmented.cases.images[int(segmented.cases.splits["train"][0])]))
        seen, after = seen * sides[0] / sides[1], ", after resize=keep_aspect has cut the longer side"
    if 1 - seen <= _MOST_LOST:
        return ()
    return (
        f"the network sees {100 * seen:.0f} % of an image, the middle {size_px} of {crop_from_px} px a side{after} (--set"
        " crop_from_px= nearer to size_px)",
    )


def build(request: TrialRequest) -> TrainedTrial:
    """A trial of the attentive network.

    Raises:  DataError: when the data or the pretrained weights cannot be used.
             ValueError: when the configuration does not fit them.
    """
    torch.set_num_threads(request.num_threads)
    device = choose_device(request.device, request.gpu_share)
    data = attentive_data.load(request.config, needed(request.source), device)
    check_same(needed(request.source), data.fingerprint, request.fingerprint)
    return TrainedTrial(AttentiveLearner(request.config, data, request.seed, request.batch_parts), request)


def evaluate(folder: Path, source: str, split: str) -> Evaluation:
    """Metrics of a checkpoint on a split; on the data and machine of its training exactly those of its epoch.

    Args:    folder: the checkpoint.
             source: `FORMAT:PATH`.
             split: "train", "valid" or "test".
    Raises:  CheckpointError: when the folder is damaged.
             DataError: when the data do not fit the checkpoint.
    """
    judged, segmented, members = judge_split(folder, source, split)
    labels, groups = segmented.cases.labels[members], segmented.cases.group_codes(members)
    measure = partial(judged.metrics, labels)

    def named(metrics: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{split}/{name}": value for name, value in metrics.items()}

    return Evaluation(
        split=split,
        num_cases=len(members),
        metrics=named(of_all(measure, len(members))),
        intervals=named(bootstrap(len(members), measure, groups=groups)),
        confusions=_of_structures(judged),
        units=segmented.cases.units(members),
        predictions=_predictions(judged, segmented, members),
    )


def predict_cases(folder: Path, source: str, split: str) -> tuple[CasePredictions, ...]:
    """What a checkpoint says of every case of a split, a task each.

    Args:    folder, source, split: see `evaluate`.
    Raises:  CheckpointError, DataError: see `evaluate`.
    """
    return _predictions(*judge_split(folder, source, split))


def _predictions(judged: Judged, segmented: SegmentedCases, members: Int[np.ndarray, " members"]) -> tuple[CasePredictions, ...]:
    cases = segmented.cases
    names = tuple(cases.names[member] for member in members)
    labels, groups = cases.labels[members, 0], cases.groups_of(members)
    return (CasePredictions(MELANOMA.name, MELANOMA.classes, names, labels, judged.probabilities, groups),)


def _of_structures(judged: Judged) -> dict[str, Confusions]:
    """Masks by the structure that they overlap most and the one that they are said to be (Fig. 6); nothing without masks."""
    if judged.structures is None:
        return {}
    return {"structures": Confusions(STRUCTURES, {"confusion": judged.structures.confusion.sum(0).tolist()})}


def casewise(folder: Path, source: str, split: str) -> Casewise:
    """What a checkpoint says of every case of a split, ready to be measured on any of them.

    Args:    folder, source, split: see `evaluate`.
    Raises:  CheckpointError, DataError: see `evaluate`.
    """
    judged, segmented, members = judge_split(folder, source, split)
    labels = segmented.cases.labels[members]

    def measure(counts: Int[np.ndarray, "resamples cases"]) -> dict[str, Float[np.ndarray, " resamples"]]:
        return {f"{split}/{name}": values for name, values in judged.metrics(labels, counts).items()}

    cases = segmented.cases
    return Casewise(split, len(members), measure, _of_structures(judged), cases.group_codes(members), cases.units(members))


def predictor(folder: Path) -> Predictor:
    """A checkpoint that looks at single images.

    Raises:  CheckpointError: when the folder is damaged.
    """
    return AttentivePredictor(folder)
