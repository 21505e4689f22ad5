"""Groups and twins through both tasks: refused before the first trial, the same on every node, and in every interval."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spaces.fields import complete
from trainables.bootstrap import bootstrap
from trainables.contract import TrialRequest
from trainables.data import DATASETS, read
from trainables.data.cases import CaseSet
from trainables.data.roles import ColumnRoles, with_roles
from trainables.data.segmented import SegmentedCases
from trainables.errors import DataError
from trainables.tasks import TASKS

SMALL: Mapping[str, Mapping[str, Any]] = {
    "gated": {"size_px": 96, "width": 0.5, "k": 2, "batches_per_epoch": 1},
    "attentive": {"size_px": 32, "crop_from_px": 36, "width": 0.125, "timesteps": 2, "encoder_weights": "none"},
}
FORMATS = {"gated": "derm7pt", "attentive": "isic2017"}
pytestmark = pytest.mark.parametrize("task", SMALL)


def labelled(source: str) -> CaseSet:
    found = read(source)
    cases = found.cases if isinstance(found, SegmentedCases) else found
    assert isinstance(cases, CaseSet)
    return cases


def drawn(task: str, folder: Path, owner_of: Any) -> str:
    """A synthetic set with a column `patient` from (split, place in it) → owner."""
    synthesise = DATASETS[FORMATS[task]].synthesise
    assert synthesise is not None
    synthesise(folder, 60, 48, 0)
    source = f"{FORMATS[task]}:{folder}"
    cases = labelled(source)
    owners = {cases.names[case]: owner_of(split, place) for split, m in cases.splits.items() for place, case in enumerate(m)}
    tables = [folder / "meta" / "meta.csv"] if task == "gated" else sorted(folder.glob("*_Part3_GroundTruth.csv"))
    for file in tables:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table["patient"] = [owners[name] for name in table["derm" if task == "gated" else "image_id"]]
        table.to_csv(file, index=False)
    return with_roles(source, ColumnRoles("patient"))


def config_of(task: str) -> dict[str, Any]:
    return complete(TASKS[task].space, SMALL[task])


def trial_of(task: str, source: str, fingerprint: str) -> Any:
    request = TrialRequest(task, config_of(task), source, 0, TASKS[task].objective, 1, device="cpu", fingerprint=fingerprint)
    return TASKS[task].load().build(request)


def test_a_trial_and_its_checkpoint_know_whose_the_cases_are(task: str, tmp_path: Path) -> None:
    """Pairs of one patient; the last case of a split of an odd number of cases is alone, and so are those of the test split."""
    source = drawn(task, tmp_path / "a set", lambda split, place: "" if split == "test" else f"{split} {place // 2}")
    module = TASKS[task].load()
    prepared = module.prepare(config_of(task), source)
    assert [note for note in prepared.notes if note.startswith("patient says whose a case is and is no label: ")]
    trial = trial_of(task, source, prepared.fingerprint)
    trial.step()
    trial.save_best(tmp_path / "best")
    with pytest.raises(DataError, match=r"other labels, splits, groups or images"):
        trial_of(task, source.partition("#")[0], prepared.fingerprint)
    found = module.casewise(tmp_path / "best", source, "valid")
    assert found.groups is not None
    assert found.groups.tolist() == [place // 2 for place in range(found.num_cases)]
    assert module.casewise(tmp_path / "best", source, "test").groups is None, "none of these share a patient"
    assert module.casewise(tmp_path / "best", source.partition("#")[0], "valid").groups is None
    evaluation = module.evaluate(tmp_path / "best", source, "valid")
    expected = bootstrap(found.num_cases, found.measure, groups=found.groups)
    for name in ("valid/melanoma/auroc", "valid/melanoma/average_precision"):
        assert evaluation.intervals[name] == pytest.approx(expected[name])
    ungrouped = module.evaluate(tmp_path / "best", source.partition("#")[0], "valid")
    assert (evaluation.metrics == ungrouped.metrics, evaluation.intervals == ungrouped.intervals) == (True, False)


def test_a_patient_in_two_splits_is_refused_before_the_first_trial(task: str, tmp_path: Path) -> None:
    source = drawn(task, tmp_path / "a set", lambda split, place: "p" if (split, place) in (("train", 1), ("test", 0)) else "")
    cases = labelled(source)
    one, other = (cases.where(int(cases.splits[split][place])) for split, place in (("train", 1), ("test", 0)))
    expected = (
        rf"^patient 'p' must be in one split; got it in train \({one}\) and in test \({other}\) \(--group names another column"
    )
    with pytest.raises(DataError, match=expected):
        TASKS[task].load().prepare(config_of(task), source)
    TASKS[task].load().prepare(config_of(task), source.partition("#")[0])


def test_one_picture_in_two_splits_is_refused_before_the_first_trial(task: str, tmp_path: Path) -> None:
    source = drawn(task, tmp_path / "a set", lambda split, place: "").partition("#")[0]
    cases = labelled(source)
    first, copy = int(cases.splits["train"][0]), int(cases.splits["valid"][3])
    shutil.copyfile(cases.images[first], cases.images[copy])
    with pytest.raises(DataError, match=r"must not be in valid; got the very picture of .*, in train$") as caught:
        TASKS[task].load().prepare(config_of(task), source)
    assert len(caught.value.problems) == 1
    assert cases.names[first] in str(caught.value)
    for index in (1, 2):
        folded = labelled(f"{source}#fold={index}/2")
        assert len({split for split, members in folded.splits.items() if {first, copy} & set(members.tolist())}) == 1


def test_a_picture_with_two_labels_in_one_split_is_said_and_trained_on(task: str, tmp_path: Path) -> None:
    source = drawn(task, tmp_path / "a set", lambda split, place: "").partition("#")[0]
    cases = labelled(source)
    train = cases.splits["train"]
    codes = cases.labels[train, cases.primary_index]
    first = int(train[0])
    other = int(train[np.flatnonzero(codes != codes[0])[0]])
    shutil.copyfile(cases.images[first], cases.images[other])
    notes = TASKS[task].load().prepare(config_of(task), source).notes
    (told,) = [note for note in notes if "must have the labels of" in note]
    assert cases.names[other] in told
