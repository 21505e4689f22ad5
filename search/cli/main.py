"""The way into the command line: signals and streams first, then the rule by which errors end a command.

Nothing else is imported at the top: what the commands need takes a second, in which a signal may come already.
"""

import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from search.cli.streams import lasting_streams
from search.execution.interruption import signals_like_ctrl_c

#: The exit status of a fault of ours, as of a search without a result.
_BROKE = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted."""
    _warnings_stay_warnings()
    sys.exit(run(arguments))


def _warnings_stay_warnings() -> None:
    """Shows what `PYTHONWARNINGS` or `-W` makes an error: MLflow and others warn of themselves, and no command could end well."""
    filters: list[tuple[Any, ...]] = list(warnings.filters)
    if not any(action == "error" for action, *_ in filters):
        return
    warnings.resetwarnings()
    for action, message, category, module, line in filters:
        kept: Any = "default" if action == "error" else action
        warnings.filterwarnings(kept, _pattern(message), category, _pattern(module), line, append=True)


def _pattern(found: Any) -> str:
    """A part of a filter as `filterwarnings` takes it: the interpreter keeps a pattern, a text of its own, or nothing."""
    return "" if found is None else f"{re.escape(found)}\\Z" if isinstance(found, str) else str(found.pattern)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives the exit status. A wrong request is one line on stderr."""
    with lasting_streams():
        try:
            with signals_like_ctrl_c():
                return _run(arguments)
        except KeyboardInterrupt:  # while the commands were being imported, or at their end
            sys.stderr.write("interrupted\n")
            return 130


def _run(arguments: Sequence[str] | None) -> int:
    import click

    from search.cli.commands import cli
    from search.cli.faults import is_ours, line_of, log_to_stderr

    log_to_stderr()
    try:
        status = cli.main(args=None if arguments is None else list(arguments), prog_name="dermtune", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message())
        return 2
    except click.Abort:
        return 130
    except click.ClickException as error:
        return _refuse(error.format_message())
    except Exception as error:  # noqa: BLE001 - a fault of ours ends a command with a line, too
        refused = _refuse(line_of(error, sys.argv[1:] if arguments is None else arguments))
        return _BROKE if is_ours(error) else refused
    return status if isinstance(status, int) else 0


def _refuse(message: str) -> int:
    import click

    click.echo(f"dermtune: {' '.join(message.split())}", err=True)
    return 2


if __name__ == "__main__":  # a cluster's job runs it so, with the code that was uploaded
    main()
