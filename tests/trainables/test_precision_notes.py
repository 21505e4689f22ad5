"""How sure an AUROC can be, before anything is trained."""

import numpy as np
import pytest

from trainables.counted import once_each
from trainables.data.cases import CaseSet, LabelTask
from trainables.data.precision_notes import auroc_deviation, precision_notes
from trainables.metrics import auroc


@pytest.mark.parametrize(("num_positive", "num_negative"), [(6, 14), (20, 60), (58, 177)])
def test_simulated_areas_spread_so_far(num_positive: int, num_negative: int) -> None:
    rng, apart = np.random.default_rng(0), 2**0.5 * 1.0364  # binormal, an area of .85
    positive = np.arange(num_positive + num_negative) < num_positive
    areas = [auroc(positive * apart + rng.normal(size=len(positive)), positive, once_each(len(positive)))[0] for _ in range(1500)]
    assert np.mean(areas) == pytest.approx(0.85, abs=0.01)
    assert np.std(areas) == pytest.approx(auroc_deviation(0.85, num_positive, num_negative), rel=0.06)


def case_set(valid: list[int], test: list[int] | None = None, classes: tuple[str, ...] = ("NEV", "MEL", "SK")) -> CaseSet:
    codes = [*valid, *(test or [])]
    splits = {"valid": np.arange(len(valid)), **({} if test is None else {"test": np.arange(len(valid), len(codes))})}
    names = tuple(map(str, range(len(codes))))
    labels = np.array(codes, dtype=np.int64)[:, None]
    task = LabelTask("DIAG", classes)
    return CaseSet("table:x", (), names, (), (task,), labels, splits, "DIAG", ())


def test_each_split_that_is_measured_is_told_of() -> None:
    (line,) = precision_notes(case_set([1] * 6 + [0] * 14 + [-1] * 5, [1] * 30 + [0] * 70))
    assert line.startswith(
        "DIAG: an AUROC of 0.85 is known to ±0.19 on the validation split (20 cases, 6 of them MEL) and ±0.08 on the test split"
        " (100 cases, 30 of them MEL): 95 %, by the luck of the cases alone"
    )


def test_without_melanoma_it_is_the_rarest_class() -> None:
    (line,) = precision_notes(case_set([0] * 9 + [2] * 3 + [1] * 12, classes=("x", "y", "z")))
    assert "(24 cases, 3 of them z)" in line


@pytest.mark.parametrize("valid", [[1] * 400 + [0] * 400, [0] * 20, [-1] * 5, []])
def test_nothing_is_said_where_it_is_known_or_there_is_none(valid: list[int]) -> None:
    assert precision_notes(case_set(valid)) == []
