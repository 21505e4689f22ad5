"""`dermtune doctor` and `dermtune ui`."""

import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from search.cli.jobs import cluster_option
from search.cli.options import Context, command_options, err, out
from search.cli.tables import show_rows
from search.errors import PlanError

#: Searches to which `ui` gives a link.
_LINKS = 5
#: Where a cluster's head serves MLflow, as its file starts it.
_MLFLOW_PORT = 5000


@click.command()
@click.argument("name", required=False)
@click.option("--repair", is_flag=True, help="Make Tune's record, Optuna and MLflow agree with the ledger.")
@click.option("--data", metavar="FORMAT:PATH", help="With --address: must be seen by every node.")
@click.option("--cpus-per-trial", type=click.FloatRange(0.1), default=1.0, show_default=True, help="With --address.")
@click.option("--gpus-per-trial", default="auto", show_default=True, help="With --address.")
@command_options
def doctor(context: Context, name: str | None, repair: bool, data: str | None, cpus_per_trial: float, gpus_per_trial: str) -> int:
    """Look whether this machine, or with --address every node of a cluster, can run a search; with NAME, whether Tune, Optuna
    and MLflow agree with its ledger."""
    if name is not None:
        return _examine(context, name, repair)
    if repair:
        raise PlanError("--repair must be given the NAME of a search")
    from search.analysis.machine import check_machine

    checks = check_machine(context.storage, context.uri())
    if context.address is not None:
        from search.analysis.machine import check_cluster

        checks += check_cluster(context.address, context.storage, data, cpus_per_trial, gpus_per_trial)
    cells = [(check.name, "ok" if check.ok else "FAILED", check.detail) for check in checks]
    context.emit([asdict(check) for check in checks], lambda: show_rows("", ("what", "", "found"), cells))
    return 0 if all(check.ok for check in checks) else 1


def _examine(context: Context, name: str, repair: bool) -> int:
    from search.analysis import agreement
    from search.analysis.leaderboard import open_search

    found, uri = open_search(context.storage, name), context.uri()
    if repair:
        agreement.repair(found, uri)
    wrong = agreement.differences(found, uri)
    document = {"name": name, "num_trials": len(found.state.trials), "differences": [asdict(entry) for entry in wrong]}

    def show() -> None:
        if wrong:
            cells = [(entry.trial or "all", entry.where, entry.text) for entry in wrong]
            show_rows(f"{name}: {len(wrong)} differences to the ledger (--repair mends them)", ("trial", "in", "what"), cells)
        else:
            out.print(f"{name}: Tune, Optuna and MLflow agree with the ledger on {len(found.state.trials)} trials", markup=False)

    context.emit(document, show)
    return 1 if wrong else 0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind; others get in only if you change it.")
@click.option("--port", default=5000, show_default=True)
@cluster_option
@command_options
def ui(context: Context, host: str, port: int, cluster_file: Path | None) -> None:
    """Serve MLflow's page on the store in use, or bring a cluster's here through ssh, until Ctrl-C."""
    from search.records.tracking.server import serve
    from search.records.tracking.store import newest_experiments

    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError, UnicodeError) as error:
        raise PlanError(f"--host and --port must be free to bind; got {host}:{port}: {error}") from error
    if cluster_file is not None:
        _show_clusters(cluster_file, port)
        return
    uri = context.uri()
    context.storage.mkdir(parents=True, exist_ok=True)
    searches = newest_experiments(uri, _LINKS)
    err.print(f"MLflow starts on http://{host}:{port} in some seconds (Ctrl-C ends it)", markup=False)
    _print_links(searches, f"http://{host}:{port}")
    serve(uri, host, port)


def _show_clusters(cluster_file: Path, port: int) -> None:
    """MLflow's page of a cluster's head, on a port of this machine."""
    from search.execution.tunnel import tunnel
    from search.records.tracking.store import newest_experiments

    with tunnel(cluster_file, _MLFLOW_PORT, port) as here:
        address = f"http://127.0.0.1:{here}"
        err.print(f"MLflow of {cluster_file} is on {address} (Ctrl-C ends it)", markup=False)
        _print_links(newest_experiments(address, _LINKS), address)
        threading.Event().wait()


def _print_links(searches: Sequence[tuple[str, str]], address: str) -> None:
    from search.records.tracking.view import view_path

    for name, experiment_id in searches:
        err.print(f"  {name}: {address}{view_path(experiment_id)}", markup=False)


COMMANDS = (doctor, ui)
