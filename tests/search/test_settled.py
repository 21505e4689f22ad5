"""`resume` of a search that has ended: said at once, with what it has found, and nothing is begun."""

import json
import shutil
from pathlib import Path

import pytest
from bowl_events import begun, epoch_of, event_of, lines_of, plan_of, reported

from search.analysis.settled import settled
from search.cli.main import run
from search.execution.replanning import Extension
from search.execution.result import SearchResult
from search.execution.session import _Session
from search.records.events import Event
from search.records.folder import SearchFolder
from search.records.plan import Plan
from search.records.tracking.mark import mark_of
from search.records.tracking.store import open_client

pytestmark = [
    # MLflow uses what SQLAlchemy will drop, and leaves its connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
NOTHING_MORE = Extension()


class Ended:
    """A storage with the search `bowls`, whose three trials a driver that died has left ended, and the store that has it."""

    def __init__(self, storage: Path, store: Path) -> None:
        shutil.copy(store, storage / "mlflow.db")
        self.storage, self.uri = storage, f"sqlite:///{storage / 'mlflow.db'}"
        self.plan = plan_of(num_trials=3, max_epochs=2)
        self.folder = SearchFolder(storage, "bowls")
        self.folder.create(self.plan).release()
        events = [event_of("search_started", 0.0, name="bowls", num_trials=3, code_version="")]
        for number in range(3):
            trial, height = f"t{number:04d}", 4.0 - number
            epochs = [epoch_of(epoch, height, height, epoch == 1) for epoch in (1, 2)]
            events += [*begun(trial, number, x=number / 8), reported(trial, number + 0.5, *epochs)]
            events += [event_of("finished", number + 0.6, trial=trial, reason="max_epochs")]
        self.write(*events)

    def write(self, *events: Event) -> None:
        with self.folder.ledger_file.open("a") as file:
            file.write(lines_of(events))

    def close(self, plan: Plan | None = None) -> SearchResult:
        """What a driver does that has no trial left to run, which takes no Ray."""
        with self.folder.lock():
            return _Session(plan or self.plan, self.folder, self.uri, [], False, lambda plan, state: ()).run()

    def ask(self, *more: str) -> int:
        return run(["resume", "bowls", "--storage", str(self.storage), *more])

    @property
    def ledger(self) -> bytes:
        return self.folder.ledger_file.read_bytes()


@pytest.fixture
def ended(fresh_store: Path, tmp_path: Path) -> Ended:
    return Ended(tmp_path, fresh_store)


def test_it_is_said_at_once_and_shown_as_show_does(ended: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    """It started Ray, and worked for a minute to print what it had printed before."""
    ended.close()
    before = ended.ledger
    assert ended.ask() == 0
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "bowls has ended (all trials: 3 trials), and nothing is left to do: dermtune resume bowls --trials +N --storage"
        f" {ended.storage} adds trials"
    ]
    assert ended.ledger == before, "nothing has begun"
    assert run(["show", "bowls", "--storage", str(ended.storage)]) == 0
    assert told.out == capsys.readouterr().out
    assert "t0002" in told.out


def test_its_json_is_what_the_resumption_that_ended_it_gave(ended: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {**json.loads(json.dumps(ended.close().summary())), "report": None}
    assert expected["mlflow_experiment_id"]
    before = ended.ledger
    assert ended.ask("--json", "--no-pictures") == 0
    assert json.loads(capsys.readouterr().out) == expected
    (ended.folder.path / "report.html").write_text("the report")
    assert ended.ask("--json", "--trials", "3") == 0, "as many as there are"
    assert json.loads(capsys.readouterr().out) == {**expected, "report": str(ended.folder.path / "report.html")}
    assert ended.ledger == before


def test_what_is_not_done_is_done(ended: Ended) -> None:
    """A driver that dies before the store has everything, another store, a search that is to have more, one that was stopped."""
    ended.write(event_of("search_ended", 9.0, reason="all trials"))
    assert settled(ended.storage, "bowls", NOTHING_MORE, ended.uri) is None, "its driver has died while it was closing"
    ended.close()
    assert settled(ended.storage, "bowls", NOTHING_MORE, ended.uri) is not None
    assert settled(ended.storage, "bowls", NOTHING_MORE, "sqlite:///another.db") is None
    for more in (Extension(num_trials=(1, True)), Extension(num_trials=(2, False)), Extension(time_budget_s=(60, False))):
        assert settled(ended.storage, "bowls", more, ended.uri) is None
    with ended.folder.lock():
        assert settled(ended.storage, "bowls", NOTHING_MORE, ended.uri) is None, "somebody goes on with it"
    ended.write(event_of("search_resumed", 10.0, name="bowls", num_trials=3, code_version=""))
    assert settled(ended.storage, "bowls", NOTHING_MORE, ended.uri) is None


@pytest.mark.parametrize("reason", ["interrupted", "time budget", "stop requested"])
def test_what_was_cut_short_goes_on(ended: Ended, reason: str) -> None:
    ended.close()
    noted = json.loads(ended.folder.settled_file.read_text())
    ended.write(event_of("search_ended", 10.0, reason=reason))
    ended.folder.settled_file.write_text(json.dumps({**noted, "ledger_bytes": len(ended.ledger)}))
    assert settled(ended.storage, "bowls", NOTHING_MORE, ended.uri) is None


def test_a_budget_that_is_spent_is_told_with_what_raises_it(ended: Ended) -> None:
    ended.folder.write_plan(plan_of(num_trials=9, max_epochs=2, epoch_budget=6))
    ended.close(ended.folder.plan())
    found = settled(ended.storage, "bowls", NOTHING_MORE, ended.uri)
    assert found is not None
    assert found.sentence() == (
        "bowls has ended (epoch budget: 3 trials), and nothing is left to do: dermtune resume bowls --epoch-budget +N adds epochs"
    )


def test_a_store_that_has_not_everything_gets_it_by_the_next_resumption(ended: Ended) -> None:
    """MLflow takes no run into an experiment that somebody has deleted."""
    client = open_client(ended.uri)
    artifacts, marked = str(ended.storage / "mlartifacts"), mark_of(ended.storage, ended.plan.created).tags()
    client.delete_experiment(client.create_experiment("bowls", artifact_location=artifacts, tags=marked))
    assert ended.close().tracking_error is not None
    assert settled(ended.storage, "bowls", NOTHING_MORE, ended.uri) is None
    client.restore_experiment(client.get_experiment_by_name("bowls").experiment_id)
    assert ended.close().tracking_error is None
    assert settled(ended.storage, "bowls", NOTHING_MORE, ended.uri) is not None


def test_a_search_leaves_a_log_beside_its_ledger(ended: Ended) -> None:
    ended.close()
    said = [line.split(" ", 1)[1] for line in ended.folder.log_file.read_text().splitlines()]
    assert said[0].startswith("INFO dermtune: search resumed: bowls, 3 trials")
    assert said[-1] == "INFO dermtune: search ended: all trials"
