"""What the attentive task must show (issue 2)."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from shown import REPOSITORY, SHARED, Shown, dermtune, learning_is_real, tests

from trainables.attentive.data import on_device
from trainables.attentive.structure_losses import soft_iou
from trainables.attentive.task import judge_split
from trainables.bootstrap import bootstrap
from trainables.data.segmented import STRUCTURES
from trainables.devices import choose_device

LESION = STRUCTURES.index("lesion")
#: The paper's fifth variant has no skips and trains its batch norm; 64 px and a quarter of the width fit two cores.
REAL = (
    *("--set", "input_normalisation=imagenet", "--set", "size_px=64", "--set", "crop_from_px=72", "--set", "width=0.25"),
    *("--set", "skips=false", "--set", "batch_norm=trained"),
    *("--metric", "valid/lesion/iou", "--metric", "valid/melanoma/auroc", "--trials", "10", "--max-epochs", "9"),
)


def real_input(folder: Path) -> list[Shown]:
    """Lesions on real images against the training set's mean mask, and the diagnosis."""
    source, weights = f"isic2017:{SHARED / 'isic2017'}", SHARED / "vgg16_blocks1-3.pt"
    found, seconds = dermtune(folder, "search", "attentive", "--data", source, "--set", f"encoder_weights={weights}", *REAL)
    (best,), _ = dermtune(folder, "best", found["name"])
    evaluation, _ = dermtune(folder, "evaluate", best["checkpoint"], "--data", source)
    judged, segmented, members = judge_split(Path(best["checkpoint"]), source, "valid")
    if judged.structures is None:
        raise RuntimeError("the best checkpoint must draw masks; got none")
    ours = judged.structures.iou[:, LESION]
    baseline = mean_mask_iou(segmented, best["config"], members)
    difference = ours - baseline
    (low, high) = bootstrap(len(difference), lambda counts: {"gain": counts @ difference / len(difference)})["gain"]
    low_auroc, high_auroc = evaluation["intervals"]["valid/melanoma/auroc"]
    command = (
        "dermtune search attentive --data isic2017:../shared/data/isic2017"
        f" --set encoder_weights=../shared/data/vgg16_blocks1-3.pt {' '.join(REAL)}"
    )
    auroc = evaluation["metrics"]["valid/melanoma/auroc"]
    # Numpy adds the cases in another order.
    exact = evaluation["metrics"]["valid/lesion/iou"] == best["value"] and bool(
        np.isclose(best["value"], np.nanmean(ours), rtol=1e-12)
    )
    return [
        Shown(2, "real search on two cores, at most 20 min", command, f"{seconds:.0f} s", seconds <= 1200),
        Shown(
            2,
            "lesion IoU on 80 real validation images minus that of the training-mean mask, interval over cases above 0",
            "make acceptance",
            f"{ours.mean():.3f} against {baseline.mean():.3f}; difference {difference.mean():.3f} [{low:.3f}, {high:.3f}]",
            low > 0,
        ),
        Shown(
            2,
            "melanoma AUROC of that checkpoint on them, reported",
            "dermtune evaluate CHECKPOINT --data ...",
            f"{auroc:.3f} [{low_auroc:.3f}, {high_auroc:.3f}]",
            0 <= low_auroc <= auroc <= high_auroc <= 1,
        ),
        Shown(
            2, "`evaluate` gives back exactly the reported lesion IoU", "dermtune evaluate CHECKPOINT", repr(best["value"]), exact
        ),
    ]


def mean_mask_iou(segmented: object, config: dict[str, object], members: np.ndarray) -> np.ndarray:
    """IoU of every validation lesion with the cells that most training lesions cover."""
    data = on_device(segmented, int(str(config["crop_from_px"])), int(str(config["size_px"])), choose_device("cpu"))
    train = data.batch(data.splits["train"]).masks[:, LESION]
    mean = (train.mean(0) > 0.5).float()
    truth = data.batch(members).masks[:, LESION]
    return soft_iou(mean.expand(len(truth), 1, -1, -1), truth.unsqueeze(1))[:, 0, 0].numpy()


def training_step(folder: Path) -> list[Shown]:
    """The step at the paper's size against the plain reference."""
    command = ["benchmarks/attentive_step.py"]
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    ratio = float(done.stdout.rsplit("ratio: ", 1)[1])
    gap = float(re.search(r"difference of the loss.*: (\S+)", done.stdout)[1])
    figure = f"{ratio:.2f} times as fast; loss differs by {gap:.0e} at most"
    return [
        Shown(
            2,
            "training step at the paper's size on the CPU, at least 1.2 times as fast as the plain reference, same loss to 1e-4",
            f"python {command[0]}",
            figure,
            ratio >= 1.2 and gap <= 1e-4,
        )
    ]


SHOWS = {
    "attentive_learning": learning_is_real(2, "attentive", 240),
    "attentive_real": real_input,
    "attentive_step": training_step,
    "attentive_facts": tests(
        2,
        "the paper's facts: Table 2, Eq. 1 to 10 and 17 to 19, Hungarian matching, superpixel codes, vector lengths, mAP",
        "tests/golden/test_attentive_paper.py",
        "tests/models/test_attentive_convlstm.py",
        "tests/models/test_attentive_network.py",
        "tests/models/test_structure_decoder.py",
        "tests/trainables/test_structure_losses.py",
        "tests/trainables/test_structure_metrics.py",
        "tests/trainables/test_masks.py",
    ),
    "attentive_weights": tests(
        2, "pretrained weights by order, calibrated batch norm", "tests/trainables/test_encoder_weights.py"
    ),
    "attentive_determinism": tests(
        2, "determinism, resumption, evaluation, variants of the attentive trial", "tests/trainables/test_attentive_trial.py"
    ),
    "attentive_bad_input": tests(
        2,
        "bad input of the challenge's layout: named case, one line, exit 2",
        "tests/trainables/test_isic2017.py",
        "tests/end_to_end/test_attentive_cli.py",
    ),
}
