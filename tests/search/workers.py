"""Workers in this process, for the tests of what they do."""

from pathlib import Path
from typing import Any

from search.execution.code_version import code_version
from search.execution.trial_worker import FUSED, TASK, TRIALS, WORKER, TrialWorker
from search.execution.worker_trial import KNOWN_EPOCH, SAVE_FIRST
from spaces.fields import complete
from trainables.contract import LATENCY_MS, Objective, TrialRequest
from trainables.tasks import TASKS


def assignment(
    folder: Path, source: Path, seed: int, max_epochs: int = 4, known_epoch: int = 0, **settings: Any
) -> dict[str, Any]:
    """The assignment of a small gated trial, heard of last at the known epoch."""
    small = {"size_px": 96, "batches_per_epoch": 1, "sampling": "uniform", "batch_size": 8}
    request = TrialRequest(
        "gated",
        complete(TASKS["gated"].space, {**small, **settings}),
        f"derm7pt:{source}",
        seed,
        Objective("valid/auroc_mean", "max"),
        max_epochs,
        device="cpu",
    )
    return {
        "request": request.to_json(),
        "search": folder.name,
        "trial": f"t{seed}",
        "folder": str(folder / "trials" / f"t{seed}"),
        "home": None,
        SAVE_FIRST: False,
        "rungs": [2],
        "save_every_s": 30.0,
        "code_version": code_version(),
        KNOWN_EPOCH: known_epoch,
    }


def config_of(*assignments: dict[str, Any], fused: bool = False, task: str = "gated") -> dict[str, Any]:
    """A worker's config."""
    return {WORKER: "w0000", TASK: task, FUSED: fused, TRIALS: list(assignments)}


def worker_of(*assignments: dict[str, Any], fused: bool = False, task: str = "gated") -> TrialWorker:
    """A worker in this process."""
    worker = TrialWorker.__new__(TrialWorker)
    worker.setup(config_of(*assignments, fused=fused, task=task))
    return worker


def step(worker: TrialWorker) -> dict[str, Any]:
    """The report of its only trial."""
    (report,) = worker.step()[TRIALS]
    return dict(report)


def epochs_of(worker: TrialWorker) -> list[tuple[int, dict[str, float]]]:
    """Every epoch of its only trial until it is over, without what the clock says."""
    found: list[tuple[int, dict[str, float]]] = []
    while True:
        report = step(worker)
        assert report["failure"] is None
        for epoch in report["epochs"]:
            assert epoch["metrics"][LATENCY_MS] > 0
            found.append((epoch["epoch"], {name: value for name, value in epoch["metrics"].items() if name != LATENCY_MS}))
        if report["ended"]:
            return found
