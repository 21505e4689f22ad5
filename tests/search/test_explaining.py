"""A checkpoint explained: files, the numbers in them, and that they are of the model that predicts."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image

from search.analysis.case_figures import picture_of_case, taken_and_given
from search.analysis.explaining import write_explanation
from search.analysis.trial_figures import evidence_in_cases
from search.cli.evaluating import evaluate
from search.cli.explaining import explain
from search.cli.main import run
from search.cli.options import say_fixed_tasks
from spaces.fields import complete
from trainables.contract import TrialRequest
from trainables.data import DATASETS
from trainables.evaluation import Confusions
from trainables.explanation import Attribution, Explanation, Gaze, SeenCase, SevenPoints
from trainables.folders import encode_json, write_folder
from trainables.sharing import Sharing
from trainables.tasks import TASKS

pytestmark = pytest.mark.timeout(60)  # the first one makes the checkpoints
SMALL: Mapping[str, Mapping[str, Any]] = {
    "gated": {"size_px": 96, "width": 0.5, "k": 2, "batches_per_epoch": 1},
    "attentive": {"size_px": 32, "crop_from_px": 36, "width": 0.125, "timesteps": 3, "encoder_weights": "none"},
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
            assert set(case["evidence"]) == set(case["labels"]), "of the diagnosis and of each criterion"
            assert all(np.shape(one["log_odds"]) == (24, 24) for one in case["evidence"].values())
        else:
            told = [(gaze["structure"], gaze["probability"], gaze["mask_share"]) for gaze in case["gazes"]]
            for (structure, probability, share), gaze in zip(told, predicted["gazes"], strict=True):
                assert (structure, probability) == (gaze["structure"], pytest.approx(gaze["probability"], abs=1e-6))
                assert share == pytest.approx(gaze["mask_share"], abs=2e-3)
    for picture in out.glob("*.png"):
        with Image.open(picture) as opened:
            assert np.asarray(opened.convert("L")).std() > 5, picture.name


@pytest.mark.parametrize("task", FORMATS)
def test_good_images_are_told_beside_those_that_cannot_be_read(
    task: str, explained: Mapping[str, tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken file of two hundred kept the others from being told."""
    checkpoint, source = explained[task]
    good = sorted(Path(source.partition(":")[2]).rglob("*.jpg"))[:2]
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    broken.write_bytes(good[0].read_bytes()[:400])
    expected = run_json(capsys, "predict", str(checkpoint), *map(str, good))
    assert run(("predict", str(checkpoint), str(good[0]), str(broken), str(missing), str(good[1]), "--json")) == 2
    found = capsys.readouterr()
    for row, alone in zip(json.loads(found.out), expected, strict=True):
        assert row["image"] == alone["image"]
        for name, classes in row["probabilities"].items():
            assert classes == pytest.approx(alone["probabilities"][name], abs=1e-6)
    said = " ".join(found.err.split())
    assert f"{broken} must be an image that decodes" in said
    assert f"IMAGE must be a file; got {missing}" in said
    assert "got 2 of 4 that cannot" in said
    assert run(("predict", str(checkpoint), str(broken), "--json")) == 2
    assert capsys.readouterr().out == ""


def test_a_page_of_some_cases_says_so_and_what_the_model_calls_all(tmp_path: Path) -> None:
    """The page spoke of 35 cases and showed 3."""
    confusions = {"DIAG": Confusions(("NEV", "MEL"), {"counts": [[28, 0], [7, 0]]})}
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    cases = tuple(SeenCase(f"c{number}", image, "DIAG", {"DIAG": {"NEV": 0.9, "MEL": 0.1}}) for number in range(3))
    found = Explanation("valid", 35, confusions, cases=cases)
    write_explanation(found, tmp_path / "some")
    page = (tmp_path / "some" / "explanation.html").read_text()
    assert "3 of 35 cases of the valid split" in page
    assert "DIAG: all 35 cases are called NEV" in page


@pytest.mark.parametrize("task", FORMATS)
def test_a_split_is_written_case_by_case(
    task: str, explained: Mapping[str, tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, source = explained[task]
    files = {"--predictions": tmp_path / "cases.csv", "--curves": tmp_path / "curves.png"}
    flags = [text for flag, file in files.items() for text in (flag, str(file))]
    document = run_json(capsys, "evaluate", str(checkpoint), "--data", source, *flags)
    assert [document["predictions"], document["curves"]] == [str(file) for file in files.values()]
    table = pd.read_csv(files["--predictions"])
    name = "DIAG" if task == "gated" else "melanoma"
    rows = table[table["task"] == name]
    assert len(rows) == document["num_cases"]
    right = (rows["truth"] == rows["prediction"]).mean()
    assert right == pytest.approx(document["metrics"][f"valid/{name}/accuracy"])
    said = rows.filter(like="probability/").dropna(axis=1)
    assert said.to_numpy().sum(1) == pytest.approx(1.0)
    assert (said.idxmax(axis=1).str.removeprefix("probability/") == rows["prediction"]).all()
    with Image.open(files["--curves"]) as opened:
        assert np.asarray(opened.convert("L")).std() > 5


@pytest.mark.parametrize(
    ("name", "split"), [("val", "valid"), ("Validation", "valid"), ("training", "train"), ("Testing", "test")]
)
def test_a_split_has_the_names_of_a_tables_split_column(name: str, split: str) -> None:
    for command, more in ((evaluate, ()), (explain, ("--out", "why"))):
        context = command.make_context(None, ["best", "--data", "derm7pt:x", "--split", name, *more])
        assert context.params["split"] == split


def test_a_split_of_another_name_is_refused(
    explained: Mapping[str, tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, source = explained["gated"]
    assert run(("evaluate", str(checkpoint), "--data", source, "--split", "fold 1")) == 2
    assert "--split must be one of train, valid, test; got 'fold 1'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "name", "message"),
    [
        ("--predictions", "nowhere/cases.csv", "--predictions must be a file in a folder that exists"),
        ("--curves", "curves.txt", "--curves must end in .png or .svg"),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_anything_is_measured(
    flag: str, name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(("evaluate", "no checkpoint", "--data", "derm7pt:x", flag, str(tmp_path / name))) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("gates", ["off", "open"])
def test_where_no_gate_is_learnt_a_sentence_says_so_and_no_picture_shows_sharing(
    gates: str, explained: Mapping[str, tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, source = explained["gated"]
    config = complete(TASKS["gated"].space, {**SMALL["gated"], "gates": gates})
    trial = TASKS["gated"].load().build(TrialRequest("gated", config, source, 0, TASKS["gated"].objective, 1, device="cpu"))
    trial.step()
    trial.save_best(tmp_path / "best")
    image = next(Path(source.partition(":")[2]).glob("images/**/*.jpg"))
    assert run(("explain", str(tmp_path / "best"), str(image), "--out", str(tmp_path / "why"))) == 0
    told = json.loads((tmp_path / "why" / "model.json").read_text())["told"]
    assert told.startswith(f"gates={gates}: ")
    assert told in " ".join(capsys.readouterr().out.split())
    assert told in (tmp_path / "why" / "explanation.html").read_text()
    assert not (tmp_path / "why" / "model.png").exists()


def test_a_checkpoint_knows_what_its_tasks_shared_before_training(explained: Mapping[str, tuple[Path, str]]) -> None:
    sharing = TASKS["gated"].load().explain_model(explained["gated"][0]).sharing
    assert sharing is not None
    assert sharing.epochs == (0, 1)
    assert sharing.start is not None
    assert np.unique(sharing.start).tolist() == [0.5, 1.0], "every gate begins half open"


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
    assert "score 4 (truth: 2):\nmelanoma at τ = 1, melanoma at τ = 3" in shown
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


@pytest.mark.parametrize(("count", "least"), [(1, 450), (2, 450), (4, 300), (8, 150), (10, 150)])
def test_few_maps_of_evidence_use_the_room_of_many(count: int, least: int) -> None:
    """Two tasks' maps had the size of eight, in a corner."""
    tasks = [f"task {number}" for number in range(count)]
    evidence = {task: Attribution(np.eye(24)) for task in tasks}
    said = {task: {"a": 0.75, "b": 0.25} for task in tasks}
    case = SeenCase("a.jpg", np.zeros((48, 48, 3), dtype=np.uint8), tasks[0], said, evidence=evidence)
    for figure, inches in ((picture_of_case(case), least / 150), (evidence_in_cases([case]), 0.8 * least / 150)):
        figure.draw_without_rendering()
        maps = [axes.get_window_extent() for axes in figure.findobj(Axes) if axes.get_title().startswith("task ") and axes.images]
        assert len(maps) == min(count, 8)
        assert all(min(place.width, place.height) / figure.dpi >= inches for place in maps)
        assert all(one.x1 <= other.x0 for one, other in pairwise(maps))
        assert maps[-1].x1 <= figure.bbox.width


FIXED = "a checkpoint's tasks are fixed (diagnosis, veil): {} does not change them\n"


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_columns_that_a_checkpoint_does_not_have_as_tasks_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    lines = ["image,split,diagnosis,veil"]
    for case in range(8):
        Image.fromarray(rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(tmp_path / f"{case}.png")
        lines.append(f"{case}.png,{'train' if case < 4 else 'valid'},{'ab'[case % 2]},{'yn'[case // 2 % 2]}")
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    source, config = f"table:{tmp_path / 'cases.csv'}", complete(TASKS["gated"].space, SMALL["gated"])
    trial = TASKS["gated"].load().build(TrialRequest("gated", config, source, 0, TASKS["gated"].objective, 1, device="cpu"))
    trial.step()
    trial.save_best(tmp_path / "best")
    capsys.readouterr()
    assert run(("evaluate", str(tmp_path / "best"), "--data", source, "--columns", "diagnosis", "--json")) == 0
    assert FIXED.format("--columns") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ("#columns=veil", FIXED.format("--columns")),
        ("#ignore=veil", FIXED.format("--ignore")),
        ("#columns=veil,diagnosis", ""),
        ("#ignore=age", ""),
        ("", ""),
    ],
)
def test_only_other_tasks_than_those_of_a_checkpoint_are_told(
    roles: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = encode_json({"classes": {"diagnosis": ["a", "b"], "veil": ["n", "y"]}})
    write_folder(tmp_path / "best", {"config.json": config})
    say_fixed_tasks(tmp_path / "best", "table:cases.csv" + roles)
    assert capsys.readouterr().err == told
