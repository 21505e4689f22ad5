"""Checkpoints as MLflow models, and what a search leaves on its runs: once each, in a store of this machine."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pandas as pd
import pytest
from bowl_events import begun, plan_of
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from search.errors import PlanError
from search.records.state import SearchState
from search.records.tracking import logged_models, retrying
from search.records.tracking.logged_models import Candidate, log_model, model_of, save_model
from search.records.tracking.mark import mark_of
from search.records.tracking.publisher import Publisher
from search.records.tracking.registry import register
from search.records.tracking.removal import delete_experiment
from search.records.tracking.retrying import RetryingCaller, StoreAway
from search.records.tracking.runs import SearchRuns
from search.records.tracking.store import has_experiment, newest_experiments, open_client
from trainables import served

pytestmark = [
    # MLflow uses what SQLAlchemy will drop, and leaves its connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
PLAN = plan_of(name="modelled", created="2026-03-01T12:00:00+00:00")


class Sees:
    """A model that says the same of every image."""

    def __init__(self, folder: Path) -> None:
        assert (folder / "weights").is_file()

    def predict(self, table: pd.DataFrame) -> list[dict[str, Any]]:
        return [{"label": "nevus", "probability": 0.75} for _ in table[served.IMAGE]]


class Store:
    """A store with a search of two trials."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.uri = folder, f"sqlite:///{folder / 'mlflow.db'}"
        self.client: MlflowClient = open_client(self.uri)
        self.runs = SearchRuns(self.client, RetryingCaller(self.uri), self.uri, PLAN, folder)
        table = SearchState.of([*begun("t0000", 1.0), *begun("t0001", 2.0)], PLAN.objective)
        for record, event in zip(table.trials.values(), (begun("t0000", 1.0)[0], begun("t0001", 2.0)[0]), strict=True):
            self.runs.open(record, event)

    def candidate(self, trial: str = "t0000", sha256: str = "ab") -> Candidate:
        checkpoint = self.folder / f"checkpoint of {trial}"
        checkpoint.mkdir(exist_ok=True)
        (checkpoint / "weights").write_text(trial)
        return Candidate("modelled", "bowl", trial, checkpoint, sha256, 3, {"valid/height": 0.5}, {"x": "0.25"})

    def log(self, candidate: Candidate) -> str:
        return log_model(self.client, self.runs.experiment_id, self.runs.trials[candidate.trial], candidate, b"an image")

    def model_of(self, trial: str, sha256: str) -> str | None:
        return model_of(self.client, self.runs.experiment_id, trial, sha256)


@pytest.fixture
def store(fresh_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of this test's own, in which a checkpoint sees without a network and is small."""
    folder = tmp_path / "my runs"
    folder.mkdir()
    shutil.copy(fresh_store, folder / "mlflow.db")
    monkeypatch.setattr(served, "ServedModel", Sees)
    for name in ("models", "spaces", "trainables"):
        package = tmp_path / "sources" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        monkeypatch.setattr(getattr(logged_models, name), "__file__", str(package / "__init__.py"))
    return Store(folder)


def test_a_saved_model_says_what_goes_in_and_what_comes_out(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "a model"
    save_model(store.candidate().folder, folder, b"an image")
    model = mlflow.models.Model.load(str(folder))
    assert model.signature is not None
    assert [(column.name, str(column.type)) for column in model.signature.inputs] == [("image", "DataType.binary")]
    assert [column.name for column in model.signature.outputs] == ["label", "probability"]
    assert model.flavors["python_function"]["loader_module"] == "trainables.served"
    (weights,) = folder.glob("data/**/weights")
    assert weights.read_text() == "t0000"
    assert model.saved_input_example_info is not None
    assert list(model.load_input_example(str(folder)).columns) == ["image"]
    assert sorted(path.name for path in (folder / "code").iterdir()) == ["models", "spaces", "trainables"]
    requirements = (folder / "requirements.txt").read_text().split()
    assert f"mlflow=={mlflow.__version__}" in requirements
    assert all(name and version[:1].isdigit() for name, _, version in (line.partition("==") for line in requirements))


def test_what_python_compiled_meanwhile_is_left_out_of_a_model(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_example = logged_models.save_example

    def compile_too(model: mlflow.models.Model, table: pd.DataFrame, folder: Path) -> None:
        save_example(model, table, folder)
        (folder / "code" / "spaces" / "__pycache__").mkdir()
        (folder / "code" / "spaces" / "__pycache__" / "bowl.pyc").write_bytes(b"")

    monkeypatch.setattr(logged_models, "save_example", compile_too)
    save_model(store.candidate().folder, tmp_path / "a model", b"an image")
    assert [path.name for path in (tmp_path / "a model" / "code" / "spaces").iterdir()] == ["__init__.py"]


def test_a_local_builds_mark_is_in_no_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logged_models.metadata, "version", lambda name: {"torch": "2.9.0+cu130"}.get(name, "1.2"))
    found = logged_models._requirements()
    assert "torch==2.9.0" in found
    assert "numpy==1.2" in found


def test_a_checkpoint_becomes_a_model_of_its_run_once(store: Store) -> None:
    assert store.model_of("t0000", "ab") is None
    model_id = store.log(store.candidate())
    assert store.log(store.candidate()) == model_id
    assert store.model_of("t0000", "ab") == model_id
    assert store.model_of("t0000", "cd") is None, "of another checkpoint"
    assert store.model_of("t0001", "ab") is None, "of another trial"
    model = store.client.get_logged_model(model_id)
    assert (model.name, model.model_type, model.status) == ("modelled-t0000", "bowl", LoggedModelStatus.READY)
    assert model.source_run_id == store.runs.trials["t0000"]
    assert model.params == {"x": "0.25"}
    tags = {name: model.tags[name] for name in ("trial", "sha256", "epoch", "task")}
    assert tags == {"trial": "t0000", "sha256": "ab", "epoch": "3", "task": "bowl"}
    outputs = store.client.get_run(store.runs.trials["t0000"]).outputs.model_outputs
    assert [(output.model_id, output.step) for output in outputs] == [(model_id, 3)]
    (file,) = (store.folder / "mlartifacts" / "modelled" / "models" / model_id).rglob("MLmodel")
    described = mlflow.models.Model.load(str(file))
    assert (described.model_id, described.run_id) == (model_id, store.runs.trials["t0000"])


def test_a_model_whose_writing_was_cut_short_is_none(store: Store) -> None:
    tags = {"trial": "t0000", "sha256": "ab"}
    store.client.create_logged_model(store.runs.experiment_id, name="half", tags=tags)
    assert store.model_of("t0000", "ab") is None


def ready(store: Store, name: str) -> str:
    """A model without files, for the registry."""
    model = store.client.create_logged_model(store.runs.experiment_id, name=name, source_run_id=store.runs.trials["t0000"])
    store.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def test_a_model_is_registered_once_and_its_alias_moves(store: Store) -> None:
    run = store.runs.trials["t0000"]
    before = mlflow.get_tracking_uri()
    first, second = ready(store, "first"), ready(store, "second")
    versions = [register(store.client, "lesions", model, run, alias, "of a test") for model, alias in given(first, second)]
    assert versions == ["1", "2", "1", "2"]
    assert mlflow.get_tracking_uri() == before, "the store was MLflow's own for a while only"
    (registered,) = store.client.search_registered_models("name = 'lesions'")
    assert registered.description == "Made by dermtune. Research software, not a medical device."
    made = {version.version: version for version in store.client.search_model_versions("name = 'lesions'")}
    assert {str(number): version.source for number, version in made.items()} == {
        "1": f"models:/{first}",
        "2": f"models:/{second}",
    }
    assert {(version.run_id, version.description) for version in made.values()} == {(run, "of a test")}
    assert str(store.client.get_model_version_by_alias("lesions", "best").version) == "1"


def given(first: str, second: str) -> Sequence[tuple[str, str | None]]:
    """Models and the aliases that they get, in order."""
    return [(first, None), (second, "best"), (first, "best"), (second, None)]


def test_a_publisher_puts_files_models_and_versions_onto_the_right_runs(store: Store) -> None:
    publisher = Publisher(store.uri, PLAN, store.folder)
    publisher.put(None, {"pages/deep/report.html": b"of the search"})
    publisher.put("t0000", {"page.html": b"of a trial"})
    place = store.folder / "mlartifacts" / "modelled"
    assert (place / store.runs.summary / "artifacts/pages/deep/report.html").read_bytes() == b"of the search"
    assert (place / store.runs.trials["t0000"] / "artifacts/page.html").read_bytes() == b"of a trial"
    model_id = publisher.log_model(store.candidate("t0001"), b"an image")
    assert store.model_of("t0001", "ab") == model_id
    assert publisher.register("lesions", store.candidate("t0001"), model_id, "best") == "1"
    version = store.client.get_model_version_by_alias("lesions", "best")
    assert version.description == "t0001 of dermtune's search modelled (bowl), epoch 3"
    assert version.run_id == store.runs.trials["t0001"]


def test_a_publisher_says_when_mlflow_keeps_artifacts_where_the_storage_was(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Publisher(store.uri, PLAN, store.folder)
    assert caplog.messages == []
    moved = Path(shutil.move(store.folder, tmp_path / "moved"))
    Publisher(f"sqlite:///{moved / 'mlflow.db'}", PLAN, moved)
    (said,) = caplog.messages
    assert said.startswith(
        f"MLflow keeps pictures and models in {store.folder}/mlartifacts/modelled, where this storage was before"
    )
    assert f"`ln -s {tmp_path}/moved/mlartifacts/modelled '{store.folder}/mlartifacts/modelled'`" in said


def test_a_publisher_says_which_run_is_missing(store: Store) -> None:
    publisher = Publisher(store.uri, PLAN, store.folder)
    with pytest.raises(PlanError, match=r"^MLflow must have a run of t0009; got none \(dermtune doctor NAME --repair\)$"):
        publisher.put("t0009", {})
    store.client.delete_run(store.runs.summary)
    with pytest.raises(PlanError, match=r"^MLflow must have a run of the search; got none "):
        publisher.put(None, {})
    with pytest.raises(PlanError, match=r"^--tracking-uri must be the store of 'other'; got sqlite:.*, which has no such exp"):
        Publisher(store.uri, replace(PLAN, name="other"), store.folder)


@pytest.mark.timeout(20)
def test_a_publishers_store_that_goes_away_keeps_nobody_waiting(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, passed = Publisher(store.uri, PLAN, store.folder), list[float]()
    begun = time.monotonic()

    def sleep(seconds: float) -> None:
        passed.append(seconds)
        assert sum(passed) < 60, "nobody waits so long"

    def away(*given: Any, **named: Any) -> None:
        raise MlflowException("the database is locked", error_code=codes.TEMPORARILY_UNAVAILABLE)

    clock = SimpleNamespace(monotonic=lambda: begun + sum(passed), sleep=sleep)
    monkeypatch.setattr(retrying, "time", clock)
    monkeypatch.setattr(retrying, "connect", away)
    monkeypatch.setattr(MlflowClient, "search_runs", away)
    with pytest.raises(StoreAway, match="is away: the database is locked"):
        publisher.put(None, {})
    assert 9 < sum(passed) < 13


def test_a_searchs_runs_begin_when_it_did_and_are_found_again(store: Store) -> None:
    summary = store.client.get_run(store.runs.summary)
    assert summary.info.start_time == 1772366400000  # 2026-03-01 at noon, UTC
    assert summary.info.run_name == "search modelled"
    assert summary.data.tags["mlflow.source.name"] == "dermtune search bowl"
    again = SearchRuns(store.client, RetryingCaller(store.uri), store.uri, PLAN, store.folder)
    assert (again.experiment_id, again.summary, again.trials) == (store.runs.experiment_id, store.runs.summary, {})
    again.trials["t0009"] = "opened here"
    assert again.find() == {"t0000": "RUNNING", "t0001": "RUNNING"}
    assert again.trials == {**store.runs.trials, "t0009": "opened here"}


def test_a_new_experiment_has_its_page_its_view_and_a_place_for_artifacts(store: Store) -> None:
    experiment = store.client.get_experiment(store.runs.experiment_id)
    assert experiment.artifact_location == (store.folder / "mlartifacts" / "modelled").as_uri()
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.note.content"].startswith("**bowl**: ")
    assert '"name": "dermtune"' in experiment.tags["mlflow.sharedViewState.dermtune"]


def test_the_newest_experiments_come_first_and_mlflows_own_is_none(store: Store) -> None:
    other = store.client.create_experiment("another")
    names = newest_experiments(store.uri, 5)
    assert sorted(names) == [("another", other), ("modelled", store.runs.experiment_id)]
    assert len(newest_experiments(store.uri, 1)) == 1


def test_an_experiment_that_was_deleted_by_hand_frees_its_name(store: Store) -> None:
    store.client.delete_experiment(store.runs.experiment_id)
    assert has_experiment(store.uri, "modelled"), "MLflow keeps the name"
    delete_experiment(store.uri, "modelled", mark_of(store.folder, PLAN.created), store.folder)
    assert not has_experiment(store.uri, "modelled")
    left = store.client.get_experiment(store.runs.experiment_id)
    assert (left.name, left.lifecycle_stage) == (f"modelled (deleted {left.experiment_id})", "deleted")
