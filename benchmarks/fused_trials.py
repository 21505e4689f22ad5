"""How many gated trials an hour, as one program of N, as N processes side by side, and one after another?

At the demo's size on a CPU with all cores, at the paper's on a GPU. A trial is as many epochs as the preset's longest. An array's
first epoch must be its members' own. Each measurement has a process of its own, so that its peak of memory is its own: of the
process on a CPU, of torch's on a GPU. Needs no Ray, Optuna or MLflow.

    python benchmarks/fused_trials.py [--device cuda] [--seconds 10] [--most 64]

Exits 1 when an array of 16 on a GPU is less than 6 times as fast as one trial after another, or one of 8 on a CPU less than 1.5
times.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import measuring
import packing
import torch

from trainables.contract import EpochReport
from trainables.data.derm7pt_synthetic import write
from trainables.gated.fused import step_together
from trainables.tasks import TASKS

SIZES = (1, 2, 4, 8, 16, 32, 64)
#: Device → (array that is held to a bar, times one after another).
BARS = {"cpu": (8, 1.5), "cuda": (16, 6.0)}
#: Largest relative difference of a loss after an epoch in double precision, whose images are still turned in single.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Found:
    """What an array did.

    Args:    epochs_per_s: of all members together.
             peak_mib: of memory.
    """

    epochs_per_s: float
    peak_mib: float


def array(source: str, device: str, size: int, threads: int, seconds: float, told: Any) -> None:
    """A process: so many trials as one program, for so long."""
    asked = [packing.request(source, device, packing.Layout(1, threads), seed) for seed in range(size)]
    trials = [TASKS["gated"].load().build(request) for request in asked]
    step_together(trials)
    if device == "cuda":
        torch.cuda.synchronize()
    begun, epochs = time.monotonic(), 0
    while time.monotonic() - begun < seconds or not epochs:
        epochs += len(step_together(trials))
    rate = epochs / (time.monotonic() - begun)
    peak = torch.cuda.max_memory_reserved() / 2**20 if device == "cuda" else peak_mib()
    told.put(Found(rate, peak))


def peak_mib() -> float:
    """The most memory that this process has had; `ru_maxrss` would also count its parent's."""
    status = Path("/proc/self/status").read_text()
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024


def gap(source: str, device: str, size: int = 3) -> float:
    """Largest relative difference between a member's loss and the trial's alone, after an epoch in double precision."""

    def doubled(seed: int) -> Any:
        asked = packing.request(source, device, packing.Layout(1, 1), seed)
        return TASKS["gated"].load().build(replace(asked, config={**asked.config, "precision": "float64"}))

    together = step_together([doubled(seed) for seed in range(size)])
    alone = [doubled(seed).step().metrics["train/loss"] for seed in range(size)]
    found = [report.metrics["train/loss"] for report in together if isinstance(report, EpochReport)]
    return max(abs(one - other) / other for one, other in zip(found, alone, strict=True))


def measured(source: str, device: str, size: int, threads: int, seconds: float) -> Found | str:
    """An array in a process of its own; why it could not be measured where it ended before."""
    context = get_context("spawn")
    told = context.Queue()
    process = context.Process(target=array, args=(source, device, size, threads, seconds, told))
    process.start()
    try:
        while process.is_alive() and told.empty():
            time.sleep(0.1)
        return told.get(timeout=5) if not told.empty() or process.exitcode == 0 else f"ended with {process.exitcode}"
    finally:
        process.terminate()
        process.join()


def beside(source: str, device: str, size: int, seconds: float) -> float:
    """Epochs a second of so many processes, the cores shared out among them."""
    cores = len(os.sched_getaffinity(0))
    asked = packing.request(source, device, packing.Layout(1, 1), 0)
    batches, _ = packing.throughput(source, device, packing.Layout(size, max(1, cores // size)), seconds)
    return batches / int(str(asked.config["batches_per_epoch"]))


def main() -> int:
    """Measures all; the ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--most", type=int, default=64, help="members of the largest array")
    given = parser.parse_args()
    device = ("cuda" if torch.cuda.is_available() else "cpu") if given.device == "auto" else given.device
    preset, cores = TASKS["gated"].presets["demo" if device == "cpu" else "paper"], len(os.sched_getaffinity(0))
    threads = cores if device == "cpu" else 1
    with tempfile.TemporaryDirectory(prefix="dermtune fused ") as scratch:
        os.environ["DERMTUNE_CACHE"] = f"{scratch}/cache"
        write(Path(scratch) / "set", preset.synthetic_cases, preset.synthetic_size_px, 0)
        source = f"derm7pt:{Path(scratch) / 'set'}"
        packing.throughput(source, device, packing.Layout(1, 1), 0.1)  # the images are decoded before anything is timed
        print(measuring.machine(torch.device(device)))
        apart = gap(source, device)
        print(
            f"members and trials alone after an epoch: {'equal' if apart <= TOLERANCE else 'NOT EQUAL'} ({apart:.1e})", flush=True
        )
        sizes = [size for size in SIZES if size <= given.most]
        found = {size: measured(source, device, size, threads, given.seconds) for size in sizes}
        processes = [size for size in sizes if size <= (cores if device == "cpu" else 16)]
        side_by_side = {size: beside(source, device, size, given.seconds) for size in processes}
    one = found[1]
    if isinstance(one, str):
        print(f"one trial alone {one}; ratio: 0.00")
        return 1
    for size, result in found.items():
        if isinstance(result, str):
            print(f"array of {size}: {result}")
            continue
        hourly = 3600 * result.epochs_per_s / preset.max_epochs
        packed = f"; as processes {side_by_side[size] / one.epochs_per_s:.2f}" if size in side_by_side else ""
        print(
            f"array of {size}: {hourly:.0f} trials/h, {result.epochs_per_s / one.epochs_per_s:.2f} times alone{packed};"
            f" peak {result.peak_mib:.0f} MiB"
        )
    size, bar = BARS[device]
    size = size if size in found else sizes[-1]
    held = found[size]
    ratio = 0.0 if isinstance(held, str) else held.epochs_per_s / one.epochs_per_s
    met = ratio >= bar and apart <= TOLERANCE
    print(f"{'met' if met else 'MISSED'} (at least {bar}): an array of {size} over one after another, ratio: {ratio:.2f}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
