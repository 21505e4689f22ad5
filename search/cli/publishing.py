"""`dermtune report`, `register` and `export`: a search for others to see and use."""

import shlex
from pathlib import Path
from typing import Any

import click

from search.cli.bars import bar
from search.cli.options import TRACKING_VARIABLE, Context, command_options, err, out
from search.errors import PlanError

#: Of a served model; `dermtune ui` and MLflow's own commands are on 5000.
SERVE_PORT = 5001


def publish(context: Context, name: str, page: Path | None = None) -> Any:
    """Draws a search, writes its report, logs pictures and models, says which, with a bar; says what could not be done."""
    from search.analysis import publication
    from search.analysis.leaderboard import open_search

    found = open_search(context.storage, name)
    with bar("drawing pictures") as progress:
        result = publication.publish(found, context.uri(), page=page, progress=progress, say=progress.say)
    for problem in result.problems:
        err.print(f"{problem} (again with: dermtune report {name})", markup=False)
    return result


@click.command()
@click.argument("name")
@click.option("--out", "page", type=click.Path(path_type=Path, dir_okay=False), help="The page [default: report.html].")
@command_options
def report(context: Context, name: str, page: Path | None) -> int:
    """Write a search as one self-contained page, and put its pictures and models onto its runs in MLflow."""
    from search.analysis.leaderboard import open_search

    if not open_search(context.storage, name).state.ranked():
        raise PlanError(f"NAME must be a search in which a trial has reported; got {name!r} (dermtune show {name})")
    result = publish(context, name, page)
    document = {"name": name, "report": str(result.page), "models": result.models, "problems": result.problems}
    context.emit(document, lambda: out.print(f"report: {result.page}", markup=False))
    return 1 if result.problems else 0


@click.command()
@click.argument("name")
@click.option("--as", "model", required=True, help="The registered model; made if missing.")
@click.option("--alias", help="What shall point to this version, for instance champion.")
@click.option("--trial", help="Another trial than the best, whose checkpoint was kept.")
@click.option(
    "--confirmed", is_flag=True, help="Of the best mean in `dermtune confirm`, the run with the median value (of two, the worse)."
)
@command_options
def register(context: Context, name: str, model: str, alias: str | None, trial: str | None, confirmed: bool) -> None:
    """Register the best checkpoint in MLflow's model registry."""
    from search.analysis import publication
    from search.analysis.leaderboard import best_rows, open_search

    if confirmed and trial is not None:
        raise PlanError("--trial and --confirmed must not be given together")
    found, chosen = open_search(context.storage, name), trial
    if confirmed:
        from search.analysis.confirmed import latest_confirmation, median_run

        found = latest_confirmation(context.storage, name)
        chosen = median_run(found)
    (row,) = best_rows(found, 1, None if chosen is None else [found.trial(chosen).trial])
    document = publication.register(found, context.uri(), found.trial(row["trial"]), model, alias)

    def show() -> None:
        out.print(
            f"{document['trial']} is version {document['version']} of {model}: {document['model_uri']}"
            f"\n  {serve_command(context.uri(), str(document['model_uri']))}",
            markup=False,
        )

    context.emit(document, show)


def serve_command(uri: str, model_uri: str) -> str:
    """What to type to serve a registered model, beside `dermtune ui` on its own port."""
    store = f"{TRACKING_VARIABLE}={shlex.quote(uri)}"
    return f"{store} mlflow models serve -m {shlex.quote(model_uri)} --env-manager local --port {SERVE_PORT}"


@click.command()
@click.argument("name")
@click.option("--to", "url", help="A database, `sqlite:///study.db` or `postgresql://…` [default: study.db with the search].")
@command_options
def export(context: Context, name: str, url: str | None) -> None:
    """Write a search as an Optuna study, for optuna-dashboard, and its curves as Parquet."""
    from search.analysis.leaderboard import open_search
    from search.records.curves import write_curves
    from search.records.database import check_no_password
    from search.records.study import export_study, export_to_file
    from search.strategy.study_from_state import study_of

    if url is not None:
        check_no_password(url, "--to")
    found = open_search(context.storage, name)
    study = study_of(found.plan, found.state)
    if url is None:
        export_to_file(study, found.folder.study_file)
    else:
        export_study(study, url)
    write_curves(found.state, found.folder.curves_file)
    place = url or f"sqlite:///{found.folder.study_file}"
    document = {"name": name, "study": place, "curves": str(found.folder.curves_file)}
    context.emit(document, lambda: out.print(f"study: {place}\ncurves: {found.folder.curves_file}", markup=False))


COMMANDS = (report, register, export)
