"""What is planned when a paper's experiments are asked for."""

from pathlib import Path

import pytest

from search.errors import PlanError
from search.execution.reproduction_plan import prepare_reproduction
from search.records.spec import SearchSpec
from spaces import attentive, gated
from spaces.attentive import BALANCINGS, SKIPS_AND_NORMS, grid_name
from trainables.data import DATASETS
from trainables.errors import DataError

SMALL = {
    "gated": {"size_px": "96", "batches_per_epoch": "1", "k": "2"},
    "attentive": {"size_px": "32", "crop_from_px": "36", "width": "0.125", "encoder_weights": "none", "timesteps": "3"},
}


@pytest.fixture(scope="session")
def isic(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("reproducing") / "isic"
    synthesise = DATASETS["isic2017"].synthesise
    assert synthesise is not None
    synthesise(folder, 40, 32, 0)
    return f"isic2017:{folder}"


@pytest.fixture
def derm(synthetic_derm7pt: Path) -> str:
    return f"derm7pt:{synthetic_derm7pt}"


def test_the_gated_experiments_differ_in_what_the_paper_says_and_in_nothing_else(derm: str) -> None:
    plan = prepare_reproduction(SearchSpec("gated", data=derm, settings=SMALL["gated"]), 2)
    assert plan.reproduction is not None
    configs = {experiment.name: experiment.config for experiment in plan.reproduction.experiments}
    standard = configs["standard"]
    differ = {
        name: {field: value for field, value in config.items() if value != standard[field]} for name, config in configs.items()
    }
    assert differ == {
        "standard": {},
        "half": {"width": 0.5},
        "double": {"width": 2.0},
        "gates-off": {"gates": "off", "gamma_g": None, "gate_learning_rate": None, "gates_l1": None, "width": 2.0},
        "binary": {"binary": True},
    }
    assert (standard["selection"], standard["patience"], standard["gamma_g"], standard["l2"]) == ("loss", 50, 3.0, 1e-4)
    assert (plan.num_trials, plan.keep_checkpoints, plan.scheduler) == (10, 10, "none")
    assert {field.name for field in plan.searched} == {"gates", "width", "binary"}
    assert plan.name.startswith("gated-paper-")


def test_the_demos_impatience_gives_way_to_the_papers_rule(derm: str) -> None:
    plan = prepare_reproduction(SearchSpec("gated", data=derm, preset="demo"))
    assert plan.reproduction is not None
    assert plan.reproduction.experiments[0].config["patience"] == 50
    assert plan.max_epochs == gated.PRESETS["demo"].reproduced_epochs > 50


def test_the_attentive_experiments_are_the_variants_and_setups_by_balancings(isic: str) -> None:
    plan = prepare_reproduction(SearchSpec("attentive", data=isic, settings=SMALL["attentive"]), 1)
    assert plan.reproduction is not None
    names = [experiment.name for experiment in plan.reproduction.experiments]
    assert names[:7] == list(attentive.VARIANTS)
    cells = [grid_name(setup, balancing) for setup in SKIPS_AND_NORMS for balancing in BALANCINGS]
    assert len(cells) == len(set(cells)) == 12
    # Two cells of the grid are variants: they are trained once.
    assert set(names) == {*attentive.VARIANTS, *cells}
    assert len(names) == 17
    assert grid_name("skip + frozen batch norm", "mini-batch") == "VGG_AttentiveConvLSTM_Deco_GAP_3"
    assert grid_name("no skip + batch norm", "w′") == "VGG_AttentiveConvLSTM_Deco_GAP_5"
    configs = [tuple(sorted((k, str(v)) for k, v in experiment.config.items())) for experiment in plan.reproduction.experiments]
    assert len(set(configs)) == 17, "no two are the same"
    assert all(experiment.config["selection"] == "loss" for experiment in plan.reproduction.experiments)


def test_some_experiments_only(derm: str) -> None:
    plan = prepare_reproduction(SearchSpec("gated", data=derm, name="few"), 3, ["binary", "half", "binary"])
    assert plan.reproduction is not None
    assert [experiment.name for experiment in plan.reproduction.experiments] == ["binary", "half"]
    assert (plan.name, plan.num_trials) == ("few", 6)


def test_what_tells_experiments_apart_and_the_papers_rules_may_not_be_set(derm: str) -> None:
    with pytest.raises(PlanError, match=r"^--set must leave alone what tells the experiments apart, .*; got patience, width$"):
        prepare_reproduction(SearchSpec("gated", data=derm, settings={"width": "1", "l2": "0.1", "patience": "7"}))


def test_unknown_experiments_and_tasks_without_a_paper_are_refused(derm: str) -> None:
    with pytest.raises(PlanError, match=r"^--only must be one of standard, .*; got 'halve' \(did you mean 'half'\?\)$"):
        prepare_reproduction(SearchSpec("gated", data=derm), only=["halve"])
    with pytest.raises(PlanError, match=r"^TASK must be one of gated, attentive; got 'bowl'$"):
        prepare_reproduction(SearchSpec("bowl"))


def test_data_that_one_of_the_experiments_cannot_use_are_refused_before_any_is_trained(tmp_path: Path, derm: str) -> None:
    rows = ["image,diagnosis,shape,split"]
    images = sorted((Path(derm.removeprefix("derm7pt:")) / "images").rglob("*.[jJ][pP][gG]"))[:24]
    for number, image in enumerate(images):
        split = "valid" if number % 3 == 0 else "train"
        rows.append(f"{image.name},{('nevus', 'wart')[number % 2]},{('round', 'long')[number // 2 % 2]},{split}")
        (tmp_path / image.name).symlink_to(image)
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(DataError, match=r"binary must have a melanoma class in diagnosis"):
        prepare_reproduction(SearchSpec("gated", data=f"table:{tmp_path / 'cases.csv'}"))
