"""Every must-show of the issues, run for real; writes docs/acceptance.md (command, figure, date, machine).

Run by `make acceptance`, outside continuous integration: it takes about half an hour on two cores.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from search.analysis.leaderboard import RecordedSearch, open_search
from search.analysis.retrain import mean_interval, retrain
from search.strategy.distributions import paper_config
from spaces.fields import fields_of
from trainables.tasks import TASKS

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
DERMTUNE = Path(sys.executable).parent / "dermtune"
FRESH_SEEDS = range(10_000, 10_005)


@dataclass(frozen=True)
class Shown:
    """One must-show and what came of it."""

    issue: int
    what: str
    command: str
    figure: str
    met: bool


def dermtune(folder: Path, *arguments: str) -> tuple[Any, float]:
    """Runs a command with --json in a folder; gives its document and its seconds."""
    start = time.monotonic()
    done = subprocess.run([str(DERMTUNE), *arguments, "--json"], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"dermtune {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout), time.monotonic() - start


def on_fresh_seeds(found: RecordedSearch, config: Any, epoch: int) -> list[float]:
    """The objective of a configuration at an epoch, on seeds that no search used, without selecting again."""
    metrics = retrain(found.plan, config, epoch, list(FRESH_SEEDS), processes=os.cpu_count() or 1)
    return [values[found.plan.objective.metric] for values in metrics]


def fresh_clone(folder: Path) -> list[Shown]:
    """`make demo` and `make test` in a clone whose path has a space."""
    clone = folder / "a fresh clone"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    environment = {**os.environ, "DERMTUNE_CACHE": str(folder / "cache")}
    for name in ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL"):
        environment.pop(name, None)

    def make(target: str) -> tuple[str, float]:
        start = time.monotonic()
        command = ["make", target, f"PYTHON={sys.base_prefix}/bin/python3"]
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"make {target} failed: {done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout, time.monotonic() - start

    _, install_s = make(".venv/.installed")
    demo, demo_s = make("demo")
    complete = all(text in demo for text in ("Best configuration", "Checkpoint:", "Next:", "dermtune best"))
    again, _ = make(".venv/.installed")
    tests, test_s = make("test")
    last = next((line for line in reversed(tests.splitlines()) if " passed" in line), "no test passed")
    return [
        Shown(
            1,
            "`make demo` in a fresh clone whose path has a space, after the install",
            "make demo",
            f"{demo_s:.0f} s (install {install_s:.0f} s)",
            demo_s <= 240 and complete,
        ),
        Shown(
            1,
            "the second make installs nothing",
            "make demo",
            "up to date" if "up to date" in again else again,
            "pip" not in again,
        ),
        Shown(1, "`make test` there", "make test", f"{last.strip('= ')}, {test_s:.0f} s", " passed" in last),
    ]


REAL = ("--set", "size_px=96", "--metric", "valid/diagnosis/auroc", "--trials", "12", "--max-epochs", "30")


def real_input(folder: Path) -> list[Shown]:
    """The search on real images, against the same search on shuffled training labels."""
    table = SHARED / "isic2017_tasks.csv"
    found, seconds = dermtune(folder, "search", "gated", "--data", f"table:{table}", *REAL, "--name", "real")
    (best,), _ = dermtune(folder, "best", "real")
    evaluation, _ = dermtune(folder, "evaluate", best["checkpoint"], "--data", f"table:{table}")
    exact = evaluation["metrics"]["valid/diagnosis/auroc"] == best["value"] == found["best_value"]
    winner = on_fresh_seeds(open_search(folder / "runs", "real"), best["config"], best["epoch"])

    shuffled = shuffle_training_labels(table, folder / "shuffled.csv")
    dermtune(folder, "search", "gated", "--data", f"table:{shuffled}", *REAL, "--name", "shuffled")
    (luck,), _ = dermtune(folder, "best", "shuffled")
    chance = on_fresh_seeds(open_search(folder / "runs", "shuffled"), luck["config"], luck["epoch"])

    command = f"dermtune search gated --data table:../shared/data/isic2017_tasks.csv {' '.join(REAL)}"
    mean, other = mean_interval(winner), mean_interval(chance)
    gap = mean.mean - other.mean
    spread = f"{mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]"
    return [
        Shown(
            1,
            "real search on two cores, at most 20 min",
            command,
            f"{seconds:.0f} s; claimed {best['value']:.3f}, score {best['score']:.3f}",
            seconds <= 1200,
        ),
        Shown(1, "its winner on 5 fresh seeds, above .62", "make acceptance", f"mean AUROC {spread}", mean.mean > 0.62),
        Shown(
            1,
            "at least .08 above the same search on shuffled training labels",
            "make acceptance",
            f"{other.mean:.3f} shuffled (claimed {luck['value']:.3f}), difference {gap:.3f}",
            gap >= 0.08,
        ),
        Shown(
            1,
            "`evaluate` gives back exactly the `value` that the search reported",
            "dermtune evaluate CHECKPOINT --data ...",
            repr(best["value"]),
            exact,
        ),
    ]


def shuffle_training_labels(table: Path, out: Path) -> Path:
    """The table with the rows' labels permuted within the training split; images and validation stay."""
    frame = pd.read_csv(table)
    frame["image"] = [str(table.parent / name) for name in frame["image"]]
    labels = [name for name in frame if name not in ("image", "split")]
    train = frame.index[frame["split"] == "train"].to_numpy()
    frame.loc[train, labels] = frame.loc[np.random.default_rng(0).permutation(train), labels].to_numpy()
    frame.to_csv(out, index=False)
    return out


def learning_is_real(folder: Path) -> list[Shown]:
    """On the synthetic set: the found configuration against the paper's, paired over fresh seeds."""
    _, seconds = dermtune(folder, "search", "gated", "--name", "demo")
    search = open_search(folder / "runs", "demo")
    best, first = search.table.ranked()[0], search.table.trials["t0000"]
    task = TASKS["gated"]
    if dict(first.config) != paper_config(fields_of(task.space), search.plan.fixed):
        raise RuntimeError("the first trial must be the paper's configuration")
    ours = on_fresh_seeds(search, best.config, best.best_epoch)
    # The paper's configuration gets all the epochs, more than it chose for itself when it was stopped early.
    paper = on_fresh_seeds(search, first.config, search.plan.max_epochs)
    difference = mean_interval([a - b for a, b in zip(ours, paper, strict=True)])
    figure = (
        f"{np.mean(ours):.3f} (epoch {best.best_epoch}) against the paper's {np.mean(paper):.3f} (epoch {search.plan.max_epochs});"
        f" difference {difference.mean:.3f} [{difference.low:.3f}, {difference.high:.3f}]; search {seconds:.0f} s"
    )
    return [
        Shown(
            1,
            "synthetic set, 5 fresh seeds, paired: found against the paper's, valid/auroc_mean",
            "dermtune search gated",
            figure,
            difference.low > 0,
        )
    ]


def tests(what: str, *arguments: str) -> Callable[[Path], list[Shown]]:
    """A must-show that tests show."""

    def show(folder: Path) -> list[Shown]:
        command = ["-m", "pytest", "-q", "--timeout", "900", *arguments]
        done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True)
        figure = done.stdout.strip().splitlines()[-1].strip("= ")
        return [Shown(1, what, f"pytest {' '.join(arguments)}", figure, done.returncode == 0)]

    return show


SHOWS: dict[str, Callable[[Path], list[Shown]]] = {
    "clone": fresh_clone,
    "real": real_input,
    "learning": learning_is_real,
    "facts": tests(
        "the paper's facts: 24 labels, seven-point rule, Eq. 7 to 11, gates off, parameter counts, batch sizes",
        "tests/golden",
        "tests/models",
        "tests/trainables/test_losses.py",
        "tests/trainables/test_batches.py",
    ),
    "determinism": tests(
        "determinism: two processes, save at epoch 3 and resume, reused actor",
        "tests/trainables/test_gated_trial.py",
        "tests/search/test_actor.py",
    ),
    "agreement": tests(
        "Ray, Optuna, MLflow and the ledger agree, none RUNNING; own models/ and search/ are not imported",
        "tests/end_to_end/test_agreement.py",
        "tests/end_to_end/test_interruption.py",
        "tests/end_to_end/test_gated_search.py",
    ),
    "bad_input": tests("bad input: one line, exit 2, nothing half-written", "tests/end_to_end/test_bad_input.py"),
}


def gpus() -> str:
    """The GPUs of this machine, in words."""
    import torch

    return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())) or "no GPU"


def attempt(name: str, folder: Path) -> list[Shown]:
    """A must-show; one that breaks is not met, and the others still run."""
    try:
        return SHOWS[name](folder)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return [Shown(1, f"{name} broke", "make acceptance", " ".join(str(error).split())[:300], False)]


def write_page(shown: list[Shown]) -> None:
    """Puts these rows into docs/acceptance.md; rows of what was not run now stay as they were."""
    page = REPOSITORY / "docs" / "acceptance.md"
    rows: dict[str, str] = {}
    for line in page.read_text().splitlines() if page.is_file() else []:
        if re.match(r"\| \d", line):
            rows[line.split(" | ")[1]] = line
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, {gpus()}, Python {platform.python_version()}"
    for s in shown:
        met = "yes" if s.met else "**no**"
        rows[s.what] = f"| {s.issue} | {s.what} | `{s.command}` | {s.figure} | {met} | {datetime.now(UTC):%Y-%m-%d} | {machine} |"
    head = [
        "# Acceptance",
        "",
        "What the issues must show, as `make acceptance` found it. Written by `tests/acceptance.py`; do not edit.",
        "",
        "| issue | what | command | figure | met | date | machine |",
        "|---|---|---|---|---|---|---|",
    ]
    page.write_text("\n".join([*head, *rows.values(), ""]))


def main() -> int:
    """Runs the must-shows, each into the page as soon as it is known; 1 when one is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SHOWS, nargs="*", help="run only these")
    shown: list[Shown] = []
    for name in parser.parse_args().only or SHOWS:
        folder = Path(tempfile.mkdtemp(prefix="dermtune acceptance "))
        try:
            found = attempt(name, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        for one in found:
            print(f"{'met    ' if one.met else 'NOT MET'} {one.what}: {one.figure}", flush=True)
        write_page(found)
        shown += found
    return 0 if all(one.met for one in shown) else 1


if __name__ == "__main__":
    sys.exit(main())
