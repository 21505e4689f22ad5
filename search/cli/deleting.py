"""`dermtune delete`."""

import sys
from typing import TYPE_CHECKING

import click

from search.cli.options import Context, command_options, err, out
from search.cli.standings import storage_flag
from search.errors import PlanError

if TYPE_CHECKING:
    from search.analysis.deletion import Holdings


@click.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--unregister", is_flag=True, help="Also delete the versions of registered models that were made from it.")
@command_options
def delete(context: Context, name: str, yes: bool, unregister: bool) -> int:
    """Delete a search: its folder, its checkpoints, its MLflow experiment. Says what goes, and asks."""
    from search.analysis import deletion

    uri = context.uri()
    holdings = deletion.holdings(context.storage, name, uri)
    deletion.check_may_go(holdings, unregister=unregister)
    if not yes:
        if not sys.stdin.isatty():
            raise PlanError(f"--yes must be given where nobody can be asked; got {_in_a_line(holdings)} to delete")
        for line in [*_lines(holdings, uri), *_staying(holdings, context)]:
            err.print(line, markup=False)
        if not click.confirm(f"Delete {name}?", err=True):
            err.print(f"{name} is left as it is", markup=False)
            return 1
    deletion.delete(context.storage, uri, holdings)
    if holdings.num_runs is None:
        err.print(_elsewhere(holdings, uri), markup=False)
    for line in _staying(holdings, context) if yes else ():
        err.print(line, markup=False)
    document = {"name": name, "deleted": True, **holdings.to_json()}
    context.emit(document, lambda: out.print(f"{name} is deleted: {_in_a_line(holdings)}", markup=False))
    return 0


def _in_a_line(holdings: "Holdings") -> str:
    parts = [f"{holdings.num_trials} trials", size_text(holdings.num_bytes)]
    if holdings.num_runs is not None:
        parts.append(f"{holdings.num_runs} runs in MLflow")
    return ", ".join([*parts, *map(str, holdings.registered)])


def _lines(holdings: "Holdings", uri: str) -> list[str]:
    """What goes, for a person to read before it goes."""
    from search.records.database import masked

    lines = [f"{holdings.place}: {holdings.num_trials} trials, {size_text(holdings.num_bytes)} with checkpoints and artifacts"]
    if holdings.num_runs is None:
        lines.append(_elsewhere(holdings, uri))
    else:
        lines.append(f"MLflow: {holdings.num_runs} runs in {masked(uri)}")
    return [*lines, *(f"registered: {version}" for version in holdings.registered)]


def _staying(holdings: "Holdings", context: Context) -> list[str]:
    """What belongs to it and stays, each with the command that deletes it."""
    where = storage_flag(context.storage)
    return [f"{name}, which confirms it, stays (dermtune delete {name}{where})" for name in holdings.confirmations]


def _elsewhere(holdings: "Holdings", uri: str) -> str:
    from search.records.database import masked

    if holdings.is_foreign:
        return (
            f"MLflow: the experiment {holdings.name} in {masked(uri)} is not marked as this search's (another storage's, or of"
            " before this one was moved); it stays with what was registered from it"
        )
    return (
        f"MLflow: {masked(uri)} has no runs of {holdings.name}; those in another store, and what was registered from them, stay"
        " (--tracking-uri)"
    )


def size_text(num_bytes: float) -> str:
    """Bytes as a person would say them: `12 kiB`, `3.4 MiB`."""
    if num_bytes < 2**20:
        return f"{num_bytes / 2**10:.0f} kiB"
    return f"{num_bytes / 2**20:.1f} MiB" if num_bytes < 2**30 else f"{num_bytes / 2**30:.1f} GiB"


COMMANDS = (delete,)
