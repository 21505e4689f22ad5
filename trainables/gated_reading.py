"""What a gated checkpoint says: of a split, of single images, and of itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from models.gated_network import GatedNetwork, check_size
from spaces.gated import GatedSpace
from trainables import checkpoints, seven_point
from trainables.contract import Confusions
from trainables.data import read_labelled
from trainables.data.cases import CaseSet, LabelTask
from trainables.data.images import decode, load_images
from trainables.described import read_description
from trainables.devices import choose_device, threads
from trainables.errors import CheckpointError, DataError
from trainables.explanation import Explanation, Sharing
from trainables.gated_data import GatedData
from trainables.gated_learner import CHUNK, build_model, infer, predict_logits, probabilities_of
from trainables.metrics import confusion

Probabilities = Float[np.ndarray, "members tasks classes"]


def load_model(folder: Path) -> GatedNetwork:
    """The network of a checkpoint, in evaluation mode, on the CPU.

    Raises:  CheckpointError: when the folder is damaged.
    """
    document = _document(folder)
    return checkpoints.restore_model(folder, lambda: build_model(document["config"], _tasks(document))).eval()


def _document(folder: Path) -> dict[str, Any]:
    document = read_description(folder, GatedSpace, needed=("primary_task",))
    try:
        check_size(int(document["config"]["size_px"]))
    except ValueError as error:
        raise CheckpointError(f"a checkpoint's config.json must fit its network: {error} in {folder}") from error
    if document["primary_task"] not in list(document["classes"]):
        raise CheckpointError(f"a checkpoint's primary task must be one of its tasks; got another in {folder}")
    return document


def judge_split(folder: Path, source: str, split: str) -> tuple[CaseSet, Int[np.ndarray, " members"], Probabilities]:
    """The data's cases, the indices of a split's, and the checkpoint's probabilities of those.

    Raises:  CheckpointError: when the folder is damaged.
             DataError: when the data do not fit the checkpoint.
    """
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


class GatedPredictor:
    """A gated checkpoint that looks at single images.

    Args:    folder: the checkpoint.
    Raises:  CheckpointError: when the folder is damaged.
    """

    def __init__(self, folder: Path) -> None:
        document = _document(folder)
        self._tasks, self._size_px = _tasks(document), int(document["config"]["size_px"])
        self._num_threads, self._model = document["num_threads"], load_model(folder)

    @property
    def explanation(self) -> Mapping[str, Any]:
        """`sharing`: task → the share that it takes of each task's features, in [0, 1], mean over the gated blocks."""
        found = sharing_of(self._model, self._tasks)
        if found is None:
            return {}
        mean = found.blocks.mean(0)
        return {
            "sharing": {
                taker: dict(zip(found.tasks, map(float, row), strict=True)) for taker, row in zip(found.tasks, mean, strict=True)
            }
        }

    def predict(self, images: Sequence[Path | bytes]) -> list[dict[str, Any]]:
        """Probabilities of every task, and the seven-point score with what it adds up where the tasks are its criteria.

        Raises:  DataError: when an image does not decode.
        """
        pixels = torch.from_numpy(np.stack([decode(image, self._size_px) for image in images]))
        with threads(self._num_threads):
            probabilities = probabilities_of(infer(self._model, torch.split(pixels, CHUNK)))
        names = ["" if isinstance(image, bytes) else str(image) for image in images]
        return [_prediction(name, self._tasks, case) for name, case in zip(names, probabilities, strict=True)]


def _prediction(image: str, tasks: Sequence[LabelTask], probabilities: Any) -> dict[str, Any]:
    found = {
        task.name: dict(zip(task.classes, map(float, row), strict=False)) for task, row in zip(tasks, probabilities, strict=True)
    }
    labels = {name: max(classes, key=classes.__getitem__) for name, classes in found.items()}
    result: dict[str, Any] = {"image": image, "labels": labels, "probabilities": found}
    if set(seven_point.POINTS) <= set(labels):
        result["seven_point_score"] = int(seven_point.scores({name: [label] for name, label in labels.items()})[0])
        result["seven_point_criteria"] = [
            {"criterion": name, "label": labels[name], "points": points * (labels[name] == scoring)}
            for name, (scoring, points) in seven_point.POINTS.items()
        ]
    return result


def explain(folder: Path, source: str, split: str, num_cases: int) -> Explanation:
    """What a checkpoint confuses on a split, task by task, and what its tasks share.

    Args:    folder: the checkpoint.
             source: `FORMAT:PATH`.
             split: "train", "valid" or "test".
             num_cases: unused: a gated network has no attention to show.
    Raises:  CheckpointError, DataError: see `judge_split`.
    """
    cases, members, probabilities = judge_split(folder, source, split)
    labels = cases.labels[members]
    confusions = {
        task.name: Confusions(task.classes, {split: confusion(labels[:, index], probabilities[:, index], len(task.classes))})
        for index, task in enumerate(cases.tasks)
    }
    return Explanation(split, len(members), confusions, sharing=sharing_of(load_model(folder), cases.tasks))


def sharing_of(model: GatedNetwork, tasks: Sequence[LabelTask]) -> Sharing | None:
    """Sharing fractions of a model with learnt gates, else None."""
    if not model.gate_parameters():
        return None
    with torch.no_grad():
        blocks = model.sharing().double().numpy()
    return Sharing(tuple(task.name for task in tasks), blocks)


def _tasks(document: dict[str, Any]) -> tuple[LabelTask, ...]:
    return tuple(LabelTask(name, tuple(classes)) for name, classes in document["classes"].items())


def _fitting(cases: CaseSet, config: dict[str, Any]) -> CaseSet:
    return cases.binary() if config["binary"] else cases
