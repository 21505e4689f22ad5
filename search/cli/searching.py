"""`dermtune search` and `dermtune stop`."""

from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from search.cli.options import Context, Duration, command_options, duration_text, err, out, parse_settings
from search.cli.tables import show_estimate, show_result
from search.errors import PlanError
from trainables.tasks import TASKS


@click.command()
@click.argument("task")
@click.option("--data", metavar="FORMAT:PATH", help="What to train on [default: a synthetic set, drawn once].")
@click.option("--preset", metavar="demo|paper", help="Size of the search [default: demo without --data, else paper].")
@click.option("--name", help="Of the search [default: task and time].")
@click.option("--dry-run", is_flag=True, help="Measure a few batches and say what the search would cost.")
@click.option("--trials", "num_trials", type=click.IntRange(1), help="Configurations to try.")
@click.option("--max-epochs", type=click.IntRange(1), help="Epochs of a trial that is never stopped.")
@click.option("--time-budget", "time_budget_s", type=Duration(), help="For example 45m or 2h.")
@click.option("--epoch-budget", type=click.IntRange(1), help="Epochs over all trials.")
@click.option(
    "--metric",
    "metrics",
    metavar="NAME[:min|max]",
    multiple=True,
    help="What to optimise [default: the task's]; the first of several ranks and prunes.",
)
@click.option("--sampler", default="tpe", show_default=True, help="tpe, random, gp or cmaes.")
@click.option("--scheduler", default="asha", show_default=True, help="asha or none.")
@click.option("--grace-period", type=click.IntRange(1), help="Epochs before a trial may be stopped.")
@click.option("--reduction", type=click.IntRange(2), default=3, show_default=True, help="One in so many passes a rung.")
@click.option("--set", "settings", metavar="FIELD=VALUE", multiple=True, help="Fix a field (see `dermtune space`).")
@click.option("--cpus-per-trial", type=click.FloatRange(0.1), default=1.0, show_default=True)
@click.option("--gpus-per-trial", default="auto", show_default=True, help="A share, a whole number or auto.")
@click.option("--max-concurrent", type=click.IntRange(1), help="Trials at once [default: what fits].")
@click.option("--keep", "keep_checkpoints", type=click.IntRange(1), default=5, show_default=True, help="Best checkpoints kept.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@command_options
def search(context: Context, task: str, settings: tuple[str, ...], dry_run: bool, **options: Any) -> int:
    """Search TASK's hyperparameters: gated or attentive."""
    from search.execution.preparation import SearchOptions, prepare_search
    from search.records.folder import SearchFolder

    if options["name"] is not None and SearchFolder(context.storage, options["name"]).path.exists():
        raise PlanError(f"--name must be new in {context.storage}; got {options['name']!r}, which is taken")
    request = SearchOptions(task=task, settings=parse_settings(settings, "--set"), **options)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        decoding = bar.add_task("decoding images", total=None, visible=False)
        preparation = prepare_search(
            request,
            address=context.address,
            progress=lambda done, total: bar.update(decoding, completed=done, total=total, visible=True),
            say=lambda line: err.print(line, markup=False),
        )
    if dry_run:
        from search.analysis.dry_run import estimate

        found = estimate(preparation.plan)
        context.emit(found.to_json(), lambda: show_estimate(preparation.plan, found))
        return 0
    return _run(context, preparation)


def _run(context: Context, preparation: Any) -> int:
    from search.cli.live import SearchView
    from search.execution.session import run_search

    plan = preparation.plan
    if plan.preset == "paper" and plan.gpus_per_trial == 0 and TASKS[plan.task].formats:
        from search.analysis.dry_run import estimate

        err.print("no GPU here: measuring a few batches of the paper's configuration")
        cost = estimate(plan)
        err.print(
            f"expect about {duration_text(3600 * cost.hours)}, or {duration_text(3600 * cost.hours_at_most)} if no trial is"
            f" stopped, at {cost.epoch_s:.1f} s an epoch of the paper's configuration, {cost.trials_at_once} trials at once"
            " (--trials, --max-epochs and smaller images by --set make it less)"
        )
    views: list[SearchView] = []

    def listeners(plan: Any, table: Any) -> list[Any]:
        views.append(SearchView(plan, table, err))
        return [views[-1].on_event]

    at_once = "as many at once as fit" if plan.max_concurrent is None else f"{plan.max_concurrent} at once"
    err.print(f"search {plan.name}: {plan.num_trials} trials, {at_once}; starting Ray", markup=False)
    try:
        result = run_search(plan, context.storage, tracking_uri=context.uri(), address=context.address, listeners=listeners)
    finally:
        for view in views:
            view.close()
    context.emit(result.summary(), lambda: show_result(result, context.storage))
    if result.tracking_error is not None:
        err.print(f"MLflow does not have everything: {result.tracking_error}", markup=False)
    if result.ended == "interrupted":
        err.print(f"interrupted; everything so far is saved: dermtune show {plan.name}", markup=False)
        return 130
    return 0 if result.best is not None else 1


@click.command()
@click.argument("name")
@command_options
def stop(context: Context, name: str) -> None:
    """End a running search; what it has found stays."""
    from search.analysis.leaderboard import open_search

    open_search(context.storage, name).folder.request_stop()
    context.emit({"name": name, "stop_requested": True}, lambda: out.print(f"{name} saves and ends within seconds"))


COMMANDS = (search, stop)
