"""`dermtune doctor` and `dermtune ui`."""

import socket
from dataclasses import asdict

import click

from search.cli.options import Context, command_options, err
from search.cli.tables import show_rows
from search.errors import PlanError


@click.command()
@command_options
def doctor(context: Context) -> int:
    """Look whether this machine can run a search."""
    from search.analysis.machine import check_machine

    checks = check_machine(context.storage, context.uri())
    cells = [(check.name, "ok" if check.ok else "FAILED", check.detail) for check in checks]
    context.emit([asdict(check) for check in checks], lambda: show_rows("", ("what", "", "found"), cells))
    return 0 if all(check.ok for check in checks) else 1


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; others get in only if you change it.")
@click.option("--port", default=5000, show_default=True)
@command_options
def ui(context: Context, host: str, port: int) -> None:
    """Serve MLflow's page on the store in use, until Ctrl-C."""
    from search.records.tracking.mlflow_tracker import open_client
    from search.records.tracking.server import serve

    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise PlanError(f"--host and --port must be free to bind; got {host}:{port}: {error}") from error
    uri = context.uri()
    context.storage.mkdir(parents=True, exist_ok=True)
    open_client(uri)
    err.print(f"MLflow starts on http://{host}:{port} in some seconds (Ctrl-C ends it)", markup=False)
    serve(uri, host, port)


COMMANDS = (doctor, ui)
