"""The attentive task: Esteve-Cogollos & Fernández-Torres's network on images with masks of dermoscopic structures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from models.attentive_network import AttentiveNetwork, Reading
from spaces.fields import Value
from trainables import attentive_data, checkpoints, encoder_weights
from trainables.attentive_data import AttentiveData
from trainables.attentive_learner import CHUNK, AttentiveLearner, Judged, build_model, joined, judge
from trainables.augmentation import to_unit_range, views
from trainables.contract import Casewise, Confusions, Evaluation, Prepared, TrialRequest
from trainables.costs import COSTS
from trainables.data import needed, read_segmented
from trainables.data.images import Progress, decode
from trainables.data.isic2017 import MELANOMA
from trainables.data.segmented import STRUCTURES, SegmentedCases
from trainables.devices import choose_device, image_layout, threads
from trainables.errors import DataError
from trainables.folders import read_json
from trainables.loop import TrainedTrial
from trainables.metrics import bootstrap
from trainables.structure_metrics import StructureReadings, read_structures, structure_metrics

_MELANOMA_METRICS = ("accuracy", "recall", "precision", "f1", "calibration_error")
#: Metrics that are absent where the masks overlap no such structure, or are said to be what was not annotated.
_SAID = ("/class_accuracy", "pixel_auroc", "/pixel_auroc_mean")
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
    leaks = data.segmented.leaks()
    if leaks:
        raise DataError(*leaks)
    valid = data.splits["valid"]
    return Prepared(
        fingerprint=data.fingerprint,
        metrics=(
            "train/loss",
            "valid/loss",
            *(f"valid/{name}" for name in _metric_names(data, decoder=bool(config["decoder"]))),
            *COSTS,
        ),
        num_train=len(data.splits["train"]),
        num_valid=len(valid),
        notes=_notes(data.segmented),
    )


def _metric_names(data: AttentiveData, *, decoder: bool) -> list[str]:
    """What every validation reports, whatever the network says."""
    valid = data.splits["valid"]
    melanoma = data.segmented.cases.labels[valid, 0]
    names = [f"melanoma/{name}" for name in _MELANOMA_METRICS]
    if 0 < melanoma.sum() < len(melanoma):
        names += [f"melanoma/{name}" for name in _RANKED_METRICS]
    if not decoder:
        return names
    # A network that says nothing has every metric that does not hang on what is said.
    parts = []
    for start in range(0, len(valid), CHUNK):
        members = valid[start : start + CHUNK]
        batch = data.batch(members)
        silent = torch.zeros_like(batch.masks[:, :1]), torch.zeros(len(members), 1, len(STRUCTURES))
        parts.append(read_structures(*silent, batch.masks, batch.known, data.superpixel_maps(members)))
    found = structure_metrics(StructureReadings.joined(parts))
    promised = [name for name in found if name.endswith("superpixel_auroc") or not name.endswith(_SAID)]
    # Where attributes are annotated every mask is judged, whatever it is said to be.
    return [*names, *promised, *(["structures/class_accuracy"] if data.segmented.attributes_known[valid].any() else [])]


def _notes(segmented: SegmentedCases) -> tuple[str, ...]:
    unknown = int((~segmented.attributes_known).sum())
    if not unknown:
        return ()
    return (
        f"{unknown} of {len(segmented.lesions)} cases have no superpixels or features: their attributes are unknown and enter no"
        " loss and no metric; lesion and skin do",
    )


def build(request: TrialRequest) -> TrainedTrial:
    """A trial of the attentive network.

    Raises:  DataError: when the data or the pretrained weights cannot be used.
             ValueError: when the configuration does not fit them.
    """
    torch.set_num_threads(request.num_threads)
    device = choose_device(request.device)
    data = attentive_data.load(request.config, needed(request.source), device)
    return TrainedTrial(AttentiveLearner(request.config, data, request.seed), request)


def load_model(folder: Path) -> AttentiveNetwork:
    """The network of a checkpoint, in evaluation mode, on the CPU.

    Raises:  CheckpointError: when the folder is damaged.
    """
    document = _document(folder)
    model = checkpoints.restore_model(folder, lambda: build_model(document["config"]))
    return model.to(memory_format=image_layout(torch.device("cpu"))).eval()


def _document(folder: Path) -> dict[str, Any]:
    return read_json(folder, "config.json", needed=("config", "classes", "structures", "num_threads", "device"))


def evaluate(folder: Path, source: str, split: str) -> Evaluation:
    """Metrics of a checkpoint on a split; on the data and machine of its training exactly those of its epoch.

    Args:    folder: the checkpoint.
             source: `FORMAT:PATH`.
             split: "train", "valid" or "test".
    Raises:  CheckpointError: when the folder is damaged.
             DataError: when the data do not fit the checkpoint.
    """
    judged, segmented, members = judge_split(folder, source, split)
    labels = segmented.cases.labels[members]

    def named(metrics: Mapping[str, Any]) -> dict[str, Any]:
        return {f"{split}/{name}": value for name, value in metrics.items()}

    confusions = {}
    if judged.structures is not None:
        matrix = judged.structures.confusion.sum(0).tolist()
        confusions["structures"] = Confusions(STRUCTURES, {"confusion": matrix})
    return Evaluation(
        split=split,
        num_cases=len(members),
        metrics=named(judged.metrics(labels)),
        intervals=named(bootstrap(len(members), lambda chosen: judged.metrics(labels, chosen))),
        confusions=confusions,
    )


def casewise(folder: Path, source: str, split: str) -> Casewise:
    """What a checkpoint says of every case of a split, ready to be measured on any of them.

    Args:    folder, source, split: see `evaluate`.
    Raises:  CheckpointError, DataError: see `evaluate`.
    """
    judged, segmented, members = judge_split(folder, source, split)
    labels = segmented.cases.labels[members]

    def measure(chosen: Int[np.ndarray, " chosen"] | None) -> dict[str, float]:
        found = judged.metrics(labels) if chosen is None else judged.metrics(labels, chosen)
        return {f"{split}/{name}": value for name, value in found.items()}

    return Casewise(split, len(members), measure)


def judge_split(folder: Path, source: str, split: str) -> tuple[Judged, SegmentedCases, Any]:
    """What a checkpoint says of every case of a split, against the truth.

    Args:    folder, source, split: see `evaluate`.
    Returns: the judgement, the cases, and the indices of those that it is about.
    Raises:  CheckpointError, DataError: see `evaluate`.
    """
    document = _document(folder)
    config = document["config"]
    segmented = read_segmented(source, document["classes"])
    members = segmented.cases.splits.get(split)
    if members is None:
        raise DataError(f"--split must be one of {', '.join(segmented.cases.splits)}; got {split!r}")
    device = choose_device("auto" if document["device"] == "cuda" else document["device"])
    data = attentive_data.on_device(segmented, int(config["resize_px"]), int(config["size_px"]), device)
    model, parts = load_model(folder), []
    model.to(device, memory_format=image_layout(device))  # type: ignore[call-overload]
    with threads(document["num_threads"]), torch.no_grad():
        for start in range(0, len(members), CHUNK):
            chunk = members[start : start + CHUNK]
            batch = data.batch(chunk)
            parts.append(judge(model(batch.images), batch, data, chunk))
    return joined(parts), segmented, members


def predict(folder: Path, images: Sequence[Path]) -> list[dict[str, Any]]:
    """Probability of melanoma for single images, and what the network looks at: point, structure and mask of every gaze.

    Raises:  CheckpointError: when the folder is damaged.
             DataError: when an image does not decode.
    """
    document = _document(folder)
    resize_px, size_px = (int(document["config"][name]) for name in ("resize_px", "size_px"))
    model, found = load_model(folder), []
    pixels = torch.from_numpy(np.stack([decode(image, resize_px) for image in images]))
    with threads(document["num_threads"]), torch.no_grad():
        for chunk in torch.split(pixels, CHUNK):
            reading = model(_centre(chunk, size_px))
            found += [_prediction(reading, index, size_px / resize_px) for index in range(len(chunk))]
    return [{"image": str(image), **prediction} for image, prediction in zip(images, found, strict=True)]


def _centre(pixels: UInt8[Tensor, "batch 3 resized resized"], size_px: int) -> Tensor:
    images = to_unit_range(pixels)
    centre, _ = views(images, images[:, :1], size_px, "none", None)
    return centre.contiguous(memory_format=image_layout(centre.device))


def _prediction(reading: Reading, index: int, cropped: float) -> dict[str, Any]:
    probabilities = reading.diagnosis[index].double().softmax(-1).tolist()
    named = dict(zip(MELANOMA.classes, probabilities, strict=True))
    result: dict[str, Any] = {
        "labels": {MELANOMA.name: max(named, key=named.__getitem__)},
        "probabilities": {MELANOMA.name: named},
    }
    if reading.attention is not None:
        result["gazes"] = [_gaze(reading, index, step, cropped) for step in range(reading.attention.shape[1])]
    return result


def _gaze(reading: Reading, index: int, step: int, cropped: float) -> dict[str, Any]:
    """Where the attention map is highest (Section 4.4), as shares of the whole image's width and height from the upper left.

    Args:    reading: of a batch.
             index, step: which case and timestep.
             cropped: share of the image's side that the network sees.
    """
    if reading.attention is None:
        raise ValueError("a gaze must come from a network with attention; got one without (--set attention=true)")
    attention = reading.attention[index, step]
    row, column = divmod(int(attention.argmax()), attention.shape[1])
    x, y = ((cell + 0.5) / side for cell, side in ((column, attention.shape[1]), (row, attention.shape[0])))
    found: dict[str, Any] = {"gaze": step + 1, "x": 0.5 + (x - 0.5) * cropped, "y": 0.5 + (y - 0.5) * cropped}
    if reading.masks is not None and reading.structures is not None:
        probabilities = reading.structures[index, step].softmax(-1)
        best = int(probabilities.argmax())
        area = float((reading.masks[index, step] > 0).float().mean())
        found |= {"structure": STRUCTURES[best], "probability": float(probabilities[best]), "mask_share": area}
    return found
