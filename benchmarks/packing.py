"""How many trials at once are best on this machine, and does a search's own choice come near?

Gated trials, each in a process of its own as a search runs them, at the demo's size on a CPU and the paper's on a GPU. On a
CPU: all cores shared out among 1, 2, 4 … trials, and twice as many threads as cores (what a search must not do). On a GPU: 1,
2, 4, 8 and 16 trials on it, and how many `--gpus-per-trial auto` would put there after measuring one. Each is timed for the same
while, from a moment when all have trained one epoch: training batches a second of all together. Needs no Ray, Optuna or MLflow.

    python benchmarks/packing.py [--device cuda] [--seconds 8]

Exits 1 when a search's own choice reaches less than 0.9 of the best.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import measuring
import torch

from search.strategy.packing import packed_share
from spaces.fields import Value, fields_of
from trainables.contract import TrialRequest
from trainables.data.derm7pt_synthetic import write
from trainables.tasks import TASKS

BAR = 0.9
ON_A_GPU = (1, 2, 4, 8, 16)
#: What a search gives a trial unless told otherwise (`search.execution.options.SearchSpec`).
DEFAULT_CPUS = 1


@dataclass(frozen=True)
class Layout:
    """Trials at once, and threads of each."""

    trials: int
    threads: int


def request(source: str, device: str, layout: Layout, seed: int) -> TrialRequest:
    """A trial of the paper's configuration, as a search would ask for it."""
    task = TASKS["gated"]
    settings = task.presets["demo" if device == "cpu" else "paper"].fixed
    config: dict[str, Value] = {field.name: settings.get(field.name, field.default) for field in fields_of(task.space).values()}
    share = 1 / layout.trials if device == "cuda" else 0.0
    return TrialRequest(
        "gated", config, source, seed, task.objective, 10_000, device, num_threads=layout.threads, gpu_share=share
    )


def train(asked: TrialRequest, barrier: Any, seconds: float, told: Any) -> None:
    """A trial's process: tells how many batches it trained in that time, and how long it really took."""
    trial = TASKS["gated"].load().build(asked)
    trial.step()
    barrier.wait()
    begun, epochs = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        trial.step()
        epochs += 1
    reserved = torch.cuda.max_memory_reserved() / 2**20 if asked.device == "cuda" else 0.0
    told.put((epochs * int(str(asked.config["batches_per_epoch"])) / (time.monotonic() - begun), reserved))


def throughput(source: str, device: str, layout: Layout, seconds: float) -> tuple[float, float]:
    """Batches a second of all trials together, and the most memory in MiB that one had reserved on the GPU."""
    context = get_context("spawn")
    barrier, told = context.Barrier(layout.trials), context.Queue()
    processes = [
        context.Process(target=train, args=(request(source, device, layout, seed), barrier, seconds, told))
        for seed in range(layout.trials)
    ]
    for process in processes:
        process.start()
    try:
        found = [told.get(timeout=seconds + 200) for _ in processes]
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return sum(rate for rate, _ in found), max(mib for _, mib in found)


def on_cpu(source: str, seconds: float) -> tuple[Mapping[Layout, float], Layout]:
    """Every way to share out the cores, and the search's own."""
    cores = len(os.sched_getaffinity(0))
    counts = [count for count in (1, 2, 4, 8, 16, 32, 64, 128) if count <= cores]
    layouts = [*(Layout(count, cores // count) for count in counts), Layout(cores, 2)]
    found = {layout: throughput(source, "cpu", layout, seconds)[0] for layout in layouts}
    return found, max((layout for layout in layouts if layout.threads == DEFAULT_CPUS), key=lambda layout: layout.trials)


def on_gpu(source: str, seconds: float) -> tuple[Mapping[Layout, float], Layout]:
    """Every count, and the one that a search would take."""
    found, reserved = {}, 0.0
    for count in ON_A_GPU:
        found[Layout(count, 1)], mib = throughput(source, "cuda", Layout(count, 1), seconds)
        reserved = reserved or mib
    fits = round(1 / packed_share(reserved, torch.cuda.get_device_properties(0).total_memory / 2**20))
    return found, Layout(max(count for count in ON_A_GPU if count <= fits), 1)


def main() -> int:
    """Measures all; the ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    given = parser.parse_args()
    device = ("cuda" if torch.cuda.is_available() else "cpu") if given.device == "auto" else given.device
    preset = TASKS["gated"].presets["demo" if device == "cpu" else "paper"]
    with tempfile.TemporaryDirectory(prefix="dermtune packing ") as scratch:
        os.environ["DERMTUNE_CACHE"] = f"{scratch}/cache"
        folder = Path(scratch) / "set"
        write(folder, preset.synthetic_cases, preset.synthetic_size_px, 0)
        source = f"derm7pt:{folder}"
        # The images are decoded before anything is timed.
        throughput(source, device, Layout(1, 1), 0.1)
        found, own = on_cpu(source, given.seconds) if device == "cpu" else on_gpu(source, given.seconds)
    print(measuring.machine(torch.device(device)))
    one = next(iter(found.values()))
    for layout, rate in found.items():
        mark = "  <- a search's own choice" if layout == own else ""
        print(
            f"{layout.trials} trials, {layout.threads} threads each: {rate:.1f} batches/s, {rate / one:.2f} times the first{mark}"
        )
    ratio = found[own] / max(found.values())
    print(f"{'met' if ratio >= BAR else 'MISSED'} (at least {BAR}): own choice over the best, ratio: {ratio:.2f}")
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
