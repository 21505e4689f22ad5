"""`dermtune reproduce`: the papers' named experiments beside their tables."""

from typing import Any

import click

from search.cli.bars import bar
from search.cli.options import Context, command_options, err, parse_settings, roles_options, with_options
from search.cli.spec_options import spec_option, spec_options
from search.cli.training import run_to_end, warn_of_cost
from search.errors import PlanError
from trainables.data.roles import ColumnRoles


@click.command()
@click.argument("task")
@spec_option("data")
@roles_options
@spec_option("preset", "Size [default: demo without --data, else paper].")
@click.option("--seeds", "num_seeds", type=click.IntRange(1), help="Runs of each experiment [default: the preset's].")
@click.option("--only", metavar="EXPERIMENT", multiple=True, help="Not all experiments but these.")
@spec_option("name", "Of the reproduction [default: task and time].")
@spec_option("max_epochs", "Epochs of a run that the paper's rules do not end.")
@spec_option("settings", "Train all of them otherwise (`dermtune space`).")
@spec_options("cpus_per_trial", "gpus_per_trial")
@spec_option("max_concurrent", "Runs at once [default: what fits].")
@spec_option("seed", "The first one.")
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
    from search.execution.reproduction_plan import prepare_reproduction
    from search.records.folder import SearchFolder
    from search.records.spec import SearchSpec

    if options["name"] is not None and SearchFolder(context.storage, options["name"]).path.exists():
        raise PlanError(f"--name must be new in {context.storage}; got {options['name']!r}, which is taken")
    context.check_store()
    options["data"] = with_options(options["data"], roles)
    asked = SearchSpec.of({"task": task, "settings": parse_settings(settings, "--set"), **options})
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
