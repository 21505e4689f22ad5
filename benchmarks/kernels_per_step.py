"""Would a GPU wait for its kernels to start, or to end? Only what waits for starts gains by training as one program.

Counts the operations and the arithmetic of a training step of each task, at the demo's and the paper's size, and says for how
long a GPU of so many TFLOP/s would compute and for how long it would wait while so many operations are started one after
another. The counts are measured; the two rates are assumptions that can be given. Needs no Ray, Optuna or MLflow.

    python benchmarks/kernels_per_step.py [--tflops 60] [--start-us 5] [--sizes demo paper]

The last line is the larger of both times over the arithmetic for attentive at the last size: an array of its trials could be at
most so many times as fast as one after another.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import measuring
import torch

from spaces.fields import complete
from trainables.contract import TrialRequest
from trainables.data import DATASETS
from trainables.tasks import TASKS

CASES = 240


def learner_of(task: str, preset: str, folder: Path) -> Any:
    """What trains the paper's configuration on a synthetic set at a preset's size."""
    known = TASKS[task]
    fixed = dict(known.presets[preset].fixed)
    if task == "attentive":
        fixed["encoder_weights"] = "none"
    config = complete(known.space, fixed)
    synthesise = DATASETS[str(known.synthetic)].synthesise
    place = folder / f"{task}-{preset}"
    if synthesise is not None and not place.exists():
        synthesise(place, CASES, int(str(config["size_px"])), 0)
    request = TrialRequest(task, config, f"{known.synthetic}:{place}", 0, known.objective, 10, "cpu", torch.get_num_threads())
    trial: Any = known.load().build(request)
    trial.begin_epoch()
    return trial.learner


def step_of(learner: Any) -> None:
    """One training step."""
    loss = learner.loss(learner.draw_batch())
    learner.optimizer.zero_grad()
    loss.backward()
    learner.optimizer.step()


def main() -> int:
    """Prints a line a task and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=60.0, help="single-precision TFLOP/s of a GPU")
    parser.add_argument("--start-us", type=float, default=5.0, help="microseconds to start an operation")
    parser.add_argument("--sizes", nargs="+", choices=("demo", "paper"), default=["demo", "paper"])
    asked = parser.parse_args()
    print(measuring.machine(torch.device("cpu")))
    gain = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for task in ("gated", "attentive"):
            for preset in asked.sizes:
                learner = learner_of(task, preset, Path(folder))
                step_of(learner)
                work = measuring.work_of(lambda learner=learner: step_of(learner))
                computes_ms, starts_ms = work.flops / asked.tflops / 1e9, work.num_kernels * asked.start_us / 1e3
                gain = max(computes_ms, starts_ms) / computes_ms
                print(
                    f"{task}, {preset}: {work.num_kernels} operations, {work.flops / 1e9:.1f} GFLOP a step;"
                    f" {computes_ms:.2f} ms of arithmetic at {asked.tflops:g} TFLOP/s, {starts_ms:.1f} ms to start them:"
                    f" at most {gain:.1f} times"
                )
    print(f"attentive as one program over one after another, at most, ratio: {gain:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
