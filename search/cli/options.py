"""Options that every command takes, and how results and errors leave it."""

import functools
import io
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from search.cli.faults import LEVELS, set_level
from search.errors import PlanError
from search.records.folder import storage_folder
from search.records.spec import seconds_of
from search.records.tracking.address import check_store, default_tracking_uri
from trainables import folders
from trainables.data.roles import ColumnRoles, from_option, option_of, roles_of, with_roles
from trainables.data.split_names import split_named

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)
TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"
#: Durations below are not told in numbers.
_FEW_SECONDS = 7.0
#: Up to so many seconds in that unit, rounded to that step.
_STEPS = ((100.0, "s", 5.0), (6000.0, "min", 1.0), (36000.0, "h", 0.5), (172800.0, "h", 1.0), (float("inf"), "days", 1.0))


@dataclass(frozen=True)
class Context:
    """What every command knows.

    Args:    storage: folder of all searches.
             tracking_uri: as given, None for the default.
             address: of a Ray cluster, None for this machine.
             json: whether stdout is to hold one JSON document and nothing else.
             begun: when the command began, in monotonic seconds.
    """

    storage: Path
    tracking_uri: str | None
    address: str | None
    json: bool
    begun: float = field(default_factory=time.monotonic)

    def uri(self) -> str:
        """The tracking store in use."""
        return self.tracking_uri or default_tracking_uri(self.storage)

    def check_store(self) -> None:
        """Refuses a tracking store that cannot be had, before anything slow begins.

        Raises:  PlanError: when there is none.
        """
        check_store(self.uri())

    def emit(self, document: Any, show: Callable[[], None]) -> None:
        """Prints the JSON document, or shows it to a person."""
        if self.json:
            click.echo(json.dumps(document))
        else:
            show()


def command_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --storage, --tracking-uri, --address, --json, --log-level and --debug; the function gets them as one `context`."""

    @click.option(
        "--storage", default="runs", envvar="DERMTUNE_STORAGE", show_default=True, help="Folder or URI (s3://…) of all searches."
    )
    @click.option("--tracking-uri", envvar=TRACKING_VARIABLE, help="MLflow store [default: STORAGE/mlflow.db].")
    @click.option("--address", envvar="RAY_ADDRESS", help="Ray cluster to use [default: this machine].")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
    @click.option(
        "--log-level",
        type=click.Choice(list(LEVELS)),
        expose_value=False,
        callback=_log_level,
        help="How much is logged on stderr [default: warning].",
    )
    @click.option(
        "--debug", is_flag=True, expose_value=False, callback=_debug, help="--log-level debug, and tracebacks of errors."
    )
    @functools.wraps(function)
    def wrapper(*, storage: str, tracking_uri: str | None, address: str | None, as_json: bool, **given: Any) -> Any:
        if click.get_current_context().get_parameter_source("tracking_uri") is ParameterSource.COMMANDLINE and tracking_uri:
            from search.records.database import check_no_password

            check_no_password(tracking_uri, "--tracking-uri")
        show_what_can_be_shown()
        return function(context=Context(storage_folder(storage), tracking_uri or None, address or None, as_json), **given)

    return wrapper


def _log_level(context: click.Context, option: click.Parameter, level: str | None) -> None:
    if level is not None:
        set_level(level)


def _debug(context: click.Context, option: click.Parameter, debug: bool) -> None:
    if debug:
        set_level("debug")


def show_what_can_be_shown() -> None:
    """A character that stdout's or stderr's encoding lacks (a dash in ASCII, a name in Latin-1) is a question mark, no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # of a file that has become a pipe, as after a fork
                stream.reconfigure(errors="replace")


def roles_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --group, --image, --split-column, --columns and --ignore, wherever data are named; the function gets them as one
    `roles`, and hands it to `with_options`."""

    @click.option(
        "--group",
        metavar="COLUMN",
        help="Column that says whose a case is, so that a patient or lesion stays on one side of every split [default:"
        " patient_id, lesion_id or group of a table, case_id of Derm7pt].",
    )
    @click.option("--image", metavar="COLUMN", help="Column of a table that names the images [default: image].")
    @click.option(
        "--split-column", metavar="COLUMN", help="Column of a table that says train, valid or test of each case [default: split]."
    )
    @click.option(
        "--columns", metavar="A,B", multiple=True, help="Columns of a table that are tasks [default: all that are left]."
    )
    @click.option("--ignore", metavar="A,B", multiple=True, help="Columns of a table that are not read.")
    @functools.wraps(function)
    def wrapper(
        *,
        group: str | None,
        image: str | None,
        split_column: str | None,
        columns: tuple[str, ...],
        ignore: tuple[str, ...],
        **given: Any,
    ) -> Any:
        named = [tuple(name for text in texts for name in from_option(text)) for texts in (columns, ignore)]
        return function(roles=ColumnRoles(group, image, named[0], named[1], split_column), **given)

    return wrapper


def split_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --split, by any name that a table's split column may have, too."""
    return click.option(
        "--split",
        default="valid",
        show_default=True,
        callback=lambda context, parameter, name: split_named(name),
        help="train, valid or test.",
    )(function)


def with_options(source: str | None, roles: ColumnRoles) -> str | None:
    """`--data` with what is said of its columns: from here on one text, which goes to every worker.

    Raises:  PlanError: when there are no data whose columns these could be.
    """
    if source is None and roles.given():
        raise PlanError(f"{option_of(next(iter(roles.given())))} must stand beside --data; got {roles.options()} and no data")
    return None if source is None else with_roles(source, roles)


def say_fixed_tasks(checkpoint: Path, source: str) -> None:
    """A line on stderr when `--columns` or `--ignore` ask for other tasks than a checkpoint has."""
    roles, tasks = roles_of(source), list(folders.read_json(checkpoint, "config.json")["classes"])
    kept = [name for name in roles.ignore if name in tasks]
    if kept or (roles.columns and set(roles.columns) != set(tasks)):
        flag = "--ignore" if kept else "--columns"
        err.print(f"a checkpoint's tasks are fixed ({', '.join(tasks)}): {flag} does not change them", markup=False)


class Duration(click.ParamType[float]):
    """`90s`, `45m`, `2h`, `1d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        try:
            return seconds_of(str(value))
        except ValueError:
            self.fail(f"must be a number with s, m, h or d, for example 2h; got {value!r}", param, ctx)


class Amount(click.ParamType[tuple[float, bool]]):
    """A number, or `+` and a number, which comes on top.

    Args:    kind: what the number is: `click.INT`, `click.FLOAT`, `Duration()`.
    """

    name = "amount"

    def __init__(self, kind: click.ParamType[Any]) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, bool]:
        """The number, and whether it comes on top."""
        if isinstance(value, tuple):
            return value
        number = self._kind.convert(str(value).removeprefix("+"), param, ctx)
        if number <= 0:
            self.fail(f"must be above 0; got {value!r}", param, ctx)
        return float(number), str(value).startswith("+")


def given_options(context: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """Those options that were asked for, by flag or environment, and not left at their defaults."""
    return {name: value for name, value in options.items() if context.get_parameter_source(name) is not ParameterSource.DEFAULT}


def parse_settings(pairs: tuple[str, ...], flag: str) -> dict[str, str]:
    """`FIELD=VALUE` pairs as a dictionary.

    Raises:  PlanError: when one has no `=`.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise PlanError(f"{flag} must be FIELD=VALUE; got {pair!r}")
        found[name] = value
    return found


def number(value: float | None, digits: int = 4) -> str:
    """A number for a table, a dash for none; what rounds to 0 has no sign."""
    return "–" if value is None else f"{value:z.{digits}f}"


def duration_text(seconds: float) -> str:
    """Seconds as a person would say them: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def span_text(low_s: float, high_s: float) -> str:
    """A duration that is not known exactly: `a few seconds`, `about 20 to 40 s`, `about 2 to 5 min`, `about 1.5 to 3 h`."""
    if high_s < _FEW_SECONDS:
        return "a few seconds"
    unit, step = next((unit, step) for below, unit, step in _STEPS if high_s < below)
    per_unit = {"s": 1, "min": 60, "h": 3600, "days": 86400}[unit]
    low, high = (step * round(seconds / per_unit / step) for seconds in (low_s, high_s))
    if low == high:
        return f"about {high:g} {unit}"
    return f"up to {high:g} {unit}" if low == 0 else f"about {low:g} to {high:g} {unit}"
