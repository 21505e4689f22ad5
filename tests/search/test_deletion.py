"""Deleting a search: it asks, it says what goes, and nothing that is left points to what is gone."""

import io
import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import mlflow
import pytest
from bowl_events import event_of
from bowl_search import PLAN, with_changes
from mlflow.entities import LoggedModelStatus

from search.analysis.deletion import check_may_go, holdings
from search.analysis.leaderboard import open_search
from search.cli.main import run
from search.errors import PlanError
from search.execution import session
from search.records.folder import SearchFolder
from search.records.ledger import Ledger
from search.records.plan import Confirmation
from search.records.tracking.registry import RegisteredVersion, register, registered_versions
from search.records.tracking.retrying import RetryingCaller
from search.records.tracking.runs import SearchRuns
from search.records.tracking.store import has_experiment, open_client

pytestmark = [
    # MLflow uses what SQLAlchemy will drop, and leaves its connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Kept:
    """A storage with the search `bowls`: a trial, its run, an artifact, and a logged model."""

    def __init__(self, storage: Path) -> None:
        self.storage, self.uri = storage, f"sqlite:///{storage / 'mlflow.db'}"
        folder = SearchFolder(storage, "bowls")
        folder.create(PLAN).release()
        with Ledger(folder.ledger_file) as ledger:
            ledger.append(event_of("search_started", name="bowls", num_trials=1, code_version=""))
            suggested = event_of("suggested", 0.0, trial="t0000")
            ledger.append(suggested)
            ledger.append(event_of("search_ended", reason="interrupted"))
        self.client = open_client(self.uri)
        self.runs = SearchRuns(self.client, RetryingCaller(self.uri), self.uri, PLAN, storage)
        self.runs.open(open_search(storage, "bowls").state.trials["t0000"], suggested)
        self.client.log_text(self.runs.trials["t0000"], "text", "page.html")
        self.model = self.client.create_logged_model(
            self.runs.experiment_id, name="bowls-t0000", source_run_id=self.runs.trials["t0000"]
        )
        self.client.finalize_logged_model(self.model.model_id, LoggedModelStatus.READY)

    def register(self, model: str, alias: str | None) -> str:
        return register(self.client, model, self.model.model_id, self.runs.trials["t0000"], alias, "of a test")

    def ask(self, *more: str) -> int:
        return run(["delete", "bowls", "--storage", str(self.storage), *more])


@pytest.fixture
def kept(fresh_store: Path, tmp_path: Path) -> Kept:
    storage = tmp_path / "my runs"
    storage.mkdir()
    shutil.copy(fresh_store, storage / "mlflow.db")
    return Kept(storage)


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_nothing_goes_unless_yes_is_said(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert kept.ask() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dermtune: --yes must be given where nobody can be asked; got 1 trials, ")
    assert line.endswith(", 2 runs in MLflow to delete")
    assert open_search(kept.storage, "bowls").folder.exists()
    assert kept.ask("--yes", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert {**document, "num_bytes": document["num_bytes"] > 100} == {
        **{"name": "bowls", "deleted": True, "num_trials": 1, "num_bytes": True, "num_runs": 2, "registered": []},
        "confirmations": [],
    }
    assert [path.name for path in kept.storage.iterdir() if path.is_dir()] == ["mlartifacts"]
    assert list((kept.storage / "mlartifacts").iterdir()) == []
    assert not has_experiment(kept.uri, "bowls")


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("", 1), ("y", 0)])
def test_who_is_asked_sees_what_goes_and_may_say_no(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    kept.register("lesions", "champion")
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    assert kept.ask("--unregister") == status
    said = capsys.readouterr().err
    assert f"{kept.storage / 'bowls'}: 1 trials, " in said
    assert f"MLflow: 2 runs in {kept.uri}" in said
    assert "registered: lesions version 1 (champion)" in said
    assert (kept.storage / "bowls").exists() == bool(status)


def test_confirmations_of_it_stay_and_are_named_with_what_deletes_them(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was said of them under --yes, and nowhere how they go. Another search's confirmation is not its own."""
    for name, search in (("bowls-confirm", "bowls"), ("bowls-confirm-2", "bowls"), ("confirmed", "other")):
        plan = with_changes(name=name, confirmation=Confirmation(search, (), 3, 1))
        SearchFolder(kept.storage, name).create(plan).release()
    place = f"--storage '{kept.storage}'"
    expected = [
        f"bowls-confirm, which confirms it, stays (dermtune delete bowls-confirm {place})",
        f"bowls-confirm-2, which confirms it, stays (dermtune delete bowls-confirm-2 {place})",
    ]
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert kept.ask() == 1
    assert [line for line in capsys.readouterr().err.splitlines() if "stays" in line] == expected
    assert kept.ask("--yes", "--json") == 0
    told = capsys.readouterr()
    assert told.err.splitlines() == expected
    assert json.loads(told.out)["confirmations"] == ["bowls-confirm", "bowls-confirm-2"]
    assert not (kept.storage / "bowls").exists()
    assert SearchFolder(kept.storage, "bowls-confirm").exists()


def test_what_is_registered_keeps_its_search_unless_it_may_go_too(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.register("lesions", "champion")
    kept.register("moles", None)
    assert kept.ask("--yes") == 2
    assert capsys.readouterr().err.splitlines() == [
        "dermtune: NAME must be a search from which nothing is registered; got 'bowls', from which lesions version 1 (champion),"
        " moles version 1 were made (--unregister deletes that too)"
    ]
    assert kept.client.get_model_version_by_alias("lesions", "champion").source == f"models:/{kept.model.model_id}"


def test_nothing_that_is_left_points_to_a_deleted_search(kept: Kept) -> None:
    """A model of others' versions keeps those; one that was made here and has no version left goes."""
    theirs = kept.client.create_experiment("theirs")
    run_id = kept.client.create_run(theirs).info.run_id
    kept.client.create_registered_model("theirs")
    kept.client.create_model_version("theirs", kept.client.get_run(run_id).info.artifact_uri, run_id=run_id)
    kept.register("theirs", "champion")
    kept.register("lesions", "champion")
    assert registered_versions(kept.client, theirs) == [RegisteredVersion("theirs", "1")]
    assert kept.ask("--yes", "--unregister") == 0
    assert [model.name for model in kept.client.search_registered_models()] == ["theirs"]
    assert [(v.name, str(v.version)) for v in kept.client.search_model_versions()] == [("theirs", "1")]
    assert dict(kept.client.get_registered_model("theirs").aliases) == {}
    assert list(kept.client.search_logged_models([kept.runs.experiment_id])) == []


def test_another_stores_runs_keep_their_artifacts(kept: Kept, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    kept.register("lesions", None)
    assert kept.ask("--yes", "--tracking-uri", f"sqlite:///{tmp_path / 'other.db'}") == 0
    assert "has no runs of bowls; those in another store, and what was registered from them, stay" in capsys.readouterr().err
    assert not (tmp_path / "other.db").exists()
    place = kept.storage / "mlartifacts" / "bowls" / kept.runs.trials["t0000"] / "artifacts" / "page.html"
    assert place.read_text() == "text"
    assert not (kept.storage / "bowls").exists()


def test_a_running_search_and_its_registered_models_stay(kept: Kept) -> None:
    found = open_search(kept.storage, "bowls")
    with found.folder.lock(), pytest.raises(PlanError, match="got 'bowls', which is running"):
        holdings(kept.storage, "bowls", kept.uri)
    kept.register("lesions", None)
    with pytest.raises(PlanError, match=r"from which lesions version 1 was made \(--unregister deletes that too\)$"):
        check_may_go(holdings(kept.storage, "bowls", kept.uri), unregister=False)
    check_may_go(holdings(kept.storage, "bowls", kept.uri), unregister=True)


def test_what_is_left_of_a_search_whose_folder_was_removed_by_hand_can_go(kept: Kept) -> None:
    shutil.rmtree(kept.storage / "bowls")
    assert kept.ask("--yes") == 0
    assert not has_experiment(kept.uri, "bowls")
    assert kept.ask("--yes") == 2, "there is nothing of it any more"


@pytest.mark.parametrize("file", ["plan.json", "ledger.jsonl"])
def test_a_damaged_search_hides_no_other_and_can_be_deleted(
    file: str, kept: Kept, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    SearchFolder(kept.storage, "whole").create(PLAN).release()
    (kept.storage / "whole" / "ledger.jsonl").touch()
    (kept.storage / "bowls" / file).write_text("{ cut\n{}\n")
    storage = ("--storage", str(kept.storage))
    assert run(["list", "--json", *storage]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    (said,) = caplog.messages
    assert said.startswith("bowls is left out: ")
    assert file in said
    assert run(["show", "bowls", *storage]) == 2
    assert file in capsys.readouterr().err
    assert kept.ask("--yes") == 0
    assert not (kept.storage / "bowls").exists()


@pytest.mark.parametrize("whose", ["a stranger's", "another storage's", "an earlier search's"])
def test_an_experiment_of_the_same_name_stays_when_the_folder_goes(
    whose: str, kept: Kept, capsys: pytest.CaptureFixture[str], fresh_store: Path, tmp_path: Path
) -> None:
    """Whatever is registered from it, too, whose files may lie in this storage."""
    shared = f"sqlite:///{shutil.copy(fresh_store, tmp_path / 'shared.db')}"
    client = open_client(shared)
    if whose == "a stranger's":
        experiment = client.create_experiment("bowls", tags={"owner": "anna"})
        run_id = client.create_run(experiment, tags={"kind": "search"}).info.run_id
    else:
        elsewhere = whose == "another storage's"
        plan = with_changes(created=PLAN.created if elsewhere else "2020-01-01T00:00:00+00:00")
        storage = tmp_path / "annas" if elsewhere else kept.storage
        run_id = SearchRuns(client, RetryingCaller(shared), shared, plan, storage).summary
    client.create_registered_model("theirs")
    client.create_model_version("theirs", client.get_run(run_id).info.artifact_uri, run_id=run_id)
    artifact = kept.storage / "mlartifacts" / "bowls" / kept.runs.trials["t0000"] / "artifacts" / "page.html"
    assert kept.ask("--yes", "--unregister", "--json", "--tracking-uri", shared) == 0
    said = capsys.readouterr()
    assert f"MLflow: the experiment bowls in {shared} is not marked as this search's" in said.err
    assert {key: json.loads(said.out)[key] for key in ("num_runs", "registered")} == {"num_runs": None, "registered": []}
    assert not (kept.storage / "bowls").exists()
    assert client.get_experiment_by_name("bowls").lifecycle_stage == "active"
    assert [version.name for version in client.search_model_versions()] == ["theirs"]
    assert artifact.read_text() == "text"


def test_without_a_folder_only_this_storages_and_this_machines_experiment_goes(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bobs = tmp_path / "bobs"
    bobs.mkdir()
    assert run(["delete", "bowls", "--yes", "--storage", str(bobs), "--tracking-uri", kept.uri]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("got 'bowls', an experiment in MLflow that is not marked as made from there, and stays")
    shutil.rmtree(kept.storage / "bowls")
    with monkeypatch.context() as on_another_machine:
        on_another_machine.setattr("platform.node", lambda: "elsewhere")
        assert kept.ask("--yes") == 2
    assert has_experiment(kept.uri, "bowls")
    assert kept.ask("--yes") == 0
    assert not has_experiment(kept.uri, "bowls")


def test_a_search_behind_a_link_is_refused_before_the_store_is_touched(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = kept.storage.parent / "elsewhere"
    (kept.storage / "bowls").rename(elsewhere)
    (kept.storage / "bowls").symlink_to(elsewhere)
    assert kept.ask("--yes") == 2
    assert f"must be a search whose folder is no link; got {kept.storage / 'bowls'}, which points to" in capsys.readouterr().err
    assert has_experiment(kept.uri, "bowls")
    assert (elsewhere / "plan.json").is_file()


@pytest.mark.parametrize("model", ["Anna's moles", 'Anna\'s "best" moles'])
def test_a_model_whose_name_holds_quotes_can_be_registered_and_go(kept: Kept, model: str) -> None:
    assert [kept.register(model, None), kept.register(model, None)] == ["1", "1"]
    assert kept.ask("--yes", "--unregister") == 0
    assert list(kept.client.search_registered_models()) == []


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_taken_name_sends_nobody_to_delete_what_is_not_of_this_storage(
    is_ours: bool, kept: Kept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "ray_session", lambda *given: nullcontext([]))
    with pytest.raises(PlanError, match="got 'bowls', which is an experiment there") as raised:
        session.run_search(PLAN, kept.storage if is_ours else tmp_path / "bobs", tracking_uri=kept.uri)
    assert ("dermtune delete" in str(raised.value)) == is_ours
    assert str(raised.value).endswith("whose folder is gone)" if is_ours else ", not of this storage")


def test_an_experiment_that_no_search_made_is_not_ours_to_delete(kept: Kept) -> None:
    kept.client.create_experiment("theirs")
    assert run(["delete", "theirs", "--yes", "--storage", str(kept.storage)]) == 2
    assert has_experiment(kept.uri, "theirs")


def test_registering_leaves_mlflows_own_store_as_it_was(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is named by the variable later on is the one in use, as if nothing had been registered."""
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)  # another test may have set it
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    kept.register("lesions", None)
    assert not mlflow.is_tracking_uri_set()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///later.db")
    assert mlflow.get_tracking_uri() == "sqlite:///later.db"
    kept.register("moles", None)
    assert mlflow.get_tracking_uri() == "sqlite:///later.db"
    mlflow.set_tracking_uri("sqlite:///pinned.db")
    kept.register("nevi", None)
    assert mlflow.get_tracking_uri() == "sqlite:///pinned.db"
