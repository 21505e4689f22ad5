"""What Ray, Optuna and MLflow do not promise to keep: where it is taken, and that it is there and does what is needed."""

import ast
import base64
import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pandas as pd
import pytest
import ray
from mlflow.models import Model
from optuna.trial import TrialState, create_trial
from ray.job_submission import JobSubmissionClient

from search.execution import ray_internals
from search.records.tracking.mlflow_internals import save_example
from search.strategy.optuna_internals import StudyView, numbered

ROOT = Path(__file__).parents[2]
FOREIGN = ("ray", "optuna", "mlflow", "torch", "torchvision", "sklearn")


@pytest.mark.parametrize("floor", ["search", "trainables", "models", "spaces"])
def test_names_with_an_underscore_are_imported_of_others_in_one_file_for_each(floor: str) -> None:
    """ruff (SLF001) sees attributes; this sees imports."""
    found = []
    for file in (ROOT / floor).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in FOREIGN:
                parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Import):
                parts = [part for alias in node.names if alias.name.split(".")[0] in FOREIGN for part in alias.name.split(".")]
            else:
                continue
            if any(part.startswith("_") for part in parts):
                found.append(file.name)
    assert {name for name in found if not name.endswith("_internals.py")} == set()


def test_ray_tells_the_groups_of_an_autoscaling_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    state = ray._private.state.state
    assert callable(state.get_cluster_config)
    monkeypatch.setattr(state, "get_cluster_config", lambda: None)
    assert ray_internals.autoscaled_groups() == []
    groups = [SimpleNamespace(resources={"CPU": 8, "GPU": 1}, max_count=4), SimpleNamespace(resources={"CPU": 2}, max_count=0)]
    monkeypatch.setattr(state, "get_cluster_config", lambda: SimpleNamespace(node_group_configs=groups))
    assert ray_internals.autoscaled_groups() == [({"CPU": 8, "GPU": 1}, 4)]


def test_rays_client_asks_the_dashboard_by_method_and_path() -> None:
    signature = inspect.signature(JobSubmissionClient._do_request)
    assert list(signature.parameters)[:3] == ["self", "method", "endpoint"]
    asked: list[Any] = []
    client = SimpleNamespace(_do_request=lambda *of: (asked.append(of), SimpleNamespace(json=lambda: {"data": 1}))[1])
    assert ray_internals.dashboard_answer(client, "/nodes?view=summary") == {"data": 1}  # type: ignore[arg-type]
    assert asked == [("GET", "/nodes?view=summary")]


def test_optunas_trial_takes_the_number_and_id_of_another() -> None:
    study = optuna.create_study()
    study.ask()
    study.ask()
    trial = study.get_trials()[1]
    shown = numbered(create_trial(state=TrialState.COMPLETE, value=0.5), trial)
    assert (shown.number, shown._trial_id) == (1, trial._trial_id)
    study.add_trial(shown)
    assert study.best_value == 0.5


def test_optunas_study_shows_other_trials_and_stores_what_a_sampler_stores() -> None:
    axis = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
    study = optuna.create_study()
    assert {"_get_trials", "get_trials"} <= set(dir(optuna.Study)), "samplers ask either"
    for x in (0.1, 0.2, 0.3):
        study.add_trial(create_trial(params={"x": x}, distributions=axis, value=x))
    shown = [create_trial(params={"x": x}, distributions=axis, value=x) for x in (0.8, 0.9)]
    view = StudyView(study, shown)
    assert [trial.params["x"] for trial in view.get_trials()] == [0.8, 0.9]
    assert [trial.params["x"] for trial in view.trials] == [0.8, 0.9]
    assert view.best_value == study.best_value, "its best value is asked of the storage"
    study.ask()
    view.set_user_attr("kept", 1)
    assert study.user_attrs == {"kept": 1}
    assert len(study.get_trials()) == 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own use of pandas
def test_mlflow_takes_an_example_that_nobody_has_predicted(tmp_path: Path) -> None:
    model, table = Model(), pd.DataFrame({"image": [b"\x00\xff"]})
    save_example(model, table, tmp_path)
    model.save(str(tmp_path / "MLmodel"))
    info = Model.load(str(tmp_path)).saved_input_example_info
    assert info is not None
    assert json.loads((tmp_path / info["artifact_path"]).read_text())["columns"] == ["image"]
    (image,) = Model.load(str(tmp_path)).load_input_example(str(tmp_path))["image"]
    assert base64.decodebytes(image.encode()) == b"\x00\xff"
