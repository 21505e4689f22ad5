"""What does a search cost beside its training, against the same through plain Ray Tune?

20 trivial trials of 20 reports, tracked in MLflow on sqlite, no trial stopped early: `dermtune search bowl` with its default
sampler, against Ray Tune as its guides show it: the same trial reporting every epoch from a function, OptunaSearch, a new process
for each trial, MLflowLoggerCallback. Both with Ray up and the database made, from the first suggestion to the last flush, taking
turns. Then the gated demo, Ray started for it as `dermtune search gated` does: how much of the time that its slots were there did
they train?

    python benchmarks/search_overhead.py [--trials 20] [--reports 20] [--repeats 2] [--demo-trials 12]

Exits 1 when ours is less than 8 times as fast, or the demo's slots trained less than 90 % of the time.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tracking_overhead
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch

from search.execution.planning import prepare_search
from search.execution.ray_session import ray_session
from search.execution.session import run_search
from search.records.events import Event
from search.records.folder import SearchFolder
from search.records.ledger import read_events
from search.records.spec import SearchSpec
from search.records.tracking.store import open_client
from search.records.trials import ENDED
from spaces.fields import Value, fields_of
from trainables.contract import TrialRequest
from trainables.tasks import TASKS

BAR, BAR_BUSY = 8.0, 0.9


def ours(folder: Path, uri: str, size: argparse.Namespace) -> float:
    """Seconds of our search; every report is in MLflow."""
    name = f"ours-{time.monotonic_ns()}"
    options = SearchSpec(task="bowl", num_trials=size.trials, max_epochs=size.reports, scheduler="none", name=name)
    seconds = tracking_overhead.timed(options, folder, uri, tracked=True)
    check(uri, name, "valid/height", size)
    return seconds


def train(config: dict[str, Any]) -> None:
    """The same trial, as a function of Ray Tune."""
    task = TASKS["bowl"]
    given: dict[str, Value] = {field.name: config.get(field.name, field.default) for field in fields_of(task.space).values()}
    trial = task.load().build(TrialRequest("bowl", given, None, 0, task.objective, config["reports"]))
    for _ in range(config["reports"]):
        tune.report(dict(trial.step().metrics))


def plain(uri: str, size: argparse.Namespace) -> float:
    """Seconds of plain Ray Tune; every report is in MLflow."""
    name, task = f"plain-{time.monotonic_ns()}", TASKS["bowl"]
    searched = {
        field.name: tune.uniform(float(field.low or 0), float(field.high or 1))
        for field in fields_of(task.space).values()
        if field.searched and isinstance(field.default, float) and not field.log
    }
    with tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            train,
            param_space={"reports": size.reports, **searched},
            tune_config=tune.TuneConfig(
                num_samples=size.trials, metric=task.objective.metric, mode=task.objective.mode, search_alg=OptunaSearch()
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name=name)],
            ),
        )
        start = time.monotonic()
        found = tuner.fit()
        seconds = time.monotonic() - start
    if found.num_errors:
        raise SystemExit(f"Ray's trials must end; got {found.num_errors} errors")
    check(uri, name, "valid/height", size)
    return seconds


def check(uri: str, experiment: str, metric: str, size: argparse.Namespace) -> None:
    """Every trial has a run, and every report is in it once."""
    client = open_client(uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1000)
    counts = [len(client.get_metric_history(run.info.run_id, metric)) for run in runs]
    counts = [count for count in counts if count]
    if counts != [size.reports] * size.trials:
        raise SystemExit(f"MLflow must have {size.trials} runs of {size.reports} reports; got {counts}")


def busy(folder: Path, uri: str, trials: int) -> float:
    """Share of the demo's slots' time in which they trained, from the first trial's beginning to the last one's end."""
    plan = prepare_search(SearchSpec(task="gated", num_trials=trials, name="demo"), storage=folder).plan
    result = run_search(plan, folder, tracking_uri=uri)
    slots = result.plan.max_concurrent or 1
    use = usage(list(read_events(SearchFolder(folder, "demo").ledger_file)), slots)
    whole = use.trained / use.whole
    print(
        f"gated demo, {trials} trials: trained {use.trained:.1f} of {use.whole:.1f} s of {slots} slots, {100 * whole:.1f} %;"
        f" {use.starting:.1f} s until new processes trained, {use.tail:.1f} s with nothing left to begin, without these two"
        f" {100 * use.trained / (use.whole - use.starting - use.tail):.1f} %"
    )
    return whole


@dataclass(frozen=True)
class Usage:
    """Seconds of all slots: in all, in training, before each process's first epoch, after its last trial."""

    whole: float
    trained: float
    starting: float
    tail: float


def usage(events: list[Event], slots: int) -> Usage:
    """What a search's slots did, by its ledger."""
    process = {event.trial: event.where["pid"] for event in events if event.event == "started"}
    begun = {event.trial: event.elapsed_s for event in events if event.event == "suggested"}
    ended = {event.trial: event.elapsed_s for event in events if event.event in ENDED}
    trained = sum(epoch.seconds for event in events if event.event == "reported" for epoch in event.epochs)
    starting, seen = 0.0, set[int]()
    for event in events:
        if event.event == "reported" and process[event.trial] not in seen:
            seen.add(process[event.trial])
            starting += event.elapsed_s - begun[event.trial] - sum(epoch.seconds for epoch in event.epochs)
    last = {process[trial]: at for trial, at in sorted(ended.items(), key=lambda item: item[1])}
    tail = sum(max(ended.values()) - at for at in last.values())
    return Usage(slots * (max(ended.values()) - min(begun.values())), trained, starting, tail)


def main() -> int:
    """Measures both; the ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("trials", 20), ("reports", 20), ("repeats", 2), ("demo-trials", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    tracking_overhead.quiet()
    with tempfile.TemporaryDirectory(prefix="dermtune search overhead ") as scratch:
        folder = Path(scratch)
        uri = f"sqlite:///{folder / 'store.db'}"
        open_client(uri)
        found: dict[str, list[float]] = {"ours": [], "plain": []}
        with ray_session(None):
            small = argparse.Namespace(trials=2, reports=2)
            plain(uri, small)
            ours(folder, uri, small)
            for _ in range(size.repeats):
                found["ours"].append(ours(folder, uri, size))
                found["plain"].append(plain(uri, size))
        share = busy(folder, uri, size.demo_trials) if size.demo_trials else 1.0
    best = {name: min(seconds) for name, seconds in found.items()}
    for name, seconds in found.items():
        print(f"{name}: {', '.join(f'{value:.2f}' for value in seconds)} s for {size.trials} trials of {size.reports} reports")
    ratio = best["plain"] / best["ours"]
    met = ratio >= BAR and share >= BAR_BUSY
    print(f"{'met' if met else 'MISSED'} (at least {BAR}; slots {100 * share:.0f} %, at least {100 * BAR_BUSY:.0f})")
    print(f"plain Ray Tune over ours, ratio: {ratio:.2f}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
