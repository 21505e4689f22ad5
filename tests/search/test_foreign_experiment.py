"""A shared MLflow store has an experiment of a search's name that another has made: whoever would write to it leaves it alone."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from bowl_events import begun, epoch_of, event_of, lines_of, plan_of, reported, state_after

from search.analysis.leaderboard import RecordedSearch, open_search
from search.analysis.publication import publish
from search.cli.main import run
from search.errors import PlanError
from search.execution import session
from search.records.events import Event
from search.records.folder import SearchFolder
from search.records.plan import Plan
from search.records.tracking.agreement import mend_mlflow, mlflow_differences
from search.records.tracking.mlflow_tracker import MlflowTracker
from search.records.tracking.publisher import Publisher
from search.records.tracking.retrying import RetryingCaller
from search.records.tracking.runs import SearchRuns
from search.records.tracking.store import check_experiment, open_client, run_ids

pytestmark = [
    # MLflow uses what SQLAlchemy will drop, and leaves its connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
PLAN = plan_of(name="bowls", created="2026-03-01T12:00:00+00:00")
EVENTS = [
    event_of("search_started", 0.0, name="bowls", num_trials=1),
    *begun("t0000", 1.0),
    reported("t0000", 2.0, epoch_of(1, 5.0, 5.0, True)),
    event_of("interrupted", 2.5, trial="t0000", reason="interrupted"),
    event_of("search_ended", 3.0, reason="interrupted"),
]


class Shared:
    """A store with an experiment `bowls` that has a run of a trial `t0000`, and a storage with a search of that name."""

    def __init__(self, folder: Path, fresh_store: Path) -> None:
        self.storage, self.file, self.annas = folder / "my runs", folder / "shared.db", folder / "annas"
        shutil.copy(fresh_store, self.file)
        self.uri = f"sqlite:///{self.file}"
        self.client = open_client(self.uri)
        search = SearchFolder(self.storage, "bowls")
        search.create(PLAN).release()
        search.ledger_file.write_text(lines_of(EVENTS))

    @property
    def found(self) -> RecordedSearch:
        return open_search(self.storage, "bowls")

    def belongs_to(self, plan: Plan, storage: Path) -> None:
        """Has a search that dermtune made there."""
        runs = SearchRuns(self.client, RetryingCaller(self.uri), self.uri, plan, storage)
        runs.open(state_after(plan, EVENTS).trials["t0000"], EVENTS[1])

    def belongs_to_a_stranger(self) -> None:
        experiment = self.client.create_experiment("bowls", tags={"owner": "anna"})
        for kind in ("search", "trial"):
            self.client.create_run(experiment, tags={"kind": kind, "dermtune.trial": "t0000"})

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """Everything that the store holds."""
        with closing(sqlite3.connect(self.file)) as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: sorted(map(tuple, database.execute(f'SELECT * FROM "{name}"')), key=repr) for name in names}

    def write(self, events: Sequence[Event]) -> Exception | None:
        """As a resumed search does."""
        tracker = MlflowTracker(self.uri, PLAN, self.storage, {"python": "3.12"})
        for one in events:
            tracker.on_event(one)
        tracker.start()
        return tracker.close()


WHOSE = {
    "a stranger's": "where it is of another program, or of a version of dermtune that did not mark its own, and stays",
    "another storage's": "annas on ",
    "an earlier search's": " of 2020-01-01T00:00:00+00:00, and stays",
}


@pytest.fixture(params=WHOSE)
def shared(request: pytest.FixtureRequest, fresh_store: Path, tmp_path: Path) -> Shared:
    shared = Shared(tmp_path, fresh_store)
    if request.param == "a stranger's":
        shared.belongs_to_a_stranger()
    elif request.param == "another storage's":
        shared.belongs_to(PLAN, shared.annas)
    else:
        shared.belongs_to(replace(PLAN, created="2020-01-01T00:00:00+00:00"), shared.storage)
    return shared


@pytest.fixture
def whose(request: pytest.FixtureRequest) -> str:
    return WHOSE[request.node.callspec.params["shared"]]


def check_line(text: str, shared: Shared, whose: str) -> None:
    """It says whose the experiment is, and what to do."""
    (line,) = text.splitlines()
    assert f"--tracking-uri must be a store whose experiment 'bowls' is of this search; got {shared.uri}, where it is of " in line
    assert whose in line
    assert "(name another store; `dermtune doctor bowls --repair` writes all of the search there" in line


MUST = "must be a store whose experiment 'bowls' is of this search"


def resume(shared: Shared) -> str:
    with pytest.raises(PlanError, match=MUST) as raised:
        session.resume_search(PLAN, shared.storage, tracking_uri=shared.uri)
    return str(raised.value)


def track(shared: Shared) -> str:
    return str(shared.write(EVENTS))


def mend(shared: Shared) -> str:
    with pytest.raises(PlanError, match=MUST) as raised:
        mend_mlflow(shared.uri, PLAN, shared.storage, EVENTS, ["t0000"])
    return str(raised.value)


def register(shared: Shared) -> str:
    with pytest.raises(PlanError, match=MUST) as raised:
        Publisher(shared.uri, PLAN, shared.storage)
    return str(raised.value)


def report(shared: Shared) -> str:
    (problem,) = publish(shared.found, shared.uri).problems
    assert (shared.storage / "bowls" / "report.html").is_file()
    return problem


def compare(shared: Shared) -> str:
    ((trial, text),) = mlflow_differences(shared.uri, PLAN, shared.storage, shared.found.state)
    assert trial == ""
    return text


def best(shared: Shared) -> str:
    with pytest.raises(PlanError, match=MUST) as raised:
        run_ids(shared.uri, PLAN, shared.storage, ["t0000"])
    return str(raised.value)


@pytest.mark.parametrize("writer", [resume, track, mend, register, report, compare, best])
def test_an_experiment_that_is_anothers_is_left_alone_and_named(
    writer: Callable[[Shared], str], shared: Shared, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ray_session", lambda *given: nullcontext([]))
    before = shared.rows()
    check_line(writer(shared), shared, whose)
    assert shared.rows() == before


def test_a_repair_mends_the_rest_and_says_in_one_line_why_not_mlflow(
    shared: Shared, whose: str, capsys: pytest.CaptureFixture[str], fresh_store: Path, tmp_path: Path
) -> None:
    before = shared.rows()
    asked = ("doctor", "bowls", "--repair", "--storage", str(shared.storage), "--tracking-uri")
    assert run([*asked, shared.uri]) == 2
    check_line(capsys.readouterr().err, shared, whose)
    assert shared.rows() == before
    assert (shared.storage / "bowls" / "study.db").is_file()
    own = shutil.copy(fresh_store, tmp_path / "own.db")
    assert run([*asked, f"sqlite:///{own}"]) == 0, "what the line advises helps"


def test_a_search_goes_on_while_its_store_is_away(tmp_path: Path) -> None:
    check_experiment("http://127.0.0.1:1", PLAN, tmp_path)
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be read as the header of one" * 20)
    check_experiment(f"sqlite:///{tmp_path / 'mlflow.db'}", PLAN, tmp_path)


def test_a_storage_that_was_moved_takes_its_own_store_along(fresh_store: Path, tmp_path: Path) -> None:
    """In a shared store nobody knows whether it was moved or copied; the line says what to do if it was moved."""
    shared = Shared(tmp_path, fresh_store)
    shared.belongs_to(PLAN, shared.storage)
    shutil.copy(shared.file, shared.storage / "mlflow.db")
    moved = Path(shutil.move(shared.storage, tmp_path / "moved"))
    own = f"sqlite:///{moved / 'mlflow.db'}"
    assert mlflow_differences(own, PLAN, moved, state_after(PLAN, EVENTS)) != []
    assert mend_mlflow(own, PLAN, moved, EVENTS, ["t0000"]) is None
    assert mlflow_differences(own, PLAN, moved, state_after(PLAN, EVENTS)) == []
    with pytest.raises(PlanError, match=r"if this storage was there, set that experiment's tag dermtune\.storage to .*/moved"):
        Publisher(shared.uri, PLAN, moved)
    experiment = shared.client.get_experiment_by_name("bowls").experiment_id
    shared.client.set_experiment_tag(experiment, "dermtune.storage", str(moved))
    Publisher(shared.uri, PLAN, moved)
