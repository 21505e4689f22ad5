"""The reader on real images: ISIC 2017's training and validation cases as a table with missing labels."""

from pathlib import Path

import numpy as np

from spaces.fields import complete
from trainables.contract import Objective, TrialRequest
from trainables.data import read
from trainables.data.images import load_images
from trainables.tasks import TASKS


def test_the_table_of_real_cases_reads_to_its_published_counts(shared_data: Path) -> None:
    cases = read(f"table:{shared_data / 'isic2017_tasks.csv'}")
    assert cases.primary == "diagnosis"
    assert cases.counts()["train"]["diagnosis"] == {"melanoma": 64, "nevus": 192}
    assert cases.counts()["valid"]["diagnosis"] == {"melanoma": 20, "nevus": 60}
    assert cases.counts()["valid"]["sex"]["(missing)"] == 34
    assert [len(task.classes) for task in cases.tasks] == [2, 2, 3]


def test_real_images_are_decoded_to_skin_and_not_to_black(shared_data: Path) -> None:
    cases = read(f"table:{shared_data / 'isic2017_tasks.csv'}")
    pixels = load_images(cases, 96).pixels
    assert pixels.shape == (336, 3, 96, 96)
    red, green, blue = np.asarray(pixels).mean((0, 2, 3))
    assert red > green > 80
    assert blue > 80


def test_a_trial_trains_on_real_images_and_reports_every_task(shared_data: Path) -> None:
    config = complete(TASKS["gated"].space, {"size_px": 96, "batches_per_epoch": 1})
    source = f"table:{shared_data / 'isic2017_tasks.csv'}"
    report = TASKS["gated"].load().build(TrialRequest("gated", config, source, 0, Objective("valid/auroc_mean", "max"), 2)).step()
    for name in ("valid/diagnosis/auroc", "valid/sex/auroc", "valid/age_band/auroc", "valid/melanoma/auroc"):
        assert 0 <= report.metrics[name] <= 1
    assert not any(name.startswith("test/") or "seven_point" in name for name in report.metrics)
