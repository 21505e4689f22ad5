"""`dermtune reproduce`: the papers' named experiments beside their tables."""

from typing import Any

import click

from search.cli.bars import bar
from search.cli.options import Context, command_options, err, parse_settings, roles_options, with_options
from search.cli.training import run_to_end, warn_of_cost
from search.errors import PlanError
from trainables.data.roles import ColumnRoles


@click.command()
@click.argument("task")
@click.option("--data", metavar="FORMAT:PATH", help="What to train on [default: a synthetic set, drawn once].")
@roles_options
@click.option("--preset", metavar="demo|paper", help="Size [default: demo without --data, else paper].")
@click.option("--seeds", "num_seeds", type=click.IntRange(1), help="Runs of each experiment [default: the preset's].")
@click.option("--only", metavar="EXPERIMENT", multiple=True, help="Not all experiments but these.")
@click.option("--name", help="Of the reproduction [default: task and time].")
@click.option("--max-epochs", type=click.IntRange(1), help="Epochs of a run that the paper's rules do not end.")
@click.option("--set", "settings", metavar="FIELD=VALUE", multiple=True, help="Train all of them otherwise (`dermtune space`).")
@click.option("--cpus-per-trial", type=click.FloatRange(0.1), default=1.0, show_default=True)
@click.option("--gpus-per-trial", default="auto", show_default=True, help="A share, a whole number or auto.")
@click.option("--max-concurrent", type=click.IntRange(1), help="Runs at once [default: what fits].")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The first one.")
@command_options
def reproduce(
    context: Context,
    task: str,
    settings: tuple[str, ...],
    num_seeds: int | None,
    only: tuple[str, ...],
    roles: ColumnRoles,
    **options: Any,
) -> int:
    """Train the experiments that TASK's paper names, gated or attentive, and set them beside its tables.

    By the paper's own rules: nothing is pruned, and the epoch of the least validation loss is kept. After Ctrl-C go on with
    `dermtune resume NAME`.
    """
    from search.execution.options import SearchOptions
    from search.execution.reproduction_plan import prepare_reproduction
    from search.records.folder import SearchFolder

    if options["name"] is not None and SearchFolder(context.storage, options["name"]).path.exists():
        raise PlanError(f"--name must be new in {context.storage}; got {options['name']!r}, which is taken")
    context.check_store()
    options["data"] = with_options(options["data"], roles)
    asked = SearchOptions(task=task, settings=parse_settings(settings, "--set"), **options)
    with bar("decoding images", at_once=False) as progress:
        plan = prepare_reproduction(
            asked,
            num_seeds,
            only,
            address=context.address,
            progress=progress,
            say=lambda line: err.print(line, markup=False),
        )
    warn_of_cost(plan)
    return run_to_end(context, plan)


COMMANDS = (reproduce,)
