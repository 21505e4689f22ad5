"""What does tracking a search in MLflow cost?

20 trivial trials of 20 reports of 40 metrics: seconds that tracking adds, ours against Ray's MLflowLoggerCallback, on sqlite
and on an MLflow server over HTTP. Ray is up and the database is made before; from the first suggestion to the last flush.
The rate is of the metrics that were logged, which is checked: every one of ours is there once.

    python benchmarks/tracking_overhead.py [--trials 20] [--reports 20] [--metrics 40] [--repeats 3] [--ray-trials N] [--demo 6]

`--ray-trials` runs Ray's callback on fewer trials and scales its seconds up; it is slow over HTTP. `--demo` also measures the
gated demo. Exits 1 when ours adds more than a twentieth of what Ray's adds, more than 0.2 ms a metric, or more than 5 % of
the demo's time.
"""

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

from search.execution import session
from search.execution.planning import prepare_search
from search.execution.ray_session import ray_session
from search.records.events import Event
from search.records.spec import SearchSpec
from search.records.tracking.store import open_client, runs_of

#: Fewer than the demo's own: the share is the same, and four whole demos take a quarter of an hour.
DEMO_EPOCHS = 6
BAR_RATIO, BAR_MS, BAR_SHARE = 1 / 20, 0.2, 0.05


class Untracked:
    """Stands where the tracker does and does nothing."""

    def __init__(self, uri: str, *_: object, **__: object) -> None:
        self.uri, self.experiment_id = uri, ""

    def start(self) -> None:
        """Nothing."""

    def on_event(self, event: Event) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def ours(folder: Path, uri: str, size: argparse.Namespace, *, tracked: bool) -> float:
    """Seconds of our search, from its first suggestion until everything is flushed."""
    options = SearchSpec(
        task="bowl",
        settings={"num_metrics": str(size.metrics)},
        num_trials=size.trials,
        max_epochs=size.reports,
        scheduler="none",
        sampler="random",
        name=f"ours-{time.monotonic_ns()}",
    )
    seconds = timed(options, folder, uri, tracked=tracked)
    if tracked:
        check(uri, str(options.name), size)
    return seconds


def timed(options: SearchSpec, folder: Path, uri: str, *, tracked: bool) -> float:
    """Seconds of a search of ours, from its first suggestion until everything is flushed."""
    plan, begun = prepare_search(options, storage=folder).plan, 0.0

    def on_event(event: Event) -> None:
        nonlocal begun
        if event.event == "suggested" and not begun:
            begun = time.monotonic()

    with mock.patch.object(session, "MlflowTracker", session.MlflowTracker if tracked else Untracked):
        result = session.run_search(plan, folder, tracking_uri=uri, listeners=lambda plan, state: [on_event])
    seconds = time.monotonic() - begun
    if len(result.state.ranked()) != options.num_trials:
        raise SystemExit(f"our search must end {options.num_trials} trials; got {len(result.state.ranked())}")
    return seconds


def demo(folder: Path, trials: int, repeats: int) -> float:
    """Share of the gated demo's wall time that tracking adds; random trials to their end, so that both do the same work."""
    uri = f"sqlite:///{folder / 'demo.db'}"
    open_client(uri)
    found: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2 * repeats):
        tracked = turn % 2 == 1
        options = SearchSpec(
            task="gated",
            num_trials=trials,
            max_epochs=DEMO_EPOCHS,
            scheduler="none",
            sampler="random",
            name=f"demo-{time.monotonic_ns()}",
        )
        found[tracked].append(timed(options, folder, uri, tracked=tracked))
    untracked, with_it = (sum(found[tracked]) / repeats for tracked in (False, True))
    share = with_it / untracked - 1
    each = " and ".join(", ".join(f"{s:.1f}" for s in found[tracked]) for tracked in (False, True))
    print(f"gated demo, {trials} trials, untracked and tracked: {each} s; added {100 * share:+.1f} %", flush=True)
    return share


def check(uri: str, name: str, size: argparse.Namespace) -> None:
    """Every metric of every epoch is there, once, in order."""
    client = open_client(uri)
    runs = list(runs_of(client, client.get_experiment_by_name(name).experiment_id))
    for run in runs:
        for key in ("valid/height", f"valid/further_{size.metrics - 1}"):
            steps = [metric.step for metric in client.get_metric_history(run.info.run_id, key)]
            if steps != list(range(1, size.reports + 1)):
                raise SystemExit(f"{key} of {run.info.run_name} must have every epoch once; got {steps}")
    if len(runs) != size.trials:
        raise SystemExit(f"MLflow must have {size.trials} runs; got {len(runs)}")


class Trivial(tune.Trainable):
    """Reports as many numbers as our trials do, at once."""

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the number of metrics."""
        self._count = int(config["metrics"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes it again."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """One report."""
        return {f"metric_{index}": float(self.iteration + index) for index in range(self._count)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to go on from."""

    def load_checkpoint(self, checkpoint: str) -> None:
        """Nothing to go on from."""


def rays(uri: str | None, size: argparse.Namespace, trials: int) -> float:
    """Seconds of plain Ray Tune with its own callback, or without one."""
    callbacks = [] if uri is None else [MLflowLoggerCallback(tracking_uri=uri, experiment_name=f"ray-{time.monotonic_ns()}")]
    with tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            Trivial,
            param_space={"metrics": size.metrics, "x": tune.uniform(0, 1), "y": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0, stop={"training_iteration": size.reports}, callbacks=callbacks
            ),
        )
        start = time.monotonic()
        found = tuner.fit()
        seconds = time.monotonic() - start
    if found.num_errors:
        raise SystemExit(f"Ray's trials must end; got {found.num_errors} errors")
    return seconds


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """An MLflow server on a database of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'server.db'}",
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    process = subprocess.Popen(
        [*command, "--artifacts-destination", str(folder / "artifacts")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def compare(store: str, uri: str, folder: Path, size: argparse.Namespace, ray_s: float) -> tuple[float, float]:
    """Prints what both add on a store; gives their ratio and our milliseconds a metric.

    Args:    store: its name.
             uri: of it.
             folder: storage of our searches.
             size: of the searches.
             ray_s: seconds that Ray Tune takes without tracking.
    """
    open_client(uri)
    pairs = [(ours(folder, uri, size, tracked=False), ours(folder, uri, size, tracked=True)) for _ in range(size.repeats)]
    added = max(sorted(with_it - without for without, with_it in pairs)[len(pairs) // 2], 0.0)
    trials = min(size.ray_trials or size.trials, size.trials)
    # Without tracking the trials of a shorter search take a like share of the time.
    rays_added = (rays(uri, size, trials) - ray_s * trials / size.trials) * size.trials / trials
    metrics = size.trials * size.reports * size.metrics
    alone = sorted(without for without, _ in pairs)[len(pairs) // 2]
    scaled = "" if trials == size.trials else f" (scaled up from {trials} trials)"
    print(
        f"{store}: untracked ours {alone:.2f} s, Ray's {ray_s:.2f} s; added by ours {added:.2f} s"
        f" ({1000 * added / metrics:.3f} ms a metric), by Ray's callback {rays_added:.1f} s{scaled}:"
        f" 1/{rays_added / max(added, 1e-3):.0f}",
        flush=True,
    )
    return added / rays_added, 1000 * added / metrics


def main() -> int:
    """Runs all four and prints the worse ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("trials", 20), ("reports", 20), ("metrics", 40), ("repeats", 3), ("ray-trials", None)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--demo", type=int, default=0, metavar="TRIALS", help="also the gated demo with so many trials")
    size = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory(prefix="dermtune overhead ") as scratch, ray_session(None):
        folder = Path(scratch)
        warm_up(folder, size)
        ray_s = sorted(rays(None, size, size.trials) for _ in range(size.repeats))[size.repeats // 2]
        found = [compare("sqlite", f"sqlite:///{folder / 'store.db'}", folder, size, ray_s)]
        with server(folder) as uri:
            found.append(compare("HTTP", uri, folder, size, ray_s))
        share = demo(folder, size.demo, 2) if size.demo else 0.0
    ratio, ms = max(ratio for ratio, _ in found), max(ms for _, ms in found)
    met = ratio <= BAR_RATIO and ms <= BAR_MS and share <= BAR_SHARE
    print(f"bars: ratio at most {BAR_RATIO:.2f}, at most {BAR_MS} ms a metric; got {ms:.3f} ms: {'met' if met else 'MISSED'}")
    print(f"worse of the two, ours over Ray's callback, ratio: {ratio:.2f}")
    return 0 if met else 1


def warm_up(folder: Path, size: argparse.Namespace) -> None:
    """Imports and first actors are paid for before anything is timed."""
    small = argparse.Namespace(**{**vars(size), "trials": 2, "reports": 2})
    rays(None, small, 2)
    uri = f"sqlite:///{folder / 'warm.db'}"
    open_client(uri)
    ours(folder, uri, small, tracked=True)


def quiet() -> None:
    """Nothing but the figures."""
    warnings.simplefilter("ignore")
    for name in ("ray", "mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings: Mapping[str, str] = {
        "RAY_AIR_NEW_OUTPUT": "0",
        "PYTHONWARNINGS": "ignore",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    os.environ.update(settings)


if __name__ == "__main__":
    sys.exit(main())
