"""The synthetic Derm7pt set: the same bytes for the same seed, the real layout, the real frequencies."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trainables import seven_point
from trainables.data import derm7pt
from trainables.data.derm7pt import GROUPS, TASKS, label_of
from trainables.data.derm7pt_synthetic import FREQUENCIES, SPLIT_SIZES, draw_labels, write

COLUMNS = [
    "case_num",
    "diagnosis",
    "seven_point_score",
    "pigment_network",
    "streaks",
    "pigmentation",
    "regression_structures",
    "dots_and_globules",
    "blue_whitish_veil",
    "vascular_structures",
    "level_of_diagnostic_difficulty",
    "elevation",
    "location",
    "sex",
    "management",
    "clinic",
    "derm",
    "case_id",
    "notes",
]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def _rates(labels: list[str], classes: tuple[str, ...]) -> np.ndarray:
    return np.array([labels.count(name) for name in classes]) / len(labels)


def test_a_seed_decides_every_byte(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        write(tmp_path / name, 30, 32, seed)
    one, same, other = (_bytes(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert one.keys() == other.keys()
    assert all(one[name] != other[name] for name in one)


def test_the_layout_is_the_releases(synthetic_derm7pt: Path) -> None:
    meta = pd.read_csv(synthetic_derm7pt / "meta" / "meta.csv")
    assert list(meta.columns) == COLUMNS
    assert len(meta) == 60
    assert sorted(path.name for path in (synthetic_derm7pt / "meta").iterdir()) == [
        "meta.csv",
        "test_indexes.csv",
        "train_indexes.csv",
        "valid_indexes.csv",
    ]
    for split in SPLIT_SIZES:
        assert list(pd.read_csv(synthetic_derm7pt / "meta" / f"{split}_indexes.csv").columns) == ["indexes"]
    with Image.open(synthetic_derm7pt / "images" / meta["derm"][0]) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (96, 96), "RGB")
    assert {Path(name).suffix for name in meta["derm"]} == {".jpg", ".JPG"}


def test_the_real_reader_reads_it(synthetic_derm7pt: Path) -> None:
    cases = derm7pt.read(synthetic_derm7pt)
    assert cases.labels.shape == (60, 8)
    assert cases.tasks == TASKS
    assert all(image.is_file() for image in cases.images)
    meta = pd.read_csv(synthetic_derm7pt / "meta" / "meta.csv")
    for column, task in enumerate(TASKS):
        expected = [label_of(task.name, raw) for raw in meta[GROUPS[task.name][0]]]
        assert [task.classes[code] for code in cases.labels[:, column]] == expected


def test_the_score_column_is_the_checklist_of_the_rows_own_labels(synthetic_derm7pt: Path) -> None:
    meta = pd.read_csv(synthetic_derm7pt / "meta" / "meta.csv")
    labels = {task: [label_of(task, raw) for raw in meta[GROUPS[task][0]]] for task in seven_point.POINTS}
    assert meta["seven_point_score"].tolist() == seven_point.scores(labels).tolist()
    assert meta["seven_point_score"].nunique() > 3


@pytest.mark.parametrize("seed", range(5))
def test_attributes_have_the_releases_frequencies(seed: int) -> None:
    labels = draw_labels(500, np.random.default_rng(seed))
    for task in TASKS:
        assert len(labels[task.name]) == 500
        if task.name != "DIAG":
            expected = np.array(FREQUENCIES[task.name]) / 1011
            assert _rates(labels[task.name], task.classes) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("seed", range(20))
def test_a_quarter_of_the_cases_are_melanomas(seed: int) -> None:
    labels = draw_labels(500, np.random.default_rng(seed))
    assert 0.20 <= _rates(labels["DIAG"], ("MEL",))[0] <= 0.32


def test_the_diagnosis_follows_the_checklist_with_the_real_datas_errors() -> None:
    labels = draw_labels(20_000, np.random.default_rng(0))
    melanoma = np.array(labels["DIAG"]) == "MEL"
    above = seven_point.scores(labels) >= 3
    assert melanoma[above].mean() == pytest.approx(95 / 149, abs=0.02)
    assert melanoma[~above].mean() == pytest.approx(6 / 246, abs=0.01)


@pytest.mark.parametrize("num_cases", [30, 60, 1011])
def test_every_label_occurs(num_cases: int) -> None:
    for seed in range(20):
        labels = draw_labels(num_cases, np.random.default_rng(seed))
        assert {task.name: sorted(set(labels[task.name])) for task in TASKS} == {
            task.name: sorted(task.classes) for task in TASKS
        }, f"seed {seed}"


def test_cases_are_split_in_the_releases_proportions(synthetic_derm7pt: Path) -> None:
    splits = derm7pt.read(synthetic_derm7pt).splits
    for split, size in SPLIT_SIZES.items():
        assert len(splits[split]) / 60 == pytest.approx(size / 1011, abs=1 / 60)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(60))


def test_every_raw_string_is_one_of_the_releases(synthetic_derm7pt: Path) -> None:
    meta = pd.read_csv(synthetic_derm7pt / "meta" / "meta.csv")
    for column, groups in GROUPS.values():
        assert set(meta[column]) <= {raw for raws in groups.values() for raw in raws}


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_every_label_has_a_raw_string_of_the_release(task: str) -> None:
    for label, raws in GROUPS[task][1].items():
        assert raws
        assert {label_of(task, raw) for raw in raws} == {label}


@pytest.mark.parametrize(("num_cases", "size_px"), [(29, 96), (30, 31), (0, 0), (-5, 96)])
def test_numbers_that_are_too_small_are_refused_before_anything_is_written(tmp_path: Path, num_cases: int, size_px: int) -> None:
    message = rf"^a synthetic set must have 30 cases and 32 px or more; got {num_cases} and {size_px} \(--cases, --size\)$"
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "set", num_cases, size_px, 0)
    assert not (tmp_path / "set").exists()


def test_atypical_criteria_come_together() -> None:
    """A case that scores on one criterion scores on each of the others more often than a case that does not."""
    labels = draw_labels(5000, np.random.default_rng(0))
    scoring = {task: np.array(labels[task]) == label for task, (label, _) in seven_point.POINTS.items()}
    for one, other in itertools.combinations(scoring, 2):
        assert np.corrcoef(scoring[one], scoring[other])[0, 1] > 0.1, (one, other)
