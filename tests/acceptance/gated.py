"""What the gated task must show (issue 1)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from shown import REPOSITORY, SHARED, Shown, dermtune, learning_is_real, on_fresh_seeds, tests

from search.analysis.leaderboard import open_search
from search.analysis.retrain import mean_interval


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


SHOWS = {
    "clone": fresh_clone,
    "real": real_input,
    "learning": learning_is_real(1, "gated", 240),
    "facts": tests(
        1,
        "the paper's facts: 24 labels, seven-point rule, Eq. 7 to 11, gates off, parameter counts, batch sizes",
        "tests/golden",
        "tests/models",
        "tests/trainables/test_losses.py",
        "tests/trainables/test_batches.py",
    ),
    "determinism": tests(
        1,
        "determinism: two processes, save at epoch 3 and resume, reused actor",
        "tests/trainables/test_gated_trial.py",
        "tests/search/test_actor.py",
    ),
    "agreement": tests(
        1,
        "Ray, Optuna, MLflow and the ledger agree, none RUNNING; own models/ and search/ are not imported",
        "tests/end_to_end/test_agreement.py",
        "tests/end_to_end/test_interruption.py",
        "tests/end_to_end/test_gated_search.py",
    ),
    "bad_input": tests(1, "bad input: one line, exit 2, nothing half-written", "tests/end_to_end/test_bad_input.py"),
}
