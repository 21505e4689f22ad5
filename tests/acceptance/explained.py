"""What explanations and the papers' experiments must show (issue 8) beyond what continuous integration has time for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shown import SHARED, Shown, dermtune, tested, tests

from spaces import attentive, gated

ISSUE = 8
_LIMIT_S = 600.0
_EXPERIMENTS = {"gated": gated.EXPERIMENTS, "attentive": attentive.EXPERIMENTS}
_MAIN = {"gated": "criteria/recall", "attentive": "melanoma/auroc"}


def _told(metric: dict[str, Any]) -> str:
    low, high = metric["interval"]
    return f"{metric['mean']:.3f} [{low:.3f}, {high:.3f}]"


def reproduction(task: str) -> Callable[[Path], list[Shown]]:
    """All of a paper's experiments on the synthetic set, then its checkpoints explained, on it and on real images."""

    def show(folder: Path) -> list[Shown]:
        document, seconds = dermtune(folder, "reproduce", task, "--name", f"{task}-paper")
        found = {row["experiment"]: row for row in document["experiments"]}
        whole = list(found) == list(_EXPERIMENTS[task]) and all(
            len(row["epochs"]) == document["num_seeds"] for row in found.values()
        )
        first = ", ".join(f"{name} {_told(row['metrics'][_MAIN[task]])}" for name, row in list(found.items())[:7])
        figure = f"{seconds:.0f} s; {len(found)} experiments, {document['num_seeds']} seeds each; test {_MAIN[task]}: {first}"
        what = f"the {task} paper's experiments on the synthetic set by the paper's rules, at most 10 min on two cores"
        shown = [Shown(ISSUE, what, f"dermtune reproduce {task}", figure, whole and seconds <= _LIMIT_S)]
        return [*shown, _explained(folder, task, f"{task}-paper")]

    return show


def _explained(folder: Path, task: str, name: str) -> Shown:
    """Its best checkpoint explained, on its own cases and on real ones; as exact about the model as `predict`."""
    (best,), _ = dermtune(folder, "best", name)
    checkpoint, source = best["checkpoint"], json.loads((folder / "runs" / name / "plan.json").read_text())["source"]
    of_cases, _ = dermtune(folder, "explain", checkpoint, "--data", source, "--cases", "8", "--out", f"{task} cases")
    images = sorted((SHARED / "isic2017" / "ISIC-2017_Validation_Data").glob("*.jpg"))[:6]
    of_images, _ = dermtune(folder, "explain", checkpoint, *map(str, images), "--out", f"{task} images")
    predicted, _ = dermtune(folder, "predict", checkpoint, *map(str, images))
    gap = 0.0
    for prediction, image in zip(predicted, images, strict=True):
        case = json.loads((folder / f"{task} images" / f"case_{image.stem}.json").read_text())
        for name_of_task, classes in prediction["probabilities"].items():
            gap = max(gap, *(abs(case["probabilities"][name_of_task][label] - value) for label, value in classes.items()))
    figure = (
        f"{len(of_cases['files'])} files of 8 synthetic cases, {len(of_images['files'])} of 6 real images; probabilities"
        f" {gap:.1e} from predict's"
    )
    what = f"{task}: a checkpoint explained on synthetic cases and real images, exact about the model to 1e-6"
    met = gap <= 1e-6 and "model.json" in of_cases["files"] and sum(f.endswith(".png") for f in of_images["files"]) >= 6
    return Shown(ISSUE, what, "dermtune explain CHECKPOINT ...", figure, met)


def dependence(folder: Path) -> list[Shown]:
    """Whether the gates find that the diagnosis hangs on the criteria, over five seeds; reported as it is."""
    document, _ = dermtune(folder, "reproduce", "gated", "--only", "standard", "--seeds", "5", "--name", "dependence")
    (standard,) = document["experiments"]
    told = []
    for where, found in standard["dependence"].items():
        low, high = (100 * edge for edge in found["interval"])
        verdict = "found" if found["found"] else "not found"
        told.append(f"{where} {100 * found['difference']:+.1f} [{low:+.1f}, {high:+.1f}], {verdict}")
    stability = standard["sharing_of_last_block"]["stability"]
    figure = (
        f"percent of features that DIAG takes of the criteria less those they take of each other: {'; '.join(told)}; the last"
        f" block's sharing correlates {stability:.2f} between seeds"
    )
    what = "do the gates find that DIAG depends on the criteria (synthetic set, 5 seeds, 95 % interval)? reported as it is"
    return [Shown(ISSUE, what, "dermtune reproduce gated --only standard --seeds 5", figure, len(standard["epochs"]) == 5)]


SHOWS = {
    "reproduce_gated": reproduction("gated"),
    "reproduce_attentive": reproduction("attentive"),
    "dependence": dependence,
    "explained_numbers": tests(
        ISSUE,
        "numbers of the explanations by hand and against plain loops: sharing (Eq. 7, 11), gazes, papers' tables, exact predictions",
        "tests/models/test_gates.py",
        "tests/trainables/test_explanation.py",
        "tests/trainables/test_gaze_metrics.py",
        "tests/trainables/test_trace.py",
        "tests/search/test_explaining.py",
        "tests/search/test_common_explanations.py",
        "tests/search/test_reproduction_page.py",
        "tests/golden/test_papers_tables.py",
    ),
    "explained_pages": tested(
        ISSUE,
        "report, reproduction and explanation pages in a headless browser: nothing missing, no console error, screenshots",
        {},
        "tests/end_to_end/test_pages.py",
    ),
}
