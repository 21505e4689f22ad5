"""What the tracker leaves in a real store: every value once, whatever the store does meanwhile."""

import json
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bowl_events import begun, config_of, epoch_of, event_of, plan_of, reported, state_after, time_ms
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes
from waiting import let_pass, wait_until

from search.records.events import Event
from search.records.tracking import mlflow_tracker, retrying, store
from search.records.tracking.agreement import mend_mlflow, mlflow_differences
from search.records.tracking.mlflow_tracker import MlflowTracker
from search.records.tracking.retrying import StoreAway
from search.records.tracking.store import TRIAL_TAG, open_client, run_ids, trial_runs
from trainables.counted import of_all
from trainables.data.cases import LabelTask
from trainables.metrics import classification_metrics

pytestmark = [
    # MLflow uses what SQLAlchemy will drop, and leaves its connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

PLAN = plan_of(name="by-hand", num_trials=4, max_epochs=4, cpus_per_trial=2.0, gpus_per_trial=0.5, notes=("small data",))
NOTE = "mlflow.note.content"
SYSTEM = {"process_cpu_percent": 97.5}
# Scores are means of up to three heights; one over fewer never beats one over three.
T0 = [
    epoch_of(1, 4.0, 4.0, True, system=SYSTEM),
    epoch_of(2, 2.0, 3.0, True, system=SYSTEM),
    epoch_of(3, 3.0, 3.0, True, seconds=3.0),
    epoch_of(4, 7.0, 4.0, False),
]
T1 = [epoch_of(1, 5.0, 5.0, True, seconds=1800.0), epoch_of(2, 6.0, 5.5, True)]
T3 = [epoch_of(1, 8.0, 8.0, True), epoch_of(2, 6.0, 7.0, True)]
BEGINNING = [
    event_of("search_started", 0.0),
    *begun("t0", 1.0, seed=7),
    *begun("t1", 2.0, seed=8, x=0.5, rate=0.1),
    event_of("noted", 2.5, text="two at once"),
    reported("t0", 3.0, T0[0]),
    reported("t1", 3.5, T1[0]),
    reported("t0", 4.25, *T0[1:3]),
    event_of("checkpointed", 4.5, trial="t0", epoch=3, path="trials/t0/best-00003", sha256="ab" * 32),
    reported("t1", 5.0, T1[1]),
    event_of("stopped", 5.001, trial="t1", reason="rung 2"),
    *begun("t2", 6.0, seed=9, y=-0.5),
    reported("t0", 6.5, T0[3]),
    event_of("finished", 6.75, trial="t0", reason="max_epochs"),
    *begun("t3", 7.0, seed=10, shape="tilted", tilt=0.25),
    event_of("failed", 8.0, trial="t2", reason="RuntimeError: it broke"),
    reported("t3", 8.5, T3[0]),
]
END = [
    reported("t3", 9.0, T3[1]),
    event_of("stopped", 9.5, trial="t3", reason="rung 2"),
    event_of("search_ended", 10.0, reason="all trials ended"),
]
EVENTS = BEGINNING + END
#: Ctrl-C, and another process that takes the search up.
INTERRUPTED = [
    *BEGINNING,
    event_of("interrupted", 8.75, trial="t3", reason="Ctrl-C"),
    event_of("search_ended", 8.8, reason="interrupted"),
]
RESUMED = [event_of("search_resumed", 8.9), event_of("continued", 8.95, trial="t3"), *END]
TOTAL_S = 2 + 2 + 3 + 2 + 1802 + 4


class Storage:
    """A folder of searches with its store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "mlflow.db"
        self.uri = f"sqlite:///{self.file}"

    def tracker(self, **settings: Any) -> MlflowTracker:
        return MlflowTracker(self.uri, PLAN, self.folder, {"python": "3.12"}, **settings)

    def write(self, events: Sequence[Event], later: Sequence[Event] = (), **settings: Any) -> Exception | None:
        """Gives events to a tracker of its own, the later ones after its start, as a resumption does."""
        tracker = self.tracker(**settings)
        for one in events:
            tracker.on_event(one)
        tracker.start()
        for one in later:
            tracker.on_event(one)
        return tracker.close()

    @property
    def client(self) -> MlflowClient:
        return open_client(self.uri)

    def runs(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name(PLAN.name)
        return list(self.client.search_runs([experiment.experiment_id]))

    def run(self, trial: str | None) -> Run:
        """The one run of a trial, or of the search."""
        (found,) = [run for run in self.runs() if run.data.tags.get(TRIAL_TAG) == trial]
        return found

    def history(self, trial: str | None, key: str) -> list[tuple[int, float, int]]:
        """Step, value and time of a metric, in the order of the store."""
        found = self.client.get_metric_history(self.run(trial).info.run_id, key)
        return [(metric.step, metric.value, metric.timestamp) for metric in found]

    def differences(self, events: Sequence[Event]) -> list[tuple[str, str]]:
        return mlflow_differences(self.uri, PLAN, self.folder, state_after(PLAN, events))

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that the store holds of runs."""
        with closing(sqlite3.connect(self.file)) as database:
            names = ("experiments", "runs", "metrics", "latest_metrics", "params", "tags", "experiment_tags")
            return {name: sorted(database.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}


@pytest.fixture
def storage(fresh_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A store of this test's own in a folder with a space; the tracker and its patience hurry."""
    folder = tmp_path / "my runs"
    folder.mkdir()
    shutil.copy(fresh_store, folder / "mlflow.db")
    monkeypatch.setattr(mlflow_tracker, "GATHER_S", 0.02)
    monkeypatch.setattr(retrying, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: let_pass(0.001)))
    return Storage(folder)


@pytest.fixture(params=["before the start", "while it runs"])
def written(storage: Storage, request: pytest.FixtureRequest) -> Storage:
    """The whole search in a store, by a tracker that heard of it so."""
    early = request.param == "before the start"
    assert storage.write(EVENTS if early else [], [] if early else EVENTS) is None
    return storage


def test_every_epochs_metrics_are_there_once_and_in_order(written: Storage) -> None:
    times = [time_ms(3.0), time_ms(4.25), time_ms(4.25), time_ms(6.5)]
    assert written.history("t0", "valid/height") == list(zip([1, 2, 3, 4], [4.0, 2.0, 3.0, 7.0], times, strict=True))
    assert written.history("t0", "score") == list(zip([1, 2, 3, 4], [4.0, 3.0, 3.0, 4.0], times, strict=True))
    assert written.history("t0", "epoch_s") == list(zip([1, 2, 3, 4], [2.0, 2.0, 3.0, 2.0], times, strict=True))
    assert written.history("t0", "system/process_cpu_percent") == [(1, 97.5, times[0]), (2, 97.5, times[1])]
    assert written.history("t1", "valid/height") == [(1, 5.0, time_ms(3.5)), (2, 6.0, time_ms(5.0))]
    assert written.history("t2", "valid/height") == []
    assert written.differences(EVENTS) == []


AWKWARD = ("..", ".", "a/b", "../../etc", "x" * 300, "x" * 301, "50 %: größe~", "", "valid")


def test_metrics_of_tasks_with_awkward_names_arrive(storage: Storage) -> None:
    """MLflow refuses `valid/../accuracy`, and with it everything else of the run."""
    tasks = [LabelTask(name, ("no", "yes")) for name in AWKWARD]
    codes = np.array([[0, 1, 1, 0]] * len(tasks)).T
    said = np.array([[[0.9, 0.1]], [[0.4, 0.6]], [[0.2, 0.8]], [[0.3, 0.7]]]).repeat(len(tasks), axis=1)
    metrics = of_all(partial(classification_metrics, said, codes, tasks, ".."), 4)
    events = [
        event_of("search_started", 0.0),
        *begun("t0", 1.0),
        reported("t0", 3.0, epoch_of(1, 4.0, 4.0, True, **metrics)),
        event_of("finished", 4.0, trial="t0", reason="max_epochs"),
        event_of("search_ended", 5.0, reason="all trials ended"),
    ]
    assert storage.write(events) is None
    arrived = storage.run("t0").data.metrics
    accuracies = [name for name in arrived if name.startswith("valid/") and name.endswith("/accuracy")]
    assert len(accuracies) == len(AWKWARD)
    assert arrived["valid/-x2E-x2E/accuracy"] == arrived["best/valid/-x2E-x2E/accuracy"] == 0.75
    assert {name: arrived[f"valid/{name}"] for name in metrics} == metrics
    assert storage.differences(events) == []


def test_an_ended_run_has_its_best_epoch_parameters_reason_and_times(written: Storage) -> None:
    run = written.run("t0")
    best = {name: value for name, value in run.data.metrics.items() if name.startswith("best/")}
    assert best == {"best/valid/height": 3.0, "best/score": 3.0, "best/epoch": 3.0}
    assert run.data.metrics["train_s"] == 9.0
    assert written.history("t0", "best/epoch") == [(0, 3.0, time_ms(6.75))]
    params = run.data.params
    assert {name: params[name] for name in ("x", "y", "shape", "rate", "seed")} == {
        "x": "0.0",
        "y": "0.0",
        "shape": "round",
        "rate": "0.3",
        "seed": "7",
    }
    assert params.keys() == config_of().keys() - {"tilt"} | {"seed"}
    tags = run.data.tags
    assert {name: tags[name] for name in ("kind", "state", "reason", "host", "sha256")} == {
        "kind": "trial",
        "state": "finished",
        "reason": "max_epochs",
        "host": "here",
        "sha256": "ab" * 32,
    }
    assert tags["checkpoint"] == str(written.folder / "by-hand" / "trials/t0/best-00003")
    assert tags[NOTE].startswith("**finished** (max_epochs) after 4 of 4 epochs, 9 s.")
    assert (run.info.run_name, run.info.status) == ("t0", "FINISHED")
    assert (run.info.start_time, run.info.end_time) == (time_ms(1.0), time_ms(6.75))


@pytest.mark.parametrize(
    ("trial", "status", "state", "reason", "begins", "ends"),
    [
        ("t1", "FINISHED", "stopped", "rung 2", 2.0, 5.001),
        ("t2", "FAILED", "failed", "RuntimeError: it broke", 6.0, 8.0),
        ("t3", "FINISHED", "stopped", "rung 2", 7.0, 9.5),
    ],
)
def test_every_end_has_its_status(
    trial: str, status: str, state: str, reason: str, begins: float, ends: float, storage: Storage
) -> None:
    assert storage.write(EVENTS) is None
    run = storage.run(trial)
    assert (run.info.status, run.data.tags["state"], run.data.tags["reason"]) == (status, state, reason)
    assert (run.info.start_time, run.info.end_time) == (time_ms(begins), time_ms(ends))
    assert "checkpoint" not in run.data.tags
    assert run.data.tags[NOTE].startswith(f"**{state}** ({reason})")
    assert ("tilt" in run.data.params) == (trial == "t3"), "an inactive field is no parameter"
    assert ("best/epoch" in run.data.metrics) == (trial != "t2")


def test_the_summary_says_where_the_search_stands(written: Storage) -> None:
    run = written.run(None)
    values = dict(run.data.metrics)
    assert values.pop("gpu_hours") == pytest.approx(TOTAL_S * 0.5 / 3600)
    assert values.pop("cpu_hours") == pytest.approx(TOTAL_S * 2.0 / 3600)
    assert values == {
        "trials/all": 4,
        "trials/finished": 1,
        "trials/stopped": 2,
        "trials/failed": 1,
        "trials/interrupted": 0,
        "trials/running": 0,
        "trials/paused": 0,
        "wall_s": 10.0,
        "best/value": 3.0,
        "best/score": 3.0,
        "best/epoch": 3,
        "paper/value": 3.0,
        "paper/score": 3.0,
        "gain": 0.0,
    }
    assert written.history(None, "trials/finished")[-1] == (4, 1.0, time_ms(10.0))
    assert (run.info.status, run.info.end_time) == ("FINISHED", time_ms(10.0))
    tags = run.data.tags
    assert (tags["kind"], tags["ended"], tags["best_trial"]) == ("search", "all trials ended", "t0")
    assert json.loads(tags["best_config"]) == EVENTS[1].config
    assert "Ended: all trials ended. 1 finished, 2 stopped, 1 failed." in tags[NOTE]
    assert "- small data\n- two at once" in tags[NOTE]
    assert (tags["num_trials"], tags["env.python"]) == ("4", "3.12")
    assert {name: run.data.params[name] for name in ("task", "metric", "mode", "seed")} == {
        "task": "bowl",
        "metric": "valid/height",
        "mode": "min",
        "seed": "7",
    }
    experiment = written.client.get_experiment_by_name("by-hand")
    assert experiment.tags[NOTE].startswith("**bowl**: 4 trials of at most 4 epochs")
    assert experiment.artifact_location == (written.folder / "mlartifacts" / "by-hand").as_uri()
    (plan,) = (written.folder / "mlartifacts" / "by-hand").rglob("plan.json")
    assert json.loads(plan.read_text())["name"] == "by-hand"


def test_a_search_without_a_trial_has_a_summary(storage: Storage) -> None:
    assert storage.write(EVENTS[:1]) is None
    (run,) = storage.runs()
    assert (run.info.status, run.data.metrics["trials/all"]) == ("RUNNING", 0)
    assert "best/score" not in run.data.metrics
    assert "No trial yet" in run.data.tags[NOTE]


@pytest.mark.parametrize("anew", [[], ["t0", "t1", "t2", "t3"]])
def test_what_is_written_a_second_time_changes_nothing(anew: list[str], written: Storage) -> None:
    before = written.rows()
    assert {name: len(rows) for name, rows in before.items() if name in ("runs", "experiments")} == {"runs": 5, "experiments": 2}
    assert written.write(EVENTS, anew=anew) is None
    assert written.rows() == before
    assert written.differences(EVENTS) == []


@pytest.mark.parametrize("length", [0, 1, 2, 6, 10, 13, 16, 21, 22])
def test_a_search_goes_on_in_another_process_wherever_the_first_was_cut_short(length: int, storage: Storage) -> None:
    """What the store has of a killed process is a beginning of the ledger, whose whole the next one is given."""
    assert storage.write([], INTERRUPTED[:length]) is None
    assert storage.write(INTERRUPTED, RESUMED) is None
    events = INTERRUPTED + RESUMED
    assert storage.differences(events) == []
    assert len(storage.runs()) == 5
    assert storage.history("t3", "valid/height") == [(1, 8.0, time_ms(8.5)), (2, 6.0, time_ms(9.0))]
    found = storage.run("t3")
    assert (found.info.status, found.data.tags["reason"], found.info.end_time) == ("FINISHED", "rung 2", time_ms(9.5))
    assert storage.run(None).info.status == "FINISHED"


def test_a_search_that_goes_on_is_running_again_with_its_trials(storage: Storage) -> None:
    assert storage.write([], INTERRUPTED) is None
    assert storage.write(INTERRUPTED, RESUMED[:2]) is None
    assert [storage.run(trial).info.status for trial in (None, "t3", "t0")] == ["RUNNING", "RUNNING", "FINISHED"]


def test_the_experiments_page_is_that_of_the_search_when_it_has_ended(written: Storage) -> None:
    page = written.client.get_experiment_by_name(PLAN.name).tags[NOTE]
    assert "Ended: all trials ended. 1 finished, 2 stopped, 1 failed." in page
    assert page == written.run(None).data.tags[NOTE]


@pytest.mark.parametrize("early", [True, False])
def test_what_ended_in_the_store_already_is_not_sent_again(
    early: bool, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store takes no value twice anyway; sending all of a long search's past would take minutes."""
    assert storage.write([], INTERRUPTED) is None
    runs = {storage.run(trial).info.run_id: trial for trial in ("t0", "t1", "t2", "t3")}
    sent: list[str] = []

    def wrapper(name: str, original: Call) -> Call:
        def call(client: MlflowClient, run_id: str, *args: Any, **kwargs: Any) -> Any:
            sent.append(runs.get(run_id, ""))
            return original(client, run_id, *args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        around(patched, ["log_batch"], wrapper)
        assert storage.write(INTERRUPTED, RESUMED, anew=["t1"] if early else []) is None
    assert set(sent) == {"", "t3", *(["t1"] if early else [])}


def test_a_checkpoint_that_is_not_kept_is_said_to_be_gone(storage: Storage) -> None:
    gone = event_of("checkpoint_deleted", 9.6, trial="t0", path="trials/t0/best-00003")
    assert storage.write([], [*EVENTS[:-1], gone, EVENTS[-1]]) is None
    assert storage.run("t0").data.tags["checkpoint"] == "deleted: not among the best"


def test_a_checkpoint_that_goes_after_a_resumption_is_said_to_be_gone(storage: Storage) -> None:
    """Its trial ended in an earlier process, whose past is left alone; this is news."""
    assert storage.write([], INTERRUPTED) is None
    assert "best-00003" in storage.run("t0").data.tags["checkpoint"]
    gone = event_of("checkpoint_deleted", 8.92, trial="t0", path="trials/t0/best-00003")
    assert storage.write(INTERRUPTED, [RESUMED[0], gone, *RESUMED[1:]]) is None
    assert storage.run("t0").data.tags["checkpoint"] == "deleted: not among the best"


def test_an_interrupted_search_looks_like_one(storage: Storage) -> None:
    assert storage.write([], INTERRUPTED) is None
    assert storage.run(None).info.status == "KILLED"
    assert storage.run("t3").info.status == "KILLED"
    assert storage.run(None).data.tags["ended"] == "interrupted"
    assert storage.differences(INTERRUPTED) == []


def test_a_running_search_is_followed(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary is of the moment, and a trial's epochs are there before it ends."""
    monkeypatch.setattr(mlflow_tracker, "SUMMARY_S", 0.0)
    tracker = storage.tracker()
    tracker.start()
    for one in BEGINNING:
        tracker.on_event(one)

    def is_there() -> bool:
        return bool(trial_runs(storage.uri, PLAN.name).get("t3") and storage.history("t3", "valid/height"))

    wait_until(is_there, "the trial's first epoch in MLflow")
    assert storage.history("t3", "valid/height") == [(1, 8.0, time_ms(8.5))]
    assert storage.run("t3").info.status == "RUNNING"
    assert storage.run("t3").data.tags["state"] == "running"
    assert tracker.close() is None
    summary = storage.run(None)
    assert (summary.info.status, summary.data.metrics["trials/running"]) == ("RUNNING", 1)
    assert summary.data.tags[NOTE].count("Best so far: **t0**") == 1


def test_more_metrics_than_mlflow_takes_at_once_are_all_there(storage: Storage) -> None:
    epochs = [epoch_of(epoch, 1 / epoch, 1 / epoch, True, gain=float(epoch)) for epoch in range(1, 601)]
    events = [
        *EVENTS[:1],
        *begun("t0", 1.0),
        reported("t0", 2.0, *epochs),
        event_of("finished", 3.0, trial="t0", reason="max_epochs"),
    ]
    assert storage.write(events) is None
    for key in ("valid/height", "valid/gain", "score", "epoch_s"):
        assert [step for step, _, _ in storage.history("t0", key)] == list(range(1, 601))
    assert storage.differences(events) == []


def test_runs_are_found_by_their_trials(written: Storage) -> None:
    found = trial_runs(written.uri, PLAN.name)
    assert {trial: status for trial, (_, status) in found.items()} == {
        "t0": "FINISHED",
        "t1": "FINISHED",
        "t2": "FAILED",
        "t3": "FINISHED",
    }
    assert run_ids(written.uri, PLAN, written.folder, ["t3", "t9"]) == {"t3": found["t3"][0]}
    unknown = replace(PLAN, name="no such search")
    assert (trial_runs(written.uri, unknown.name), run_ids(written.uri, unknown, written.folder, ["t0"])) == ({}, {})


def test_differences_are_found(written: Storage) -> None:
    client = written.client
    client.log_param(written.run("t0").info.run_id, "stray", "1")
    client.log_metric(written.run("t1").info.run_id, "valid/height", 9.0, step=2, timestamp=time_ms(60.0))
    client.set_terminated(written.run("t2").info.run_id, status="KILLED")
    client.delete_run(written.run("t3").info.run_id)
    assert written.differences(EVENTS) == [
        ("t0", "parameters differ: stray"),
        ("t1", "metric valid/height: 2 epochs logged, 2 in the ledger, or other values"),
        ("t2", "status KILLED, the ledger says failed (FAILED)"),
        ("t3", "0 runs, must be one"),
    ]
    assert mend_mlflow(written.uri, PLAN, written.folder, EVENTS, ["t0", "t1", "t2", "t3"]) is None
    assert written.differences(EVENTS) == []


def test_a_missing_summary_and_strange_runs_and_scores_are_found(written: Storage) -> None:
    client, experiment = written.client, written.client.get_experiment_by_name(PLAN.name)
    client.delete_run(written.run(None).info.run_id)
    client.log_metric(written.run("t0").info.run_id, "best/score", 9.5, timestamp=time_ms(60.0))
    client.create_run(experiment.experiment_id, tags={"kind": "trial", TRIAL_TAG: "t9"})
    assert written.differences(EVENTS) == [
        ("", "no summary run"),
        ("t0", "best/score 9.5, the ledger says 3.0"),
        ("t9", "a run of a trial that the ledger does not know"),
    ]


def test_a_store_that_does_not_take_the_mending_says_so_and_keeps_its_runs(
    written: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.client.log_param(written.run("t0").info.run_id, "stray", "1")
    kept = {run.info.run_id for run in written.runs()}
    with monkeypatch.context() as patched:
        refuse_trial(patched, "t0", "log_batch")
        failure = mend_mlflow(written.uri, PLAN, written.folder, EVENTS, ["t0"])
    assert isinstance(failure, MlflowException)
    assert {run.info.run_id for run in written.runs()} == kept


def test_the_pages_of_trials_are_read_to_the_last(written: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PAGE", 3)
    assert sorted(trial_runs(written.uri, PLAN.name)) == ["t0", "t1", "t2", "t3"]


Call = Callable[..., Any]
CALLS = (
    "search_experiments",
    "get_experiment_by_name",
    "create_experiment",
    "search_runs",
    "create_run",
    "log_batch",
    "log_dict",
    "set_terminated",
    "update_run",
)


def transient() -> MlflowException:
    return MlflowException("database is locked", error_code=codes.TEMPORARILY_UNAVAILABLE)


def around(monkeypatch: pytest.MonkeyPatch, names: Sequence[str], wrapper: Callable[[str, Call], Call]) -> None:
    """Puts something between MLflow's client and who calls it."""
    for name in names:
        monkeypatch.setattr(MlflowClient, name, wrapper(name, getattr(MlflowClient, name)))


def refuse_trial(monkeypatch: pytest.MonkeyPatch, trial: str | None, method: str) -> None:
    def wrapper(name: str, original: Call) -> Call:
        def call(client: MlflowClient, run_id: str, *args: Any, **kwargs: Any) -> Any:
            if client.get_run(run_id).data.tags.get(TRIAL_TAG) == trial:
                raise MlflowException("this run may not", error_code=codes.INVALID_PARAMETER_VALUE)
            return original(client, run_id, *args, **kwargs)

        return call

    around(monkeypatch, [method], wrapper)


@pytest.mark.parametrize("method", ["log_batch", "set_terminated"])
@pytest.mark.parametrize("early", [True, False])
def test_a_run_that_is_refused_does_not_keep_the_others_from_being_written(
    method: str, early: bool, storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        refuse_trial(patched, "t1", method)
        failure = storage.write(EVENTS if early else [], [] if early else EVENTS)
    assert isinstance(failure, MlflowException)
    assert "this run may not" in str(failure)
    said = [record.getMessage() for record in caplog.records if record.name == "dermtune.tracking"]
    assert [line.partition(":")[0] for line in said] == ["MLflow refused something of t1"]
    differences = storage.differences(EVENTS)
    assert {trial for trial, _ in differences} == {"t1"}
    assert storage.run(None).data.tags["ended"] == "all trials ended"
    assert mend_mlflow(storage.uri, PLAN, storage.folder, EVENTS, ["t1"]) is None
    assert storage.differences(EVENTS) == []


def test_a_summary_that_is_refused_does_not_keep_the_trials_from_being_written(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        refuse_trial(patched, None, "log_batch")
        assert isinstance(storage.write([], EVENTS), MlflowException)
    assert storage.differences(EVENTS) == []
    said = [record.getMessage() for record in caplog.records if record.name == "dermtune.tracking"]
    assert [line.partition(":")[0] for line in said] == ["MLflow refused something of the search"]


def test_what_a_refused_trial_still_has_to_say_is_not_tried(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def wrapper(name: str, original: Call) -> Call:
        def call(client: MlflowClient, run_id: str, *args: Any, **kwargs: Any) -> Any:
            if client.get_run(run_id).data.tags.get(TRIAL_TAG) == "t1":
                asked.append(name)
                raise MlflowException("this run may not", error_code=codes.INVALID_PARAMETER_VALUE)
            return original(client, run_id, *args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        around(patched, ["log_batch", "set_terminated"], wrapper)
        storage.write([], EVENTS)
    assert asked == ["log_batch"]


@pytest.mark.parametrize("failures", [1, 4, 40])
def test_a_store_that_is_away_at_first_loses_nothing(failures: int, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [failures]

    def wrapper(name: str, original: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise transient()
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        around(patched, CALLS, wrapper)
        assert storage.write([], EVENTS) is None
    assert left == [0]
    assert storage.differences(EVENTS) == []
    assert len(storage.runs()) == 5


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_fails_at_every_other_call_loses_and_doubles_nothing(
    when: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After: it has done what was asked, and its answer is lost on the way."""
    counts: dict[str, int] = {}

    def wrapper(name: str, original: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] = counts.get(name, 0) + 1
            fails = counts[name] % 2 == 1
            if fails and when == "before":
                raise transient()
            answer = original(*args, **kwargs)
            if fails:
                raise transient()
            return answer

        return call

    with monkeypatch.context() as patched:
        around(patched, [name for name in CALLS if name != "search_experiments"], wrapper)
        assert storage.write([], EVENTS) is None
    assert counts["create_run"] >= 5
    assert len(storage.runs()) == 5
    assert storage.differences(EVENTS) == []
    with monkeypatch.context() as patched:
        around(patched, [name for name in CALLS if name != "search_experiments"], wrapper)
        assert storage.write(EVENTS) is None
    assert len(storage.runs()) == 5
    assert storage.differences(EVENTS) == []


@pytest.mark.parametrize("lost", [1, 2, 4])
def test_a_run_whose_making_was_not_answered_is_not_made_again(
    lost: int, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the making of t1's run is lost, and then, with `lost` above 1, those to looking for it."""
    left, made = [lost], list[str]()

    def wrapper(name: str, original: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = original(*args, **kwargs)
            if name == "create_run":
                made.append(kwargs["run_name"])
            if left[0] and made[-1:] == ["t1"]:
                left[0] -= 1
                raise transient()
            return answer

        return call

    with monkeypatch.context() as patched:
        around(patched, ["create_run", "search_runs"], wrapper)
        assert storage.write([], EVENTS) is None
    assert left == [0]
    assert made == ["search by-hand", "t0", "t1", "t2", "t3"]
    assert len(storage.runs()) == 5
    assert storage.differences(EVENTS) == []


def test_a_store_that_goes_for_good_is_said_and_later_given_the_rest(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [0]

    def wrapper(name: str, original: Call) -> Call:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            if calls[0] > 15:
                raise transient()
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        around(patched, CALLS, wrapper)
        failure = storage.write([], EVENTS, patience_s=0.2)
    assert isinstance(failure, StoreAway)
    assert "database is locked" in str(failure)
    assert {trial for trial, _ in storage.differences(EVENTS)} >= {"t3"}
    assert storage.write(EVENTS) is None
    assert storage.differences(EVENTS) == []
    assert len(storage.runs()) == 5


def test_a_store_that_cannot_be_opened_is_the_answer_of_close(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    tracker = MlflowTracker("nosuch://store", PLAN, storage.folder, {}, patience_s=0.1)
    tracker.start()
    for one in EVENTS:
        tracker.on_event(one)
    assert tracker.close() is not None
    assert caplog.records[-1].getMessage().startswith("MLflow did not take everything: ")


def test_the_interpreter_changes_hands_faster_while_a_tracker_writes(storage: Storage) -> None:
    before = sys.getswitchinterval()
    tracker = storage.tracker()
    tracker.start()
    assert sys.getswitchinterval() == pytest.approx(0.001)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "mlflow"]
    assert thread.daemon, "it must not keep a dying driver alive"
    assert tracker.close() is None
    assert sys.getswitchinterval() == before


def test_a_tracker_that_was_never_started_closes_at_once(storage: Storage) -> None:
    tracker = storage.tracker()
    tracker.on_event(EVENTS[0])
    assert tracker.close() is None


def test_limits_that_a_resumption_raises_are_written_anew(storage: Storage) -> None:
    assert storage.write([], INTERRUPTED) is None
    longer = replace(PLAN, num_trials=9, time_budget_s=60.0)
    tracker = MlflowTracker(storage.uri, longer, storage.folder, {"python": "3.13"})
    for one in INTERRUPTED:
        tracker.on_event(one)
    tracker.start()
    for one in RESUMED:
        tracker.on_event(one)
    assert tracker.close() is None
    tags = storage.run(None).data.tags
    assert (tags["num_trials"], tags["time_budget_s"], tags["env.python"]) == ("9", "60.0", "3.13")


def test_ctrl_c_goes_without_a_store_that_is_away_from_the_line_that_offers_it_on(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = storage.tracker()
    tracker.start()
    monkeypatch.setattr(retrying.RetryingCaller, "is_away", True)

    def interrupted(text: str, *values: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow_tracker._log, "warning", interrupted)
    failure = tracker.close()
    assert str(failure) == "interrupted while MLflow was being written to"
