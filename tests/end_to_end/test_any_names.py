"""A small search on a table whose columns and labels are called what no file, path or metric can be called."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import Here
from PIL import Image

from search.records.folder import SearchFolder
from search.records.ledger import read_events
from search.records.state import SearchState
from search.records.tracking.store import trial_runs
from trainables.names import escaped

pytestmark = pytest.mark.slow
NUM_CASES, NUM_TRAIN = 24, 14
TWO = ("..", ".", "a/b", "a-x2Fb", "x" * 300, "nan", "Age", "age", "valid/x:max", "100 %", 'it\'s; "so"', "größe")
SMALL = ("--trials", "1", "--max-epochs", "1", "--set", "size_px=96", "--set", "batches_per_epoch=1", "--set", "k=2")


def write_table(folder: Path) -> str:
    """Many tasks of two labels, one of strange labels, one of a single label, one that training knows nothing of."""
    generator = np.random.default_rng(0)
    for case in range(NUM_CASES):
        Image.fromarray(generator.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / f"{case}.png")
    cases = range(NUM_CASES)
    columns = {name: [("yes", "no")[(case >> place % 4) % 2] for case in cases] for place, name in enumerate(TWO)}
    columns["😀 "] = [("😀", "🙁/:=", "..")[case // 2 % 3] for case in cases]
    columns["camera"] = ["one"] * NUM_CASES
    columns["late"] = [""] * NUM_TRAIN + ["x", "y"] * ((NUM_CASES - NUM_TRAIN) // 2)
    columns["diagnosis"] = [("melanoma", "nevus", "bkl")[case % 3] for case in cases]
    splits = ["train"] * NUM_TRAIN + ["valid"] * (NUM_CASES - NUM_TRAIN)
    frame = pd.DataFrame({"image ": [f"{case}.png" for case in cases], "Split": splits, **columns})
    frame.to_csv(folder / "odd table.csv", index=False)
    return "table:odd table.csv"


def test_no_metric_of_any_task_is_lost_on_its_way_to_mlflow(here: Here, folder: Path) -> None:
    import mlflow

    data = write_table(folder)
    searched = here.run("search", "gated", "--data", data, "--name", "odd", *SMALL, "--json")
    assert searched.status == 0, searched.err
    assert "MLflow does not have everything" not in searched.err
    found = SearchFolder(folder / "runs", "odd")
    (trial,) = SearchState.of(read_events(found.ledger_file), found.plan().objective).trials.values()
    (epoch,) = trial.epochs
    assert len({escaped(name) for name in TWO}) == len(TWO)
    for name in (*TWO, "😀", "diagnosis"):
        assert {f"valid/{escaped(name)}/{metric}" for metric in ("accuracy", "recall", "auroc")} <= set(epoch.metrics), name
    assert "valid/camera/auroc" not in epoch.metrics
    assert epoch.metrics["valid/camera/accuracy"] == 1
    uri = f"sqlite:///{folder / 'runs' / 'mlflow.db'}"
    ((run_id, _),) = trial_runs(uri, "odd").values()
    arrived = mlflow.MlflowClient(tracking_uri=uri).get_run(run_id).data.metrics
    assert {name: arrived.get(name) for name in epoch.metrics} == epoch.metrics
    assert here.run("doctor", "odd").status == 0
    (best,) = here.run("best", "odd", "--out", "winner", "--json").json
    evaluated = here.run("evaluate", best["checkpoint"], "--data", data, "--json")
    assert evaluated.status == 0, evaluated.err
    assert evaluated.json["metrics"]["valid/-x2E-x2E/auroc"] == epoch.metrics["valid/-x2E-x2E/auroc"]
    assert here.run("predict", best["checkpoint"], "0.png").status == 0
    assert here.run("explain", best["checkpoint"], "--data", data, "--cases", "1", "--out", "why").status == 0
