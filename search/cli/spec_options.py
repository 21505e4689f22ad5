"""The command line's options for what `SearchSpec` asks for: flags, types and help follow from its fields."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from search.cli.options import Duration
from search.records.spec import FIELDS, Asked, SearchSpec

_DEFAULTS = {each.name: each.default for each in fields(SearchSpec)}
_TEXTS = ("texts", "pairs")


def spec_option(name: str, help: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: A002
    """Adds one option.

    Args:    name: of the field.
             help: instead of the field's own.
    """
    how, default = FIELDS[name], _DEFAULTS[name]
    if how.kind == "flag":
        return click.option(str(how.flag), name, is_flag=True, help=help or how.help)
    if how.kind in _TEXTS:
        return click.option(str(how.flag), name, metavar=how.metavar, multiple=True, help=help or how.help)
    shown = f"{default:g}s" if how.kind == "seconds" and default is not None else default
    return click.option(
        str(how.flag),
        name,
        metavar=how.metavar,
        type=_type(how),
        default=shown,
        show_default=default is not None,
        help=help or how.help,
    )


def spec_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds several options, in that order.

    Args:    names: of fields.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            function = spec_option(name)(function)
        return function

    return decorate


def _type(how: Asked) -> click.ParamType[Any]:
    if how.kind == "count":
        return click.IntRange(None if how.least is None else int(how.least))
    if how.kind == "number":
        low = how.least if how.above is None else how.above
        return click.FloatRange(low, min_open=how.above is not None)
    return Duration() if how.kind == "seconds" else click.STRING
