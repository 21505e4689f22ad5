"""`dermtune`: one command group, and the rule by which errors end it."""

import logging
import sys
from collections.abc import Sequence

import click

from search.cli import asking, data, explaining, jobs, machine, publishing, reproducing, results, searching
from search.cli.options import err
from trainables.errors import DermtuneError

_EPILOG = """\b
Examples:
  dermtune search gated                                a synthetic set, a couple of minutes on two CPU cores
  dermtune search attentive                            the same for the other architecture
  dermtune search gated --data derm7pt:release_v0      the paper's data
  dermtune search gated --data table:lesions.csv --trials 40 --max-epochs 60
  dermtune list                                        searches so far
  dermtune show NAME                                   leaderboard of one
  dermtune best NAME --out winner                      its best checkpoint
  dermtune explain winner/t0003 lesion.jpg --out why   what it sees, and why it says what it says
  dermtune resume NAME --trials +20                    go on after Ctrl-C or a crash, or extend
  dermtune confirm NAME --top 5 --seeds 3              is the winner still the winner on fresh seeds?
  dermtune replay NAME --sampler random --sampler tpe  what other strategies would have found
  dermtune report NAME                                 one page with everything
  dermtune reproduce gated --data derm7pt:release_v0   the paper's experiments beside its tables
  dermtune register NAME --as MODEL --alias champion   into MLflow's model registry
  dermtune ui                                          MLflow's page
  dermtune submit --cluster cluster.yaml -- search gated --data derm7pt:s3://bucket/release_v0
"""


@click.group(
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(package_name="dermtune", prog_name="dermtune")
def cli() -> None:
    """Distributed hyperparameter search for explainable skin-lesion diagnosis. Research software, not a medical device."""


for group in (searching, results, explaining, reproducing, asking, publishing, data, machine, jobs):
    for command in group.COMMANDS:
        cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives the exit status. A wrong request is one line on stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    try:
        status = cli.main(args=None if arguments is None else list(arguments), prog_name="dermtune", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message())
        return 2
    except click.Abort:
        return 130
    except click.ClickException as error:
        return _refuse(error.format_message())
    except (DermtuneError, ValueError, OSError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        err.print("interrupted")
        return 130
    return status if isinstance(status, int) else 0


def _refuse(message: str) -> int:
    click.echo(f"dermtune: {' '.join(message.split())}", err=True)
    return 2


if __name__ == "__main__":  # a cluster's job runs it so, with the code that was uploaded
    main()
