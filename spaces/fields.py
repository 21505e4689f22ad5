"""Declaring, parsing and checking hyperparameters. A field carries its range and its condition as data."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from spaces.case_limit import CaseLimit
from spaces.errors import RequestError
from spaces.hints import suggest

Value: TypeAlias = float | int | str | bool | None
Kind = Literal["real", "integer", "choice", "text", "path"]
_KEY = "dermtune"
_RANGE = re.compile(r"(?P<int>int:)?(?P<log>log:)?(?P<low>[^.:|]+(?:\.\d*)?|\.\d+)\.\.(?P<high>.+)")


@dataclass(frozen=True)
class Field:
    """One hyperparameter.

    Args:    name: its one spelling, everywhere.
             kind: "real", "integer", "choice", "text" or "path", a file or one of the choices.
             default: the paper's value.
             low, high: inclusive range of a real or an integer.
             log: whether it is searched on a logarithmic scale.
             choices: the values of a choice; what a path may be other than a file.
             when: other fields' values under which this one has a meaning; an inactive field is None.
             searched: whether a search varies it unless told otherwise.
             without: choice → values of fields that are never searched beside which a search does not offer it; it can be set.
             shapes: whether it decides a tensor's shape, the batches of an epoch or the data: trials that differ in it cannot
                 train as one program.
             cases: how its upper end follows the number of training cases, None where it does not.
             follows: a field whose value it keeps its proportion to unless it is set itself, in steps of `multiple_of`.
             delays: beginnings of metrics' names, without the split, that are not trained for as many epochs as its value says.
             unit, source, doc: for people.
    """

    name: str
    kind: Kind
    default: Value
    low: float = -math.inf
    high: float = math.inf
    log: bool = False
    choices: tuple[Value, ...] = ()
    when: Mapping[str, tuple[Value, ...]] = dataclasses.field(default_factory=dict)
    searched: bool = True
    without: Mapping[Value, Mapping[str, tuple[Value, ...]]] = dataclasses.field(default_factory=dict)
    shapes: bool = False
    cases: CaseLimit | None = None
    follows: str = ""
    multiple_of: int = 1
    delays: tuple[str, ...] = ()
    unit: str = ""
    source: str = ""
    doc: str = ""

    def is_active(self, values: Mapping[str, Value]) -> bool:
        """Whether the field means anything beside these values of the fields before it."""
        return all(values.get(name) in allowed for name, allowed in self.when.items())

    def range_text(self) -> str:
        """The range as the command line writes it: `log:0.3..30`, `int:2..12`, `a|b`."""
        if self.kind == "choice":
            return "|".join(format_value(choice) for choice in self.choices)
        if self.kind in ("text", "path"):
            return "|".join([*map(format_value, self.choices), "FILE" if self.kind == "path" else "text"])
        prefix = ("int:" if self.kind == "integer" else "") + ("log:" if self.log else "")
        return f"{prefix}{self.low:g}..{self.high:g}"

    def parse(self, text: str) -> Value:
        """The value that a command-line text stands for.

        Raises:  RequestError: when the text is no value of this field.
        """
        if self.kind == "text":
            return text
        if self.kind == "path":
            return text if text in self.choices else self.check(_absolute(text))
        if self.kind == "choice":
            by_text = {format_value(choice): choice for choice in self.choices}
            if text in by_text:
                return by_text[text]
            for choice in self.choices:
                if isinstance(choice, float) and _as_float(text) == choice:
                    return choice
            raise RequestError(f"{self.name} must be one of {self.range_text()}; got {text!r} (--set {self.name}=)")
        try:
            value = int(text) if self.kind == "integer" else float(text)
        except ValueError:
            raise RequestError(f"{self.name} must be {self._noun()}; got {text!r} (--set {self.name}=)") from None
        return self.check(value)

    def check(self, value: Value) -> Value:
        """The value itself, if the field can take it.

        Raises:  RequestError: when it cannot.
        """
        if self.kind == "text":
            fits = isinstance(value, str)
        elif self.kind == "path":
            fits = isinstance(value, str) and (value in self.choices or _is_file(value))
        elif self.kind == "choice":
            fits = any(value == choice and type(value) is type(choice) for choice in self.choices)
        else:
            numbers = (int,) if self.kind == "integer" else (int, float)
            fits = isinstance(value, numbers) and not isinstance(value, bool) and self.low <= value <= self.high
        if not fits:
            raise RequestError(f"{self.name} must be {self._noun()}; got {value!r} (--set {self.name}=)")
        return float(value) if self.kind == "real" else value  # type: ignore[arg-type]

    def narrowed(self, text: str) -> "Field":
        """The field over a range of the user's, and searched; its default becomes the nearest value in it.

        Args:    text: `log:1e-4..1e-2`, `0.3..0.9`, `int:2..8` or `a|b|c`.
        Raises:  RequestError: when the text is no range, or reaches beyond the field's own.
        """
        if ".." not in text:
            values = tuple(dict.fromkeys(self.parse(part) for part in text.split("|")))
            if len(values) < 2:
                raise RequestError(f"--space {self.name}= must leave two values or more; got {text!r} (one: --set {self.name}=)")
            default = self.default if self.default in values else self._nearest(values)
            return dataclasses.replace(self, kind="choice", choices=values, default=default, searched=True, log=False)
        low, high, log = self._bounds(text)
        if not self.low <= low < high <= self.high or (log and low <= 0):
            raise RequestError(f"--space {self.name}= must be a range within {self.range_text()}; got {text!r}")
        default = min(max(cast(float, self.default), low), high)
        return dataclasses.replace(self, low=low, high=high, log=log, default=default, searched=True)

    def _nearest(self, values: tuple[Value, ...]) -> Value:
        if self.kind in ("real", "integer"):
            return min(values, key=lambda value: abs(cast(float, value) - cast(float, self.default)))
        return values[0]

    def _bounds(self, text: str) -> tuple[float, float, bool]:
        match = _RANGE.fullmatch(text)
        if match is None or self.kind not in ("real", "integer") or (match["int"] and self.kind != "integer"):
            wanted = (
                f"a range such as {self.range_text()}" if self.kind in ("real", "integer") else f"some of {self.range_text()}"
            )
            raise RequestError(f"--space {self.name}= must be {wanted}; got {text!r}")
        number = int if self.kind == "integer" else float
        try:
            low, high = number(match["low"]), number(match["high"])
        except ValueError:
            raise RequestError(f"--space {self.name}= must be a range of {self._noun()}; got {text!r}") from None
        return low, high, bool(match["log"])

    def _noun(self) -> str:
        if self.kind == "choice":
            return f"one of {self.range_text()}"
        if self.kind == "text":
            return "a text"
        if self.kind == "path":
            return f"{', '.join(map(str, self.choices))} or a file"
        return f"{'a whole number' if self.kind == 'integer' else 'a number'} in {self.low:g}..{self.high:g}"


def real(default: float, low: float, high: float, **more: Any) -> Any:
    """Declares a real-valued field; `more` is any of `Field`'s attributes."""
    return _declare(default, kind="real", low=low, high=high, **more)


def integer(default: int, low: int, high: int, **more: Any) -> Any:
    """Declares a whole-numbered field; `more` is any of `Field`'s attributes."""
    return _declare(default, kind="integer", low=low, high=high, **more)


def choice(default: Value, choices: tuple[Value, ...], **more: Any) -> Any:
    """Declares a field with a few values; `more` is any of `Field`'s attributes."""
    return _declare(default, kind="choice", choices=choices, **more)


def flag(default: bool, **more: Any) -> Any:
    """Declares a yes-or-no field; `more` is any of `Field`'s attributes."""
    return choice(default, (True, False), **more)


def text(default: str, **more: Any) -> Any:
    """Declares a field that holds a name; it is never searched."""
    return _declare(default, kind="text", searched=False, **more)


def path(default: str, keywords: tuple[str, ...], **more: Any) -> Any:
    """Declares a field that holds a file's absolute path or one of a few keywords; it is never searched."""
    return _declare(default, kind="path", choices=keywords, searched=False, **more)


def _absolute(text: str) -> str:
    try:
        return str(Path(text).expanduser().resolve())
    except (OSError, RuntimeError, ValueError):  # no such user, a name too long, a character that no name may have
        return text


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _as_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _declare(default: Value, **attributes: Any) -> Any:
    return dataclasses.field(default=default, metadata={_KEY: attributes})


def fields_of(space: type) -> dict[str, Field]:
    """Every field of a space, in the order in which conditions may refer to them.

    Args:    space: a frozen dataclass whose fields were declared with this module.
    """
    return {
        entry.name: Field(name=entry.name, default=cast(Value, entry.default), **entry.metadata[_KEY])
        for entry in dataclasses.fields(space)
    }


def narrowed(fields: Mapping[str, Field], ranges: Mapping[str, str]) -> dict[str, Field]:
    """The fields, those named over the user's ranges.

    Args:    ranges: field → range, see `Field.narrowed`.
    Raises:  RequestError: when a name is unknown or a range does not fit.
    """
    for name in ranges:
        known_field(fields, name)
    return {name: field.narrowed(ranges[name]) if name in ranges else field for name, field in fields.items()}


def complete(space: type, given: Mapping[str, Value]) -> dict[str, Value]:
    """A whole configuration: given values checked, defaults elsewhere, None where a field is inactive.

    Raises:  RequestError: when a name is unknown (the nearest one is suggested), a value does not fit, or an inactive
             field is given a value.
    """
    fields = fields_of(space)
    for name in given:
        known_field(fields, name)
    values: dict[str, Value] = {}
    for name, field in fields.items():
        if field.is_active(values):
            value = given.get(name)
            values[name] = field.default if value is None else field.check(value)
        elif given.get(name) is not None:
            needs = " and ".join(f"{key}={'|'.join(map(format_value, ok))}" for key, ok in field.when.items())
            raise RequestError(f"{name} must be left out unless {needs}; got {given[name]!r} (--set {name}=)")
        else:
            values[name] = None
    return values


def known_field(fields: Mapping[str, Field], name: str) -> Field:
    """The field of that name.

    Raises:  RequestError: when there is none; what was probably meant is suggested.
    """
    if name not in fields:
        raise RequestError(f"a field must be one that `dermtune space` lists; got {name!r}{suggest(name, fields)}")
    return fields[name]


def number(config: Mapping[str, Value], name: str) -> float:
    """A field's value as a number.

    Raises:  RequestError: when it is none.
    """
    value = config[name]
    if not isinstance(value, int | float):
        raise RequestError(f"{name} must be a number; got {value!r} (--set {name}=)")
    return float(value)


def format_value(value: Value) -> str:
    """A value as the command line writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "-"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)
