"""After any search Ray, Optuna, MLflow and the ledger hold the same trials in the same states, none running."""

from pathlib import Path

import optuna
import pytest

import search
from search.execution.result import SearchResult
from search.records.ledger import read_events
from search.records.state import SearchState
from search.records.tracking.store import trial_runs

#: Ray runs in this process already: see `ray_here`.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]

RAY = {"finished": "TERMINATED", "stopped": "TERMINATED", "failed": "ERROR"}
OPTUNA = {"finished": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
MLFLOW = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}


def run_bowl(storage: Path, num_trials: int = 12, **settings: object) -> SearchResult:
    """A small search of the bowl."""
    options = {"num_trials": num_trials, "max_epochs": 9, "name": "agree", "pictures": False}
    return search.run("bowl", storage=str(storage), settings=settings, **options)


def assert_agreement(result: SearchResult, storage: Path) -> dict[str, str]:
    """Compares the four records; gives trial → state."""
    ledger = SearchState.of(read_events(result.folder.ledger_file), result.plan.objective)
    states = {trial.trial: trial.state for trial in ledger.trials.values()}
    assert {name: RAY[state] for name, state in states.items()} == dict(result.ray_trials)
    exported = optuna.load_study(study_name="agree", storage=f"sqlite:///{result.folder.study_file}")
    for study in (result.study, exported):
        found = {trial.user_attrs["trial"]: trial.state.name for trial in study.trials}
        assert {name: OPTUNA[state] for name, state in states.items()} == found
    runs = trial_runs(f"sqlite:///{storage / 'mlflow.db'}", "agree")
    assert {name: MLFLOW[state] for name, state in states.items()} == {name: status for name, (_, status) in runs.items()}
    assert result.tracking_error is None
    return states


def test_the_four_records_agree_when_some_trials_fail_some_stop_and_some_finish(tmp_path: Path) -> None:
    result = run_bowl(tmp_path / "my runs", fault="raise_tilted")
    states = assert_agreement(result, tmp_path / "my runs")
    assert set(states.values()) == {"failed", "stopped", "finished"}
    failed = [trial for trial in result.state.trials.values() if trial.state == "failed"]
    assert {trial.config["shape"] for trial in failed} == {"tilted"}
    assert {trial.reason for trial in failed} == {"RuntimeError: the bowl broke, as fault=raise_tilted asked"}
    assert result.best is not None
    assert result.best.state != "failed"


@pytest.mark.parametrize(("limit", "ended"), [({"epoch_budget": 15}, "epoch budget"), ({"time_budget_s": 0.5}, "time budget")])
def test_the_four_records_agree_when_a_budget_ends_the_search(tmp_path: Path, limit: dict[str, float], ended: str) -> None:
    storage = tmp_path / "my runs"
    slow = {"seconds_per_epoch": 0.1}
    options = {"num_trials": 50, "max_epochs": 20, "name": "agree", "scheduler": "none", "pictures": False}
    result = search.run("bowl", storage=str(storage), settings=slow, **options, **limit)
    states = assert_agreement(result, storage)
    assert result.ended == ended
    assert ended in {result.state.trials[name].reason for name in states}
    assert len(states) < 50


def test_a_value_that_is_no_number_fails_its_trial_with_its_reason(tmp_path: Path) -> None:
    result = run_bowl(tmp_path / "my runs", num_trials=4, fault="nan")
    assert set(assert_agreement(result, tmp_path / "my runs").values()) == {"failed"}
    reasons = {trial.reason for trial in result.state.trials.values()}
    assert reasons == {"TrialDiverged: valid/height must be finite; got nan at epoch 3"}
    assert result.best is None


def test_every_reported_epoch_of_every_trial_is_in_mlflow_once(tmp_path: Path) -> None:
    import mlflow

    result = run_bowl(tmp_path / "my runs")
    assert_agreement(result, tmp_path / "my runs")
    uri = f"sqlite:///{tmp_path / 'my runs' / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    for name, (run_id, _) in trial_runs(uri, "agree").items():
        trial = result.state.trials[name]
        logged = [(metric.step, metric.value) for metric in client.get_metric_history(run_id, "valid/height")]
        assert logged == [(epoch.epoch, epoch.metrics["valid/height"]) for epoch in trial.epochs]
        run = client.get_run(run_id)
        assert run.data.metrics["best/valid/height"] == trial.value
        assert run.data.metrics["best/epoch"] == trial.best_epoch
        active = {field: str(value) for field, value in trial.config.items() if value is not None}
        assert run.data.params == {**active, "seed": str(trial.seed)}
        assert run.data.tags["reason"] == trial.reason
    (summary,) = client.search_runs([result.experiment_id], "tags.kind = 'search'")
    assert summary.info.status == "FINISHED"
    assert summary.data.metrics["trials/all"] == 12


def test_only_the_best_checkpoints_stay_and_no_state_to_go_on_from(tmp_path: Path) -> None:
    result = run_bowl(tmp_path / "my runs")
    kept = {path.parent.name for path in result.folder.path.glob("trials/*/best-*")}
    assert kept == {trial.trial for trial in result.state.ranked()[:5]}
    assert not list(result.folder.path.glob("trials/*/state-*"))
    for trial in result.state.ranked()[:5]:
        assert (result.folder.path / str(trial.checkpoint)).is_dir()
