"""`dermtune search`, `resume`, `confirm` and `stop`."""

from pathlib import Path
from typing import Any

import click

from search.cli.bars import bar
from search.cli.jobs import cluster_option, stop_job
from search.cli.options import (
    Amount,
    Context,
    Duration,
    command_options,
    err,
    given_options,
    out,
    parse_settings,
    roles_options,
    with_options,
)
from search.cli.spec_options import spec_option, spec_options
from search.cli.tables import show_estimate, show_preview
from search.cli.training import run_to_end, show_settled, warn_of_cost
from search.errors import PlanError
from search.records.spec import FIELDS
from trainables.data.roles import ColumnRoles

FILE = click.Path(path_type=Path)
pictures_option = click.option(
    "--pictures/--no-pictures", default=True, help="At the end write the report, and log pictures and models [default: yes]."
)


@click.command()
@click.argument("task", required=False)
@spec_option("data")
@roles_options
@click.option("--spec", "spec_file", type=FILE, help="A YAML file of --save-spec or your own; other flags change it.")
@click.option("--save-spec", type=FILE, help="Write what is asked for as YAML, too.")
@click.option("--plan", "plan_file", type=FILE, help="A plan.json to repeat; other flags change it.")
@click.option("--dry-run", is_flag=True, help="Measure a few batches and say what the search would cost.")
@spec_options(*(name for name in FIELDS if name not in ("task", "data")))
@pictures_option
@command_options
@click.pass_context
def search(
    click_context: click.Context,
    /,
    context: Context,
    task: str | None,
    dry_run: bool,
    spec_file: Path | None,
    save_spec: Path | None,
    plan_file: Path | None,
    pictures: bool,
    roles: ColumnRoles,
    **options: Any,
) -> int:
    """Search TASK's hyperparameters: gated or attentive; --spec and --plan name a task themselves."""
    from search.execution.planning import prepare_search
    from search.execution.replanning import specified
    from search.records.folder import SearchFolder
    from search.records.spec_file import write_spec

    if options["name"] is not None and SearchFolder(context.storage, options["name"]).path.exists():
        raise PlanError(f"--name must be new in {context.storage}; got {options['name']!r}, which is taken")
    context.check_store()
    options["data"] = with_options(options["data"], roles)
    pairs = {name: parse_settings(options[name], str(FIELDS[name].flag)) for name in ("settings", "space")}
    asked = {**given_options(click_context, options), **pairs, **({} if task is None else {"task": task})}
    spec = specified(asked, spec_file, plan_file)
    with bar("decoding images", at_once=False) as progress:
        preparation = prepare_search(
            spec,
            storage=context.storage,
            address=context.address,
            progress=progress,
            say=lambda line: err.print(line, markup=False),
        )
    if save_spec is not None:
        write_spec(spec, save_spec)
        err.print(f"what is asked for is written to {save_spec} (dermtune search --spec {save_spec})", markup=False)
    if dry_run:
        from search.analysis.dry_run import estimate

        found = estimate(preparation.plan, pictures=pictures)
        context.emit(found.to_json(), lambda: show_estimate(preparation.plan, found))
        return 0
    warn_of_cost(preparation.plan, pictures=pictures)
    return run_to_end(context, preparation.plan, pictures=pictures)


@click.command()
@click.argument("name")
@click.option("--trials", "num_trials", type=Amount(click.INT), metavar="[+]N", help="Trials in all, or so many more.")
@click.option("--time-budget", "time_budget_s", type=Amount(Duration()), metavar="[+]T", help="Time in all, or so much more.")
@click.option("--epoch-budget", type=Amount(click.INT), metavar="[+]N", help="Epochs in all, or so many more.")
@click.option("--gpu-hours", type=Amount(click.FLOAT), metavar="[+]H", help="Hours of whole GPUs in all, or so many more.")
@click.option("--max-concurrent", type=click.IntRange(1), help="Trials at once.")
@pictures_option
@command_options
def resume(context: Context, name: str, pictures: bool, **extension: Any) -> int:
    """Go on with a search that was interrupted or killed, or extend one; finished trials are not run again."""
    from search.analysis.settled import settled
    from search.execution.replanning import Extension, prepare_resume
    from search.records.tracking.address import check_kind

    check_kind(context.uri())  # a store that is away does not keep what has begun from going on
    more = Extension(**extension)
    if (ended := settled(context.storage, name, more, context.uri())) is not None:
        return show_settled(context, ended, pictures=pictures)
    with bar("decoding images", at_once=False) as progress:
        plan = prepare_resume(context.storage, name, more, progress)
    return run_to_end(context, plan, pictures=pictures, resumed=True)


@click.command()
@click.argument("name")
@click.option("--top", type=click.IntRange(2), help="Best configurations to confirm [default: 5, or all of fewer].")
@click.option(
    "--seeds",
    "num_seeds",
    type=click.IntRange(2),
    default=3,
    show_default=True,
    help="Fresh seeds of each; 3 or more for intervals.",
)
@click.option("--folds", "num_folds", type=click.IntRange(1), default=1, show_default=True, help="Stratified splits.")
@click.option("--max-concurrent", type=click.IntRange(1), help="Trials at once [default: as in the search].")
@click.option("--dry-run", is_flag=True, help="Say what would run, how long it would take and what it would read.")
@command_options
def confirm(
    context: Context, name: str, top: int | None, num_seeds: int, num_folds: int, max_concurrent: int | None, dry_run: bool
) -> int:
    """Re-run the best configurations on fresh seeds, and splits: is the best still the best?"""
    from search.analysis.confirmation_preview import expected_time, preview
    from search.execution.replanning import prepare_confirmation

    if not dry_run:
        context.check_store()
    plan = prepare_confirmation(context.storage, name, top, num_seeds, num_folds, max_concurrent)
    ahead = preview(plan, context.storage)
    if dry_run:
        span = expected_time(plan, context.storage, on_this_machine=context.address is None)
        hours = {f"hours_{end}": None if span is None else round(getattr(span, f"{end}_s") / 3600, 6) for end in ("low", "high")}
        context.emit({**ahead.to_json(), **hours}, lambda: show_preview(ahead, span))
        return 0
    for line in ahead.warnings:
        err.print(line, markup=False)
    return run_to_end(context, plan)


@click.command()
@click.argument("name")
@cluster_option
@command_options
def stop(context: Context, name: str, cluster_file: Path | None) -> None:
    """End a running search, or a JOB of a cluster; what it has found stays."""
    if cluster_file is not None or name.startswith("job-"):
        stop_job(context, name, cluster_file)
        return
    from search.analysis.leaderboard import open_search

    open_search(context.storage, name).folder.request_stop()
    context.emit({"name": name, "stop_requested": True}, lambda: out.print(f"{name} saves and ends within seconds"))


COMMANDS = (search, resume, confirm, stop)
