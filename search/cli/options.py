"""Options that every command takes, and how results and errors leave it."""

import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from search.errors import PlanError
from search.records.folder import storage_folder
from trainables.data import with_group

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Context:
    """What every command knows.

    Args:    storage: folder of all searches.
             tracking_uri: as given, None for the default.
             address: of a Ray cluster, None for this machine.
             json: whether stdout is to hold one JSON document and nothing else.
    """

    storage: Path
    tracking_uri: str | None
    address: str | None
    json: bool

    def uri(self) -> str:
        """The tracking store in use."""
        from search.records.tracking.store import default_tracking_uri  # MLflow takes seconds to import

        return self.tracking_uri or default_tracking_uri(self.storage)

    def emit(self, document: Any, show: Callable[[], None]) -> None:
        """Prints the JSON document, or shows it to a person."""
        if self.json:
            click.echo(json.dumps(document))
        else:
            show()


def command_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --storage, --tracking-uri, --address and --json; the function gets them as one `context`."""

    @click.option(
        "--storage", default="runs", envvar="DERMTUNE_STORAGE", show_default=True, help="Folder or URI (s3://…) of all searches."
    )
    @click.option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow store [default: STORAGE/mlflow.db].")
    @click.option("--address", envvar="RAY_ADDRESS", help="Ray cluster to use [default: this machine].")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
    @functools.wraps(function)
    def wrapper(*, storage: str, tracking_uri: str | None, address: str | None, as_json: bool, **given: Any) -> Any:
        if click.get_current_context().get_parameter_source("tracking_uri") is ParameterSource.COMMANDLINE and tracking_uri:
            from search.records.database import check_no_password

            check_no_password(tracking_uri, "--tracking-uri")
        return function(context=Context(storage_folder(storage), tracking_uri or None, address or None, as_json), **given)

    return wrapper


#: Wherever data are named; its commands hand it to `grouped`.
group_option = click.option(
    "--group",
    metavar="COLUMN",
    help="Column that says whose a case is, so that a patient or lesion stays on one side of every split [default: patient_id,"
    " lesion_id or group of a table, case_id of Derm7pt].",
)


def grouped(source: str | None, column: str | None) -> str | None:
    """`--data` with its `--group`: from here on one text, which goes to every worker.

    Raises:  PlanError: when there are no data whose groups these could be.
    """
    if source is None and column is not None:
        raise PlanError(f"--group must stand beside --data; got --group {column} and no data")
    return None if source is None else with_group(source, column)


class Duration(click.ParamType[float]):
    """`90s`, `45m`, `2h`, `1d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"must be a number with s, m, h or d, for example 2h; got {value!r}", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


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
    """A number for a table, a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def duration_text(seconds: float) -> str:
    """Seconds as a person would say them: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
