"""`dermtune submit`, `jobs` and `logs`: a cluster from elsewhere."""

import re
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from search.cli.options import Context, command_options, err, out
from search.cli.tables import show_rows
from search.errors import PlanError

cluster_option = click.option(
    "--cluster",
    "cluster_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file that `ray up` was given: goes through ssh [default: the dashboard on this machine].",
)


@click.command(context_settings={"ignore_unknown_options": True})
@cluster_option
@click.option("--follow/--no-follow", default=True, help="Print the job's log until it ends [default: yes].")
@click.argument("arguments", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@command_options
@click.pass_context
def submit(
    click_context: click.Context,
    /,
    context: Context,
    cluster_file: Path | None,
    follow: bool,
    arguments: tuple[str, ...],
) -> int:
    """Run a dermtune command on a cluster's head with this machine's code; it goes on when this machine is closed.

    Paths in COMMAND are the cluster's, but for --plan, which is sent along.
    """
    from search.execution.jobs import jobs_of

    root = click_context.find_root().command
    words = _checked(root, list(arguments))
    with jobs_of(cluster_file, context.address) as jobs:
        job = jobs.submit(words, _name(words))
        if not follow:
            context.emit({"job": job}, lambda: out.print(f"{job} (its log: dermtune logs {job})", markup=False))
            return 0
        err.print(f"{job}: Ctrl-C leaves it alone, `dermtune stop {job}` ends it", markup=False)
        try:
            for piece in jobs.log(job, follow=True):
                click.echo(piece, nl=False, err=context.json)
        except KeyboardInterrupt:
            err.print(f"{job} goes on (its log: dermtune logs {job})", markup=False)
            return 130
        found = jobs.find(job)
        context.emit(asdict(found), lambda: None)
        return 0 if found.status == "SUCCEEDED" else 1


def _checked(root: click.Command, arguments: list[str]) -> list[str]:
    """The command, found sound before anything is uploaded; a search gets the name by which one finds it again.

    Raises:  PlanError: when there is no such command.
             click.ClickException: when its options are wrong.
    """
    known = root.commands if isinstance(root, click.Group) else {}
    if arguments[0] not in known or arguments[0] in ("submit", "jobs", "logs", "ui"):
        raise PlanError(f"COMMAND must be one of dermtune's that can run on a cluster; got {arguments[0]!r}")
    if arguments[0] == "search" and not any(a == "--name" or a.startswith("--name=") for a in arguments) and len(arguments) > 1:
        arguments = [*arguments, "--name", f"{arguments[1]}-{datetime.now():%Y%m%d-%H%M%S}"]
    with known[arguments[0]].make_context(arguments[0], arguments[1:]):
        return arguments


def _name(arguments: list[str]) -> str:
    """What a job is called after: its search, else its command."""
    for index, argument in enumerate(arguments[:-1]):
        if argument == "--name":
            return arguments[index + 1]
    words = [word for word in arguments[:2] if not word.startswith("-")]
    return re.sub(r"[^A-Za-z0-9._-]", "-", "-".join(words))


@click.command("jobs")
@cluster_option
@command_options
def list_jobs(context: Context, cluster_file: Path | None) -> None:
    """List a cluster's jobs."""
    from search.execution.jobs import jobs_of

    with jobs_of(cluster_file, context.address) as jobs:
        found = jobs.all()
    cells = [(job.job, job.status, job.started or "–", job.ended or "–", job.command) for job in found]
    headings = ("job", "status", "started", "ended", "command")
    context.emit([asdict(job) for job in found], lambda: show_rows("", headings, cells))


@click.command()
@click.argument("job")
@click.option("--follow", is_flag=True, help="Go on until it ends.")
@cluster_option
@command_options
def logs(context: Context, job: str, follow: bool, cluster_file: Path | None) -> None:
    """Print what JOB has printed."""
    from search.execution.jobs import jobs_of

    with jobs_of(cluster_file, context.address) as jobs:
        pieces = jobs.log(job, follow=follow) if jobs.find(job) else iter(())
        if context.json:
            context.emit({"job": job, "log": "".join(pieces)}, lambda: None)
            return
        for piece in pieces:
            click.echo(piece, nl=False)


def stop_job(context: Context, job: str, cluster_file: Path | None) -> None:
    """Asks a job to end."""
    from search.execution.jobs import jobs_of

    with jobs_of(cluster_file, context.address) as jobs:
        jobs.stop(job)
    context.emit({"name": job, "stop_requested": True}, lambda: out.print(f"{job} saves and ends within seconds", markup=False))


COMMANDS: tuple[click.Command, ...] = (submit, list_jobs, logs)
