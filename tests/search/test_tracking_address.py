"""What is said of a tracking store before anything slow begins."""

import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from search.cli.main import run
from search.errors import PlanError
from search.records.proxies import reach_this_machine_directly
from search.records.tracking import address
from search.records.tracking.address import check_kind, check_store, default_tracking_uri, is_on_server


def test_the_store_lies_with_the_searches_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_tracking_uri(tmp_path / "my runs") == f"sqlite:///{tmp_path}/my runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:5000")
    assert default_tracking_uri(tmp_path) == "http://h:5000"
    assert [is_on_server(uri) for uri in ("http://h:5000", "https://h", "sqlite:///http:.db")] == [True, True, False]


@pytest.mark.parametrize("uri", ["./my mlruns", "file:my mlruns", "{here}/my mlruns", "file://{here}/my mlruns"])
def test_a_folder_is_refused_with_the_command_that_converts_it(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my mlruns").mkdir()
    uri = uri.format(here=tmp_path)
    with pytest.raises(PlanError, match=r"--tracking-uri must be a database or a server; got .*my mlruns, a folder") as raised:
        check_store(uri)
    folder = f"{tmp_path}/my mlruns" if "//" in uri or uri.startswith("/") else "my mlruns"
    assert f"mlflow migrate-filestore --source '{folder}' --target 'sqlite:///{folder}.db'; then go on" in str(raised.value)


def test_a_folder_that_is_not_there_has_nothing_to_convert() -> None:
    with pytest.raises(PlanError, match=r"got \./none, .* \(for example sqlite:///mlflow\.db\)"):
        check_kind("./none")


@pytest.mark.parametrize("uri", ["databricks", "databricks-uc", "uc", "databricks://profile", "uc:http://h:8080"])
def test_a_store_that_mlflow_knows_by_its_name_is_no_folder(uri: str) -> None:
    check_kind(uri)
    with pytest.raises(PlanError, match=r"got mlruns, a folder"):
        check_kind("mlruns")


def test_who_told_mlflow_to_keep_folders_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    check_kind("./mlruns")


def test_a_folder_is_refused_before_anything_is_imported_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        ("search", "bowl"),
        ("search", "bowl", "--dry-run"),
        ("reproduce", "gated"),
        ("confirm", "first"),
        ("resume", "first"),
    ):
        assert run((*command, "--tracking-uri", "./mlruns")) == 2
        assert "dermtune: --tracking-uri must be a database or a server; got ./mlruns" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_check_needs_nothing_that_is_slow_to_import() -> None:
    look = "import sys, search.records.tracking.address; print(*{'mlflow', 'ray', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_is_dead_is_named_without_its_password(scheme: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        uri = f"{scheme}://me:secret@127.0.0.1:{nobody.getsockname()[1]}/db"
        said = re.escape(uri.replace("secret", "***"))
        with pytest.raises(PlanError, match=rf"--tracking-uri must be a store that answers; got {said}: .*refused"):
            check_store(uri)


def test_a_server_that_never_answers_is_given_up_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_ANSWER_WITHIN_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(PlanError, match=rf"got {uri}: timed out"):
            check_store(uri)


def test_a_server_that_answers_whatever_it_says_is_left_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    asked = []
    monkeypatch.setattr(address, "_open", asked.append)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    reach_this_machine_directly()
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        uri = f"http://me:secret@127.0.0.1:{server.server_port}"
        check_store(uri)
    assert asked == [uri]


def test_a_file_that_is_no_database_or_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(PlanError, match=r"text\.db: file is not a database"):
        check_store(f"sqlite:///{tmp_path / 'text.db'}")
    with pytest.raises(PlanError, match=r"got sqlite:////proc/none/mlflow\.db: /proc cannot be written"):
        check_store("sqlite:////proc/none/mlflow.db")
    check_store(f"sqlite:///{tmp_path / 'new folder' / 'mlflow.db'}")
    assert not (tmp_path / "new folder").exists(), "asking makes no store"


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "localhost,127.0.0.1,::1"), ("inside.org", "inside.org,localhost,127.0.0.1,::1"), ("*", "*")],
)
def test_a_proxy_is_not_for_this_machine(before: str, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, before)
    reach_this_machine_directly()
    reach_this_machine_directly()
    assert address.os.environ["no_proxy"] == after
