"""The attentive trial on synthetic cases: repeatable, resumable bit for bit, and checked when it is read back."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from isic2017_by_hand import save_indices, write_set
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import trainables
from models.attentive_network import AttentiveNetwork
from spaces.attentive import VARIANTS, AttentiveSpace
from spaces.fields import complete
from trainables.adam import Adam, Group
from trainables.attentive import learner as attentive_learner
from trainables.attentive import task as attentive
from trainables.batches import repeat_factors
from trainables.contract import LATENCY_MS, EpochReport, Objective, TrialRequest
from trainables.data import read_segmented
from trainables.data.isic2017_synthetic import write
from trainables.data.segmented import ATTRIBUTES, STRUCTURES
from trainables.errors import CheckpointError, DataError, TrialDiverged
from trainables.loop import TrainedTrial
from trainables.tasks import TASKS

SMALL = {"crop_from_px": 36, "size_px": 32, "width": 0.125, "encoder_weights": "none", "timesteps": 3, "batch_size": 16}
#: With 60 cases of this seed every split has melanomas and every attribute is in training and validation.
SEED = 11
RESUMED: dict[str, dict[str, Any]] = {
    "the third variant": {},
    "statistics frozen, other sampling": {
        "batch_norm": "frozen_statistics",
        "melanoma_repeats": 3,
        "structure_sampling": "rare_structures",
        "melanoma_weight": 2.0,
    },
    "trained batch norm and encoder, other images": {
        "batch_norm": "trained",
        "encoder": "trained",
        "encoder_learning_rate": 1e-4,
        "crop": "random",
        "resize": "keep_aspect",
        "balancing": "effective_number",
    },
    "quarter turns, no norm, selection by loss": {
        "augmentation": "quarter_turns",
        "batch_norm": "none",
        "skips": False,
        "selection": "loss",
    },
    "fully connected head, a random crop that is not turned": {
        "head": "fully_connected",
        "decoder": False,
        "crop": "random",
        "augmentation": "none",
    },
    "early epochs": {"decoder_first_epochs": 2, "generic_first_epochs": 4, "balancing": "presence", "attention_scale": "mean"},
}
BEST_FILES = ["config.json", "model.safetensors", "sha256sums"]
STATE_FILES = ["config.json", "model.safetensors", "sha256sums", "state.json", "state.safetensors"]


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def isic2017_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 synthetic cases of 48 px in a folder whose name has a space."""
    folder = tmp_path_factory.mktemp("attentive") / "isic set"
    write(folder, 60, 48, SEED)
    return folder


@pytest.fixture
def source(isic2017_folder: Path) -> str:
    return f"isic2017:{isic2017_folder}"


@pytest.fixture
def own_set(tmp_path: Path) -> Path:
    """40 cases that a test may change."""
    folder = tmp_path / "own set"
    write(folder, 40, 32, SEED)
    return folder


def request_of(source: str | None, *, seed: int = 3, max_epochs: int = 6, **fields: Any) -> TrialRequest:
    given = {**SMALL, **fields}
    if given.get("attention") is False or given.get("decoder") is False:
        given = {name: value for name, value in given.items() if value is not None}
    config = complete(AttentiveSpace, {name: value for name, value in given.items() if value is not None})
    return TrialRequest("attentive", config, source, seed, Objective("valid/melanoma/auroc", "max"), max_epochs, device="cpu")


def build(source: str, **fields: Any) -> TrainedTrial:
    return attentive.build(request_of(source, **fields))


def run(trial: TrainedTrial, epochs: int) -> list[EpochReport]:
    """Reports without what the clock says."""
    return [timeless(trial.step()) for _ in range(epochs)]


def timeless(report: EpochReport) -> EpochReport:
    costs = {name: 0.0 if name == LATENCY_MS else value for name, value in report.costs.items()}
    return replace(report, seconds=0.0, costs=costs)


def told_by(report: EpochReport) -> set[str]:
    """Names of all that a trial reports."""
    return {*report.metrics, *report.costs}


def weights_of(trial: TrainedTrial, prefix: str = "") -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trial.learner.model.state_dict().items() if name.startswith(prefix)}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def forget_features(folder: Path, share: int = 1) -> None:
    """Takes the annotations of every `share`-th case away."""
    for number, file in enumerate(sorted(folder.rglob("*_features.json"))):
        if number % share == 0:
            file.unlink()


def test_the_set_has_what_the_tests_need(source: str) -> None:
    counts = read_segmented(source).counts()
    for split in ("train", "valid", "test"):
        assert min(counts[split]["melanoma"].values()) > 0, counts[split]
    for attribute in ("pigment_network", "milia_like_cyst"):
        assert all(counts[split][attribute]["present"] for split in ("train", "valid"))


@pytest.mark.parametrize("fields", [{}, {"decoder": False}, {"attention": False}, {"batch_norm": "trained", "timesteps": 6}])
def test_what_was_prepared_is_what_a_trial_reports(fields: dict[str, Any], source: str) -> None:
    """Promised metrics are always there; what the network must first say something of may come and go."""
    if fields.get("attention") is False:
        fields = {**fields, "timesteps": None}
    request = request_of(source, **fields)
    prepared = attentive.prepare(request.config, source)
    trial = attentive.build(request)
    assert trial.learner.description()["data_fingerprint"] == prepared.fingerprint
    assert (prepared.num_train, prepared.num_valid, prepared.notes) == (36, 15, ())
    assert len(prepared.metrics) == len(set(prepared.metrics))
    may_be_absent = {"valid/attributes/pixel_auroc_mean", "valid/structures/predicted_class_pixel_auroc"}
    may_be_absent |= {f"valid/{attribute}/pixel_auroc" for attribute in ATTRIBUTES}
    for report in run(trial, 2):
        assert set(prepared.metrics) <= told_by(report)
        assert told_by(report) - set(prepared.metrics) <= may_be_absent
        assert not set(report.metrics) & set(report.costs)
        assert ("valid/lesion/iou" in report.metrics) == ("decoder" not in fields and "attention" not in fields)
        for name, value in report.metrics.items():
            corrected = name.endswith(("/structure_agreement", "/pointing_accuracy"))
            assert name.endswith("/loss") or value <= 1, name
            assert corrected or value >= 0, f"{name}: only what is corrected for chance may be worse than nothing"


def test_the_same_request_gives_the_same_trial_and_another_seed_another(source: str) -> None:
    trials = [build(source, seed=seed) for seed in (3, 3, 4)]
    torch.manual_seed(1)
    first = run(trials[0], 2)
    torch.manual_seed(2)
    second, other = run(trials[1], 2), run(trials[2], 2)
    assert first == second
    assert moved(weights_of(trials[0]), weights_of(trials[1])) == set()
    assert first[0].metrics != other[0].metrics


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_trial_equals_the_uninterrupted_one_bit_for_bit(name: str, source: str, tmp_path: Path) -> None:
    request = request_of(source, **RESUMED[name])
    unbroken, interrupted, resumed = (attentive.build(request) for _ in range(3))
    expected = run(unbroken, 4)
    assert run(interrupted, 2) == expected[:2]
    interrupted.save(tmp_path / "the state")
    run(resumed, 1)  # a reused object must forget what it did
    resumed.load(tmp_path / "the state")
    assert resumed.epoch == 2
    assert run(resumed, 2) == expected[2:]
    assert moved(weights_of(resumed), weights_of(unbroken)) == set()
    for trial, folder in ((unbroken, "one"), (resumed, "other")):
        trial.save(tmp_path / folder)
        trial.save_best(tmp_path / f"best of {folder}")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "other")
    assert files_of(tmp_path / "best of one") == files_of(tmp_path / "best of other")


@pytest.mark.parametrize(
    "fields", [{}, {"batch_norm": "trained", "encoder": "trained"}, {"head": "fully_connected", "decoder": False}]
)
def test_a_checkpoint_says_exactly_what_it_evaluates_to(fields: dict[str, Any], source: str, tmp_path: Path) -> None:
    trial = build(source, **fields)
    reports = run(trial, 4)
    trial.save_best(tmp_path / "the best")
    document = json.loads((tmp_path / "the best" / "config.json").read_text())
    kept = reports[reports[-1].kept - 1]
    assert (document["epoch"], document["metrics"]) == (kept.epoch, kept.metrics)
    found = TASKS["attentive"].load().evaluate(tmp_path / "the best", source, "valid")
    assert found.metrics == {name: value for name, value in document["metrics"].items() if not name.endswith("/loss")}
    assert found.num_cases == 15
    assert set(found.intervals) <= set(found.metrics)
    (alone,) = attentive.predict_cases(tmp_path / "the best", source, "valid")
    assert np.array_equal(alone.probabilities, found.predictions[0].probabilities)
    for name, (low, high) in found.intervals.items():
        assert low < high, name
    if "decoder" in fields:
        assert found.confusions == {}
    else:
        structures = found.confusions["structures"]
        assert structures.classes == STRUCTURES
        assert sum(map(sum, structures.matrices["confusion"])) == 15 * 3
    for split, cases in (("train", 36), ("test", 9)):
        other = attentive.evaluate(tmp_path / "the best", source, split)
        assert other.num_cases == cases
        assert all(metric.startswith(f"{split}/") for metric in other.metrics)


def test_a_split_that_is_none_is_told(source: str, tmp_path: Path) -> None:
    trial = build(source)
    run(trial, 1)
    trial.save_best(tmp_path / "best")
    with pytest.raises(DataError, match=r"--split must be one of train, valid, test; got 'validation'"):
        attentive.evaluate(tmp_path / "best", source, "validation")


def test_checkpoints_hold_tensors_json_and_hashes_and_nothing_else(source: str, tmp_path: Path) -> None:
    trial = build(source)
    run(trial, 1)
    trial.save_best(tmp_path / "deep" / "best")
    trial.save(tmp_path / "state")
    for folder, names in ((tmp_path / "deep" / "best", BEST_FILES), (tmp_path / "state", STATE_FILES)):
        assert sorted(path.name for path in folder.iterdir()) == names
        for file in folder.glob("*.json"):
            assert isinstance(json.loads(file.read_text()), dict)
        for file in folder.glob("*.safetensors"):
            assert all(isinstance(value, Tensor) for value in load_file(file).values())
    model = trainables.load(tmp_path / "deep" / "best")
    assert isinstance(model, AttentiveNetwork)
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, trial.learner.model.state_dict()[name]), name


@pytest.mark.parametrize("name", BEST_FILES)
def test_a_damaged_model_is_refused(name: str, source: str, tmp_path: Path) -> None:
    trial = build(source)
    run(trial, 1)
    trial.save_best(tmp_path / "best")
    contents = bytearray((tmp_path / "best" / name).read_bytes())
    contents[len(contents) // 3] ^= 1
    (tmp_path / "best" / name).write_bytes(contents)
    for refuse in (trainables.load, lambda folder: attentive.evaluate(folder, source, "valid")):
        with pytest.raises(CheckpointError, match=r"must match its hash in sha256sums; got other contents"):
            refuse(tmp_path / "best")
    (tmp_path / "best" / name).unlink()
    with pytest.raises(CheckpointError, match=r"a checkpoint must be a folder with .* and sha256sums"):
        trainables.load(tmp_path / "best")


def test_a_trial_refuses_a_damaged_state_and_that_of_another(source: str, tmp_path: Path) -> None:
    trial = build(source)
    run(trial, 1)
    trial.save(tmp_path / "state")
    for what, other in (("seed", build(source, seed=4)), ("config", build(source, focal_theta=1.0))):
        with pytest.raises(CheckpointError, match=rf"a trial must go on with its own {what}; got another one in "):
            other.load(tmp_path / "state")
    file = tmp_path / "state" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"must match its hash in sha256sums"):
        build(source).load(tmp_path / "state")


def test_a_trial_refuses_to_go_on_with_other_annotations(own_set: Path, tmp_path: Path) -> None:
    """What was absent is now unknown: other losses, other metrics, so another data set."""
    trial = build(f"isic2017:{own_set}")
    run(trial, 1)
    trial.save(tmp_path / "state")
    absent = next(
        file
        for file in sorted((own_set / "ISIC-2017_Training_Part2_GroundTruth").iterdir())
        if not any(map(any, json.loads(file.read_text()).values()))
    )
    absent.unlink()
    with pytest.raises(CheckpointError, match="its own data_fingerprint"):
        build(f"isic2017:{own_set}").load(tmp_path / "state")


@pytest.fixture(scope="session")
def checkpoint(isic2017_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of one epoch."""
    trial = build(f"isic2017:{isic2017_folder}")
    run(trial, 1)
    folder = tmp_path_factory.mktemp("checkpoint") / "the best"
    trial.save_best(folder)
    return folder


def test_predictions_are_probabilities_and_gazes_inside_the_image(checkpoint: Path, source: str) -> None:
    images = read_segmented(source).cases.images[:3]
    found = attentive.predictor(checkpoint).predict(images)
    assert [one["image"] for one in found] == [str(image) for image in images]
    for one in found:
        named = one["probabilities"]["melanoma"]
        assert set(named) == {"benign", "melanoma"}
        assert sum(named.values()) == pytest.approx(1)
        assert one["labels"]["melanoma"] == max(named, key=named.__getitem__)
        assert [gaze["gaze"] for gaze in one["gazes"]] == [1, 2, 3]
        for gaze in one["gazes"]:
            # The centre of 32 of 36 px: nothing outside it is ever looked at; cells are 8 px wide.
            cells = [(2 + 8 * cell + 4) / 36 for cell in range(4)]
            assert any(gaze["x"] == pytest.approx(cell) for cell in cells)
            assert any(gaze["y"] == pytest.approx(cell) for cell in cells)
            assert gaze["structure"] in STRUCTURES
            assert 1 / 6 <= gaze["probability"] <= 1
            assert 0 <= gaze["mask_share"] <= 1
    assert json.loads(json.dumps(found)) == found


def test_predictions_are_those_of_the_model_and_of_any_company(checkpoint: Path, source: str) -> None:
    images = read_segmented(source).cases.images[:20]
    together = attentive.predictor(checkpoint).predict(images)
    model = trainables.load(checkpoint)
    with Image.open(images[7]) as image:
        pixels = np.asarray(image.convert("RGB").resize((36, 36), Image.Resampling.BILINEAR, reducing_gap=2.0))
    with torch.no_grad():
        reading = model(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None, :, 2:34, 2:34].float() / 255)
    expected = reading.diagnosis.softmax(-1)[0, 1].item()
    assert together[7]["probabilities"]["melanoma"]["melanoma"] == pytest.approx(expected, abs=2e-3)
    (alone,) = attentive.predictor(checkpoint).predict(images[19:])
    assert alone["probabilities"]["melanoma"] == pytest.approx(together[19]["probabilities"]["melanoma"], abs=1e-6)


@pytest.mark.parametrize(
    ("size", "mode"),
    [((1, 1), "RGB"), ((7, 300), "L"), ((300, 7), "RGBA"), ((36, 36), "1"), ((500, 400), "P"), ((31, 33), "LA")],
)
def test_images_of_any_size_and_kind_are_taken(mode: str, size: tuple[int, int], checkpoint: Path, tmp_path: Path) -> None:
    Image.new("RGB", size, (180, 120, 90)).convert(mode).save(tmp_path / "an image.png")
    (found,) = attentive.predictor(checkpoint).predict([tmp_path / "an image.png"])
    assert sum(found["probabilities"]["melanoma"].values()) == pytest.approx(1)
    assert all(0 <= gaze["x"] <= 1 and 0 <= gaze["y"] <= 1 for gaze in found["gazes"])


def test_what_is_no_image_is_told(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"text\.jpg must be an image that decodes"):
        attentive.predictor(checkpoint).predict([tmp_path / "text.jpg"])


def test_a_diagnosis_that_comes_later_does_not_move_before(source: str) -> None:
    trial = build(source, decoder_first_epochs=2, weight_decay=1e-3)
    before = weights_of(trial, "diagnosis.")
    decoder, attention = weights_of(trial, "decoder."), weights_of(trial, "attention.")
    run(trial, 1)
    assert moved(before, weights_of(trial, "diagnosis.")) <= statistics_of(before)
    run(trial, 1)
    assert moved(before, weights_of(trial, "diagnosis.")) <= statistics_of(before)
    assert moved(decoder, weights_of(trial, "decoder."))
    assert moved(attention, weights_of(trial, "attention."))
    run(trial, 1)
    assert {name for name in before if name.startswith("diagnosis.layers")} <= moved(before, weights_of(trial, "diagnosis."))


def statistics_of(names: Iterable[str]) -> set[str]:
    """Those that are statistics of a batch norm."""
    return {name for name in names if name.split(".")[-1] in ("running_mean", "running_var", "num_batches_tracked")}


def test_a_trained_batch_norm_of_the_diagnosis_waits_too(source: str) -> None:
    """The branch is run for nothing in those epochs; its weights wait, so its running statistics may move."""
    trial = build(source, decoder_first_epochs=1, batch_norm="trained", weight_decay=1e-3)
    before = weights_of(trial, "diagnosis.")
    run(trial, 1)
    statistics = statistics_of(before)
    assert moved(before, weights_of(trial, "diagnosis.")) <= statistics
    run(trial, 1)
    assert moved(before, weights_of(trial, "diagnosis.")) - statistics


def test_attributes_give_no_loss_in_generic_epochs(source: str) -> None:
    """With a weight on streaks alone the structures' loss is 0 as long as only lesion and skin are learnt."""
    trial = build(source, generic_first_epochs=1, decoder_first_epochs=1)
    learner = trial.learner
    members = np.flatnonzero(learner._data.segmented.presence[:, STRUCTURES.index("pigment_network")])[:4]
    batch = learner._data.batch(members)
    learner._structure_weights = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    learner._balancing = "presence"
    learner.begin(1)
    assert float(learner.loss(batch).detach()) == 0
    learner.begin(2)
    with_diagnosis = float(learner.loss(batch).detach())
    assert with_diagnosis > 0
    late = build(source, decoder_first_epochs=1).learner
    late._structure_weights, late._balancing = learner._structure_weights, "presence"
    late.begin(1)
    assert float(late.loss(batch).detach()) > 0


def test_a_frozen_encoder_never_moves_and_a_trained_one_does(source: str) -> None:
    for batch_norm in ("frozen", "frozen_statistics", "trained", "none"):
        trial = build(source, batch_norm=batch_norm, weight_decay=1e-3)
        before = weights_of(trial, "encoder.")
        run(trial, 1)
        followed = statistics_of(before) if batch_norm in ("frozen", "trained") else set()
        assert moved(before, weights_of(trial, "encoder.")) == followed, batch_norm
    trial = build(source, batch_norm="trained", encoder="trained", encoder_learning_rate=1e-3)
    before = weights_of(trial, "encoder.")
    run(trial, 1)
    changed = moved(before, weights_of(trial, "encoder."))
    assert {name for name in before if name.endswith(("weight", "running_mean"))} <= changed
    for batch_norm in ("frozen", "frozen_statistics"):
        frozen_norm = build(source, batch_norm=batch_norm, encoder="trained", encoder_learning_rate=1e-3)
        before = weights_of(frozen_norm, "encoder.")
        run(frozen_norm, 1)
        changed = moved(before, weights_of(frozen_norm, "encoder."))
        convolved = {name for name in before if name.startswith("encoder.convolutions")}
        assert changed & convolved
        assert changed - convolved == (statistics_of(before) if batch_norm == "frozen" else set())


@pytest.mark.parametrize(
    ("batch_norm", "whole"), [("frozen", True), ("trained", True), ("frozen_statistics", False), ("none", False)]
)
def test_batches_that_are_normalised_whole_do_not_pass_in_parts_and_this_is_said(
    batch_norm: str, whole: bool, source: str
) -> None:
    trial = attentive.build(replace(request_of(source, batch_norm=batch_norm), batch_parts=2))
    in_parts = "every batch passes in 2 parts, for want of memory"
    normalised = "batches to pass in parts, for want of memory, are normalised whole (--set batch_norm=frozen_statistics)"
    assert (normalised in trial.notes, in_parts in trial.notes) == (whole, not whole)
    assert TASKS["attentive"].splits_batches(trial.learner._config) != whole


def test_every_part_has_its_own_learning_rate(source: str) -> None:
    rates = {"branch_learning_rate": 3e-4, "attention_learning_rate": 2e-2, "encoder_learning_rate": 5e-5}
    for fields in ({"encoder": "trained", **rates}, {name: rates[name] for name in list(rates)[:2]}):
        trial = build(source, **fields)
        of = {id(p): group.rate for group in trial.learner.optimizer.groups for p in group.parameters}
        expected = {"diagnosis": 3e-4, "decoder": 3e-4, "attention": 2e-2}
        if "encoder" in fields:
            expected["encoder"] = 5e-5
        model = trial.learner.model
        assert len(of) == sum(p.requires_grad for p in model.parameters())
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert of[id(parameter)] == expected[name.split(".")[0]], name
        assert trial.learner.optimizer.betas == (0.92, 0.96)
        assert {group.weight_decay for group in trial.learner.optimizer.groups} == {1e-6}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_paper_trains(variant: str, source: str, tmp_path: Path) -> None:
    fields = dict(VARIANTS[variant])
    if fields.get("attention") is False:
        fields["timesteps"] = None
    trial = build(source, **fields)
    before = weights_of(trial, "diagnosis.")
    run(trial, 1)
    assert moved(before, weights_of(trial, "diagnosis."))
    trial.save_best(tmp_path / "best")
    model = trainables.load(tmp_path / "best")
    assert (model.attention is None) == (fields.get("attention") is False)
    assert (model.decoder is not None) == ("Deco" in variant)
    (found,) = attentive.predictor(tmp_path / "best").predict(read_segmented(source).cases.images[:1])
    assert ("gazes" in found) == ("Attentive" in variant)
    if "gazes" in found:
        assert all(("structure" in gaze) == ("Deco" in variant) for gaze in found["gazes"])


def test_a_set_whose_attributes_are_all_unknown_trains(own_set: Path, tmp_path: Path) -> None:
    forget_features(own_set)
    source = f"isic2017:{own_set}"
    for balancing in ("presence", "inverse_presence", "minibatch", "none"):
        request = request_of(source, balancing=balancing)
        trial = attentive.build(request)
        (report,) = run(trial, 1)
        assert set(attentive.prepare(request.config, source).metrics) <= told_by(report)
        assert not any(attribute in name for name in report.metrics for attribute in (*ATTRIBUTES, "attributes"))
        assert {"valid/lesion/iou", "valid/skin/iou"} <= set(report.metrics)
    (note,) = attentive.prepare(request.config, source).notes
    assert note.startswith("40 of 40 cases have no superpixels or features: their attributes are unknown")
    trial.save_best(tmp_path / "best")
    found = attentive.evaluate(tmp_path / "best", source, "valid")
    assert found.metrics == {name: value for name, value in report.metrics.items() if not name.endswith("/loss")}


def test_some_unknown_attributes_leave_the_rest_as_it_is(own_set: Path) -> None:
    source = f"isic2017:{own_set}"
    forget_features(own_set, share=2)
    request = request_of(source)
    trial = attentive.build(request)
    prepared = attentive.prepare(request.config, source)
    assert prepared.notes[0].startswith("20 of 40 cases")
    for report in run(trial, 2):
        assert set(prepared.metrics) <= told_by(report)


def test_an_attribute_that_the_centre_does_not_show_is_not_promised(tmp_path: Path) -> None:
    """`prepare` goes by the annotation, validation by the cut and resized mask; an objective must be there in every epoch."""
    folder = write_set(tmp_path / "a set")
    place = folder / "ISIC-2017_Validation_Data"
    for name in ("ISIC_0000010", "ISIC_0000011"):
        save_indices(place / f"{name}_superpixels.png", (np.arange(12)[None, :].repeat(8, 0) > 0).astype(np.int64))
        streaks = {feature: [int(feature == "streaks"), 0] for feature in ATTRIBUTES}
        (folder / "ISIC-2017_Validation_Part2_GroundTruth" / f"{name}_features.json").write_text(json.dumps(streaks))
    request = request_of(f"isic2017:{folder}", crop_from_px=64)
    (report,) = run(attentive.build(request), 1)
    assert set(attentive.prepare(request.config, request.source).metrics) <= told_by(report)


def test_unknown_attributes_give_no_loss(own_set: Path) -> None:
    forget_features(own_set)
    learner = build(f"isic2017:{own_set}", decoder_first_epochs=1).learner
    learner._structure_weights, learner._balancing = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0]), "presence"
    learner.begin(1)
    assert float(learner.loss(learner._data.batch(np.arange(4))).detach()) == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"size_px": 40, "crop_from_px": 36},
            r"size_px must be crop_from_px \(36\) or less; got 40 \(--set size_px= --set crop_from_px=\)",
        ),
        ({"size_px": 36}, r"size_px must be a multiple of 8, 32 or more, for the attentive network; got 36 \(--set size_px=\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_before_data_are_read(fields: dict[str, Any], expected: str) -> None:
    request = request_of("isic2017:/no such folder", **fields)
    for refuse in (lambda: attentive.build(request), lambda: attentive.prepare(request.config, request.source)):
        with pytest.raises(ValueError, match=expected):
            refuse()


def test_an_attentive_trial_needs_data_of_its_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a task that is trained must have data; got none \(--data FORMAT:PATH\)"):
        attentive.build(request_of(None))
    (tmp_path / "cases.csv").write_text("image,split,diagnosis\n")
    with pytest.raises(DataError, match="the table must have a row for each case; got none"):
        attentive.build(request_of(f"table:{tmp_path / 'cases.csv'}"))


def test_a_case_in_two_splits_is_refused_before_the_first_trial(own_set: Path) -> None:
    image = sorted((own_set / "ISIC-2017_Training_Data").glob("*.jpg"))[0]
    for kind, suffix in (("Data", ".jpg"), ("Part1_GroundTruth", "_segmentation.png")):
        name = f"{image.stem}{suffix}"
        content = (own_set / f"ISIC-2017_Training_{kind}" / name).read_bytes()
        (own_set / f"ISIC-2017_Validation_{kind}" / name).write_bytes(content)
    with (own_set / "ISIC-2017_Validation_Part3_GroundTruth.csv").open("a") as table:
        table.write(f"{image.stem},0.0,0.0\n")
    request = request_of(f"isic2017:{own_set}")
    with pytest.raises(DataError, match=rf"{image.stem} must be in one split; got train and valid"):
        attentive.prepare(request.config, request.source)


def test_a_loss_that_is_not_finite_ends_the_trial(source: str) -> None:
    trial = build(source)
    run(trial, 1)
    with torch.no_grad():
        trial.learner.model.diagnosis.layers[0].weight.fill_(torch.nan)
    with pytest.raises(TrialDiverged, match="train/loss must be finite; got nan at epoch 2"):
        trial.step()


def test_the_largest_rates_train_or_diverge_and_never_crash(source: str) -> None:
    fields = {"attention_learning_rate": 3e-2, "branch_learning_rate": 1e-2, "encoder": "trained", "encoder_learning_rate": 1e-3}
    trial = build(source, attention_scale="mean", batch_norm="none", **fields)
    try:
        reports = run(trial, 5)
    except TrialDiverged:
        return
    assert all(np.isfinite(list(report.metrics.values())).all() for report in reports)


def test_a_rate_that_is_far_too_large_diverges(source: str) -> None:
    trial = build(source, attention_scale="mean", batch_norm="none")
    trial.learner.optimizer = Adam([Group(group.parameters, 1e30) for group in trial.learner.optimizer.groups])
    with pytest.raises(TrialDiverged, match=r"must be finite; got (nan|inf) at epoch [12]"):
        run(trial, 2)


@pytest.mark.parametrize("balancing", ["minibatch", "presence", "none"])
def test_the_validation_loss_does_not_depend_on_chunks(balancing: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Structures are balanced over the whole split: a rare one counts once, however its cases fall into chunks."""
    learner = build(source, balancing=balancing).learner
    cases, found = len(learner._valid), []
    assert cases > 5
    for chunk in (cases, 5, 1):
        monkeypatch.setattr(attentive_learner, "CHUNK", chunk)
        found.append(learner.validate()["valid/loss"])
    assert found[1:] == pytest.approx(found[:1] * 2, rel=1e-5)
    batch = learner._data.batch(learner._valid)
    with torch.no_grad():
        diagnosis, pairs = learner._losses(learner.model(batch.images), batch, evaluating=True)
    assert found[0] == pytest.approx(float(learner._combined(diagnosis, pairs)), rel=1e-5)


def test_a_rehearsal_counts_the_validation_cases_in_training_batches(source: str) -> None:
    trial = build(source)
    learner = trial.learner
    assert learner.valid_batches == pytest.approx(len(learner._valid) * learner.batches_per_epoch / len(learner._train))
    assert trial.rehearse().epoch_s > 0
    assert trial.epoch == 0


def of_an_epoch(trial: TrainedTrial) -> np.ndarray:
    """Cases of the first epoch's batches, in order."""
    learner = trial.learner
    learner.begin(1)
    return np.concatenate([learner._pool[learner._passes.draw()] for _ in range(learner.batches_per_epoch)])


def test_melanomas_stand_in_an_epoch_as_often_as_asked_for(source: str) -> None:
    plain, repeated = build(source), build(source, melanoma_repeats=4)
    train = plain.learner._train
    melanoma = plain.learner._data.segmented.cases.labels[train, 0] == 1
    assert 0 < melanoma.sum() < len(train)
    assert sorted(of_an_epoch(plain)) == sorted(train)
    assert sorted(of_an_epoch(repeated)) == sorted([*train, *(3 * list(train[melanoma]))])
    expected = -(-(len(train) + 3 * int(melanoma.sum())) // 16)
    assert repeated.learner.batches_per_epoch == expected > plain.learner.batches_per_epoch


def test_cases_with_rare_structures_come_more_often(source: str) -> None:
    plain, rare = build(source), build(source, structure_sampling="rare_structures")
    assert rare.learner.batches_per_epoch == plain.learner.batches_per_epoch
    train, presence = plain.learner._train, plain.learner._data.segmented.presence
    shares = repeat_factors(presence[train])
    drawn = np.stack([np.bincount(of_an_epoch(rare), minlength=len(presence))[train] for _ in range(200)])
    assert drawn.sum(1).tolist() == [len(train)] * 200
    assert drawn.mean(0) == pytest.approx(shares * len(train) / shares.sum(), abs=0.15)
    rarest = presence[train][:, 2:].sum(0).argmin() + 2
    assert drawn.mean(0)[presence[train, rarest]].min() > 1.2 > 1 > drawn.mean(0)[~presence[train, 2:].any(1)].max()


def test_without_a_decoder_there_are_no_structures_to_sample_by(source: str) -> None:
    assert sorted(of_an_epoch(build(source, decoder=False))) == sorted(build(source).learner._train)


def test_melanoma_weight_moves_the_training_and_the_loss_of_validation(source: str) -> None:
    plain, weighted = (build(source, melanoma_weight=weight).learner for weight in (1.0, 4.0))
    batch = plain._data.batch(plain._valid)
    with torch.no_grad():
        before, after = (float(learner._losses(learner.model.eval()(batch.images), batch)[0]) for learner in (plain, weighted))
    melanomas = plain._data.segmented.cases.labels[plain._valid, 0] == 1
    assert melanomas.any()
    assert after > before + 1e-3


def test_a_random_crop_is_for_training_only(source: str) -> None:
    """32 px of the 36 that there are."""
    learner = build(source, crop="random", augmentation="none").learner
    learner.begin(1)
    members = learner._pool[learner._passes._left[:16]]
    centre, drawn = learner._data.batch(members), learner.draw_batch()
    assert not torch.equal(drawn.images, centre.images)
    assert torch.equal(learner._data.batch(members).images, centre.images)


@pytest.mark.parametrize(("width", "height"), [(72, 36), (36, 72)])
def test_gazes_are_placed_in_the_whole_image_where_its_aspect_is_kept(
    width: int, height: int, source: str, tmp_path: Path
) -> None:
    """Of a square's side 32 of 36 px are seen, of the longer side half as much."""
    trial = build(source, resize="keep_aspect")
    run(trial, 1)
    trial.save_best(tmp_path / "best")
    Image.effect_noise((width, height), 90).convert("RGB").save(tmp_path / "an image.png")
    image = tmp_path / "an image.png"
    (found,) = attentive.predictor(tmp_path / "best").predict([image])
    (sent,) = attentive.predictor(tmp_path / "best").predict([image.read_bytes()])
    assert sent["gazes"] == found["gazes"]
    cells = [(2 + 8 * cell + 4) / 36 for cell in range(4)]
    halved = [0.25 + cell / 2 for cell in cells]
    for gaze in found["gazes"]:
        assert any(gaze["x"] == pytest.approx(cell) for cell in (halved if width > height else cells))
        assert any(gaze["y"] == pytest.approx(cell) for cell in (cells if width > height else halved))
    middle = Image.open(image).crop(((width - 36) // 2, (height - 36) // 2, (width + 36) // 2, (height + 36) // 2))
    middle.save(tmp_path / "middle.png")
    (alone,) = attentive.predictor(tmp_path / "best").predict([tmp_path / "middle.png"])
    assert alone["probabilities"] == found["probabilities"]


def test_a_frozen_encoder_with_random_weights_is_noted(source: str) -> None:
    line = "the encoder is frozen with random weights (the paper's are ImageNet's: --set encoder_weights=)"
    assert line in build(source).notes
    assert line not in build(source, encoder="trained", encoder_learning_rate=1e-4).notes


def test_training_lowers_the_loss(source: str) -> None:
    trial = build(source, augmentation="none", branch_learning_rate=3e-3, attention_learning_rate=1e-3, attention_scale="mean")
    losses = [report.metrics["train/loss"] for report in run(trial, 8)]
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])


def test_images_are_standardised_by_the_training_images_alone(source: str) -> None:
    network = build(source).learner.model
    segmented = read_segmented(source)
    pixels = []
    for index in segmented.cases.splits["train"]:
        with Image.open(segmented.cases.images[index]) as image:
            pixels.append(np.asarray(image.resize((36, 36), Image.Resampling.BILINEAR, reducing_gap=2.0), dtype=np.float64) / 255)
    np.testing.assert_allclose(network.input_mean.flatten(), np.stack(pixels).mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(network.input_deviation.flatten(), np.stack(pixels).std((0, 1, 2)), rtol=1e-5)
    imagenet = build(source, input_normalisation="imagenet").learner.model
    assert imagenet.input_mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
