"""Servers that tests of tracking start for themselves: MLflow, with and without accounts, and PostgreSQL."""

import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import wait_until

_DEBIAN = Path("/usr/lib/postgresql")


def free_port() -> int:
    """A port that nobody listens on, nor gets while a server is away: above Ray's, below those of outgoing connections."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 50):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise OSError("no free port")


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """One server in a process group of its own, which `stop` kills.

    Args:    command: that becomes the server.
             environment: all of it.
             log: file for what it says.
             answers: whether it serves.
             user: who runs it, None for this one.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        answers: Callable[[], bool],
        user: str | None = None,
    ) -> None:
        self._command, self._environment, self._log, self._answers, self._user = command, environment, log, answers, user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not been stopped."""
        return self._process is not None

    def start(self) -> None:
        """Starts it and waits until it answers; again after a `stop`, on the same port."""
        account: dict[str, Any] = {} if self._user is None else {"user": self._user, "group": self._user, "extra_groups": []}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=dict(self._environment),
                cwd=self._log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **account,
            )
        try:
            wait_until(lambda: self._has_ended() or self._answers(), f"an answer of {self._command[0]}")
            if self._has_ended():
                pytest.fail(f"{self._command[0]} ended: {self._log.read_text(errors='replace')[-3000:]}")
        except pytest.fail.Exception:
            self.stop()
            raise

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def stop(self, kind: int = signal.SIGKILL) -> None:
        """Ends it at once, with all that it started; it may be stopped already.

        Args:    kind: the signal; whoever is left 10 s after it is killed.
        """
        process, self._process = self._process, None
        if process is None:
            return
        begun: list[psutil.Process] = []
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            begun = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, kind)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        for child in begun:  # one in a session of its own
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(begun, 10)


class MlflowServer(Server):
    """`mlflow server` on a sqlite store and an artifact folder of its own.

    Args:    folder: for the store, the artifacts and the log; made if missing.
             account: name and password of the only user, who then must log in; None lets everybody in.
    """

    def __init__(self, folder: Path, account: tuple[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.uri = f"http://127.0.0.1:{port}"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        environment |= {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'store.db'}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nobody here needs
        }
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        if account is not None:
            command += ["--app-name", "basic-auth"]
            environment |= {
                "MLFLOW_AUTH_CONFIG_PATH": str(_accounts(folder, *account)),
                "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
            }
        super().__init__(command, environment, folder / "server.log", self._is_healthy)

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _accounts(folder: Path, name: str, password: str) -> Path:
    file = folder / "accounts.ini"
    lines = [
        "[mlflow]",
        "default_permission = NO_PERMISSIONS",
        f"database_uri = sqlite:///{folder / 'accounts.db'}",
        f"admin_username = {name}",
        f"admin_password = {password}",
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


@contextmanager
def mlflow_server(folder: Path, account: tuple[str, str] | None = None) -> Iterator[MlflowServer]:
    """An MLflow server that answers; ended afterwards. See `MlflowServer`."""
    server = MlflowServer(folder, account)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class PostgresServer(Server):
    """PostgreSQL with one account, which needs its password.

    Args:    binaries: folder of `initdb`, `postgres` and `psql`.
             folder: for data, socket and log; its account can get there.
             user: of the operating system, None for this one.
    """

    account = "dermtune"

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self._binaries, self.password = binaries, secrets.token_hex(12)
        self.port = free_port()
        data, word = folder / "data", folder / "word"
        word.write_text(self.password)
        identity: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        if user is not None:
            shutil.chown(folder, user, user)
            shutil.chown(word, user, user)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        make = [str(binaries / "initdb"), "--pgdata", str(data), "--username", self.account, "--pwfile", str(word)]
        made = subprocess.run(
            [*make, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync"],
            env=environment,
            cwd=folder,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
            **identity,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        word.unlink()
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
        command = [str(binaries / "postgres"), "-D", str(data)]
        command += [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        super().__init__(command, environment, folder / "server.log", self._lets_in, user)

    def uri(self, database: str) -> str:
        """Of a database, without the password: clients take it from PGPASSWORD."""
        return f"postgresql://{self.account}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> None:
        """A new, empty database."""
        made = self._ask(f'CREATE DATABASE "{database}"')
        assert made.returncode == 0, made.stderr

    def _lets_in(self) -> bool:
        return self._ask("SELECT 1").returncode == 0

    def _ask(self, statement: str) -> "subprocess.CompletedProcess[str]":
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": self.account, "PGDATABASE": "postgres"}
        environment = {"PATH": os.environ["PATH"], "PGPASSWORD": self.password, **place}
        command = [str(self._binaries / "psql"), "--no-psqlrc", "--command", statement]
        return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=30, check=False)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server with a data folder of its own that lets its account in; ended and removed afterwards.

    It refuses to run as root, so root runs it as Debian's user `postgres`, who cannot enter pytest's folders. The test is
    skipped where PostgreSQL is not installed.
    """
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda file: float(file.parts[-3]))
    user = "postgres" if os.geteuid() == 0 else None
    if not found or (user is not None and user not in {entry.pw_name for entry in pwd.getpwall()}):
        pytest.skip(f"needs Debian's package postgresql; got none at {_DEBIAN}")
    folder = Path(tempfile.mkdtemp(prefix="dermtune postgres ", dir="/tmp"))
    server: PostgresServer | None = None
    try:
        folder.chmod(0o755)
        server = PostgresServer(found[-1].parent, folder, user)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop(signal.SIGQUIT)  # at once, but its shared memory is given back
        shutil.rmtree(folder, ignore_errors=True)
