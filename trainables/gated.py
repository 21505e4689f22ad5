"""The gated task: Coppola et al.'s network on a set of labelled cases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from models.gated_network import GatedNetwork, check_size
from spaces.fields import Value, number
from trainables import checkpoints, gated_data, metrics, seven_point
from trainables.contract import Casewise, Confusions, Evaluation, Prepared, TrialRequest
from trainables.costs import COSTS
from trainables.data import needed, read_labelled
from trainables.data.cases import CaseSet, LabelTask
from trainables.data.images import Progress, decode, load_images
from trainables.devices import choose_device, threads
from trainables.errors import DataError
from trainables.folders import read_json
from trainables.gated_data import GatedData
from trainables.gated_learner import CHUNK, GatedLearner, build_model, infer, predict_logits, probabilities_of
from trainables.loop import TrainedTrial


def prepare(config: Mapping[str, Value], source: str | None, progress: Progress | None = None) -> Prepared:
    """Reads the data and decodes the images, so that whatever is wrong with them is said before the first trial.

    Args:    config: a complete configuration; its data fields decide.
             source: `FORMAT:PATH`.
             progress: called with (done, all) while images are decoded.
    Raises:  DataError: with every problem found.
             ValueError: when a data field does not fit the data.
    """
    check_size(int(number(config, "size_px")))
    data = gated_data.load(config, needed(source), torch.device("cpu"), progress)
    leaks = data.cases.leaks()
    if leaks:
        raise DataError(*leaks)
    members = data.cases.splits["valid"]
    codes = data.cases.labels[members]
    shape = (len(members), len(data.cases.tasks), max(len(task.classes) for task in data.cases.tasks))
    names = metrics.classification_metrics(np.ones(shape) / shape[-1], codes, data.cases.tasks, data.cases.primary)
    return Prepared(
        fingerprint=data.fingerprint,
        metrics=("train/loss", "valid/loss", *(f"valid/{name}" for name in names), *COSTS),
        num_train=len(data.cases.splits["train"]),
        num_valid=len(members),
    )


def build(request: TrialRequest) -> TrainedTrial:
    """A trial of the gated network.

    Raises:  DataError: when the data cannot be used.
             ValueError: when the configuration does not fit them.
    """
    check_size(int(number(request.config, "size_px")))
    torch.set_num_threads(request.num_threads)
    device = choose_device(request.device)
    data = gated_data.load(request.config, needed(request.source), device)
    return TrainedTrial(GatedLearner(request.config, data, request.seed), request)


def load_model(folder: Path) -> GatedNetwork:
    """The network of a checkpoint, in evaluation mode, on the CPU.

    Raises:  CheckpointError: when the folder is damaged.
    """
    document = _document(folder)
    return checkpoints.restore_model(folder, lambda: build_model(document["config"], _tasks(document))).eval()


def _document(folder: Path) -> dict[str, Any]:
    return read_json(folder, "config.json", needed=("config", "classes", "primary_task", "num_threads", "device"))


def evaluate(folder: Path, source: str, split: str) -> Evaluation:
    """Metrics of a checkpoint on a split; on the data and machine of its training exactly those of its epoch.

    Args:    folder: the checkpoint.
             source: `FORMAT:PATH`.
             split: "train", "valid" or "test".
    Raises:  CheckpointError: when the folder is damaged.
             DataError: when the data do not fit the checkpoint.
    """
    cases, members, probabilities = _judged(folder, source, split)
    arguments = (probabilities, cases.labels[members], cases.tasks, cases.primary)
    found = metrics.seven_point_confusions(*arguments)
    return Evaluation(
        split=split,
        num_cases=len(members),
        metrics={f"{split}/{name}": value for name, value in metrics.classification_metrics(*arguments).items()},
        intervals={f"{split}/{name}": value for name, value in metrics.bootstrap_intervals(*arguments).items()},
        confusions={"seven_point": Confusions(("benign", "melanoma"), dict(found))} if found else {},
    )


def casewise(folder: Path, source: str, split: str) -> Casewise:
    """A checkpoint's probabilities of every case of a split, ready to be measured on any of them.

    Args:    folder, source, split: see `evaluate`.
    Raises:  CheckpointError, DataError: see `evaluate`.
    """
    cases, members, probabilities = _judged(folder, source, split)
    labels = cases.labels[members]

    def measure(chosen: Int[np.ndarray, " chosen"] | None) -> dict[str, float]:
        rows = slice(None) if chosen is None else chosen
        found = metrics.classification_metrics(probabilities[rows], labels[rows], cases.tasks, cases.primary)
        return {f"{split}/{name}": value for name, value in found.items()}

    return Casewise(split, len(members), measure)


def _judged(
    folder: Path, source: str, split: str
) -> tuple[CaseSet, Int[np.ndarray, " members"], Float[np.ndarray, "members tasks classes"]]:
    """The data's cases, the indices of a split's, and the checkpoint's probabilities of those."""
    document = _document(folder)
    config, classes = document["config"], document["classes"]
    cases = _fitting(read_labelled(source, None if config["binary"] else classes).with_primary(document["primary_task"]), config)
    if {task.name: list(task.classes) for task in cases.tasks} != classes:
        raise DataError(f"--data must have the checkpoint's tasks and classes ({classes}); got others from {source}")
    if split not in cases.splits:
        raise DataError(f"--split must be one of {', '.join(cases.splits)}; got {split!r}")
    device = choose_device("auto" if document["device"] == "cuda" else document["device"])
    pixels = torch.from_numpy(load_images(cases, int(config["size_px"])).pixels)
    data = GatedData(cases, pixels, torch.from_numpy(cases.labels).to(device), "", device)
    members = cases.splits[split]
    with threads(document["num_threads"]):
        probabilities = probabilities_of(predict_logits(load_model(folder).to(device), data, members))
    return cases, members, probabilities


def predict(folder: Path, images: Sequence[Path]) -> list[dict[str, Any]]:
    """Probabilities of every task for single images, and the seven-point score where the tasks are its criteria.

    Raises:  CheckpointError: when the folder is damaged.
             DataError: when an image does not decode.
    """
    document = _document(folder)
    tasks, size_px = _tasks(document), int(document["config"]["size_px"])
    pixels = torch.from_numpy(np.stack([decode(image, size_px) for image in images]))
    with threads(document["num_threads"]):
        probabilities = probabilities_of(infer(load_model(folder), torch.split(pixels, CHUNK)))
    return [_prediction(str(image), tasks, case) for image, case in zip(images, probabilities, strict=True)]


def _prediction(image: str, tasks: Sequence[LabelTask], probabilities: Any) -> dict[str, Any]:
    found = {
        task.name: dict(zip(task.classes, map(float, row), strict=False)) for task, row in zip(tasks, probabilities, strict=True)
    }
    labels = {name: max(classes, key=classes.__getitem__) for name, classes in found.items()}
    result: dict[str, Any] = {"image": image, "labels": labels, "probabilities": found}
    if set(seven_point.POINTS) <= set(labels):
        result["seven_point_score"] = int(seven_point.scores({name: [label] for name, label in labels.items()})[0])
    return result


def _tasks(document: dict[str, Any]) -> tuple[LabelTask, ...]:
    return tuple(LabelTask(name, tuple(classes)) for name, classes in document["classes"].items())


def _fitting(cases: CaseSet, config: dict[str, Any]) -> CaseSet:
    return cases.binary() if config["binary"] else cases
