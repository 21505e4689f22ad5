"""A registered checkpoint as others use it: `mlflow.pyfunc` and `mlflow models serve`, without a pickle."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from recorded import Recorded

import search.records.tracking.logged_models  # noqa: F401  MLflow warns while it imports its own pyfunc
from trainables import metrics
from trainables.counted import of_all
from trainables.data import read

pytestmark = pytest.mark.slow
EXPLAINED = {"gated": ("sharing", "seven_point_score", "seven_point_criteria"), "attentive": ("gazes",)}


@pytest.mark.parametrize("task", ["gated", "attentive"])
def test_a_registered_model_gives_what_evaluate_and_predict_gave(
    recorded: Callable[[str], Recorded], eventually: Any, task: str, unused_port: int
) -> None:
    searched = recorded(task)
    registered = searched.here.run("register", "small", "--as", "lesions", "--alias", "champion", "--json")
    assert registered.status == 0, registered.err
    assert registered.json["version"] == "1"
    assert registered.json["model_uri"] == "models:/lesions@champion"
    # Asked again it is the same version.
    assert searched.here.run("register", "small", "--as", "lesions", "--alias", "champion", "--json").json["version"] == "1"
    pyfunc_gives_what_evaluate_gave(searched)
    if task == "gated":
        the_readmes_server_gives_what_predict_gave(searched, eventually, unused_port)


def pyfunc_gives_what_evaluate_gave(searched: Recorded) -> None:
    task, uri, data, here = searched.task, searched.uri, searched.data, searched.here
    (best,) = here.run("best", "small", "--json").json
    evaluated = here.run("evaluate", best["checkpoint"], "--data", data, "--json").json
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model("models:/lesions@champion")
    cases = getattr(read(data), "cases", read(data))
    members = cases.splits["valid"]
    said = model.predict(pd.DataFrame({"image": [cases.images[index].read_bytes() for index in members]}))
    assert len(said) == evaluated["num_cases"]
    width = max(len(entry.classes) for entry in cases.tasks)
    probabilities = np.zeros((len(members), len(cases.tasks), width))
    for row, answer in enumerate(said):
        for column, entry in enumerate(cases.tasks):
            probabilities[row, column, : len(entry.classes)] = [answer["probabilities"][entry.name][c] for c in entry.classes]
    measure = partial(metrics.classification_metrics, probabilities, cases.labels[members], cases.tasks, cases.primary)
    found = of_all(measure, len(members))
    shared = {f"valid/{name}": value for name, value in found.items() if f"valid/{name}" in evaluated["metrics"]}
    assert len(shared) >= 5
    assert shared == {name: evaluated["metrics"][name] for name in shared}
    assert all(key in said[0] for key in EXPLAINED[task])

    folder = Path(mlflow.artifacts.download_artifacts("models:/lesions@champion"))
    assert not [file for file in folder.rglob("*") if file.suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib")]
    description = mlflow.models.get_model_info("models:/lesions@champion")
    assert description.signature is not None
    assert str(description.signature.inputs) == "['image': binary (required)]"
    # The example shows no patient, and the model takes it.
    example = mlflow.models.Model.load(str(folder)).load_input_example(str(folder))
    assert len(model.predict(example)) == 1


def readme_lines(port: int) -> list[str]:
    """The README's commands that serve a model and ask it, on another port."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    block = re.search(r"^    export MLFLOW_TRACKING_URI.*?(?=^\S)", readme, flags=re.MULTILINE | re.DOTALL)
    assert block is not None
    text = textwrap.dedent(block[0]).strip().replace("\\\n", "").replace("5001", str(port))
    return text.splitlines()


def the_readmes_server_gives_what_predict_gave(searched: Recorded, eventually: Any, unused_port: int) -> None:
    image = next((searched.folder / "a set" / "images").rglob("*.jpg"))
    shutil.copy(image, searched.folder / "lesion.jpg")
    *serve, ask = readme_lines(unused_port)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    given = {"cwd": searched.folder, "env": environment, "start_new_session": True}
    server = subprocess.Popen(["bash", "-c", "\n".join(serve)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **given)

    def is_up() -> bool:
        assert server.poll() is None, server.stdout and server.stdout.read().decode()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/ping", timeout=1).close()
        except OSError:
            return False
        return True

    try:
        eventually(is_up, "the model's server")
        answer = subprocess.run(["bash", "-c", ask], capture_output=True, check=True, timeout=60, **given)
        (said,) = json.loads(answer.stdout)["predictions"]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.communicate()
    (best,) = searched.here.run("best", "small", "--json").json
    (expected,) = searched.here.run("predict", best["checkpoint"], str(image), "--json").json
    assert said["probabilities"] == expected["probabilities"]
    assert said["seven_point_score"] == expected["seven_point_score"]
    assert set(said["sharing"]) == set(expected["probabilities"])
