"""Does learned sharing help? The gated network with gates learnt, off (independent networks) and open (everything is shared).

The paper's configuration at the demo's size on the synthetic Derm7pt set: one run of each on every seed, with the same cases. A
seed decides initial weights, batches and augmentation alike, so differences are paired. Compared are `valid/auroc_mean` at the
best epoch (trailing mean of three validations, as a search ranks) and at the last, with a t-interval over the seeds.

    python benchmarks/gates_learned.py [--seeds 5] [--epochs 18] [--cases 600] [--data-seed 0] [--set FIELD=VALUE ...]

Prints the differences whatever they are and exits 0: this is a question, not a bar.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from scipy import stats

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from spaces.fields import Value, complete, fields_of  # noqa: E402
from spaces.gated import PRESETS, GatedSpace  # noqa: E402
from trainables.contract import TrialRequest  # noqa: E402
from trainables.data.source import synthetic_location  # noqa: E402
from trainables.gated import task as gated  # noqa: E402
from trainables.tasks import TASKS  # noqa: E402

METRIC, CONTRIBUTION = "valid/auroc_mean", "valid/gates/contribution"
MODES = ("learned", "off", "open")
WHEN = ("best", "last")


def run(mode: str, seed: int, source: str, epochs: int, settings: dict[str, Value]) -> dict[str, float]:
    """One trial to its last epoch: its metric at the best epoch and at the last, each a mean of three validations."""
    torch.set_num_threads(1)
    config = complete(GatedSpace, {**PRESETS["demo"].fixed, **settings, "gates": mode})
    trial = gated.build(TrialRequest("gated", config, source, seed, TASKS["gated"].objective, epochs, device="cpu"))
    reports = [trial.step() for _ in range(epochs)]
    scores = [report.score for report in reports]
    found = {"best": max(scores), "last": scores[-1]}
    of_gates = [report.metrics[CONTRIBUTION] for report in reports[-3:] if CONTRIBUTION in report.metrics]
    return {**found, "contribution": float(np.mean(of_gates))} if of_gates else found


def interval(values: Sequence[float]) -> str:
    """Mean with the 95 % interval of Student's t."""
    mean, half = float(np.mean(values)), 0.0
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"


def main() -> int:
    """Runs every mode on every seed and prints what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=PRESETS["demo"].max_epochs)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cases", type=int, default=PRESETS["demo"].synthetic_cases)
    parser.add_argument("--data-seed", type=int, default=0)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="FIELD=VALUE")
    given = parser.parse_args()
    fields = fields_of(GatedSpace)
    pairs = (text.partition("=") for text in given.settings)
    settings = {name: fields[name].parse(value) for name, _, value in pairs}
    source = f"derm7pt:{synthetic_location(given.cases, PRESETS['demo'].synthetic_size_px, given.data_seed)}"
    jobs = [(mode, seed, source, given.epochs, settings) for seed in range(given.seeds) for mode in MODES]
    found: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    begun = time.perf_counter()
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        for (mode, seed, *_), measured in zip(jobs, pool.map(run, *zip(*jobs, strict=True)), strict=True):
            found[mode].append(measured)
            told = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
            print(f"seed {seed}, {mode}: {told} ({time.perf_counter() - begun:.0f} s)", flush=True)
    for mode in MODES:
        means = ", ".join(f"{when} {np.mean([one[when] for one in found[mode]]):.4f}" for when in WHEN)
        print(f"{mode}: {METRIC} {means}")
    print(f"gates' contribution, last epochs: {interval([one['contribution'] for one in found['learned']])}")
    for other in MODES[1:]:
        for when in WHEN:
            gaps = [one[when] - two[when] for one, two in zip(found["learned"], found[other], strict=True)]
            print(f"learned - {other}, {when} epoch, {given.seeds} seeds, AUROC: {interval(gaps)}")
    learned, off = (np.mean([one["best"] for one in found[mode]]) for mode in ("learned", "off"))
    print(f"{METRIC}, learned over off, best epoch, ratio: {learned / off:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
