"""What an attentive checkpoint says: of a split, of single images, and of where it looks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from models.attentive_network import AttentiveNetwork, Reading, check_size
from spaces.attentive import AttentiveSpace
from spaces.errors import RequestError
from trainables import checkpoints
from trainables.attentive import data as attentive_data
from trainables.attentive.data import AttentiveBatch, AttentiveData
from trainables.attentive.judged import CHUNK, Judged, joined, judge
from trainables.attentive.model import build_model
from trainables.augmentation import to_unit_range, views
from trainables.data import read_segmented
from trainables.data.images import Resize, decode, upright_size
from trainables.data.isic2017 import MELANOMA
from trainables.data.segmented import NUM_GENERIC, STRUCTURES, SegmentedCases
from trainables.described import read_description
from trainables.devices import choose_device, image_layout, laid_out, threads
from trainables.errors import CheckpointError, DataError
from trainables.evaluation import Confusions
from trainables.explanation import Explanation, Gaze, SeenCase, of_every_kind
from trainables.metrics import confusion


def load_model(folder: Path) -> AttentiveNetwork:
    """The network of a checkpoint, in evaluation mode, on the CPU.

    Raises:  CheckpointError: when the folder is damaged.
    """
    document = _document(folder)
    model = checkpoints.restore_model(folder, lambda: build_model(document["config"]))
    return model.to(memory_format=image_layout(torch.device("cpu"))).eval()


def _document(folder: Path) -> dict[str, Any]:
    document = read_description(folder, AttentiveSpace, needed=("structures",))
    try:
        check_size(int(document["config"]["size_px"]))
    except ValueError as error:
        raise CheckpointError(f"a checkpoint's config.json must fit its network: {error} in {folder}") from error
    return document


class _Split(NamedTuple):
    """A checkpoint's model beside the data of a split, on one device."""

    data: AttentiveData
    members: Int[np.ndarray, " members"]
    model: AttentiveNetwork
    num_threads: int


def judge_split(folder: Path, source: str, split: str) -> tuple[Judged, SegmentedCases, Int[np.ndarray, " members"]]:
    """What a checkpoint says of every case of a split, against the truth.

    Returns: the judgement, the cases, and the indices of those that it is about.
    Raises:  CheckpointError: when the folder is damaged.
             DataError: when the data do not fit the checkpoint.
    """
    found = _open(folder, source, split)
    return _judged(found), found.data.segmented, found.members


def _open(folder: Path, source: str, split: str) -> _Split:
    document = _document(folder)
    config = document["config"]
    segmented = read_segmented(source, document["classes"])
    members = segmented.cases.splits.get(split)
    if members is None:
        raise DataError(f"--split must be one of {', '.join(segmented.cases.splits)}; got {split!r}")
    device = choose_device("auto" if document["device"] == "cuda" else document["device"])
    data = attentive_data.on_device(segmented, int(config["crop_from_px"]), int(config["size_px"]), device, config["resize"])
    model = load_model(folder)
    model.to(device, memory_format=image_layout(device))  # type: ignore[call-overload]
    return _Split(data, members, model, document["num_threads"])


def _judged(split: _Split) -> Judged:
    """What the model says of every case."""
    parts = []
    with threads(split.num_threads), torch.no_grad():
        for start in range(0, len(split.members), CHUNK):
            chunk = split.members[start : start + CHUNK]
            batch = split.data.batch(chunk)
            parts.append(judge(split.model(batch.images), batch, split.data, chunk))
    return joined(parts)


def explain(folder: Path, source: str, split: str, num_cases: int) -> Explanation:
    """What a checkpoint confuses on a split, and how it looks at some cases.

    Args:    folder: the checkpoint.
             source: `FORMAT:PATH`.
             split: "train", "valid" or "test".
             num_cases: how many are shown, as many melanomas as others where there are, the first of each.
    Raises:  CheckpointError, DataError: see `judge_split`.
    """
    found = _open(folder, source, split)
    judged, cases = _judged(found), found.data.segmented.cases
    labels = cases.labels[found.members, 0]
    confusions = {MELANOMA.name: Confusions(MELANOMA.classes, {split: confusion(labels, judged.probabilities, 2)})}
    if judged.structures is not None:
        confusions["structures"] = Confusions(STRUCTURES, {split: judged.structures.confusion.sum(0).tolist()})
    return Explanation(split, len(found.members), confusions, cases=_seen(found, judged, labels, num_cases))


def _seen(split: _Split, judged: Judged, labels: Int[np.ndarray, " members"], num_cases: int) -> tuple[SeenCase, ...]:
    places = of_every_kind(labels, num_cases)
    if not places:
        return ()
    chosen = split.members[places]
    batch = split.data.batch(chosen)
    with threads(split.num_threads), torch.no_grad():
        reading = split.model(batch.images)
    # In a batch of other cases the last bits round otherwise: what is said is what is measured.
    said = judged.probabilities[places]
    return tuple(_seen_case(split, reading, batch, index, int(member), said[index]) for index, member in enumerate(chosen))


def _seen_case(
    split: _Split,
    reading: Reading,
    batch: AttentiveBatch,
    index: int,
    member: int,
    probabilities: Float[np.ndarray, "2"],
) -> SeenCase:
    cases, image = split.data.segmented.cases, batch.images[index]
    masks, known = batch.masks[index].bool().cpu().numpy(), bool(batch.known[index])
    steps = range(0 if reading.attention is None else reading.attention.shape[1])
    return SeenCase(
        name=cases.images[member].stem,
        image=_as_bytes(image),
        diagnosis=MELANOMA.name,
        probabilities={MELANOMA.name: dict(zip(MELANOMA.classes, probabilities.tolist(), strict=True))},
        truths={MELANOMA.name: MELANOMA.classes[int(cases.labels[member, 0])]},
        gazes=tuple(_beside_truth(gaze_of(reading, index, step), masks, known) for step in steps),
    )


def _as_bytes(image: Float[Tensor, "3 size size"]) -> UInt8[np.ndarray, "size size 3"]:
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def _beside_truth(gaze: Gaze, masks: Bool[np.ndarray, "structures size size"], known: bool) -> Gaze:
    """A gaze with the annotation of the structure that it is said to show; attributes may not be annotated."""
    if not gaze.structure:
        return gaze
    place = STRUCTURES.index(gaze.structure)
    return replace(gaze, truth=masks[place]) if known or place < NUM_GENERIC else gaze


def explain_model(folder: Path) -> Explanation:
    """Nothing: what this model shows depends on the image.

    Raises:  CheckpointError: when the folder is damaged.
    """
    load_model(folder)
    return Explanation("", 0)


def explain_images(folder: Path, images: Sequence[Path]) -> Explanation:
    """What a checkpoint says of images of which nothing is known, and where it looks.

    Raises:  CheckpointError: when the folder is damaged.
             DataError: when an image does not decode.
    """
    document, model, shown = _document(folder), load_model(folder), list[SeenCase]()
    crop_from_px, size_px = (int(document["config"][name]) for name in ("crop_from_px", "size_px"))
    pixels = torch.from_numpy(np.stack([decode(image, crop_from_px, document["config"]["resize"]) for image in images]))
    # In the same batches as `AttentivePredictor.predict`, so that the last bits are the same.
    for chunk in torch.split(pixels, CHUNK):
        centre = _centre(chunk, size_px)
        with threads(document["num_threads"]), torch.no_grad():
            reading = model(centre)
        for index in range(len(chunk)):
            probabilities = reading.diagnosis[index].double().softmax(-1).tolist()
            steps = 0 if reading.attention is None else reading.attention.shape[1]
            gazes = tuple(gaze_of(reading, index, step) for step in range(steps))
            named = {MELANOMA.name: dict(zip(MELANOMA.classes, probabilities, strict=True))}
            name = str(images[len(shown)])
            shown.append(SeenCase(name, _as_bytes(centre[index]), MELANOMA.name, named, gazes=gazes))
    return Explanation("", len(images), cases=tuple(shown))


class AttentivePredictor:
    """An attentive checkpoint that looks at single images.

    Args:    folder: the checkpoint.
    Raises:  CheckpointError: when the folder is damaged.
    """

    def __init__(self, folder: Path) -> None:
        document = _document(folder)
        self._crop_from_px, self._size_px = (int(document["config"][name]) for name in ("crop_from_px", "size_px"))
        self._resize: Resize = document["config"]["resize"]
        self._num_threads, self._model = document["num_threads"], load_model(folder)

    @property
    def explanation(self) -> Mapping[str, Any]:
        """Nothing: what this model shows depends on the image."""
        return {}

    def predict(self, images: Sequence[Path | bytes]) -> list[dict[str, Any]]:
        """Probability of melanoma, and what the network looks at: point, structure and mask of every gaze.

        Raises:  DataError: when an image does not decode.
        """
        pixels = torch.from_numpy(np.stack([decode(image, self._crop_from_px, self._resize) for image in images]))
        seen, found = [self._seen(image) for image in images], list[dict[str, Any]]()
        with threads(self._num_threads), torch.no_grad():
            for chunk in torch.split(pixels, CHUNK):
                reading = self._model(_centre(chunk, self._size_px))
                found += [_prediction(reading, index, seen[len(found) + index]) for index in range(len(chunk))]
        names = ["" if isinstance(image, bytes) else str(image) for image in images]
        return [{"image": name, **prediction} for name, prediction in zip(names, found, strict=True)]

    def _seen(self, image: Path | bytes) -> tuple[float, float]:
        """Shares of an image's width and height that the network sees, in their middle."""
        cropped = self._size_px / self._crop_from_px
        if self._resize == "stretch":
            return cropped, cropped
        width, height = size = upright_size(image)
        return cropped * min(size) / width, cropped * min(size) / height


def _centre(pixels: UInt8[Tensor, "batch 3 resized resized"], size_px: int) -> Tensor:
    images = to_unit_range(pixels)
    centre, _ = views(images, images[:, :1], size_px, "none", None)
    return laid_out(centre)


def _prediction(reading: Reading, index: int, seen: tuple[float, float]) -> dict[str, Any]:
    probabilities = reading.diagnosis[index].double().softmax(-1).tolist()
    named = dict(zip(MELANOMA.classes, probabilities, strict=True))
    result: dict[str, Any] = {
        "labels": {MELANOMA.name: max(named, key=named.__getitem__)},
        "probabilities": {MELANOMA.name: named},
    }
    if reading.attention is not None:
        result["gazes"] = [_gaze(reading, index, step, seen) for step in range(reading.attention.shape[1])]
    return result


def gaze_of(reading: Reading, index: int, step: int) -> Gaze:
    """Where the attention map of a case and timestep is highest (Section 4.4), and what it is said to show there."""
    if reading.attention is None:
        raise RequestError("a gaze must come from a network with attention; got one without (--set attention=true)")
    attention = reading.attention[index, step]
    row, column = divmod(int(attention.argmax()), attention.shape[1])
    x, y = ((cell + 0.5) / side for cell, side in ((column, attention.shape[1]), (row, attention.shape[0])))
    if reading.structures is None:
        return Gaze(attention.double().cpu().numpy(), x, y)
    probabilities = reading.structures[index, step].softmax(-1)
    best = int(probabilities.argmax())
    mask = None if reading.masks is None else reading.masks[index, step].double().sigmoid().cpu().numpy()
    return Gaze(attention.double().cpu().numpy(), x, y, STRUCTURES[best], float(probabilities[best]), mask)


def _gaze(reading: Reading, index: int, step: int, seen: tuple[float, float]) -> dict[str, Any]:
    """A gaze as JSON values; its point as shares of the whole image's width and height.

    Args:    reading: of a batch.
             index, step: which case and timestep.
             seen: shares of the image's width and height that the network sees, in their middle.
    """
    gaze = gaze_of(reading, index, step)
    found: dict[str, Any] = {"gaze": step + 1, "x": 0.5 + (gaze.x - 0.5) * seen[0], "y": 0.5 + (gaze.y - 0.5) * seen[1]}
    if reading.masks is not None and gaze.structure:
        area = float((reading.masks[index, step] > 0).float().mean())
        found |= {"structure": gaze.structure, "probability": gaze.probability, "mask_share": area}
    return found
