"""Checkpoints from strangers: whatever lies in them, nothing runs, and what cannot be used is refused in one line.

Their hash lists fit: a stranger writes those, too.
"""

import hashlib
import json
import os
import pickle
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spaces.fields import complete
from trainables import checkpoints
from trainables.data.cases import LabelTask
from trainables.errors import CheckpointError, DermtuneError
from trainables.folders import SUMS, task_of
from trainables.gated.learner import build_model
from trainables.tasks import TASKS

CLASSES = {"diagnosis": ["benign", "melanoma"], "network": ["absent", "present"]}


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.check_call, (["touch", str(self._file)],)


def written(folder: Path) -> Path:
    """A checkpoint as a search leaves it."""
    config = complete(TASKS["gated"].space, {"size_px": 96, "width": 0.5})
    model = build_model(config, [LabelTask(name, tuple(found)) for name, found in CLASSES.items()])
    document = {
        "task": "gated",
        "config": config,
        "classes": CLASSES,
        "primary_task": "diagnosis",
        "num_threads": 1,
        "device": "cpu",
        "source": None,
        "seed": 0,
    }
    checkpoints.write(folder, tensors={"model": model.state_dict()}, documents={"config": document})
    return folder


def replace(folder: Path, name: str, data: bytes) -> None:
    """Puts other bytes in a file's place, and their hash into the list."""
    (folder / name).write_bytes(data)
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    (folder / SUMS).write_text("".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files))


def look(folder: Path, image: Path) -> None:
    """What `dermtune predict` does."""
    TASKS[task_of(folder, known=TASKS)].load().predictor(folder).predict([image])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture."""
    from PIL import Image

    file = tmp_path_factory.mktemp("images") / "a.png"
    Image.new("RGB", (100, 100), (200, 150, 120)).save(file)
    return file


def test_the_checkpoint_itself_is_one_that_can_be_used(tmp_path: Path, image: Path) -> None:
    look(written(tmp_path / "checkpoint"), image)


@pytest.mark.parametrize("by", ["pickle", "torch"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_code_in_a_file_is_not_run(by: str, name: str, tmp_path: Path, image: Path) -> None:
    folder, trace, hostile = written(tmp_path / "checkpoint"), tmp_path / "trace", tmp_path / "hostile"
    if by == "pickle":
        hostile.write_bytes(pickle.dumps(Touch(trace)))
    else:
        torch.save({"input_mean": Touch(trace)}, hostile)
    replace(folder, name, hostile.read_bytes())
    with pytest.raises(CheckpointError, match=r"must|safetensors"):
        look(folder, image)
    assert not trace.exists()


def test_a_task_is_a_name_in_a_table_and_never_a_module(tmp_path: Path, image: Path) -> None:
    for task in ("os", "../gated", "trainables.gated.task", "", None, 1, ["gated"]):
        folder = written(tmp_path / f"checkpoint {task!s:.5}".replace("/", ""))
        document = json.loads((folder / "config.json").read_text())
        replace(folder, "config.json", json.dumps({**document, "task": task}).encode())
        with pytest.raises(CheckpointError, match="task must be one that this version knows"):
            look(folder, image)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 1e9},
        {"width": -1},
        {"width": "1"},
        {"size_px": 10**9},
        {"size_px": 3},
        {"gamma_g": None},
        {"gates": "closed"},
        {"batch_norm": None},
    ],
)
def test_settings_out_of_their_ranges_are_refused_before_memory_is_taken_for_them(
    change: Mapping[str, Any], tmp_path: Path, image: Path
) -> None:
    folder = written(tmp_path / "checkpoint")
    document = json.loads((folder / "config.json").read_text())
    replace(folder, "config.json", json.dumps({**document, "config": {**document["config"], **change}}).encode())
    with pytest.raises(CheckpointError, match=r"config|weights"):
        look(folder, image)


Json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=int(os.environ.get("DERMTUNE_FUZZ_EXAMPLES", "40")), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_change_of_config_json_is_used_or_refused_in_one_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, image: Path
) -> None:
    folder = written(tmp_path_factory.mktemp("hostile") / "checkpoint")
    document = json.loads((folder / "config.json").read_text())
    inside = data.draw(st.sampled_from(["document", "config", "classes"]))
    where = document if inside == "document" else document[inside]
    key = data.draw(st.sampled_from(sorted(where)))
    if data.draw(st.booleans()):
        where[key] = data.draw(Json)
    else:
        del where[key]
    replace(folder, "config.json", json.dumps(document).encode())
    used_or_refused(lambda: look(folder, image))


@settings(max_examples=int(os.environ.get("DERMTUNE_FUZZ_EXAMPLES", "40")), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes_in_the_weights_are_used_or_refused_in_one_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, image: Path
) -> None:
    folder = written(tmp_path_factory.mktemp("hostile") / "checkpoint")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    start = data.draw(st.integers(0, min(len(weights), 3000)))
    weights[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    replace(folder, "model.safetensors", bytes(weights))
    used_or_refused(lambda: look(folder, image))


def used_or_refused(call: Callable[[], None]) -> None:
    """Runs it; nothing but our own errors may come out, each in one line."""
    try:
        call()
    except (DermtuneError, ValueError) as error:
        assert "\n" not in str(error).strip()  # noqa: PT017
