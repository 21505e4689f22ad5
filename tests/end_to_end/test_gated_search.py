"""A small search of the gated network through the command line, from its first line to its checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
from commands import Here, Shell
from recorded import NUM_TRIALS

pytestmark = pytest.mark.slow
SMALL = ("--trials", "4", "--max-epochs", "4", "--set", "size_px=96", "--set", "batches_per_epoch=2")
CLI_KEYS = {
    *("name", "task", "metrics", "modes", "num_trials", "num_failed", "num_stopped_early", "best_trial", "best_value"),
    *("best_score", "best_epoch", "best_config", "checkpoint", "pareto", "mlflow_experiment_id", "wall_s", "train_s"),
}


def test_a_search_is_run_shown_and_evaluated(recorded: Any, folder: Path) -> None:
    searched = recorded("gated")
    here, data, found = searched.copy(folder), searched.data, searched.json
    assert here.run("data", "check", data, "--json").json["problems"] == []
    assert set(found) >= CLI_KEYS
    assert found["num_trials"] == int(NUM_TRIALS)
    assert f"{NUM_TRIALS} of {NUM_TRIALS} done" in searched.err

    (best,) = here.run("best", "small", "--out", "winner", "--json").json
    assert (best["trial"], best["value"], best["epoch"]) == (found["best_trial"], found["best_value"], found["best_epoch"])
    assert best["mlflow_run_id"]
    evaluation = here.run("evaluate", best["checkpoint"], "--data", data, "--json").json
    assert evaluation["metrics"]["valid/auroc_mean"] == best["value"]
    low, high = evaluation["intervals"]["valid/auroc_mean"]
    assert low < best["value"] < high
    assert set(evaluation["seven_point"]) == {"1", "3", "direct"}
    assert sum(map(sum, evaluation["seven_point"]["direct"])) == evaluation["num_cases"]

    for reading in (1, 2):
        test = here.run("evaluate", best["checkpoint"], "--data", data, "--split", "test", "--json").json
        assert test["test_readings"] == reading

    image = next((searched.folder / "a set" / "images").rglob("*.jpg"))
    (prediction,) = here.run("predict", best["checkpoint"], str(image), "--json").json
    assert all(abs(sum(task.values()) - 1) < 1e-9 for task in prediction["probabilities"].values())
    assert 0 <= prediction["seven_point_score"] <= 10

    shown = here.run("show", "small", "--json").json["trials"]
    assert shown[0]["trial"] == best["trial"]
    log = here.run("show", "small", "--trial", best["trial"], "--json").json
    assert [epoch["epoch"] for epoch in log["log"]] == list(range(1, log["epochs"] + 1))
    assert not any("test/" in name for epoch in log["log"] for name in epoch["metrics"])
    config = json.loads((Path(best["checkpoint"]) / "config.json").read_text())
    assert config["config"] == best["config"]


def test_the_first_trial_is_the_papers_configuration(here: Here) -> None:
    small = ("--trials", "1", "--max-epochs", "1", "--set", "size_px=96", "--set", "batches_per_epoch=2")
    search = here.run("search", "gated", "--name", "small", *small, "--no-pictures", "--json")
    assert search.status == 0, search.err
    first = here.run("show", "small", "--trial", "t0000", "--json").json["config"]
    paper = {row["field"]: row["default"] for row in here.run("space", "gated", "--json").json if row["searched"]}
    inactive = {"batch_size"}
    assert {name: first[name] for name in paper if name not in inactive} == {
        name: value for name, value in paper.items() if name not in inactive
    }
    assert first["batch_size"] is None


def test_a_users_own_models_and_search_folders_are_not_imported(shell: Shell) -> None:
    for name in ("models", "search", "trainables", "spaces"):
        (shell.folder / name).mkdir()
        (shell.folder / name / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    small = ("--trials", "1", "--max-epochs", "1", *SMALL[4:])
    search = shell.run("search", "gated", "--name", "small", *small, "--no-pictures", "--json", fresh=True)
    assert search.status == 0, search.err
    assert search.json["num_failed"] == 0


def test_a_dry_run_writes_nothing_and_says_what_it_would_cost(here: Here) -> None:
    dry = here.run("search", "gated", *SMALL, "--dry-run", "--json")
    assert dry.status == 0, dry.err
    assert dry.json["epoch_s"] > 0
    assert dry.json["disk_mib"] > 0
    assert 0 < dry.json["hours"] <= dry.json["hours_at_most"]
    assert not (here.folder / "runs").exists()


def test_a_trial_that_uses_threads_too_many_is_refused(here: Here) -> None:
    refused = here.run("search", "gated", *SMALL, "--cpus-per-trial", "4096")
    assert refused.status == 2
    assert "a trial must fit the machine" in refused.err
    assert not (here.folder / "runs").exists()


def test_the_example_notebook_runs(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Path(__file__).parents[2] / "examples" / "search_gated.ipynb"
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    monkeypatch.chdir(here.folder)
    monkeypatch.setenv("DERMTUNE_CACHE", here.environment["DERMTUNE_CACHE"])
    names: dict[str, Any] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), str(notebook), "exec"), names)
    assert names["result"].best.trial.startswith("t")
