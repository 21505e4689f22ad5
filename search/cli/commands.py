"""`dermtune`: one command group."""

from typing import Any

import click

from search.cli import (
    asking,
    comparing,
    data,
    deleting,
    evaluating,
    explaining,
    jobs,
    machine,
    predicting,
    publishing,
    reproducing,
    results,
    searching,
)
from search.cli.options import err

_EPILOG = """\b
Examples:
  dermtune search gated                    synthetic data, a few minutes
  dermtune search attentive                the same for the other network
  dermtune search gated --data derm7pt:release_v0  the paper's data
  dermtune search gated --data table:lesions.csv --trials 40 --max-epochs 60
  dermtune list                            searches so far
  dermtune show NAME                       leaderboard of one
  dermtune best NAME --out winner          its best checkpoint
  dermtune compare winner/t0003 other.csv  is one model better?
  dermtune explain winner/t0003 lesion.jpg --out why  what it sees and why
  dermtune resume NAME --trials +20        go on after Ctrl-C, or extend
  dermtune confirm NAME --top 5 --seeds 3  still the best on fresh seeds?
  dermtune replay NAME --sampler random    what others would have found
  dermtune report NAME                     one page with everything
  dermtune reproduce gated                 the paper's experiments
  dermtune register NAME --as MODEL        into MLflow's model registry
  dermtune ui                              MLflow's page
  dermtune submit --cluster cluster.yaml -- search gated  on a cluster
"""


class _Interruptible(click.Group):
    """Ends with one line when it is interrupted, where click itself prints an empty one."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("interrupted")
            ctx.exit(130)


@click.group(
    cls=_Interruptible,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(package_name="dermtune", prog_name="dermtune")
def cli() -> None:
    """Distributed hyperparameter search for explainable skin-lesion diagnosis. Research software, not a medical device."""


for group in (
    searching,
    results,
    evaluating,
    comparing,
    deleting,
    predicting,
    explaining,
    reproducing,
    asking,
    publishing,
    data,
    machine,
    jobs,
):
    for command in group.COMMANDS:
        cli.add_command(command)
