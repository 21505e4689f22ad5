"""What a gated checkpoint says: of a split, of single images, and of itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from models.gated_network import GatedNetwork, check_size
from spaces.gated import GatedSpace
from trainables import checkpoints, seven_point
from trainables.attribution import integrated_gradients, log_odds
from trainables.augmentation import to_unit_range
from trainables.data import read_labelled
from trainables.data.cases import MISSING, CaseSet, LabelTask
from trainables.data.images import decode, load_images
from trainables.described import read_description
from trainables.devices import choose_device, laid_out, threads
from trainables.errors import CheckpointError, DataError
from trainables.evaluation import Confusions
from trainables.explanation import Attribution, Explanation, SeenCase, SevenPoints, of_every_kind
from trainables.gated.data import GatedData
from trainables.gated.learner import CHUNK, build_model, infer, predict_logits, probabilities_of
from trainables.gated.metrics import gated_metrics
from trainables.gated.sharing import sharing_of, with_history
from trainables.metrics import confusion
from trainables.sharing import Sharing

Probabilities = Float[np.ndarray, "members tasks classes"]
#: What is said of a network whose gates learn nothing.
NOTES = {
    "off": "gates=off: the tasks are independent networks and take nothing from each other; there is nothing to explain.",
    "open": "gates=open: every task takes all of every other's features, always; there is nothing to explain.",
}
ALONE = "There is one task: it has no other to take from; there is nothing to explain."


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


class Judged(NamedTuple):
    """A checkpoint's probabilities of a split's cases, and what it saw of them.

    Args:    cases: the data's.
             members: indices of the split's.
             probabilities: of those.
             shuffled: the same in each order of `gate_orders`; none where no gate is learnt.
             pixels: of all cases.
    """

    cases: CaseSet
    members: Int[np.ndarray, " members"]
    probabilities: Probabilities
    shuffled: tuple[Probabilities, ...]
    pixels: UInt8[Tensor, "cases 3 size size"]

    @property
    def labels(self) -> Int[np.ndarray, "members tasks"]:
        """Class codes of the split's cases."""
        return np.asarray(self.cases.labels[self.members])

    def metrics(self, counts: Int[np.ndarray, "resamples members"]) -> dict[str, Float[np.ndarray, " resamples"]]:
        """Every metric of these cases, named without the split; NaN where one has no meaning.

        Args:    counts: how often each case counts.
        """
        return gated_metrics((self.probabilities, *self.shuffled), self.labels, self.cases.tasks, self.cases.primary, counts)


def judge_split(folder: Path, source: str, split: str) -> Judged:
    """What a checkpoint says of a split.

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
        found = [probabilities_of(logits) for logits in predict_logits(load_model(folder).to(device), data, members)]
    return Judged(cases, members, found[0], tuple(found[1:]), pixels)


class GatedPredictor:
    """A gated checkpoint that looks at single images.

    Args:    folder: the checkpoint.
    Raises:  CheckpointError: when the folder is damaged.
    """

    def __init__(self, folder: Path) -> None:
        document = _document(folder)
        self._tasks, self._size_px = _tasks(document), int(document["config"]["size_px"])
        self._num_threads, self._model = document["num_threads"], load_model(folder)
        self._note = _note(document)

    @property
    def explanation(self) -> Mapping[str, Any]:
        """`sharing`: task → the share that it takes of each task's features, in [0, 1], mean over the gated blocks; or a
        `note` that says why there is none.
        """
        found = sharing_of(self._model, self._tasks)
        if found is None:
            return {"note": self._note} if self._note else {}
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
    found = _named(tasks, probabilities)
    labels = _labels(found)
    result: dict[str, Any] = {"image": image, "labels": labels, "probabilities": found}
    if set(seven_point.POINTS) <= set(labels):
        points = SevenPoints(_criteria(labels))
        result["seven_point_score"] = points.score
        result["seven_point_criteria"] = [
            {"criterion": name, "label": label, "points": added} for name, (label, added) in points.criteria.items()
        ]
    return result


def _named(tasks: Sequence[LabelTask], probabilities: Any) -> dict[str, dict[str, float]]:
    """Task → class → probability."""
    return {
        task.name: dict(zip(task.classes, map(float, row), strict=False)) for task, row in zip(tasks, probabilities, strict=True)
    }


def _labels(probabilities: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Task → its most probable class."""
    return {name: max(classes, key=classes.__getitem__) for name, classes in probabilities.items()}


def _criteria(labels: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Criterion → (label, points that it adds)."""
    return {name: (labels[name], points * (labels[name] == scoring)) for name, (scoring, points) in seven_point.POINTS.items()}


def explain(folder: Path, source: str, split: str, num_cases: int) -> Explanation:
    """What a checkpoint confuses on a split, task by task, what its tasks share, and what it says of some cases.

    Args:    folder: the checkpoint.
             source: `FORMAT:PATH`.
             split: "train", "valid" or "test".
             num_cases: how many are shown, of as many diagnoses as there are, the first of each.
    Raises:  CheckpointError, DataError: see `judge_split`.
    """
    judged = judge_split(folder, source, split)
    cases, members, probabilities, pixels, labels = (
        judged.cases,
        judged.members,
        judged.probabilities,
        judged.pixels,
        judged.labels,
    )
    confusions = {
        task.name: Confusions(task.classes, {split: confusion(labels[:, index], probabilities[:, index], len(task.classes))})
        for index, task in enumerate(cases.tasks)
    }
    document, model = _document(folder), load_model(folder)
    with threads(document["num_threads"]):
        shown = tuple(
            _seen_case(
                model,
                cases.names[members[place]],
                pixels[members[place]],
                cases.tasks,
                cases.primary,
                probabilities[place],
                labels[place],
            )
            for place in of_every_kind(labels[:, cases.primary_index], num_cases)
        )
    sharing = _sharing(folder, model, cases.tasks)
    return Explanation(split, len(members), confusions, sharing=sharing, cases=shown, note=_note(document))


def explain_model(folder: Path) -> Explanation:
    """What a checkpoint's tasks share.

    Raises:  CheckpointError: when the folder is damaged.
    """
    document = _document(folder)
    return Explanation("", 0, sharing=_sharing(folder, load_model(folder), _tasks(document)), note=_note(document))


def explain_images(folder: Path, images: Sequence[Path]) -> Explanation:
    """What a checkpoint says of images of which nothing is known, and what its tasks share.

    Raises:  CheckpointError: when the folder is damaged.
             DataError: when an image does not decode.
    """
    document, model = _document(folder), load_model(folder)
    tasks = _tasks(document)
    pixels = torch.from_numpy(np.stack([decode(image, int(document["config"]["size_px"])) for image in images]))
    with threads(document["num_threads"]):
        probabilities = probabilities_of(infer(model, torch.split(pixels, CHUNK)))
        shown = tuple(
            _seen_case(model, str(image), pixels[place], tasks, document["primary_task"], probabilities[place])
            for place, image in enumerate(images)
        )
    return Explanation("", len(images), sharing=_sharing(folder, model, tasks), cases=shown, note=_note(document))


def _seen_case(
    model: GatedNetwork,
    name: str,
    pixels: UInt8[Tensor, "3 size size"],
    tasks: Sequence[LabelTask],
    primary: str,
    probabilities: Float[np.ndarray, "tasks classes"],
    labels: Int[np.ndarray, " tasks"] | None = None,
) -> SeenCase:
    found = _named(tasks, probabilities)
    codes = [MISSING] * len(tasks) if labels is None else [int(code) for code in labels]
    truths = {task.name: task.classes[code] for task, code in zip(tasks, codes, strict=True) if code != MISSING}
    points = None
    if set(seven_point.POINTS) <= set(found):
        known = set(seven_point.POINTS) <= set(truths)
        true_score = int(seven_point.scores({name: [label] for name, label in truths.items()})[0]) if known else None
        points = SevenPoints(_criteria(_labels(found)), true_score)
    said = torch.from_numpy(probabilities.argmax(-1))
    maps = integrated_gradients(lambda images: log_odds(model(laid_out(images)), said), to_unit_range(pixels[None])[0])
    evidence = {task.name: Attribution(of_task) for task, of_task in zip(tasks, maps, strict=True) if of_task.any()}
    return SeenCase(name, pixels.permute(1, 2, 0).numpy(), primary, found, truths, seven_points=points, evidence=evidence)


def _sharing(folder: Path, model: GatedNetwork, tasks: Sequence[LabelTask]) -> Sharing | None:
    sharing = sharing_of(model, tasks)
    return None if sharing is None else with_history(sharing, folder)


def _note(document: dict[str, Any]) -> str:
    return ALONE if len(document["classes"]) == 1 else NOTES.get(document["config"]["gates"], "")


def _tasks(document: dict[str, Any]) -> tuple[LabelTask, ...]:
    return tuple(LabelTask(name, tuple(classes)) for name, classes in document["classes"].items())


def _fitting(cases: CaseSet, config: dict[str, Any]) -> CaseSet:
    return cases.binary() if config["binary"] else cases
