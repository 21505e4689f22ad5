"""From options to a plan: defaults, presets, metrics, what fits the machine, and every way to ask for nonsense."""

from dataclasses import replace
from pathlib import Path

import pytest

from search.errors import PlanError
from search.execution.choices import parse_fusing, parse_gpus
from search.execution.objectives import parse_metric
from search.execution.planning import prepare_search, with_resources
from search.execution.replanning import repeated
from search.execution.resources import NodeGroup, local_nodes, max_concurrent
from search.records.folder import storage_folder
from search.records.plan import Plan
from search.records.spec import SearchSpec
from search.strategy.distributions import distribution_of
from spaces.attentive import AttentiveSpace
from spaces.fields import Value, fields_of
from trainables.contract import Objective
from trainables.data import DATASETS
from trainables.errors import DataError

BOWL_FIXED = {"noise": 0.0, "fault": "none", "num_metrics": 1, "idle_epochs": 0, "seconds_per_epoch": 0.0}
REPORTED = ("train/loss", "valid/loss", "valid/auroc_mean", "valid/PN/recall", "valid/calibration_error_mean", "valid/height")
DEFAULT = Objective("valid/auroc_mean", "max")


def test_the_bowl_is_planned_with_its_defaults() -> None:
    preparation = prepare_search(SearchSpec("bowl"))
    plan = preparation.plan
    assert (plan.task, plan.source, plan.preset) == ("bowl", None, "demo")
    assert plan.fixed == BOWL_FIXED
    assert plan.objective == Objective("valid/height", "min")
    assert (plan.num_trials, plan.max_epochs) == (20, 20)
    assert (plan.sampler, plan.scheduler, plan.grace_period, plan.reduction) == ("tpe", "asha", 6, 3)
    assert (plan.cpus_per_trial, plan.seed, plan.keep_checkpoints) == (1.0, 0, 5)
    assert (plan.time_budget_s, plan.epoch_budget) == (None, None)
    assert plan.name.startswith("bowl-20")
    assert (plan.data_fingerprint, preparation.prepared.fingerprint) == ("", "")
    assert preparation.prepared.metrics == ("valid/height",)
    assert plan.code_version
    assert Plan.from_json(plan.to_json()) == plan


def test_what_is_asked_for_stands_in_the_plan() -> None:
    options = SearchSpec(
        task="bowl",
        preset="paper",
        name="mine",
        settings={"x": "0.25", "shape": "tilted", "noise": "0.1"},
        num_trials=7,
        max_epochs=30,
        time_budget_s=60.0,
        epoch_budget=90,
        sampler="random",
        scheduler="none",
        grace_period=2,
        reduction=4,
        max_concurrent=1,
        keep_checkpoints=3,
        seed=11,
    )
    plan = prepare_search(options).plan
    assert plan.fixed == {**BOWL_FIXED, "x": 0.25, "shape": "tilted", "noise": 0.1}
    assert (plan.name, plan.preset, plan.num_trials, plan.max_epochs) == ("mine", "paper", 7, 30)
    assert (plan.sampler, plan.scheduler, plan.grace_period, plan.reduction) == ("random", "none", 2, 4)
    assert (plan.time_budget_s, plan.epoch_budget, plan.max_concurrent) == (60.0, 90, 1)
    assert (plan.keep_checkpoints, plan.seed) == (3, 11)


def test_the_paper_preset_of_the_bowl_is_larger() -> None:
    plan = prepare_search(SearchSpec("bowl", preset="paper")).plan
    assert (plan.num_trials, plan.max_epochs, plan.grace_period) == (100, 81, 20)


def test_no_more_trials_at_once_than_trials() -> None:
    assert prepare_search(SearchSpec("bowl", num_trials=1)).plan.max_concurrent == 1


def test_data_bring_the_paper_preset_and_a_fingerprint(synthetic_derm7pt: Path) -> None:
    options = SearchSpec("gated", data=f"derm7pt:{synthetic_derm7pt}", settings={"size_px": "96"})
    preparation = prepare_search(options)
    plan = preparation.plan
    assert (plan.preset, plan.num_trials, plan.max_epochs, plan.grace_period) == ("paper", 60, 200, 20)
    assert plan.source == f"derm7pt:{synthetic_derm7pt}"
    assert plan.objective == DEFAULT
    assert (plan.fixed["size_px"], plan.fixed["patience"], plan.fixed["binary"]) == (96, 50, False)
    assert "gamma_g" not in plan.fixed
    assert plan.fixed["gates"] == "learned", "who searches gates wants to see them"
    compared = prepare_search(replace(options, space={"gates": "learned|open|off"})).plan
    assert "gates" in {field.name for field in compared.searched}
    assert len(plan.data_fingerprint) == 16
    assert {"train/loss", "valid/loss", "valid/auroc_mean", "valid/melanoma/auroc"} <= set(preparation.prepared.metrics)
    assert preparation.prepared.num_train + preparation.prepared.num_valid in range(35, 38)
    binary = prepare_search(replace(options, settings={"size_px": "96", "binary": "true"})).plan
    assert binary.data_fingerprint == plan.data_fingerprint  # the data are the same


def test_progress_is_told_while_images_are_decoded(
    synthetic_derm7pt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMTUNE_CACHE", str(tmp_path))
    calls: list[tuple[int, int]] = []
    options = SearchSpec("gated", data=f"derm7pt:{synthetic_derm7pt}", preset="demo", settings={"size_px": "97"})
    plan = prepare_search(options, progress=lambda done, every: calls.append((done, every))).plan
    assert calls == [(done, 60) for done in range(1, 61)]
    assert (plan.preset, plan.fixed["patience"], plan.num_trials) == ("demo", 12, 12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valid/auroc_mean", Objective("valid/auroc_mean", "max")),
        ("valid/PN/recall", Objective("valid/PN/recall", "max")),
        ("valid/PN/recall:min", Objective("valid/PN/recall", "min")),
        ("valid/loss", Objective("valid/loss", "min")),
        ("valid/loss:max", Objective("valid/loss", "max")),
        ("valid/calibration_error_mean", Objective("valid/calibration_error_mean", "min")),
        ("valid/height", Objective("valid/height", "min")),
    ],
)
def test_losses_and_errors_are_minimised_unless_told_otherwise(text: str, expected: Objective) -> None:
    assert parse_metric(text, REPORTED) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("valid/auroc", r"\(did you mean 'valid/auroc_mean'\?\)"),
        ("valid/PN/recal:max", r"\(did you mean 'valid/PN/recall'\?\)"),
        ("valid/loss:up", r"\(did you mean 'valid/loss'\?\)"),
        ("qqq", r"\(one of train/loss, .*\)"),
        ("", r"\(one of train/loss, .*\)"),
    ],
)
def test_a_metric_that_no_trial_reports_is_refused_with_a_suggestion(text: str, hint: str) -> None:
    message = rf"^--metric must be NAME\[:min\|max\] of a metric that trials report; got '{text}' {hint}$"
    with pytest.raises(PlanError, match=message):
        parse_metric(text, REPORTED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "gatd"}, r"^TASK must be one of gated, attentive; got 'gatd' \(did you mean 'gated'\?\)$"),
        ({"preset": "papre"}, r"^--preset must be one of demo, paper; got 'papre' \(did you mean 'paper'\?\)$"),
        ({"sampler": "tpee"}, r"^--sampler must be one of tpe, .*; got 'tpee' \(did you mean 'tpe'\?\)$"),
        ({"scheduler": "ashaa"}, r"^--scheduler must be one of asha, asha-promote, .*; got 'ashaa' \(did you mean 'asha'\?\)$"),
        ({"metric": ["valid/hight"]}, r"got 'valid/hight' \(did you mean 'valid/height'\?\)$"),
        ({"gpus_per_trial": "many"}, r"^--gpus-per-trial must be auto, a share of a GPU or a whole number; got 'many'$"),
        ({"cpus_per_trial": 1e6}, r"^a trial must fit the machine \(.*\); got 1e\+06 CPU and .* GPU a trial \(--cpus-per-trial"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(changes: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        prepare_search(replace(SearchSpec("bowl"), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tild": "0.5"}, r"^a field must be one that `dermtune space` lists; got 'tild' \(did you mean 'tilt'\?\)$"),
        ({"x": "3"}, r"^x must be a number in -1\.\.1; got 3\.0 \(--set x=\)$"),
        ({"x": "left"}, r"^x must be a number in -1\.\.1; got 'left' \(--set x=\)$"),
        ({"shape": "square"}, r"^shape must be one of round\|tilted; got 'square' \(--set shape=\)$"),
        ({"tilt": "0.5"}, r"^tilt must be left out unless shape=tilted; got 0\.5 \(--set tilt=\)$"),
        ({"shape": "round", "tilt": "0.5"}, r"^tilt must be left out unless shape=tilted; got 0\.5"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_search(SearchSpec("bowl", settings=settings))


@pytest.mark.parametrize(("grace_period", "reduction"), [(-1, 3), (2, 1)])
def test_rungs_out_of_range_are_refused(grace_period: int, reduction: int) -> None:
    with pytest.raises(ValueError, match=r"^--grace-period must be 1 or more and --reduction 2 or more; got "):
        prepare_search(SearchSpec("bowl", grace_period=grace_period, reduction=reduction))


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        ("bowl", "derm7pt:.", r"^--data must have a format that fits the task \(none: it needs no data\); got 'derm7pt'$"),
        ("gated", "nowhere", r"^--data must be FORMAT:PATH with a format of derm7pt, table.*; got 'nowhere'$"),
        ("gated", "zip:a.zip", r"^--data must be FORMAT:PATH with a format of derm7pt, table.*; got 'zip:a\.zip'$"),
        ("gated", "derm7pt:/no/such", r"^--data must name a folder with meta/meta\.csv .*; got /no/such, which does not exist$"),
    ],
)
def test_data_that_do_not_fit_are_refused(task: str, data: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare_search(SearchSpec(task, data=data))


@pytest.mark.parametrize(
    ("cpus", "gpus", "cpus_per_trial", "gpus_per_trial", "limit", "expected"),
    [
        (8, 0, 1, 0, None, 8),
        (8, 0, 3, 0, None, 2),
        (2, 0, 0.5, 0, None, 4),
        (3, 0, 0.3, 0, None, 10),
        (0.9, 0, 0.1, 0, None, 9),
        (16, 1, 1, 0.25, None, 4),
        (16, 1, 1, 0.1, None, 10),
        (16, 1, 1, 0.3, None, 3),
        (16, 2, 1, 0.4, None, 4),
        (16, 8, 1, 1, None, 8),
        (16, 8, 1, 2, None, 4),
        (16, 8, 1, 3, None, 2),
        (4, 8, 1, 0.5, None, 4),
        (16, 1, 0, 0.25, None, 4),
        (16, 1, 1, 0.25, 3, 3),
        (2, 0, 1, 0, 100, 2),
        (1, 0, 1, 0, None, 1),
    ],
)
def test_trials_at_once_by_hand(
    cpus: float, gpus: float, cpus_per_trial: float, gpus_per_trial: float, limit: int | None, expected: int
) -> None:
    assert max_concurrent([NodeGroup({"CPU": cpus, "GPU": gpus})], cpus_per_trial, gpus_per_trial, limit) == expected


@pytest.mark.parametrize(
    ("resources", "cpus_per_trial", "gpus_per_trial", "message"),
    [
        ({"CPU": 2.0, "GPU": 0.0}, 3, 0, r"^a trial must fit the machine \(2 CPU, 0 GPU\); got 3 CPU and 0 GPU a trial"),
        ({"CPU": 2.0, "GPU": 0.0}, 1, 0.25, r"^a trial must fit the machine \(2 CPU, 0 GPU\); got 1 CPU and 0\.25 GPU a trial"),
        ({"CPU": 2.0, "GPU": 1.0}, 1, 2, r"^a trial must fit the machine \(2 CPU, 1 GPU\); got 1 CPU and 2 GPU a trial"),
        ({"CPU": 2.0}, 1, 1, r"^a trial must fit the machine \(2 CPU, 0 GPU\); got 1 CPU and 1 GPU a trial"),
    ],
)
def test_a_trial_that_does_not_fit_is_refused(
    resources: dict[str, float], cpus_per_trial: float, gpus_per_trial: float, message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        max_concurrent([NodeGroup(resources)], cpus_per_trial, gpus_per_trial)


def test_a_trial_lies_on_one_node() -> None:
    spot, small = NodeGroup({"CPU": 4.0, "GPU": 1.0}, 3), NodeGroup({"CPU": 2.0})
    assert max_concurrent([spot, small], 1, 0) == 14
    assert max_concurrent([spot, small], 1, 0.25) == 12
    assert max_concurrent([spot, small], 3, 0) == 3
    with pytest.raises(PlanError, match=r"^a trial must fit one node of the cluster \(2 CPU, 0 GPU or 4 CPU, 1 GPU\); got 5 CPU"):
        max_concurrent([spot, small], 5, 0)
    with pytest.raises(PlanError, match=r"^a trial must fit one node of the cluster \(no node\); got 1 CPU"):
        max_concurrent([], 1, 0)


def test_this_machine_has_a_processor() -> None:
    assert local_nodes()[0].resources["CPU"] >= 1


def test_hidden_gpus_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local_nodes()[0].resources["GPU"] == 0.0


def _bowl_plan(**changes: object) -> Plan:
    plan = Plan("n", "bowl", None, "demo", BOWL_FIXED, Objective("valid/height", "min"), num_trials=20, max_epochs=20)
    return replace(plan, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("resources", "changes", "expected"),
    [
        ({"CPU": 8.0}, {}, (0.0, 8)),
        ({"CPU": 8.0, "GPU": 0.0}, {}, (0.0, 8)),
        ({"CPU": 8.0, "GPU": 1.0}, {}, (None, 8)),
        ({"CPU": 64.0, "GPU": 1.0}, {}, (None, 16)),
        ({"CPU": 8.0, "GPU": 1.0}, {"gpus_per_trial": 0.0}, (0.0, 8)),
        ({"CPU": 8.0, "GPU": 2.0}, {"gpus_per_trial": 1.0}, (1.0, 2)),
        ({"CPU": 64.0}, {}, (0.0, 20)),
        ({"CPU": 64.0}, {"max_concurrent": 6}, (0.0, 6)),
        ({"CPU": 4.0}, {"max_concurrent": 6}, (0.0, 4)),
    ],
)
def test_a_plan_takes_what_the_cluster_has(
    resources: dict[str, float], changes: dict[str, object], expected: tuple[float | None, int]
) -> None:
    plan = with_resources(_bowl_plan(**changes), [NodeGroup(resources)])
    assert (plan.gpus_per_trial, plan.max_concurrent) == expected


def test_a_clusters_resources_are_left_open_until_it_is_joined() -> None:
    plan = prepare_search(SearchSpec("bowl"), address="ray://elsewhere:10001").plan
    assert (plan.gpus_per_trial, plan.max_concurrent) == (None, None)


@pytest.mark.parametrize(("text", "expected"), [("auto", None), ("0", 0.0), ("0.25", 0.25), ("1", 1.0), ("2", 2.0), ("4.0", 4.0)])
def test_gpus_are_a_share_or_a_whole_number(text: str, expected: float | None) -> None:
    assert parse_gpus(text) == expected


@pytest.mark.parametrize("text", ["-1", "1.5", "half", "", "nan", "inf", "-inf"])
def test_other_gpus_are_refused(text: str) -> None:
    with pytest.raises(PlanError, match=rf"^--gpus-per-trial must be auto, a share of a GPU or a whole number; got '{text}'$"):
        parse_gpus(text)


def test_the_storage_must_be_a_folder(tmp_path: Path) -> None:
    assert storage_folder(str(tmp_path / "new")) == tmp_path / "new"
    (file := tmp_path / "file").write_text("")
    with pytest.raises(PlanError, match=r"^--storage must be a folder; got .*file, which is a file$"):
        storage_folder(str(file))


def test_a_loss_whose_weights_are_searched_is_no_objective(synthetic_derm7pt: Path) -> None:
    options = SearchSpec("gated", data=f"derm7pt:{synthetic_derm7pt}", metric=["valid/loss"], settings={"size_px": "96"})
    with pytest.raises(
        PlanError, match=r"^--metric must not move .* got valid/loss .*: --set focal_beta=2 --set primary_task_weight=1\)$"
    ):
        prepare_search(options)
    fixed = {"size_px": "96", "focal_beta": "2", "primary_task_weight": "1"}
    assert prepare_search(replace(options, settings=fixed)).plan.objective == Objective("valid/loss", "min")
    with pytest.raises(
        PlanError, match=r"got train/loss .*\(fix it, for example: --set label_weights=batch --set sampling=balanced\)$"
    ):
        prepare_search(replace(options, settings=fixed, metric=["train/loss"]))


def test_how_decided_gates_are_is_no_objective_while_their_slope_is_searched(synthetic_derm7pt: Path) -> None:
    """A steep sigmoid is decided whatever it was taught."""
    metric, sized = "model/gate_decisiveness", {"size_px": "96"}
    options = SearchSpec("gated", data=f"derm7pt:{synthetic_derm7pt}", metric=[metric], settings=sized)
    with pytest.raises(PlanError, match=r"got model/gate_decisiveness while it does \(fix it, for example: --set gamma_g=3\)$"):
        prepare_search(options)
    assert prepare_search(replace(options, settings={**sized, "gamma_g": "3"})).plan.objective == Objective(metric, "max")
    searched = replace(options, settings={**sized, "gamma_g": "3"}, space={"gate_learning_rate": "log:0.01..0.5"})
    with pytest.raises(PlanError, match=r"\(fix it, for example: --set gate_learning_rate=0.1\)$"):
        prepare_search(searched)


def test_trials_as_one_program_are_a_number_or_measured_where_a_task_has_them() -> None:
    assert [parse_fusing(text, "gated") for text in ("off", "1", "8", "auto")] == [1, 1, 8, None]
    assert [parse_fusing(text, "attentive") for text in ("off", "auto")] == [1, 1]
    for text in ("0", "-2", "2.5", "257", "many", ""):
        with pytest.raises(PlanError, match=r"^--fuse-trials must be auto, off or 1 to 256; got"):
            parse_fusing(text, "gated")
    with pytest.raises(PlanError, match="must be off or auto for attentive, one trial of which fills a device"):
        parse_fusing("2", "attentive")


def test_trials_as_one_program_have_a_gpu_and_are_said_to_need_one_shape() -> None:
    plan = prepare_search(SearchSpec("bowl", fuse_trials="8")).plan
    assert plan.fuse_trials == 8
    assert plan.search_notes[-1].startswith("trials train as one program where they agree in shape: fix some of these")
    gpu = [NodeGroup({"CPU": 4.0, "GPU": 1.0})]
    assert with_resources(replace(plan, gpus_per_trial=None), gpu).gpus_per_trial == 1.0
    assert with_resources(replace(plan, gpus_per_trial=None, fuse_trials=1), gpu).gpus_per_trial is None
    fixed = prepare_search(SearchSpec("bowl", fuse_trials="auto", settings={"shape": "round"})).plan
    assert (fixed.fuse_trials, fixed.all_notes) == (None, ())


def test_a_search_does_not_try_one_network_under_two_names() -> None:
    """Fresh norms whose statistics are frozen are no norms at all (`Field.without`); who wants them all the same sets them."""

    def choices(**settings: Value) -> tuple[Value, ...]:
        unsearched = {name: field.default for name, field in fields_of(AttentiveSpace).items() if not field.searched}
        plan = Plan("mine", "attentive", None, "demo", {**unsearched, **settings}, DEFAULT, num_trials=3, max_epochs=2)
        (field,) = [field for field in plan.searched if field.name == "batch_norm"]
        assert distribution_of(field) == distribution_of(plan.fields["batch_norm"])
        assert field.default == "frozen"
        return field.choices

    assert choices(encoder_weights="none") == ("trained", "frozen", "none")
    assert choices(encoder_weights="imagenet") == ("trained", "frozen", "frozen_statistics", "none")


def test_a_range_of_names_for_one_network_is_refused(tmp_path: Path) -> None:
    DATASETS["isic2017"].synthesise(tmp_path / "isic", 40, 48, 11)
    settings = {"size_px": "32", "crop_from_px": "36", "width": "0.125", "encoder_weights": "none"}
    options = SearchSpec("attentive", data=f"isic2017:{tmp_path / 'isic'}", settings=settings)
    with pytest.raises(
        ValueError, match="--space batch_norm= must leave two values or more that differ beside encoder_weights=none"
    ):
        prepare_search(replace(options, space={"batch_norm": "frozen_statistics|none"}))
    plan = prepare_search(replace(options, settings={**settings, "batch_norm": "frozen_statistics"})).plan
    assert plan.fixed["batch_norm"] == "frozen_statistics"


def attentive_options(tmp_path: Path, **settings: str) -> SearchSpec:
    DATASETS["isic2017"].synthesise(tmp_path / "isic", 40, 48, 11)
    return SearchSpec(
        "attentive", data=f"isic2017:{tmp_path / 'isic'}", settings={"width": "0.125", "encoder_weights": "none", **settings}
    )


def test_one_of_the_sides_follows_the_other_unless_both_are_set(tmp_path: Path) -> None:
    """With size_px=64 alone the network had seen the central sixteenth of its images."""
    options = attentive_options(tmp_path)

    def sides(preset: str = "paper", **settings: str) -> tuple[Value, Value, tuple[str, ...]]:
        plan = prepare_search(replace(options, preset=preset, settings={**options.settings, **settings})).plan
        return (
            plan.fixed["size_px"],
            plan.fixed["crop_from_px"],
            tuple(note.partition(" (--set")[0] for note in plan.notes if "% of an image" in note),
        )

    assert sides(size_px="64") == (64, 73, ())
    assert sides(crop_from_px="50") == (40, 50, ("the network sees 64 % of an image, the middle 40 of 50 px a side",))
    assert sides("demo") == (64, 72, ())
    assert sides("demo", size_px="32") == (32, 37, ()), "a preset's value is nobody's wish"
    note = "the network sees 25 % of an image, the middle 32 of 64 px a side"
    assert sides(size_px="32", crop_from_px="64") == (32, 64, (note,))
    wide = sides(size_px="56", crop_from_px="64", resize="keep_aspect")
    assert wide[2] == (), "the synthetic images are square"


def test_a_range_of_a_side_needs_the_other_set(tmp_path: Path) -> None:
    options = replace(attentive_options(tmp_path), space={"size_px": "32|64"})
    with pytest.raises(PlanError, match=r"^--space size_px= must stand beside --set crop_from_px=, which follows a value"):
        prepare_search(options)
    settings = {**options.settings, "crop_from_px": "73"}
    assert prepare_search(replace(options, settings=settings)).plan.fixed["crop_from_px"] == 73


def test_a_repeated_plan_keeps_a_side_that_was_set_to_its_default(tmp_path: Path) -> None:
    plan = prepare_search(attentive_options(tmp_path, size_px="224", crop_from_px="300")).plan
    (tmp_path / "plan.json").write_text(plan.dumps())
    settings = repeated(tmp_path / "plan.json", {}).settings
    assert (settings["size_px"], settings["crop_from_px"]) == ("224", "300")


def test_what_gates_contribute_is_an_objective_while_they_are_learnt(synthetic_derm7pt: Path) -> None:
    metric = "valid/gates/contribution"
    options = SearchSpec("gated", data=f"derm7pt:{synthetic_derm7pt}", metric=[metric], settings={"size_px": "96"})
    assert prepare_search(options).plan.objective == Objective(metric, "max")
    with pytest.raises(PlanError, match=rf"got {metric} while it does \(fix it, for example: --set gates=learned\)$"):
        prepare_search(replace(options, space={"gates": "learned|open"}))
    with pytest.raises(PlanError, match=r"^--metric must be NAME\[:min\|max\] of a metric that trials report"):
        prepare_search(replace(options, settings={"size_px": "96", "gates": "open"}))


def test_ranges_follow_the_number_of_training_cases_and_stand_in_the_plan(synthetic_derm7pt: Path, tmp_path: Path) -> None:
    options = SearchSpec("gated", data=f"derm7pt:{synthetic_derm7pt}", settings={"size_px": "96"})
    preparation = prepare_search(options)
    plan, num_train = preparation.plan, preparation.prepared.num_train
    most = max(num_train // 4, 9)
    assert plan.case_limits["batch_size"] == f"int:log:8..{most}"
    assert plan.fields["batch_size"].high == most
    note = (
        f"batch_size is searched up to {most}, not 512, with {num_train} training cases (--space batch_size= for another range)"
    )
    assert note in plan.search_notes
    assert Plan.from_json(plan.to_json()) == plan
    (tmp_path / "plan.json").write_text(plan.dumps())
    again = repeated(tmp_path / "plan.json", {})
    assert again.space == {}, "what follows from the data is worked out anew for other data"
    assert prepare_search(again).plan.case_limits == plan.case_limits


def test_a_plan_of_before_ranges_followed_the_data_keeps_its_own() -> None:
    plan = prepare_search(SearchSpec("bowl")).plan
    document = {name: value for name, value in plan.to_json().items() if name != "case_limits"}
    assert Plan.from_json(document).case_limits == {}


def test_a_range_or_a_value_of_the_users_is_not_narrowed(synthetic_derm7pt: Path) -> None:
    options = SearchSpec("gated", data=f"derm7pt:{synthetic_derm7pt}", settings={"size_px": "96"})
    ranged = prepare_search(replace(options, space={"batch_size": "int:log:16..256", "k": "int:2..12"})).plan
    assert ranged.case_limits == {}
    assert (ranged.fields["batch_size"].low, ranged.fields["batch_size"].high) == (16, 256)
    fixed = prepare_search(replace(options, settings={"size_px": "96", "sampling": "uniform", "batch_size": "300"})).plan
    assert "batch_size" not in fixed.case_limits
    assert fixed.fixed["batch_size"] == 300
