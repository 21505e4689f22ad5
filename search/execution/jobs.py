"""Commands that run on a cluster's head for someone who is elsewhere, through Ray's Jobs API."""

import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import models
import spaces
import trainables
from search import errors
from search.errors import ClusterUnavailable, SearchNotFound
from search.execution.code_version import package_root
from search.execution.interpreter import interpreter_of_job
from search.execution.ray_session import use_token
from search.execution.tunnel import tunnel
from search.records.proxies import reach_this_machine_directly

DASHBOARD_PORT = 8265
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
#: A search that is stopped saves first.
_STOP_WITHIN_S = 60
_POLL_S = 1.0


@dataclass(frozen=True)
class Job:
    """A command on a cluster.

    Args:    job: its id.
             status: "PENDING", "RUNNING", "SUCCEEDED", "FAILED" or "STOPPED".
             command: what runs.
             started, ended: local time, ISO 8601; None before.
             message: of Ray's, when it failed.
    """

    job: str
    status: str
    command: str
    started: str | None
    ended: str | None
    message: str | None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in _ENDED


class Jobs:
    """The jobs of one cluster.

    Args:    address: of its dashboard, `http://host:8265`.
    Raises:  ClusterUnavailable: when it does not answer, or does not take the token.
    """

    def __init__(self, address: str) -> None:
        from ray.job_submission import JobSubmissionClient

        for talker in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray"):
            logging.getLogger(talker).setLevel(logging.WARNING)
        use_token()
        reach_this_machine_directly()
        self._address = address
        with self._told():
            self._client = JobSubmissionClient(address)

    def submit(self, arguments: Sequence[str], name: str) -> str:
        """Starts a command with this machine's dermtune; gives the job's id.

        Args:    arguments: as for `dermtune`.
                 name: part of the id.
        """
        job = f"job-{name}-{datetime.now():%H%M%S}"
        with tempfile.TemporaryDirectory(prefix="dermtune-code-") as place:
            _stage(Path(place))
            arguments = _with_plan(list(arguments), Path(place))
            variables = {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_WITHIN_S)}
            environment = {"working_dir": place, "env_vars": variables, **interpreter_of_job(self._nodes())}
            entrypoint = shlex.join(["python", "-m", "search.cli.main", *arguments])
            with self._told():
                self._client.submit_job(entrypoint=entrypoint, submission_id=job, runtime_env=environment)
        return job

    def all(self) -> list[Job]:
        """Every job that was submitted, oldest first."""
        with self._told():
            found = [_job(details) for details in self._client.list_jobs() if details.submission_id]
        return sorted(found, key=lambda job: job.started or "")

    def find(self, job: str) -> Job:
        """One job.

        Raises:  SearchNotFound: when there is none of that id.
        """
        for found in self.all():
            if found.job == job:
                return found
        raise SearchNotFound(f"JOB must be a job of the cluster (`dermtune jobs`); got {job!r}")

    def log(self, job: str, *, follow: bool) -> Iterator[str]:
        """What a job has printed, in pieces.

        Args:    job: its id.
                 follow: whether to wait for more until it ends.
        """
        told = 0
        while True:
            over = not follow or self.find(job).over
            with self._told():
                text = str(self._client.get_job_logs(job))
            if len(text) > told:
                yield text[told:]
                told = len(text)
            if over:
                return
            time.sleep(_POLL_S)

    def stop(self, job: str) -> None:
        """Asks a job to end; a search saves first.

        Raises:  SearchNotFound: when there is none of that id.
        """
        self.find(job)
        with self._told():
            self._client.stop_job(job)

    def _nodes(self) -> list[dict[str, Any]]:
        """What the dashboard says of each node; it is a help to know, and no more."""
        from search.execution.ray_internals import dashboard_answer

        try:
            return list(dashboard_answer(self._client, "/nodes?view=summary")["data"]["summary"])
        except (ConnectionError, RuntimeError, OSError, ValueError, KeyError, TypeError):
            return []

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ConnectionError, RuntimeError, OSError, ValueError) as error:
            text = " ".join(str(error).split())
            raise ClusterUnavailable(f"the cluster's dashboard must answer at {self._address}; got {text[:300]}") from error


@contextmanager
def jobs_of(cluster_file: Path | None, address: str | None) -> Iterator[Jobs]:
    """A cluster's jobs, from a laptop through ssh, or on the head.

    Args:    cluster_file: that `ray up` was given, None when the dashboard can be reached from here.
             address: of the dashboard, None (or "auto") for this machine's.
    Raises:  ClusterUnavailable: when it cannot be reached.
    """
    if cluster_file is not None:
        with tunnel(cluster_file, DASHBOARD_PORT) as port:
            yield Jobs(f"http://127.0.0.1:{port}")
    elif address is not None and address.startswith(("http://", "https://")):
        yield Jobs(address)
    else:
        yield Jobs(os.environ.get("RAY_API_SERVER_ADDRESS") or f"http://127.0.0.1:{DASHBOARD_PORT}")


def _stage(place: Path) -> None:
    """Copies dermtune's packages, and nothing else that lies beside them, into a folder that Ray uploads."""
    for file in (models.__file__, errors.__file__, spaces.__file__, trainables.__file__):
        root = package_root(file)
        shutil.copytree(root, place / root.name, ignore=shutil.ignore_patterns("__pycache__"))


def _with_plan(arguments: list[str], place: Path) -> list[str]:
    """Sends the file of `--plan` along: it lies on this machine."""
    for index, argument in enumerate(arguments[:-1]):
        if argument == "--plan":
            shutil.copy(arguments[index + 1], place / "plan-to-repeat.json")
            return [*arguments[: index + 1], "plan-to-repeat.json", *arguments[index + 2 :]]
    return arguments


def _job(details: Any) -> Job:
    command = details.entrypoint.replace("python -m search.cli.main", "dermtune")
    return Job(
        details.submission_id,
        str(getattr(details.status, "value", details.status)),
        command,
        _local_time(details.start_time),
        _local_time(details.end_time),
        details.message if str(details.status).endswith("FAILED") else None,
    )


def _local_time(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().isoformat(timespec="seconds")
