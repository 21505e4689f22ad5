"""The gated trial on synthetic cases: repeatable, resumable bit for bit, and checked when it is read back."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import trainables
from models.gated_network import GatedNetwork
from spaces.fields import complete
from spaces.gated import GatedSpace
from trainables.contract import LATENCY_MS, EpochReport, TrialRequest
from trainables.errors import CheckpointError, DataError, TrialDiverged
from trainables.gated import task as gated
from trainables.gated.metrics import gate_metrics
from trainables.loop import TrainedTrial
from trainables.tasks import TASKS

SMALL = {"size_px": 96, "width": 0.5, "batches_per_epoch": 1, "k": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "the paper's": {},
    "gates off, cases as they come": {"gates": "off", "sampling": "uniform", "batch_size": 20, "k": None},
    "gates open": {"gates": "open"},
    "no batch norm, weights of the training set": {"batch_norm": False, "label_weights": "inverse_frequency"},
    "standardised images, double": {"input_normalisation": "training_set", "width": 2.0},
    "binary, plain loss, selection by loss": {"binary": True, "label_weights": "none", "focal_beta": 0.0, "selection": "loss"},
}
BEST_FILES = ["config.json", "model.safetensors", "sha256sums", "trace.safetensors"]
STATE_FILES = ["config.json", "model.safetensors", "sha256sums", "state.json", "state.safetensors"]


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def source(synthetic_derm7pt: Path) -> str:
    return f"derm7pt:{synthetic_derm7pt}"


def request_of(source: str | None, *, seed: int = 3, max_epochs: int = 5, device: str = "cpu", **fields: Any) -> TrialRequest:
    given = {name: value for name, value in {**SMALL, **fields}.items() if value is not None}
    config = complete(GatedSpace, given)
    return TrialRequest("gated", config, source, seed, TASKS["gated"].objective, max_epochs, device=device)


def run(trial: TrainedTrial, epochs: int) -> list[EpochReport]:
    """Reports without what the clock says."""
    return [timeless(trial.step()) for _ in range(epochs)]


def timeless(report: EpochReport) -> EpochReport:
    costs = {name: 0.0 if name == LATENCY_MS else value for name, value in report.costs.items()}
    return replace(report, seconds=0.0, costs=costs)


def weights_of(trial: TrainedTrial) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trial.learner.model.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def damage(file: Path) -> None:
    contents = bytearray(file.read_bytes())
    contents[len(contents) // 3] ^= 1
    file.write_bytes(contents)


def test_the_same_request_gives_the_same_trial_and_another_seed_another(source: str) -> None:
    trials = [gated.build(request_of(source, seed=seed)) for seed in (3, 3, 4)]
    torch.manual_seed(1)
    first = run(trials[0], 3)
    torch.manual_seed(2)
    np.random.default_rng(0).random()
    second, other = run(trials[1], 3), run(trials[2], 3)
    assert first == second
    assert_same(weights_of(trials[0]), weights_of(trials[1]))
    assert first[0].metrics != other[0].metrics


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_trial_equals_the_uninterrupted_one_bit_for_bit(variant: str, source: str, tmp_path: Path) -> None:
    request = request_of(source, **VARIANTS[variant])
    unbroken, interrupted, resumed = (gated.build(request) for _ in range(3))
    expected = run(unbroken, 5)
    assert run(interrupted, 3) == expected[:3]
    interrupted.save(tmp_path / "state")
    run(interrupted, 1)
    run(resumed, 2)  # a reused object must forget what it did
    resumed.load(tmp_path / "state")
    assert resumed.epoch == 3
    assert run(resumed, 2) == expected[3:]
    assert_same(weights_of(resumed), weights_of(unbroken))
    for trial, name in ((unbroken, "one"), (resumed, "other")):
        trial.save(tmp_path / name)
        trial.save_best(tmp_path / f"best of {name}")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "other")
    assert files_of(tmp_path / "best of one") == files_of(tmp_path / "best of other")


def test_a_trial_saved_before_its_first_epoch_starts_anew(source: str, tmp_path: Path) -> None:
    first, second = gated.build(request_of(source)), gated.build(request_of(source))
    first.save(tmp_path / "state")
    run(second, 1)
    second.load(tmp_path / "state")
    assert second.epoch == 0
    assert run(second, 2) == run(first, 2)


def test_a_checkpoint_says_exactly_what_it_evaluates_to(source: str, tmp_path: Path) -> None:
    trial = gated.build(request_of(source, device="auto"))
    reports = run(trial, 4)
    trial.save_best(tmp_path / "best")
    document = json.loads((tmp_path / "best" / "config.json").read_text())
    kept, best = reports[reports[-1].kept - 1], [report for report in reports if report.is_best][-1]
    assert document["epoch"] == kept.epoch
    assert document["metrics"] == kept.metrics
    assert kept.metrics["valid/auroc_mean"] >= best.score, "no worse than the mean by which it was chosen"
    found = TASKS["gated"].load().evaluate(tmp_path / "best", source, "valid")
    losses = {"train/loss", "valid/loss"}
    assert found.metrics == {name: value for name, value in document["metrics"].items() if name not in losses}
    assert found.num_cases == gated.prepare(trial.request.config, source).num_valid
    assert {"model/gate_decisiveness", "model/gate_sharing"} <= set(found.metrics) - set(found.intervals)
    alone = TASKS["gated"].load().predict_cases(tmp_path / "best", source, "valid")
    assert [each.task for each in alone] == [each.task for each in found.predictions]
    assert all(np.array_equal(a.probabilities, b.probabilities) for a, b in zip(alone, found.predictions, strict=True))
    for name, (low, high) in found.intervals.items():
        assert low < high, name
    confusions = found.confusions["seven_point"]
    assert confusions.classes == ("benign", "melanoma")
    assert set(confusions.matrices) == {"1", "3", "direct"}
    assert all(sum(map(sum, matrix)) == found.num_cases for matrix in confusions.matrices.values())
    told = json.loads(json.dumps(found.to_json()))
    assert told["seven_point"] == confusions.matrices
    assert told["seven_point_classes"] == ["benign", "melanoma"]
    assert (told["split"], told["num_cases"], told["metrics"]) == ("valid", found.num_cases, found.metrics)


def test_load_gives_the_best_epochs_model_ready_to_predict(source: str, tmp_path: Path) -> None:
    trial, after = gated.build(request_of(source)), {}
    for epoch in range(1, 5):
        report = trial.step()
        after[epoch] = weights_of(trial)
    kept = after[report.kept]
    trial.save_best(tmp_path / "best")
    model = trainables.load(tmp_path / "best")
    assert isinstance(model, GatedNetwork)
    assert not model.training
    assert_same(dict(model.state_dict()), kept)


@pytest.fixture
def table(synthetic_derm7pt: Path, tmp_path: Path) -> str:
    """Two tasks of a user's own, some labels missing, over the synthetic images."""
    (tmp_path / "images").symlink_to(synthetic_derm7pt / "images")
    images = sorted(path for path in (tmp_path / "images").glob("**/*") if path.is_file())
    diagnoses, sites = ("melanoma", "nevus", "other"), ("arm", "leg", "")
    splits = ["train"] * 40 + ["valid"] * 20
    cases = enumerate(zip(images, splits, strict=True))
    lines = [f"{image},{split},{diagnoses[i % 3]},{sites[i // 3 % 3]}" for i, (image, split) in cases]
    (tmp_path / "cases.csv").write_text("\n".join(["image,split,diagnosis,site", *lines]) + "\n")
    return f"table:{tmp_path / 'cases.csv'}"


@pytest.mark.parametrize(("binary", "classes"), [(False, ["melanoma", "nevus", "other"]), (True, ["rest", "melanoma"])])
def test_a_trial_on_a_table_evaluates_to_its_own_metrics(binary: bool, classes: list[str], table: str, tmp_path: Path) -> None:
    fields = {"binary": binary, "input_normalisation": "training_set"}
    trial = gated.build(request_of(table, device="auto", **fields))
    report = trial.step()
    trial.save_best(tmp_path / "best")
    document = json.loads((tmp_path / "best" / "config.json").read_text())
    assert document["classes"] == {"diagnosis": classes, "site": ["arm", "leg"]}
    found = gated.evaluate(tmp_path / "best", table, "valid")
    assert found.metrics == {name: value for name, value in report.metrics.items() if not name.endswith("/loss")}
    assert "valid/melanoma/auroc" in found.metrics
    assert (found.num_cases, found.confusions) == (20, {})
    assert set(found.to_json()) == {"split", "num_cases", "metrics", "labelled", "intervals", "units"}
    with pytest.raises(DataError, match=r"--split must be one of train, valid(, test)?; got 'validation'"):
        gated.evaluate(tmp_path / "best", table, "validation")


def test_images_are_standardised_by_the_training_images_alone(table: str, tmp_path: Path) -> None:
    trial = gated.build(request_of(table, input_normalisation="training_set"))
    names = [line.split(",")[0] for line in (tmp_path / "cases.csv").read_text().splitlines()[1:41]]
    pixels = np.stack([np.asarray(Image.open(name).convert("RGB"), dtype=np.float64) for name in names]) / 255
    network = trial.learner.model
    np.testing.assert_allclose(network.input_mean.flatten(), pixels.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(network.input_deviation.flatten(), pixels.std((0, 1, 2)), rtol=1e-5)
    untouched = gated.build(request_of(table)).learner.model
    assert untouched.input_mean.flatten().tolist() == [0, 0, 0]
    assert untouched.input_deviation.flatten().tolist() == [1, 1, 1]


def test_checkpoints_hold_tensors_json_and_hashes_and_nothing_else(source: str, tmp_path: Path) -> None:
    trial = gated.build(request_of(source))
    run(trial, 1)
    trial.save_best(tmp_path / "deep" / "best")
    trial.save(tmp_path / "state")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["best"], "nothing unfinished is left"
    for folder, names in ((tmp_path / "deep" / "best", BEST_FILES), (tmp_path / "state", STATE_FILES)):
        assert sorted(path.name for path in folder.iterdir()) == names
        for file in folder.glob("*.json"):
            assert isinstance(json.loads(file.read_text()), dict)
        for file in folder.glob("*.safetensors"):
            assert all(isinstance(value, Tensor) for value in load_file(file).values())
        sums = [line.split("  ")[1] for line in (folder / "sha256sums").read_text().splitlines()]
        assert sorted([*sums, "sha256sums"]) == names


@pytest.mark.parametrize("name", BEST_FILES)
def test_a_damaged_checkpoint_is_refused(name: str, source: str, tmp_path: Path) -> None:
    trial = gated.build(request_of(source))
    run(trial, 1)
    trial.save_best(tmp_path / "best")
    # The trace is of no use to the model: only who asks for it needs it whole.
    load = gated.explain_model if name == "trace.safetensors" else trainables.load
    load(tmp_path / "best")
    damage(tmp_path / "best" / name)
    with pytest.raises(CheckpointError, match=r"must match its hash in sha256sums; got other contents"):
        load(tmp_path / "best")
    (tmp_path / "best" / name).unlink()
    if name != "trace.safetensors":
        with pytest.raises(CheckpointError, match=r"a checkpoint must be a folder with .* and sha256sums"):
            load(tmp_path / "best")


def test_what_tasks_share_is_known_at_the_start_and_after_every_epoch(source: str, tmp_path: Path) -> None:
    trial = gated.build(request_of(source))
    found = [trial.learner.model.sharing().detach().double().numpy()]
    for _ in range(3):
        run(trial, 1)
        found.append(trial.learner.model.sharing().detach().double().numpy())
    trial.save_best(tmp_path / "best")
    sharing = gated.explain_model(tmp_path / "best").sharing
    assert sharing is not None
    assert sharing.epochs == (0, 1, 2, 3)
    np.testing.assert_array_equal(sharing.history, np.array(found))
    np.testing.assert_array_equal(sharing.history[-1], sharing.blocks)


def test_a_damaged_state_is_refused_and_leaves_the_trial_as_it_was(source: str, tmp_path: Path) -> None:
    trial, twin = gated.build(request_of(source)), gated.build(request_of(source))
    run(trial, 2)
    run(twin, 1)
    for name in STATE_FILES:
        folder = tmp_path / name
        trial.save(folder)
        damage(folder / name)
        with pytest.raises(CheckpointError, match=r"must match its hash in sha256sums; got other contents"):
            twin.load(folder)
    with pytest.raises(CheckpointError, match=r"a checkpoint must be a folder with config\.json and sha256sums"):
        twin.load(tmp_path / "no such folder")
    assert run(twin, 2) == run_again(trial.request, 3)[1:]


def run_again(request: TrialRequest, epochs: int) -> list[EpochReport]:
    return run(gated.build(request), epochs)


@pytest.mark.parametrize("what", ["config", "seed"])
def test_a_trial_refuses_the_state_of_another(source: str, tmp_path: Path, what: str) -> None:
    own = request_of(source)
    request = replace(own, seed=own.seed + 1) if what == "seed" else request_of(source, dropout=0.2)
    gated.build(own).save(tmp_path / "state")
    other = gated.build(request)
    with pytest.raises(CheckpointError, match=rf"a trial must go on with its own {what}; got another one in "):
        other.load(tmp_path / "state")
    assert run(other, 1) == run_again(request, 1)


def test_there_is_no_best_model_before_the_first_epoch(source: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a trial must have validated once before its best model can be saved; got epoch 0"):
        gated.build(request_of(source)).save_best(tmp_path / "best")
    assert not (tmp_path / "best").exists()


def test_a_best_checkpoint_is_no_state_to_go_on_from(source: str, tmp_path: Path) -> None:
    trial = gated.build(request_of(source))
    run(trial, 1)
    trial.save_best(tmp_path / "best")
    with pytest.raises(CheckpointError, match=r"a checkpoint must be a folder with state\.json and sha256sums"):
        trial.load(tmp_path / "best")


def test_a_trial_ends_after_its_last_epoch_or_when_its_patience_does(source: str) -> None:
    assert [report.ended for report in run(gated.build(request_of(source, max_epochs=2)), 2)] == [None, "max_epochs"]
    trial = gated.build(request_of(source, max_epochs=40, patience=1))
    reports = [trial.step()]
    while reports[-1].ended is None:
        reports.append(trial.step())
    assert reports[-1].ended == "patience"
    assert [report.is_best for report in reports] == [True] * (len(reports) - 1) + [False]
    assert [report.epoch for report in reports] == list(range(1, len(reports) + 1))


def test_a_loss_that_is_not_finite_ends_the_trial(source: str) -> None:
    trial = gated.build(request_of(source))
    run(trial, 1)
    with torch.no_grad():
        next(iter(trial.learner.model.parameters())).fill_(torch.nan)
    with pytest.raises(TrialDiverged, match="train/loss must be finite; got nan at epoch 2"):
        trial.step()


def test_training_lowers_the_loss_and_moves_gates(source: str) -> None:
    trial = gated.build(request_of(source, learning_rate=3e-3, augmentation=0.0, dropout=0.0, label_weights="none"))
    before = trial.learner.model.sharing()
    losses = [trial.step().metrics["train/loss"] for _ in range(12)]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert (trial.learner.model.sharing() - before).abs().max() > 0.05


def test_what_was_prepared_is_what_a_trial_reports(source: str) -> None:
    request = request_of(source)
    prepared = gated.prepare(request.config, source)
    trial = gated.build(request)
    report = trial.step()
    assert set(report.metrics) | set(report.costs) == set(prepared.metrics)
    assert not set(report.metrics) & set(report.costs)
    assert len(prepared.metrics) == len(set(prepared.metrics))
    assert trial.learner.description()["data_fingerprint"] == prepared.fingerprint
    assert prepared.num_train + prepared.num_valid < 60


def test_predictions_of_single_images_are_those_of_the_model(source: str, synthetic_derm7pt: Path, tmp_path: Path) -> None:
    trial = gated.build(request_of(source))
    run(trial, 1)
    trial.save_best(tmp_path / "best")
    images = sorted(path for path in (synthetic_derm7pt / "images").rglob("*") if path.is_file())[:3]
    found = gated.predictor(tmp_path / "best").predict(images)
    assert [one["image"] for one in found] == [str(image) for image in images]
    for one in found:
        assert set(one["labels"]) == set(one["probabilities"]) == {"DIAG", "PN", "BWV", "VS", "PIG", "STR", "DaG", "RS"}
        for task, classes in one["probabilities"].items():
            assert sum(classes.values()) == pytest.approx(1)
            assert one["labels"][task] == max(classes, key=classes.__getitem__)
        assert 0 <= one["seven_point_score"] <= 10
    alone = gated.predictor(tmp_path / "best").predict(images[:1])[0]
    assert alone["probabilities"]["DIAG"] == pytest.approx(found[0]["probabilities"]["DIAG"], abs=1e-6)


def test_images_too_small_for_the_network_are_refused_before_data_are_read() -> None:
    request = request_of("derm7pt:/no such folder")
    request = replace(request, config={**request.config, "size_px": 90})
    for refuse in (lambda: gated.build(request), lambda: gated.prepare(request.config, request.source)):
        with pytest.raises(ValueError, match="size_px must be 91 or more for the gated network; got 90"):
            refuse()


def test_a_gated_trial_needs_data() -> None:
    with pytest.raises(ValueError, match=r"a task that is trained must have data; got none \(--data FORMAT:PATH\)"):
        gated.build(request_of(None))


SCRIPT = """
import sys
from trainables.gated import task as gated
from trainables.contract import TrialRequest
import json
from pathlib import Path

trial = gated.build(TrialRequest.from_json(json.loads(sys.argv[1])))
for _ in range(3):
    trial.step()
trial.save(Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_write_the_same_bytes(source: str, tmp_path: Path) -> None:
    request = json.dumps(request_of(source).to_json())
    for name in ("one", "other"):
        subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT, request, str(tmp_path / name)], check=True, timeout=250)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "other")
    here = gated.build(TrialRequest.from_json(json.loads(request)))
    run(here, 3)
    here.save(tmp_path / "here")
    assert files_of(tmp_path / "here") == files_of(tmp_path / "one")


def test_the_gates_l1_term_adds_its_own_gradient_and_nothing_else(source: str) -> None:
    """d(λ Σ sigmoid(γ raw)) / d raw = λ γ α (1 - α), on the gates and nowhere else."""
    slope, l1 = 2.0, 0.05
    gradients = []
    for weight in (0.0, l1):
        learner = gated.build(request_of(source, gamma_g=slope, gates_l1=weight, precision="float64")).learner
        with torch.no_grad():
            for raw in learner.model.gate_parameters():
                raw.copy_(torch.randn(raw.shape, generator=torch.Generator().manual_seed(4)))
        learner.loss(learner.draw_batch()).backward()
        gradients.append({name: parameter.grad for name, parameter in learner.model.named_parameters()})
    without, penalised = gradients
    gates = [name for name in without if name.endswith("gates.raw")]
    assert len(gates) == 4
    for name, gradient in without.items():
        added = penalised[name] - gradient
        if name not in gates:
            torch.testing.assert_close(added, torch.zeros_like(added), rtol=0, atol=1e-12)
            continue
        alpha = 1 / (1 + torch.exp(-slope * dict(learner.model.named_parameters())[name].detach()))
        torch.testing.assert_close(added, l1 * slope * alpha * (1 - alpha), rtol=1e-8, atol=1e-12)


def test_the_gates_l1_term_closes_gates(source: str) -> None:
    shares = {}
    for l1 in (0.0, 0.1):
        trial = gated.build(request_of(source, gates_l1=l1))
        shares[l1] = run(trial, 5)[-1].metrics["model/gate_sharing"]
    assert shares[0.1] < shares[0.0] - 0.15


def test_gate_metrics_are_those_of_the_gates_by_a_plain_loop(source: str) -> None:
    network = gated.build(request_of(source, gamma_g=2.0)).learner.model
    with torch.no_grad():
        for raw in network.gate_parameters():
            raw.copy_(torch.randn(raw.shape, generator=torch.Generator().manual_seed(4)))
    values = []
    for block in network.blocks:
        gates = block.gates().detach()
        tasks = range(len(gates))
        values += [float(gate) for taker in tasks for giver in tasks if taker != giver for gate in gates[taker, giver]]
    found = gate_metrics(network)
    assert found["model/gate_sharing"] == pytest.approx(np.mean(values), abs=1e-6)
    assert found["model/gate_decisiveness"] == pytest.approx(np.mean([abs(2 * value - 1) for value in values]), abs=1e-6)


@pytest.mark.parametrize("gates", ["off", "open"])
def test_gates_begin_half_open_and_are_not_measured_where_they_are_not_learnt(gates: str, source: str) -> None:
    fresh = gated.build(request_of(source)).learner.model
    assert gate_metrics(fresh) == {"model/gate_decisiveness": 0.0, "model/gate_sharing": 0.5}
    fixed = gated.build(request_of(source, gates=gates))
    assert gate_metrics(fixed.learner.model) == {}
    assert not fixed.learner.shown()
    assert not [name for name in gated.prepare(fixed.request.config, source).metrics if "gate" in name]
