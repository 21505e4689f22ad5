"""The numbers behind a checkpoint's pictures, against plain loops; and what a served checkpoint says, bit for bit."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from models.attentive_network import Reading
from spaces.attentive import AttentiveSpace
from spaces.fields import complete
from spaces.gated import GatedSpace
from trainables.attentive import reading as attentive_reading
from trainables.attentive import task as attentive
from trainables.contract import Objective, TrialRequest
from trainables.data import read_labelled, read_segmented
from trainables.data.isic2017_synthetic import write
from trainables.data.segmented import STRUCTURES
from trainables.errors import CheckpointError, DataError
from trainables.explanation import of_every_kind
from trainables.gated import reading as gated_reading
from trainables.gated import task as gated
from trainables.metrics import confusion
from trainables.served import IMAGE, ServedModel, _load_pyfunc, example_image
from trainables.tasks import TASKS

TASK_NAMES = ("DIAG", "PN", "BWV", "VS", "PIG", "STR", "DaG", "RS")
GATED = {"size_px": 96, "width": 0.5, "batches_per_epoch": 1, "k": 2}
ATTENTIVE = {"crop_from_px": 36, "size_px": 32, "width": 0.125, "encoder_weights": "none", "timesteps": 3, "batch_size": 16}


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def isic_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """60 synthetic cases of 48 px; every split has melanomas."""
    folder = tmp_path_factory.mktemp("explained") / "isic set"
    write(folder, 60, 48, 11)
    return f"isic2017:{folder}"


@pytest.fixture
def source(synthetic_derm7pt: Path) -> str:
    return f"derm7pt:{synthetic_derm7pt}"


def gated_checkpoint(folder: Path, source: str, **fields: Any) -> Path:
    """A gated network whose gates and batch norms are no longer as they were at first."""
    given_fields = {name: value for name, value in {**GATED, **fields}.items() if value is not None}
    config = complete(GatedSpace, given_fields)
    trial = gated.build(TrialRequest("gated", config, source, 3, TASKS["gated"].objective, 5, device="cpu"))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for gate in trial.learner.model.gate_parameters():
            gate.copy_(torch.randn(gate.shape, generator=generator))
    trial.step()
    trial.save_best(folder)
    return folder


def attentive_checkpoint(folder: Path, source: str, **fields: Any) -> Path:
    config = complete(AttentiveSpace, {name: value for name, value in {**ATTENTIVE, **fields}.items() if value is not None})
    request = TrialRequest("attentive", config, source, 3, Objective("valid/melanoma/auroc", "max"), 5, device="cpu")
    trial = attentive.build(request)
    trial.step()
    trial.save_best(folder)
    return folder


def counted(codes: Sequence[int], probabilities: Sequence[Sequence[float]], num_classes: int) -> list[list[int]]:
    """The plain double loop that `confusion` must equal."""
    counts = [[0] * num_classes for _ in range(num_classes)]
    for code, row in zip(codes, probabilities, strict=True):
        if code == -1:
            continue
        best = 0
        for column in range(num_classes):
            if row[column] > row[best]:
                best = column
        counts[code][best] += 1
    return counts


@st.composite
def judged_cases(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Codes, some missing; probabilities on a coarse grid, so that some tie, with padding; how many classes there are."""
    num_classes, cases, padding = draw(st.integers(1, 5)), draw(st.integers(0, 20)), draw(st.integers(0, 3))
    codes = draw(npst.arrays(np.int64, cases, elements=st.integers(-1, num_classes - 1)))
    grid = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    return codes, draw(npst.arrays(np.float64, (cases, num_classes + padding), elements=grid)), num_classes


@given(judged_cases())
def test_a_confusion_is_a_plain_count(case: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]) -> None:
    codes, probabilities, num_classes = case
    found = confusion(codes, probabilities, num_classes)
    assert found == counted(codes.tolist(), probabilities.tolist(), num_classes)
    assert sum(map(sum, found)) == (codes != -1).sum()


def test_a_confusion_worked_by_hand() -> None:
    codes = np.array([0, 0, 1, -1, 2])
    probabilities = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8]])
    assert confusion(codes, probabilities, 3) == [[1, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert confusion(codes[3:4], probabilities[3:4], 2) == [[0, 0], [0, 0]]


def test_the_sharing_of_a_gated_checkpoint_is_the_plain_mean_over_channels(source: str, tmp_path: Path) -> None:
    """Eq. 7 and 11 written out: own task 1, others the mean of sigmoid(gamma_g * raw)."""
    folder = gated_checkpoint(tmp_path / "best", source, gamma_g=2.5)
    found = gated.explain(folder, source, "valid", 4).sharing
    assert found is not None
    assert found.tasks == TASK_NAMES
    model = gated.load_model(folder)
    assert found.blocks.shape == (4, 8, 8)
    for number, block in enumerate(model.blocks):
        raw = block.gates.raw.detach().double().numpy()
        for taker in range(8):
            others = [giver for giver in range(8) if giver != taker]
            assert found.blocks[number, taker, taker] == 1
            for place, giver in enumerate(others):
                expected = float(np.mean(1 / (1 + np.exp(-2.5 * raw[taker, place]))))
                assert found.blocks[number, taker, giver] == pytest.approx(expected, abs=1e-6)
    away = found.blocks[:, ~np.eye(8, dtype=bool)]
    assert away.min() < 0.4 < 0.6 < away.max(), "the gates are not all half open"
    assert not np.allclose(found.blocks, found.blocks.transpose(0, 2, 1), atol=0.05)


@pytest.mark.parametrize(("gates", "said"), [("off", "independent networks"), ("open", "takes all of every other's features")])
def test_networks_that_learn_no_gates_say_so(gates: str, said: str, source: str, tmp_path: Path) -> None:
    folder = gated_checkpoint(tmp_path / "best", source, gates=gates)
    found = gated.explain(folder, source, "valid", 4)
    assert found.sharing is None
    image = next(path for path in (Path(source.partition(":")[2]) / "images").rglob("*") if path.is_file())
    notes = [found.note, gated.explain_model(folder).note, gated.explain_images(folder, [image]).note]
    assert set(notes) == {gated.predictor(folder).explanation["note"]} == {found.to_json()["note"]}
    assert said in found.note
    assert found.note.endswith("there is nothing to explain.")
    assert set(found.confusions) == set(TASK_NAMES)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_gated_explanation_agrees_with_the_evaluation(split: str, source: str, tmp_path: Path) -> None:
    folder = gated_checkpoint(tmp_path / "best", source)
    found, evaluation = gated.explain(folder, source, split, 4), gated.evaluate(folder, source, split)
    assert (found.split, found.num_cases, len(found.cases)) == (split, evaluation.num_cases, 4)
    cases, members, probabilities = gated.judge_split(folder, source, split)[:3]
    for column, task in enumerate(cases.tasks):
        confusions = found.confusions[task.name]
        assert confusions.classes == task.classes
        assert set(confusions.matrices) == {split}
        matrix = np.array(confusions.matrices[split])
        codes = cases.labels[members][:, column]
        assert matrix.sum(1).tolist() == [int((codes == code).sum()) for code in range(len(task.classes))]
        assert matrix.tolist() == counted(codes.tolist(), probabilities[:, column].tolist(), len(task.classes))
        assert evaluation.metrics[f"{split}/{task.name}/accuracy"] == pytest.approx(matrix.trace() / matrix.sum())


def test_missing_labels_are_left_out_of_an_explanation(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(synthetic_derm7pt / "images")
    images = sorted(path for path in (tmp_path / "images").glob("**/*") if path.is_file())
    splits = ["train"] * 40 + ["valid"] * 20
    rows = [
        f"{image},{split},{('melanoma', 'nevus')[i % 2]},{('arm', 'leg', '')[i % 3]}"
        for i, (image, split) in enumerate(zip(images, splits, strict=True))
    ]
    (tmp_path / "cases.csv").write_text("\n".join(["image,split,diagnosis,site", *rows]) + "\n")
    source = f"table:{tmp_path / 'cases.csv'}"
    found = gated.explain(gated_checkpoint(tmp_path / "best", source), source, "valid", 4)
    site, diagnosis = (np.array(found.confusions[task].matrices["valid"]) for task in ("site", "diagnosis"))
    sites = [("arm", "leg", "")[i % 3] for i in range(40, 60)]
    assert site.sum(1).tolist() == [sites.count("arm"), sites.count("leg")]
    assert diagnosis.sum() == found.num_cases == 20


@pytest.mark.parametrize("explain", [gated.explain, attentive.explain])
def test_a_folder_that_is_no_checkpoint_is_not_explained(explain: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a checkpoint must be a folder with config\.json and sha256sums"):
        explain(tmp_path, "derm7pt:/none", "valid", 4)


def test_a_split_that_is_not_there_is_refused(source: str, isic_source: str, tmp_path: Path) -> None:
    own = gated_checkpoint(tmp_path / "gated", source)
    other = attentive_checkpoint(tmp_path / "attentive", isic_source)
    for explain, folder, data in ((gated.explain, own, source), (attentive.explain, other, isic_source)):
        with pytest.raises(DataError, match=r"--split must be one of train, valid, test; got 'validation'"):
            explain(folder, data, "validation", 4)


def test_a_bowl_has_nothing_to_explain(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="explain must be given a checkpoint of a task with data; got a bowl"):
        TASKS["bowl"].load().explain(tmp_path, "derm7pt:/none", "valid", 4)


@pytest.mark.parametrize("decoder", [True, False])
def test_attentive_cases_have_a_gaze_a_timestep_at_the_maps_highest_point(
    decoder: bool, isic_source: str, tmp_path: Path
) -> None:
    folder = attentive_checkpoint(tmp_path / "best", isic_source, decoder=decoder)
    found = attentive.explain(folder, isic_source, "valid", 4)
    judged, segmented, members = attentive.judge_split(folder, isic_source, "valid")
    names = [segmented.cases.images[member].stem for member in members]
    assert (found.split, found.num_cases, len(found.cases), found.sharing) == ("valid", 15, 4, None)
    assert sorted(case.truths["melanoma"] for case in found.cases) == ["benign", "benign", "melanoma", "melanoma"]
    for case in found.cases:
        index = names.index(case.name)
        probabilities = judged.probabilities[index]
        assert case.truths["melanoma"] == ("benign", "melanoma")[segmented.cases.labels[members[index], 0]]
        assert case.said("melanoma") == ("benign", "melanoma")[int(probabilities.argmax())]
        assert list(case.probabilities["melanoma"].values()) == pytest.approx(probabilities.tolist(), abs=1e-6)
        assert case.image.shape == (32, 32, 3)
        assert len(case.gazes) == 3
        for gaze in case.gazes:
            rows, columns = gaze.attention.shape
            assert (rows, columns) == (4, 4)
            assert gaze.attention.min() >= 0
            assert gaze.attention[int(gaze.y * rows), int(gaze.x * columns)] == gaze.attention.max()
            assert (gaze.y * rows % 1, gaze.x * columns % 1) == (0.5, 0.5), "the middle of a cell"
            assert (gaze.structure in STRUCTURES) if decoder else (gaze.structure, gaze.probability) == ("", 0.0)
    melanoma = np.array(found.confusions["melanoma"].matrices["valid"])
    codes = segmented.cases.labels[members, 0].tolist()
    assert melanoma.tolist() == counted(codes, judged.probabilities.tolist(), 2)
    assert ("structures" in found.confusions) == decoder


def test_the_image_of_a_case_is_the_centre_that_the_network_sees(isic_source: str, tmp_path: Path) -> None:
    found = attentive.explain(attentive_checkpoint(tmp_path / "best", isic_source), isic_source, "valid", 1)
    (case,) = found.cases
    (file,) = [image for image in read_segmented(isic_source).cases.images if image.stem == case.name]
    with Image.open(file) as image:
        whole = np.asarray(image.convert("RGB").resize((36, 36), Image.Resampling.BILINEAR, reducing_gap=2.0))
    assert np.array_equal(case.image, whole[2:34, 2:34])


@pytest.mark.parametrize(
    ("labels", "count", "expected"),
    [
        ([0, 0, 0, 1, 1, 1], 4, [0, 1, 3, 4]),
        ([0, 0, 0, 0, 1], 4, [0, 1, 2, 4]),
        ([1, 0, 2, 2, 1, 0], 3, [0, 1, 2]),
        ([0, 1, 0, 1], 3, [0, 1, 2]),
        ([-1, -1, 0, 0], 3, [0, 2, 3]),
        ([0, 1], 9, [0, 1]),
        ([0, 1], 0, []),
        ([], 3, []),
    ],
)
def test_as_many_cases_of_each_label_are_shown_where_there_are(labels: list[int], count: int, expected: list[int]) -> None:
    assert of_every_kind(np.array(labels, dtype=np.int64), count) == expected


def test_a_network_without_attention_has_no_gazes(isic_source: str, tmp_path: Path) -> None:
    folder = attentive_checkpoint(tmp_path / "best", isic_source, attention=False, timesteps=None)
    found = attentive.explain(folder, isic_source, "valid", 4)
    assert [case.gazes for case in found.cases] == [()] * 4
    assert set(found.confusions) == {"melanoma"}
    with pytest.raises(ValueError, match="a gaze must come from a network with attention; got one without"):
        attentive_reading.gaze_of(Reading(torch.zeros(1, 2), None, None, None), 0, 0)


def test_gazes_worked_by_hand() -> None:
    attention = torch.zeros(2, 2, 3, 4)
    attention[0, 0, 2, 1] = attention[0, 1, 0, 3] = attention[1, 0, 1, 0] = 0.5
    structures = torch.zeros(2, 2, len(STRUCTURES))
    structures[0, 1, 3] = np.log(5.0)
    reading = Reading(torch.zeros(2, 2), None, structures, attention)
    gazes = [attentive_reading.gaze_of(reading, index, step) for index, step in ((0, 0), (0, 1), (1, 0))]
    assert [(gaze.x, gaze.y) for gaze in gazes] == [(1.5 / 4, 2.5 / 3), (3.5 / 4, 0.5 / 3), (0.5 / 4, 1.5 / 3)]
    assert gazes[1].structure == STRUCTURES[3]
    assert gazes[1].probability == pytest.approx(0.5)
    assert gazes[0].probability == pytest.approx(1 / 6)
    assert np.array_equal(gazes[2].attention, attention[1, 0].numpy())


def test_the_structures_that_are_confused_are_those_of_the_evaluation(isic_source: str, tmp_path: Path) -> None:
    folder = attentive_checkpoint(tmp_path / "best", isic_source)
    found = attentive.explain(folder, isic_source, "valid", 0)
    evaluation = attentive.evaluate(folder, isic_source, "valid")
    assert found.cases == ()
    expected = evaluation.confusions["structures"]
    assert found.confusions["structures"].classes == expected.classes == STRUCTURES
    assert found.confusions["structures"].matrices["valid"] == expected.matrices["confusion"]
    matrix = np.array(found.confusions["melanoma"].matrices["valid"])
    assert evaluation.metrics["valid/melanoma/accuracy"] == pytest.approx(matrix.trace() / matrix.sum())


def files_of(images: Sequence[Path], members: np.ndarray[Any, Any]) -> pd.DataFrame:
    return pd.DataFrame({IMAGE: [images[member].read_bytes() for member in members]})


def probabilities_of(rows: Sequence[Mapping[str, Any]], task: str) -> list[list[float]]:
    return [list(row["probabilities"][task].values()) for row in rows]


@pytest.mark.parametrize("split", ["valid", "train"])
def test_a_served_gated_model_says_exactly_what_the_checkpoint_does(split: str, source: str, tmp_path: Path) -> None:
    folder = gated_checkpoint(tmp_path / "best", source)
    cases, members, expected = gated.judge_split(folder, source, split)[:3]
    served = _load_pyfunc(str(folder))
    assert isinstance(served, ServedModel)
    rows = served.predict(files_of(cases.images, members))
    assert len(rows) == len(members)
    for column, task in enumerate(cases.tasks):
        assert probabilities_of(rows, task.name) == expected[:, column, : len(task.classes)].tolist()
    sharing = gated.explain(folder, source, split, 0).sharing
    assert sharing is not None
    for row in rows:
        assert set(row) == {"labels", "probabilities", "seven_point_score", "seven_point_criteria", "sharing"}
        assert row["sharing"] == rows[0]["sharing"]
        points = sum(criterion["points"] for criterion in row["seven_point_criteria"])
        assert points == row["seven_point_score"]
    found = [[rows[0]["sharing"][taker][giver] for giver in sharing.tasks] for taker in sharing.tasks]
    assert found == sharing.blocks.mean(0).tolist()


@pytest.mark.parametrize("split", ["valid", "train"])
def test_a_served_attentive_model_says_exactly_what_the_checkpoint_does(split: str, isic_source: str, tmp_path: Path) -> None:
    folder = attentive_checkpoint(tmp_path / "best", isic_source)
    judged, segmented, members = attentive.judge_split(folder, isic_source, split)
    rows = ServedModel(folder).predict(files_of(segmented.cases.images, members))
    assert probabilities_of(rows, "melanoma") == judged.probabilities.tolist()
    cases = {case.name: case for case in attentive.explain(folder, isic_source, split, 4).cases}
    assert len(cases) == 4
    for member, row in zip(members, rows, strict=True):
        assert set(row) == {"labels", "probabilities", "gazes"}
        case = cases.get(segmented.cases.images[member].stem)
        if case is not None:
            assert row["labels"]["melanoma"] == case.said("melanoma")
            # Points of the whole image here, of the part that is seen there: 32 of 36 pixels.
            for axis in ("x", "y"):
                expected = [0.5 + (getattr(gaze, axis) - 0.5) * 32 / 36 for gaze in case.gazes]
                assert [gaze[axis] for gaze in row["gazes"]] == pytest.approx(expected)
            assert [gaze["gaze"] for gaze in row["gazes"]] == [1, 2, 3]


def test_what_is_no_image_is_refused(source: str, isic_source: str, tmp_path: Path) -> None:
    checkpoints = [gated_checkpoint(tmp_path / "gated", source), attentive_checkpoint(tmp_path / "attentive", isic_source)]
    whole = example_image()
    for folder in checkpoints:
        model = ServedModel(folder)
        assert len(model.predict(pd.DataFrame({IMAGE: [whole, bytearray(whole)]}))) == 2
        for broken in (b"no image", b"", whole[: len(whole) // 3]):
            with pytest.raises(DataError, match=rf"what was sent \({len(broken)} bytes\) must be an image that decodes; got "):
                model.predict(pd.DataFrame({IMAGE: [whole, broken]}))


def test_the_same_image_sent_or_on_disk_is_said_the_same_of(source: str, tmp_path: Path) -> None:
    folder = gated_checkpoint(tmp_path / "best", source)
    files = read_labelled(source).images[:2]
    model = gated_reading.GatedPredictor(folder)
    on_disk, sent = model.predict(files), model.predict([file.read_bytes() for file in files])
    assert [row.pop("image") for row in on_disk] == [str(file) for file in files]
    assert [row.pop("image") for row in sent] == ["", ""]
    assert on_disk == sent


def test_a_folder_of_no_known_task_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a checkpoint must be a folder with config\.json and sha256sums"):
        ServedModel(tmp_path)


def test_the_example_is_a_jpeg_of_a_drawing_and_always_the_same() -> None:
    one = example_image(64)
    assert one == example_image(64)
    with Image.open(io.BytesIO(one)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (64, 64), "RGB")
        assert np.asarray(image).std() > 5
