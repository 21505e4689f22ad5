"""What every must-show is made of: a command, fresh seeds, tests, and the figure that came of it."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.analysis.leaderboard import RecordedSearch, open_search
from search.analysis.retrain import mean_interval, retrain
from spaces.fields import fields_of
from spaces.papers import paper_config
from trainables.tasks import TASKS

REPOSITORY = Path(__file__).resolve().parents[2]
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


def learning_is_real(issue: int, task: str, limit_s: float) -> Callable[[Path], list[Shown]]:
    """On the synthetic set: the found configuration against the paper's, paired over fresh seeds.

    Args:    issue: that asks for it.
             task: a key of `TASKS`.
             limit_s: the search's time, checked as well.
    """

    def show(folder: Path) -> list[Shown]:
        _, seconds = dermtune(folder, "search", task, "--name", "demo")
        search = open_search(folder / "runs", "demo")
        best, first = search.state.ranked()[0], search.state.trials["t0000"]
        if dict(first.config) != paper_config(fields_of(TASKS[task].space), search.plan.fixed):
            raise RuntimeError("the first trial must be the paper's configuration")
        ours = on_fresh_seeds(search, best.config, best.best_epoch)
        # The paper's configuration gets all the epochs, more than it chose for itself when it was stopped early.
        paper = on_fresh_seeds(search, first.config, search.plan.max_epochs)
        difference = mean_interval([a - b for a, b in zip(ours, paper, strict=True)])
        figure = (
            f"{np.mean(ours):.3f} (epoch {best.best_epoch}) against the paper's {np.mean(paper):.3f} (epoch"
            f" {search.plan.max_epochs}); difference {difference.mean:.3f} [{difference.low:.3f}, {difference.high:.3f}]"
        )
        what = f"synthetic set, 5 fresh seeds, paired: found against the paper's, {search.plan.objective.metric}"
        return [
            Shown(issue, what, f"dermtune search {task}", figure, difference.low > 0),
            Shown(
                issue,
                f"`dermtune search {task}` with no arguments, at most {limit_s / 60:.0f} min on two cores",
                f"dermtune search {task}",
                f"{seconds:.0f} s",
                seconds <= limit_s,
            ),
        ]

    return show


def tests(issue: int, what: str, *arguments: str) -> Callable[[Path], list[Shown]]:
    """A must-show that tests show."""
    return _pytest(issue, what, {}, *arguments)


def tested(issue: int, what: str, environment: dict[str, str], *arguments: str) -> Callable[[Path], list[Shown]]:
    """A must-show that slow tests show, with their sizes set by the environment."""
    return _pytest(issue, what, environment, "-m", "slow", *arguments)


def _pytest(issue: int, what: str, environment: dict[str, str], *arguments: str) -> Callable[[Path], list[Shown]]:
    def show(folder: Path) -> list[Shown]:
        command = [sys.executable, "-m", "pytest", "-q", "-rfEs", "--timeout", "900", *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True)
        lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
        failures = [line[:200] for line in lines if line.startswith(("FAILED ", "ERROR "))]
        figure = "; ".join([lines[-1].strip("= "), *failures]).replace("|", "/")
        told = " ".join([*(f"{name}={value}" for name, value in environment.items()), "pytest", shlex.join(arguments)])
        return [Shown(issue, what, told, figure, done.returncode == 0)]

    return show


def script(issue: int, what: str, *command: str, lines: int = 100) -> Callable[[Path], list[Shown]]:
    """A must-show that a script shows; it exits 1 when it misses its bar.

    Args:    issue: that asks for it.
             what: it is.
             command: the script's path in the repository, and its options.
             lines: last ones of its output that are its figure.
    """

    def show(folder: Path) -> list[Shown]:
        done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True)
        said = done.stdout.strip().splitlines()
        if not said:
            last = done.stderr.strip().splitlines()[-1:]
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {' '.join(last)[-250:]}")
        return [Shown(issue, what, f"python {' '.join(command)}", "; ".join(said[-lines:]), done.returncode == 0)]

    return show
