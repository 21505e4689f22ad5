"""An MLflow server that wants a name and a password, and takes artifacts itself."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from commands import Here
from tracking_servers import MlflowServer, mlflow_server

from search.cli.main import run

pytestmark = pytest.mark.slow
NAME, PASSWORD = "keeper", "sesame-0pen-thyself"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server with one account."""
    with mlflow_server(tmp_path_factory.mktemp("a server") / "guarded", (NAME, PASSWORD)) as server:
        yield server


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", NAME)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


def artifacts(client: mlflow.MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    """Paths of files and folders on a run."""
    return {entry.path for entry in client.list_artifacts(run_id, folder)}


def test_a_search_with_credentials_logs_its_pictures_through_the_server(
    here: Here, guarded: MlflowServer, credentials: None
) -> None:
    size = ("--trials", "4", "--max-epochs", "4")
    searched = here.run("search", "bowl", "--name", "admitted", *size, "--tracking-uri", guarded.uri)
    assert searched.status == 0, searched.err
    assert "MLflow d" not in searched.err  # does not have, did not take
    examined = here.run("doctor", "admitted", "--tracking-uri", guarded.uri, "--json")
    assert (examined.status, examined.json["differences"]) == (0, []), examined.out + examined.err

    client = mlflow.MlflowClient(tracking_uri=guarded.uri)
    experiment = client.get_experiment_by_name("admitted")
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    runs = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment.experiment_id])}
    summary = runs["search admitted"]
    assert {"plan.json", "report.html", "pictures"} <= artifacts(client, summary)
    assert "pictures/best_so_far.png" in artifacts(client, summary, "pictures")
    assert artifacts(client, runs["t0000"], "pictures")
    assert not (here.folder / "runs" / "mlartifacts").exists()

    assert PASSWORD not in searched.out + searched.err + examined.out + examined.err
    held = [file for file in here.folder.rglob("*") if file.is_file() and PASSWORD.encode() in file.read_bytes()]
    assert held == []


@pytest.mark.parametrize("password", [None, "sesame-0pen-yourself"])
def test_a_search_that_may_not_log_in_is_refused_before_it_begins(
    tmp_path: Path,
    guarded: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    password: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    if password is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", NAME)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    assert run(("search", "bowl", "--name", "locked-out", "--tracking-uri", guarded.uri)) == 2
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("dermtune: ")]
    assert f"--tracking-uri must be a store that MLflow can open; got {guarded.uri}" in line
    assert "not authenticated" in line
    assert "Traceback" not in said.err
    assert password is None or password not in said.err
    assert not (tmp_path / "runs" / "locked-out").exists()
