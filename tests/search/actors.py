"""Actors of the gated task in this process, for the tests of what they do."""

from pathlib import Path
from typing import Any

from search.execution.actor import TrialActor
from search.execution.code_version import code_version
from search.execution.member import KNOWN_EPOCH, SAVE_FIRST
from spaces.fields import complete
from trainables.contract import LATENCY_MS, Objective, TrialRequest
from trainables.tasks import TASKS


def assignment(
    folder: Path, source: Path, seed: int, max_epochs: int = 4, known_epoch: int = 0, **settings: Any
) -> dict[str, Any]:
    """An actor's config for a small gated trial, heard of last at the known epoch."""
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


def epochs_of(actor: TrialActor) -> list[tuple[int, dict[str, float]]]:
    """Every epoch until the trial is over, without what the clock says."""
    found: list[tuple[int, dict[str, float]]] = []
    while True:
        report = actor.step()
        for epoch in report["epochs"]:
            assert epoch["metrics"][LATENCY_MS] > 0
            found.append((epoch["epoch"], {name: value for name, value in epoch["metrics"].items() if name != LATENCY_MS}))
        if report["ended"]:
            return found


def make(config: dict[str, Any]) -> TrialActor:
    """An actor in this process."""
    actor = TrialActor.__new__(TrialActor)
    actor.setup(config)
    return actor
