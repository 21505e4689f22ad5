"""A gated trial on labels that are not there: one label, none in training, some that training lacks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spaces.fields import complete
from spaces.gated import GatedSpace
from trainables.contract import TrialRequest
from trainables.data.roles import ColumnRoles, with_roles
from trainables.errors import DataError
from trainables.gated import task as gated
from trainables.tasks import TASKS

ROWS = ["a,one,,p", "b,one,,q", "a,one,,p", "b,one,,q", "a,one,x,p", "b,one,y,r", "a,one,x,q"]
NUM_TRAIN = 4


@pytest.fixture
def source(tmp_path: Path, own_cache: Path) -> str:
    """Seven cases: `camera` has one label, `late` none in training, `site` one that training lacks."""
    generator = np.random.default_rng(0)
    lines = ["image,split,diagnosis,camera,late,site"]
    for case, row in enumerate(ROWS):
        Image.fromarray(generator.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(tmp_path / f"{case}.png")
        lines.append(f"{case}.png,{'train' if case < NUM_TRAIN else 'valid'},{row}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return f"table:{tmp_path}/t.csv"


def config_of(**fields: Any) -> dict[str, Any]:
    return complete(GatedSpace, {"size_px": 96, "width": 0.5, "batches_per_epoch": 1, **fields})


@pytest.mark.parametrize(
    "fields", [{"k": 2}, {"sampling": "uniform", "batch_size": 8, "label_weights": "inverse_frequency"}, {"k": 2, "gates": "off"}]
)
def test_what_is_undefined_is_absent_and_all_else_finite(source: str, fields: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(**fields)
    prepared = gated.prepare(config, source)
    request = TrialRequest(
        "gated", config, source, 0, TASKS["gated"].objective, 1, device="cpu", fingerprint=prepared.fingerprint
    )
    trial = gated.build(request)
    report = trial.step()
    assert {*report.metrics, *report.costs} == set(prepared.metrics)
    assert np.isfinite(list(report.metrics.values())).all()
    found = report.metrics
    assert [found[f"valid/camera/{name}"] for name in ("accuracy", "recall", "f1")] == [1, 1, 1]
    assert "valid/camera/auroc" not in found
    defined = [found[f"valid/{name}/auroc"] for name in ("diagnosis", "late", "site")]
    assert found["valid/auroc_mean"] == pytest.approx(np.mean(defined))
    assert any(note.startswith("site: class r is in validation (1 case) but not in training") for note in prepared.notes)
    assert any(note.startswith("late: no training case has a label") for note in prepared.notes)
    trial.save_best(tmp_path / "best")
    evaluated = gated.evaluate(tmp_path / "best", source, "valid").metrics
    assert evaluated == {name: value for name, value in found.items() if not name.endswith("/loss")}


@pytest.mark.parametrize(("primary", "present"), [("camera", "one only"), ("late", "none")])
def test_such_a_task_cannot_be_the_primary_one(source: str, primary: str, present: str) -> None:
    expected = rf"^the primary task, {primary}, must have two labels or more in training; got {present}, so that there is nothing"
    with pytest.raises(DataError, match=expected):
        gated.prepare(config_of(k=2, primary_task=primary), source)


def test_columns_that_are_chosen_reach_the_trial(source: str) -> None:
    config = config_of(k=2)
    chosen = gated.prepare(config, with_roles(source, ColumnRoles(ignore=("camera", "late"))))
    assert not [name for name in chosen.metrics if name.startswith(("valid/camera", "valid/late"))]
    assert chosen.fingerprint == gated.prepare(config, with_roles(source, ColumnRoles(columns=("site", "diagnosis")))).fingerprint
    assert chosen.fingerprint != gated.prepare(config, source).fingerprint
