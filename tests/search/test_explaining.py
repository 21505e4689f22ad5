"""A checkpoint explained: files, the numbers in them, and that they are of the model that predicts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.analysis.case_figures import picture_of_case, taken_and_given
from search.analysis.explaining import write_explanation
from search.cli.main import run
from spaces.fields import complete
from trainables.contract import Confusions, TrialRequest
from trainables.data import DATASETS
from trainables.explanation import Explanation, Gaze, SeenCase, SevenPoints, Sharing
from trainables.tasks import TASKS

pytestmark = pytest.mark.timeout(60)  # the first one makes the checkpoints
SMALL: Mapping[str, Mapping[str, Any]] = {
    "gated": {"size_px": 96, "width": 0.5, "k": 2, "batches_per_epoch": 1},
    "attentive": {"size_px": 32, "resize_px": 36, "width": 0.125, "timesteps": 3, "encoder_weights": "none"},
}
FORMATS = {"gated": "derm7pt", "attentive": "isic2017"}


_made: dict[str, tuple[Path, str]] = {}


@pytest.fixture
def explained(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Mapping[str, tuple[Path, str]]:
    """Task → a checkpoint of one epoch, and the data that it saw; made once."""
    for task, name in FORMATS.items():
        if task in _made:
            continue
        folder = tmp_path_factory.mktemp(task) / "a set"
        synthesise = DATASETS[name].synthesise
        assert synthesise is not None
        synthesise(folder, 60, 96, 0)
        config = complete(TASKS[task].space, SMALL[task])
        request = TrialRequest(task, config, f"{name}:{folder}", 0, TASKS[task].objective, 2, device="cpu")
        trial = TASKS[task].load().build(request)
        trial.step()
        trial.save_best(folder.parent / "best")
        _made[task] = folder.parent / "best", f"{name}:{folder}"
    return _made


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What a command prints."""
    assert run((*arguments, "--json")) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("task", FORMATS)
def test_cases_of_a_split_are_drawn_and_told_as_the_model_predicts_them(
    task: str, explained: Mapping[str, tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, source = explained[task]
    out = tmp_path / "why not"
    document = run_json(
        capsys, "explain", str(checkpoint), "--data", source, "--cases", "3", "--out", str(out), "--storage", str(tmp_path)
    )
    assert sorted(document["files"]) == sorted(path.name for path in out.iterdir())
    cases = [json.loads(path.read_text()) for path in sorted(out.glob("case_*.json"))]
    assert len(cases) == 3
    model = json.loads((out / "model.json").read_text())
    assert (model["split"], model) == ("valid", document["model"])
    images = Path(source.partition(":")[2])
    for case in cases:
        pattern = f"images/**/{Path(case['image']).name}" if task == "gated" else f"*_Data/{case['image']}.jpg"
        (file,) = images.glob(pattern)
        (predicted,) = run_json(capsys, "predict", str(checkpoint), str(file))
        assert case["labels"] == predicted["labels"]
        for name, classes in case["probabilities"].items():
            assert classes == pytest.approx(predicted["probabilities"][name], abs=1e-6)
        assert case["truths"]
        if task == "gated":
            assert case["seven_points"]["score"] == predicted["seven_point_score"]
        else:
            told = [(gaze["structure"], gaze["probability"], gaze["mask_share"]) for gaze in case["gazes"]]
            for (structure, probability, share), gaze in zip(told, predicted["gazes"], strict=True):
                assert (structure, probability) == (gaze["structure"], pytest.approx(gaze["probability"], abs=1e-6))
                assert share == pytest.approx(gaze["mask_share"], abs=2e-3)
    for picture in out.glob("*.png"):
        with Image.open(picture) as opened:
            assert np.asarray(opened.convert("L")).std() > 5, picture.name


@pytest.mark.parametrize("task", FORMATS)
def test_images_of_which_nothing_is_known_are_explained_too(
    task: str, explained: Mapping[str, tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, _ = explained[task]
    images = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        noise = np.random.default_rng(len(images)).integers(0, 256, (120, 100, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / folder / "a lesion.png")
        images.append(str(tmp_path / folder / "a lesion.png"))
    out = tmp_path / "why"
    run_json(capsys, "explain", str(checkpoint), *images, "--out", str(out))
    found = [json.loads((out / f"case_a_lesion{more}.json").read_text()) for more in ("", "_2")]
    predicted = run_json(capsys, "predict", str(checkpoint), *images)
    for case, row in zip(found, predicted, strict=True):
        assert (case["image"], case["truths"]) == (row["image"], {})
        for name, classes in case["probabilities"].items():
            assert classes == pytest.approx(row["probabilities"][name], abs=1e-6)
    assert (out / "case_a_lesion_2.png").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "explain must have either IMAGEs or --data; got neither"),
        (("x.png", "--data", "derm7pt:x"), "explain must have either IMAGEs or --data; got both"),
        (("missing.png",), "IMAGE must be a file; got missing.png"),
    ],
)
def test_what_makes_no_sense_is_refused(
    more: tuple[str, ...],
    message: str,
    explained: Mapping[str, tuple[Path, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(("explain", str(explained["gated"][0]), *more, "--out", str(tmp_path / "why"))) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "why").exists()


def test_what_a_task_takes_and_gives_is_worked_by_hand() -> None:
    first = [[1.0, 0.5, 0.25], [0.0, 1.0, 0.75], [0.5, 0.5, 1.0]]
    sharing = Sharing(("a", "b", "c"), np.array([first, first]))
    assert sharing.taken.tolist() == pytest.approx([0.375, 0.375, 0.5])
    assert sharing.given.tolist() == pytest.approx([0.25, 0.5, 0.5])
    axes = taken_and_given(sharing).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([37.5, 37.5, 50, 25, 50, 50])
    alone = Sharing(("a",), np.ones((4, 1, 1)))
    assert (alone.taken.tolist(), alone.given.tolist()) == ([0.0], [0.0])


def test_a_gaze_is_held_against_what_is_annotated() -> None:
    mask, truth = np.zeros((4, 4)), np.zeros((4, 4), dtype=bool)
    mask[:2, :2], truth[:, :2] = 0.9, True
    gaze = Gaze(np.full((2, 2), 0.25), 0.25, 0.75, "lesion", 0.75, mask, truth)
    assert (gaze.iou, gaze.hits) == (0.5, True)
    assert Gaze(gaze.attention, 0.75, 0.25, "lesion", 0.75, mask, truth).hits is False
    assert Gaze(gaze.attention, 1.0, 1.0, "lesion", 0.75, mask, truth).hits is False, "the last cell, not one beyond"
    absent = Gaze(gaze.attention, 0.5, 0.5, "streaks", 0.5, np.zeros((4, 4)), np.zeros((4, 4), dtype=bool))
    assert (absent.iou, absent.hits) == (None, False)
    unknown = Gaze(gaze.attention, 0.5, 0.5, "streaks", 0.5, mask)
    assert (unknown.iou, unknown.hits) == (None, None)
    assert "iou" not in unknown.to_json()


def texts(case: SeenCase) -> str:
    figure = picture_of_case(case)
    found = [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title)]
    return "\n".join([*found, figure.get_suptitle()])


def test_a_labelled_cases_picture_says_what_its_document_does() -> None:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    said = {"DIAG": {"NEV": 0.25, "MEL": 0.75}, "PN": {"ABS": 0.375, "ATP": 0.625}}
    points = SevenPoints({"PN": ("ATP", 2), "BWV": ("PRS", 2), "VS": ("ABS", 0)}, truth=2)
    case = SeenCase("NEL/Nel026.jpg", image, "DIAG", said, {"DIAG": "NEV", "PN": "ATP"}, seven_points=points)
    shown = texts(case)
    assert "said: MEL 0.75, truth: NEV" in shown
    assert "MEL 0.75   (truth: NEV)" in shown
    assert "ATP 0.62" in shown
    assert "score 4 (truth: 2): melanoma at τ = 1, melanoma at τ = 3" in shown
    assert "ATP  +2" in shown
    assert case.to_json()["seven_points"]["score"] == 4


def test_names_that_no_file_system_likes_become_others(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    names = ["a/b c.jpg", "a/b:c.jpg", "../../etc/passwd", "...", "x" * 300 + ".jpg"]
    cases = tuple(SeenCase(name, image, "d", {"d": {"n": 0.5, "p": 0.5}}) for name in names)
    write_explanation(Explanation("", 5, cases=cases), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("case_*.json"))) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_no_cases_files_are_written_over_by_anothers(tmp_path: Path) -> None:
    """Counting alone would call the second `x` what the third is called already."""
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    names = [
        "1/x.png",
        "2/x.png",
        "x_2.png",
        "X.png",
        "..",
        "a b.png",
        "a_b.png",
        "y" * 300 + "1.png",
        "y" * 300 + "2.png",
        "é.png",
    ]
    cases = tuple(SeenCase(name, image, "d", {"d": {"n": 0.5, "p": 0.5}}) for name in names)
    write_explanation(Explanation("", len(names), cases=cases), tmp_path / "out")
    files = sorted((tmp_path / "out").glob("case_*.json"))
    assert sorted(json.loads(file.read_text())["image"] for file in files) == sorted(names)
    assert len({file.name.lower() for file in files}) == len(names)
    assert (tmp_path / "out" / "case_-x2E-x2E.png").is_file()
    assert json.loads((tmp_path / "out" / "case_x_2_2.json").read_text())["image"] == "x_2.png"


def test_pictures_keep_their_room_beside_names_of_any_length(tmp_path: Path) -> None:
    """Matplotlib warns, which fails here, when names leave a picture no room."""
    tasks, labels = ["..", "a/b", "$x$ [b]", "y" * 300], ("l" * 300, "m" * 300)
    said = {task: dict(zip(labels, (0.25, 0.75), strict=True)) for task in tasks}
    case = SeenCase("z" * 300, np.zeros((8, 8, 3), dtype=np.uint8), tasks[-1], said, dict.fromkeys(tasks, labels[0]))
    confusions = {task: Confusions(labels, {"valid": [[3, 1], [0, 2]]}) for task in tasks}
    blocks = np.full((2, 4, 4), 0.5)
    sharing = Sharing(tuple(tasks), blocks, (1, 2), np.stack([blocks, blocks]))
    written = write_explanation(Explanation("valid", 6, confusions, sharing=sharing, cases=(case,)), tmp_path / "out")
    for picture in (path for path in written if path.suffix == ".png"):
        with Image.open(picture) as opened:
            assert max(opened.size) < 6000, picture.name
            assert np.asarray(opened.convert("L")).std() > 5, picture.name
