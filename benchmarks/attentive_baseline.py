"""What do batch statistics in frozen batch norms do for the attentive network's diagnosis?

The paper's Deco_GAP_3 as it is (`batch_norm=frozen`: scale and shift frozen, statistics of the batch, as in the authors' code)
against the same with frozen statistics (`frozen_statistics`), at the demo's size on synthetic cases, both runs of a pair with
one seed. The figure of a run is the mean of valid/melanoma/auroc over its last three epochs. The last line is the mean of the
paired differences with Student's 95 % interval. Needs no Ray, Optuna or MLflow.

    OMP_NUM_THREADS=1 python benchmarks/attentive_baseline.py [--cases 400] [--epochs 10] [--seeds 5] [--first 0]

Exits 1 unless the whole interval is above 0.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from measuring import paired

from spaces.attentive import PRESETS, VARIANTS, AttentiveSpace
from spaces.fields import complete
from trainables.attentive.task import build
from trainables.contract import Objective, TrialRequest
from trainables.data import split_source
from trainables.data.source import synthetic_location

METRIC = "valid/melanoma/auroc"
MODES = ("frozen", "frozen_statistics")
#: Epochs at the end of a run that its figure is the mean of.
LAST = 3


def auroc(source: str, batch_norm: str, seed: int, epochs: int) -> float:
    """The figure of one run.

    Args:    source: `FORMAT:LOCATION`.
             batch_norm: one of `MODES`.
             seed, epochs: of the run.
    """
    third = {**VARIANTS["VGG_AttentiveConvLSTM_Deco_GAP_3"], "batch_norm": batch_norm}
    config = complete(AttentiveSpace, {**PRESETS["demo"].fixed, **third, "patience": epochs})
    trial = build(TrialRequest("attentive", config, source, seed, Objective(METRIC, "max"), epochs, device="cpu"))
    return float(np.mean([trial.step().metrics[METRIC] for _ in range(epochs)][-LAST:]))


def main() -> int:
    """Trains the pairs; the difference last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5, help="pairs of runs")
    parser.add_argument("--first", type=int, default=0, help="seed of the first pair")
    given = parser.parse_args()
    source = f"isic2017:{synthetic_location(given.cases, PRESETS['demo'].synthetic_size_px)}"
    split_source(source)
    start, found = time.perf_counter(), []
    for seed in range(given.first, given.first + given.seeds):
        found.append([auroc(source, mode, seed, given.epochs) for mode in MODES])
        figures = ", ".join(f"{mode} {value:.3f}" for mode, value in zip(MODES, found[-1], strict=True))
        print(f"seed {seed}: {figures} ({time.perf_counter() - start:.0f} s)", flush=True)
    means = ", ".join(f"{mode} {value:.3f}" for mode, value in zip(MODES, np.mean(found, axis=0), strict=True))
    print(f"{METRIC}, {given.cases} cases, {given.epochs} epochs, {given.seeds} seeds: {means}")
    mean, low, high = paired([after - before for after, before in found])
    verdict = "better" if low > 0 else "worse" if high < 0 else "CANNOT BE TOLD"
    print(f"{verdict}: {' less '.join(MODES)}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    after, before = np.mean(found, axis=0)
    print(f"{METRIC}, {' over '.join(MODES)}, ratio: {after / before:.2f}")
    return 0 if low > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
