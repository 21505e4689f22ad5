"""Notes on data and trials: from the actor over the ledger to the live view and `show --trial`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bowl_events import epoch_result, event_of
from ray.tune.utils import flatten_dict
from rich.console import Console
from workers import step, worker_of

from search.cli.live import SearchView
from search.cli.main import run
from search.execution import session
from search.execution.code_version import code_version
from search.execution.resources import NodeGroup
from search.execution.trial_worker import TRIALS
from search.execution.tune_runner import TuneScheduler
from search.execution.worker_trial import KNOWN_EPOCH, SAVE_FIRST
from search.records.events import Checkpointed, EpochResult
from search.records.folder import SearchFolder
from search.records.ledger import Ledger, read_events
from search.records.plan import Plan
from search.records.state import SearchState
from search.strategy.search_controller import SearchController
from search.strategy.worker_report import Change, TrialReport
from spaces.bowl import BowlSpace
from spaces.fields import complete
from trainables.contract import Objective, TrialRequest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
PLAN = Plan(
    name="mine",
    task="bowl",
    source=None,
    preset="demo",
    fixed={"noise": 0.0, "fault": "none", "idle_epochs": 0, "seconds_per_epoch": 0.0},
    objective=Objective("valid/height", "min"),
    num_trials=2,
    max_epochs=9,
    gpus_per_trial=0.0,
    max_concurrent=1,
)


@pytest.mark.parametrize("terminal", [False, True])
def test_the_live_view_says_each_note_once(tmp_path: Path, terminal: bool) -> None:
    state, text = SearchState(PLAN.objective), StringIO()
    view = SearchView(PLAN, state, Console(file=text, force_terminal=terminal, highlight=False, width=200))
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.subscribe(state.apply)
        ledger.subscribe(view.on_event)
        ledger.append(event_of("search_started", name="mine"))
        ledger.append(event_of("noted", text="3 cases have [no] mask"))
        for trial, notes in (("t0", ["weights are [random]"]), ("t1", ["weights are [random]", "no dropout"]), ("t2", [])):
            ledger.append(event_of("suggested", trial=trial, config={}, seed=0))
            ledger.append(event_of("started", trial=trial, where={}, notes=notes))
        ledger.append(event_of("search_ended", reason="all trials"))
    view.close()
    for line in ("3 cases have [no] mask", "t0: weights are [random]", "t1: no dropout"):
        assert text.getvalue().count(line) == 1
    assert "t1: weights" not in text.getvalue()
    assert "t2: " not in text.getvalue()


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage with one search whose first trial has two notes."""
    folder = SearchFolder(tmp_path, "mine")
    folder.create(PLAN).release()
    epoch = epoch_result(epoch=1, metrics={"valid/height": 0.5}, score=0.5, seconds=1.0, is_best=True)
    with Ledger(folder.ledger_file) as ledger:
        for trial, notes in (("t0000", ["weights are [random]", "no dropout"]), ("t0001", [])):
            ledger.append(event_of("suggested", trial=trial, config=complete(BowlSpace, {}), seed=0))
            ledger.append(event_of("started", trial=trial, where={"host": "here"}, notes=notes))
            ledger.append(event_of("reported", trial=trial, epochs=[epoch]))
    return tmp_path


def test_show_trial_lists_its_notes(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("show", "mine", "--storage", str(storage), "--trial")
    assert run((*command, "t0000", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == ["weights are [random]", "no dropout"]
    assert run((*command, "t0000")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "weights are [random]" in lines
    assert "no dropout" in lines
    assert run((*command, "t0001", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


def test_a_worker_reports_its_trials_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    monkeypatch.setenv("HOME", str(tmp_path))
    request = TrialRequest("bowl", complete(BowlSpace, {}), None, 0, PLAN.objective, 3, device="cpu")
    common = {"rungs": [1], "save_every_s": 30.0, "code_version": code_version(), KNOWN_EPOCH: 0, SAVE_FIRST: False}
    assignment = {"request": request.to_json(), "folder": str(tmp_path / "trials" / "t0"), "home": None, "trial": "t0", **common}
    worker = worker_of(assignment, task="bowl")
    assert step(worker)["notes"] == []
    worker._trials["t0"].trial.notes.append("smaller")  # type: ignore[attr-defined]
    assert step(worker)["notes"] == ["smaller"]


def test_the_scheduler_passes_on_where_a_trial_trains_its_notes_and_its_checkpoint() -> None:
    reports: list[TrialReport] = []

    def on_result(worker: str, found: list[TrialReport], *memory: float | None) -> Change:
        reports.extend(found)
        assert (worker, memory) == ("t0000", (None, 8000.0))
        return Change([], [], False)

    pool, heartbeat = SimpleNamespace(on_result=on_result), SimpleNamespace(broken_by=lambda worker: None)
    scheduler = TuneScheduler(cast(Any, pool), cast(Any, None), cast(Any, None), cast(Any, heartbeat))
    # Tune flattens nested objects to `checkpoint/metrics/valid/height`; a list stays as it is.
    epoch = {
        "epoch": 3,
        "metrics": {"valid/height": 2.0},
        "score": 2.0,
        "seconds": 1.0,
        "is_best": True,
        "window": 3,
        "system": {},
    }
    checkpoint = {"epoch": 3, "path": "trials/t0000/best-00003", "sha256": "ab", "metrics": {"valid/height": 2.5}}
    where = {"host": "here", "gpu_mib": 8000.0}
    told = {"trial": "t0000", "where": where, "notes": ["smaller"], "epochs": [epoch], "ended": None, "state": 3}
    result = flatten_dict({TRIALS: [{**told, "checkpoint": checkpoint, "failure": None}]})
    assert scheduler.on_trial_result(None, cast(Any, SimpleNamespace(trial_id="t0000")), result) == "CONTINUE"
    (report,) = reports
    assert (report.trial, report.where, report.notes, report.saved_epoch) == ("t0000", where, ["smaller"], 3)
    assert report.checkpoint == Checkpointed(trial="t0000", **checkpoint)
    assert report.epochs == [EpochResult(**epoch)]


class _NoTracker:
    """Stands where MLflow's tracker does."""

    experiment_id, uri = "0", "none"

    def __init__(self, *given: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def on_event(self, event: Any) -> None:
        pass

    def close(self) -> None:
        return None


def test_a_plans_notes_are_in_the_ledger_before_the_first_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_search` without Ray and MLflow: its trials are one suggestion."""

    @contextmanager
    def no_ray(*given: Any) -> Iterator[list[NodeGroup]]:
        yield [NodeGroup({"CPU": 2.0, "GPU": 0.0})]

    def one_trial(plan: Any, folder: Any, controller: SearchController, *given: Any, **more: Any) -> None:
        controller.next()

    monkeypatch.setattr(session, "ray_session", no_ray)
    monkeypatch.setattr(session, "has_experiment", lambda uri, name: False)
    monkeypatch.setattr(session, "MlflowTracker", _NoTracker)
    monkeypatch.setattr(session, "tune_trials", one_trial)
    plan = replace(PLAN, notes=("3 cases have no mask", "no test split"))
    result = session.run_search(plan, tmp_path, tracking_uri="none")
    events = list(read_events(result.folder.ledger_file))
    assert [event.event for event in events[:4]] == ["search_started", "noted", "noted", "suggested"]
    assert [event.text for event in events[1:3]] == ["3 cases have no mask", "no test split"]
    assert SearchFolder(tmp_path, "mine").plan().notes == plan.notes
