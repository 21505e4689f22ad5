"""The gated task: Coppola et al.'s network on a set of labelled cases."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from models.gated_network import check_size
from spaces.fields import Value, number
from trainables import metrics
from trainables.bootstrap import bootstrap
from trainables.contract import COSTS, Predictor, Prepared, TrialRequest
from trainables.counted import of_all, once_each
from trainables.data import check_same, needed
from trainables.data.images import Progress
from trainables.data.inspection import notes_unless_leaking
from trainables.data.label_notes import nothing_to_rank
from trainables.devices import choose_device
from trainables.errors import DataError, as_requested
from trainables.evaluation import CasePredictions, Casewise, Confusions, Evaluation
from trainables.gated import data as gated_data
from trainables.gated.data import GatedData
from trainables.gated.learner import GatedLearner
from trainables.gated.metrics import CONTRIBUTION, DECISIVENESS, SHARING, gate_metrics
from trainables.gated.reading import GatedPredictor, Judged, explain, explain_images, explain_model, judge_split, load_model
from trainables.loop import TrainedTrial
from trainables.names import escaped

__all__ = ["build", "casewise", "evaluate", "explain", "explain_images", "explain_model", "load_model", "predictor", "prepare"]


def prepare(config: Mapping[str, Value], source: str | None, progress: Progress | None = None) -> Prepared:
    """Reads the data and decodes the images, so that whatever is wrong with them is said before the first trial.

    Args:    config: a complete configuration; its data fields decide.
             source: `FORMAT:PATH`.
             progress: called with (done, all) while images are decoded.
    Raises:  DataError: with every problem found.
             RequestError: when a data field does not fit the data.
    """
    with as_requested():
        check_size(int(number(config, "size_px")))
    data = gated_data.load(config, needed(source), torch.device("cpu"), progress)
    notes = notes_unless_leaking(data.cases, data.cases.leaks(), data.contents)
    if unranked := nothing_to_rank(data.cases):
        raise DataError(*unranked)
    members = data.cases.splits["valid"]
    codes = data.cases.labels[members]
    shape = (len(members), len(data.cases.tasks), max(len(task.classes) for task in data.cases.tasks))
    blind, cases = np.ones(shape) / shape[-1], data.cases
    names = of_all(lambda counts: metrics.classification_metrics(blind, codes, cases.tasks, cases.primary, counts), len(members))
    return Prepared(
        fingerprint=data.fingerprint,
        metrics=("train/loss", "valid/loss", *(f"valid/{name}" for name in names), *_of_gates(config, data, names), *COSTS),
        num_train=len(data.cases.splits["train"]),
        num_valid=len(members),
        num_test=len(data.cases.splits.get("test", ())),
        num_labels=sum(len(task.classes) for task in data.cases.tasks),
        notes=notes,
        primary=escaped(data.cases.primary),
    )


def _of_gates(config: Mapping[str, Value], data: GatedData, names: Collection[str]) -> tuple[str, ...]:
    """Metrics of the gates, where some are learnt."""
    if config["gates"] != "learned" or len(data.cases.tasks) == 1:
        return ()
    return (DECISIVENESS, SHARING, *([f"valid/{CONTRIBUTION}"] if "auroc_mean" in names else []))


def build(request: TrialRequest) -> TrainedTrial:
    """A trial of the gated network.

    Raises:  DataError: when the data cannot be used.
             RequestError: when the configuration does not fit them.
    """
    with as_requested():
        check_size(int(number(request.config, "size_px")))
    torch.set_num_threads(request.num_threads)
    device = choose_device(request.device, request.gpu_share)
    data = gated_data.load(request.config, needed(request.source), device)
    check_same(needed(request.source), data.fingerprint, request.fingerprint)
    return TrainedTrial(GatedLearner(request.config, data, request.seed, request.batch_parts), request)


def evaluate(folder: Path, source: str, split: str) -> Evaluation:
    """Metrics of a checkpoint on a split; on the data and machine of its training exactly those of its epoch.

    Args:    folder: the checkpoint.
             source: `FORMAT:PATH`.
             split: "train", "valid" or "test".
    Raises:  CheckpointError: when the folder is damaged.
             DataError: when the data do not fit the checkpoint.
    """
    judged = judge_split(folder, source, split)
    groups = judged.cases.group_codes(judged.members)
    of_cases = of_all(judged.metrics, len(judged.members))
    intervals = bootstrap(len(judged.members), judged.metrics, groups=groups)
    of_model = gate_metrics(load_model(folder))  # the same whatever the cases
    return Evaluation(
        split=split,
        num_cases=len(judged.members),
        metrics={**{f"{split}/{name}": value for name, value in of_cases.items()}, **of_model},
        intervals={f"{split}/{name}": value for name, value in intervals.items()},
        confusions=_seven_points(judged),
        predictions=_predictions(judged),
        units=judged.cases.units(judged.members),
    )


def predict_cases(folder: Path, source: str, split: str) -> tuple[CasePredictions, ...]:
    """What a checkpoint says of every case of a split, a task each.

    Args:    folder, source, split: see `evaluate`.
    Raises:  CheckpointError, DataError: see `evaluate`.
    """
    return _predictions(judge_split(folder, source, split))


def _predictions(judged: Judged) -> tuple[CasePredictions, ...]:
    names = tuple(judged.cases.names[member] for member in judged.members)
    groups = judged.cases.groups_of(judged.members)
    return tuple(
        CasePredictions(
            task.name, task.classes, names, judged.labels[:, i], judged.probabilities[:, i, : len(task.classes)], groups
        )
        for i, task in enumerate(judged.cases.tasks)
    )


def _seven_points(judged: Judged) -> dict[str, Confusions]:
    """Melanoma by the checklist and by the diagnosis, as said and as annotated; nothing on other tasks."""
    probabilities, codes, tasks, primary = judged.probabilities, judged.labels, judged.cases.tasks, judged.cases.primary
    once = once_each(len(codes))
    found = {
        "seven_point": metrics.seven_point_confusions(probabilities, codes, tasks, primary, once),
        "seven_point_annotated": metrics.annotated_seven_points(codes, tasks, primary, once),
    }
    return {
        name: Confusions(("benign", "melanoma"), {key: matrix[0].tolist() for key, matrix in matrices.items()})
        for name, matrices in found.items()
        if matrices
    }


def casewise(folder: Path, source: str, split: str) -> Casewise:
    """A checkpoint's probabilities of every case of a split, ready to be measured on any of them.

    Args:    folder, source, split: see `evaluate`.
    Raises:  CheckpointError, DataError: see `evaluate`.
    """
    judged, of_model = judge_split(folder, source, split), gate_metrics(load_model(folder))

    def measure(counts: Int[np.ndarray, "resamples cases"]) -> dict[str, Float[np.ndarray, " resamples"]]:
        of_cases = {f"{split}/{name}": values for name, values in judged.metrics(counts).items()}
        return {**of_cases, **{name: np.full(len(counts), value) for name, value in of_model.items()}}

    cases, members = judged.cases, judged.members
    return Casewise(split, len(members), measure, _seven_points(judged), cases.group_codes(members), cases.units(members))


def predictor(folder: Path) -> Predictor:
    """A checkpoint that looks at single images.

    Raises:  CheckpointError: when the folder is damaged.
    """
    return GatedPredictor(folder)
